"""receipt.json: what made a folder. It is written last, so its presence means the folder is whole.

Receipts carry seconds and versions and therefore stand outside all digests.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

import engine
from engine.base.atomic import write_json
from engine.base.stage import StrictModel
from engine.formats.json_model import read_model

NAME = "receipt.json"
AGAIN = "restore it from a copy; or delete it, and what it belongs to counts as not finished"


class Receipt(StrictModel):
    """What made an artifact, and what it holds."""

    made_by: str = Field(description="stage or step, with its version: near_dup/1")
    digest: str = Field(description="digest of the artifact: config, inputs and version of the step")
    inputs: dict[str, str] = Field(default_factory=dict, description="input name -> digest")
    config: dict[str, Any] = Field(
        default_factory=dict, description="the configuration that was used, defaults included"
    )
    rows: int = Field(description="documents, pairs or spans, whatever a row of the artifact is")
    seconds: float = Field(description="seconds of work; of work on shards, summed over the workers")
    details: dict[str, Any] = Field(default_factory=dict, description="counts a report wants, named with their unit")
    provender: str = Field(default=engine.__version__, description="version of the code")


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Declare the folder done."""
    write_json(folder / NAME, receipt.model_dump(mode="json"))


def read_receipt(folder: Path) -> Receipt | None:
    """Return the receipt of a finished folder, or None where the work was never finished.

    Raises InputError where the file is damaged.
    """
    path = folder / NAME
    return read_model(path, Receipt, AGAIN) if path.is_file() else None
