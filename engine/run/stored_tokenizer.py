"""Copies a tokenizer into the workspace, where a mixture keeps it whatever becomes of the original."""

import shutil
from pathlib import Path

from engine.base.atomic import atomic_folder
from engine.formats.huggingface_tokenizer import BESIDE
from engine.formats.tokenizer import FILES, META, TokenizerMeta
from engine.formats.workspace import Workspace


def store_tokenizer(workspace: Workspace, path: Path, meta: TokenizerMeta, beside: Path | None = None) -> Path:
    """Copy the tokenizer in `path`, with what transformers reads beside it; returns its folder in the workspace.

    beside: where that lies, if not in `path`.
    """
    folder = workspace.tokenizer(meta.digest)
    if not (folder / META).is_file():
        with atomic_folder(folder) as temporary:
            for name in (META, FILES[meta.kind]):
                shutil.copyfile(path / name, temporary / name)
            for file in (found for found in ((beside or path) / name for name in BESIDE) if found.is_file()):
                shutil.copyfile(file, temporary / file.name)
    return folder
