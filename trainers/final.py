"""final/: what a run leaves behind: a Hugging Face folder, or a PEFT adapter folder, that plain libraries load."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.base.hashing import digest_file, digest_json
from engine.formats.tokenizer import Tokenizer
from trainers.lineage import ADAPTER_FILE, WEIGHTS, Base
from trainers.model import hide_progress
from trainers.tokenizer_files import write_tokenizer


def save_final(saved: Any, base: Base, tokenizer: Tokenizer, folder: Path, texts: Sequence[str]) -> str:
    """Write a Hugging Face folder (or PEFT adapter folder) with the tokenizer beside it; return the weights' digest.

    `texts` are documents the tokenizer's copy is tried on.
    """
    hide_progress()
    if hasattr(saved, "peft_config"):
        # An adapter on an adapter has no folder that holds its base; the lineage in run.json still leads there.
        is_whole = base.folder is not None and not (base.folder / ADAPTER_FILE).is_file()
        saved.peft_config["default"].base_model_name_or_path = str(base.folder) if is_whole else None
        saved.save_pretrained(folder, save_embedding_layers=False)
    else:
        saved.save_pretrained(folder)
    write_tokenizer(tokenizer, base.folder, folder, texts)
    files = sorted(folder.glob(WEIGHTS))
    return digest_json({file.name: digest_file(file) for file in files})
