"""Where a run starts: its base by digest, and every run behind it. Nothing here reads a weight or imports torch."""

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
from trainers.new_rows import NewRow, has_new_ids, new_rows, with_parents
from trainers.recipe import BaseConfig, TinyConfig

ADAPTER_FILE = "adapter_config.json"
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
        return Base("tiny", "tiny", digest_json(identity), tiny=config.tiny, pretraining=pretraining)
    if config.run is not None:
        return _from_run(require_finished(open_run(workspace, config.run)), workspace, tokenizer)
    if config.model is not None:
        model = find_model(workspace, config.model)
        base = Base("model", model.name, model.digest, model.folder, note=model.meta.note)
    else:
        base = _from_folder(relative_to / str(config.path))
    return replace(base, new_rows=_rows_for(base, tokenizer, workspace))


def _from_run(run: Run, workspace: Workspace, tokenizer: Tokenizer) -> Base:
    mixture, behind = run.content["mixture"], run.content["lineage"]
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
        runs=(*behind["runs"], {"run": run.name, "mixture": mixture}),
        pretraining=behind["pretraining"],
        note=behind["note"],
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
    return Base("path", str(folder.resolve()), digest_model(folder), folder)


def _rows_for(base: Base, tokenizer: Tokenizer, workspace: Workspace) -> tuple[NewRow, ...]:
    """Return the rows a model's folder lacks; raises InputError where its tokenizer is another one.

    A folder without a tokenizer proves nothing; the size of its vocabulary is checked when it is loaded.
    """
    folder, name = base.folder, FILES[tokenizer.meta.kind]
    assert folder is not None
    others = [other for other in FILES.values() if (folder / other).is_file()]
    if not others:
        if has_new_ids(tokenizer, workspace):
            found = "it has no tokenizer, so nobody can say which rows the new tokens of the mixture lack"
            raise InputError(problem(folder, found, "tokenizer.json or tokenizer.model beside the weights"))
        return ()
    for own in with_parents(tokenizer, workspace):
        if name in others and _same_tokenizer(folder / name, own.folder / name):
            return new_rows(tokenizer, own.meta.digest, workspace)
    found = "its tokenizer is not the one the mixture is made with"
    fix = "name the model in tokenizer: of the data recipe"
    raise InputError(problem(folder, found, NEEDED_TOKENIZER, fix))


def _same_tokenizer(one: Path, other: Path) -> bool:
    if digest_file(one) == digest_file(other):
        return True
    if one.suffix != ".json":
        return False
    import tokenizers

    # The same vocabulary may be written in another layout, or without truncation.
    first, second = (tokenizers.Tokenizer.from_file(str(path)) for path in (one, other))
    return bool(first.get_vocab() == second.get_vocab())
