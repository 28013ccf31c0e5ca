"""Where a run starts: its base by digest, and every run behind it. Nothing here imports torch.

What lies behind weights is told beside them, in lineage.json: a folder that leaves the workspace, or a merged model, is
no new beginning.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem
from engine.base.hashing import digest_file, digest_json
from engine.formats.base_model import count_parameters, digest_model, find_model
from engine.formats.receipt import read_receipt
from engine.formats.run import Run, open_run, require_finished
from engine.formats.tokenizer import FILES, Tokenizer
from engine.formats.workspace import Workspace
from trainers.new_rows import NewRow, new_rows, with_parents
from trainers.recipe import BaseConfig, TinyConfig

ADAPTER_FILE, LINEAGE_FILE = "adapter_config.json", "lineage.json"
WEIGHTS = "*.safetensors"
MERGED = ("LORA", "IA3")
"""Kinds of adapters, in the words of peft, that can become part of the weights they stand on."""
NEEDED_TOKENIZER = "one tokenizer, or one made from it by control tokens or an extension"


@dataclass(frozen=True)
class Base:
    """What training starts from."""

    kind: str
    """tiny, model, path or run."""
    name: str
    digest: str
    folder: Path | None = None
    """A Hugging Face folder, or a PEFT adapter folder on top of `parent`; None for tiny."""
    tiny: TinyConfig | None = None
    seed: int = 0
    """What a tiny base is initialised from."""
    parent: "Base | None" = None
    """What an adapter stands on; None for every other base."""
    adapter_tokenizer: Tokenizer | None = None
    """The tokenizer an adapter was trained with: `parent` has its rows; None for every other base."""
    new_rows: tuple[NewRow, ...] = ()
    """Rows it lacks for the tokenizer it was resolved for."""
    runs: tuple[dict[str, Any], ...] = ()
    """The runs behind it as run.json tells them (`run`, `mixture`), oldest first; they need not be there any more."""
    pretraining: str = "unknown"
    """What is known of the text behind the oldest of them."""
    note: str = ""
    """What a report must say about the model behind the oldest of them."""

    @property
    def num_parameters(self) -> int | None:
        """Numbers in the weight files, without an adapter's; None for tiny."""
        if self.parent is not None:
            return self.parent.num_parameters
        return None if self.folder is None else count_parameters(self.folder)

    def described(self) -> dict[str, str]:
        """What run.json says of the base; the same for every run that starts from the same weights."""
        return {"kind": self.kind, "name": self.name, "digest": self.digest}

    def lineage(self) -> dict[str, Any]:
        """What run.json says of everything behind the run."""
        return {"runs": list(self.runs), "pretraining": self.pretraining, "note": self.note}


def resolve_base(config: BaseConfig, workspace: Workspace, relative_to: Path, tokenizer: Tokenizer, seed: int) -> Base:
    """Find the base; raises InputError where it is missing, unfinished, changed, or speaks another tokenizer."""
    if config.tiny is not None:
        identity = {"tiny": config.tiny.model_dump(), "vocab_size": tokenizer.meta.vocab_size, "seed": seed}
        pretraining = "none: initialised from the seed"
        return Base("tiny", "tiny", digest_json(identity), tiny=config.tiny, seed=seed, pretraining=pretraining)
    if config.run is not None:
        return _from_run(require_finished(open_run(workspace, config.run)), workspace, tokenizer)
    if config.model is not None:
        model = find_model(workspace, config.model)
        behind = _beside(model.folder, model.meta.note)
        base = Base("model", model.name, model.digest, model.folder, **behind)
    else:
        base = _from_folder(relative_to / str(config.path))
    return replace(base, new_rows=_rows_for(base, tokenizer, workspace))


def with_run(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what lies behind the weights that a run leaves: what its run.json says was behind it, and the run."""
    behind = content["lineage"]
    return behind | {"runs": [*behind["runs"], {"run": content["run"], "mixture": content["mixture"]}]}


def weights_digest(folder: Path) -> str:
    """Return the digest of the weight files in a folder, which the receipt of a run names."""
    return digest_json({file.name: digest_file(file) for file in sorted(folder.glob(WEIGHTS))})


def _from_run(run: Run, workspace: Workspace, tokenizer: Tokenizer) -> Base:
    mixture = run.content["mixture"]
    own = {one.meta.digest: one for one in with_parents(tokenizer, workspace)}.get(mixture["tokenizer"])
    if own is None:
        found = f"trained with tokenizer {mixture['tokenizer'][:12]}, the mixture has {tokenizer.meta.digest[:12]}"
        fix = "build the mixture with the run's tokenizer"
        raise InputError(problem(run.folder, found, NEEDED_TOKENIZER, fix))
    receipt = read_receipt(run.folder)
    assert receipt is not None
    final = run.folder / "final"
    has_adapter = (final / ADAPTER_FILE).is_file()
    return Base(
        "run",
        run.name,
        receipt.digest,
        final,
        parent=_under_adapter(run, workspace, own) if has_adapter else None,
        adapter_tokenizer=own if has_adapter else None,
        new_rows=new_rows(tokenizer, own.meta.digest, workspace),
        **_told(with_run(run.content)),
    )


def _under_adapter(run: Run, workspace: Workspace, tokenizer: Tokenizer) -> Base:
    kind = read_json(run.folder / "final" / ADAPTER_FILE)["peft_type"]
    if kind not in MERGED:
        found = f"what it trained ({kind.lower().replace('_', ' ')}) stands in front of a model and is no part of it"
        fix = "use its folder final/ with peft, start from its base, or train that with method lora"
        raise InputError(problem(run.folder, found, "an adapter that can be merged", fix))
    recipe, below = run.content["recipe"], run.content["base"]
    config = BaseConfig.model_validate(recipe["base"])
    if below["kind"] == "path":  # written relative to a recipe that is not here
        config = BaseConfig(path=below["name"])
    parent = resolve_base(config, workspace, Path(), tokenizer, recipe["seed"])
    if parent.digest != below["digest"]:
        found = f"its base {parent.name} is {parent.digest[:12]} now and was {below['digest'][:12]}"
        raise InputError(problem(run.folder, found, "the base the adapter was trained on", "train the run again"))
    return parent


def _from_folder(folder: Path) -> Base:
    if not (folder / "config.json").is_file() or not any(folder.glob(WEIGHTS)):
        raise InputError(problem(folder, "no config.json with *.safetensors beside it", "a Hugging Face model folder"))
    return Base("path", str(folder.resolve()), digest_model(folder), folder, **_beside(folder))


def _beside(folder: Path, note: str = "") -> dict[str, Any]:
    """Return the fields of a Base that say what lies behind the weights in a folder."""
    if not (folder / LINEAGE_FILE).is_file():
        return {"note": note}
    told = _told(read_json(folder / LINEAGE_FILE))
    return told | {"note": note or told["note"]}


def _told(lineage: Mapping[str, Any]) -> dict[str, Any]:
    return {"runs": tuple(lineage["runs"]), "pretraining": lineage["pretraining"], "note": lineage["note"]}


def _rows_for(base: Base, tokenizer: Tokenizer, workspace: Workspace) -> tuple[NewRow, ...]:
    """Return the rows a model's folder lacks; raises InputError where its tokenizer is another one, or not there."""
    folder, name = base.folder, FILES[tokenizer.meta.kind]
    assert folder is not None
    if not any((folder / other).is_file() for other in FILES.values()):
        found = "it has no tokenizer, so nobody can say whether it is that of the mixture"
        raise InputError(problem(folder, found, "tokenizer.json or tokenizer.model beside the weights"))
    for own in with_parents(tokenizer, workspace):
        if (folder / name).is_file() and _same_tokenizer(folder / name, own.folder / name):
            return new_rows(tokenizer, own.meta.digest, workspace)
    found = "its tokenizer is not the one the mixture is made with"
    fix = "name the model in tokenizer: of the data recipe"
    raise InputError(problem(folder, found, NEEDED_TOKENIZER, fix))


def _same_tokenizer(one: Path, other: Path) -> bool:
    if digest_file(one) == digest_file(other):
        return True
    return one.suffix == ".json" and _what_encodes(one) == _what_encodes(other)


def _what_encodes(path: Path) -> dict[str, Any]:
    """Return what decides the ids of a text, as the library writes it today: layouts of the file differ by its age."""
    import tokenizers

    content: dict[str, Any] = json.loads(tokenizers.Tokenizer.from_file(str(path)).to_str())
    return {key: content[key] for key in ("normalizer", "pre_tokenizer", "model", "added_tokens")}
