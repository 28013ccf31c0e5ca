"""How a version is exported."""

from dataclasses import dataclass

FORMATS = ("parquet", "jsonl")


@dataclass(frozen=True)
class ExportOptions:
    """What is asked for besides the version."""

    format: str
    """One of FORMATS."""
    tags_as_text: bool
    """Whether control tokens stand as text in front of the documents."""
    repeat: bool
    """Whether a document has a row for every use, else one in each phase."""
