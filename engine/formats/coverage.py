"""The coverage sheet of a search for contamination: coverage.parquet among the stage's corpus artifacts.

One row per benchmark or held-out set: items, how many can be found at all, recall on planted copies, false flags.
"""

from pathlib import Path

from engine.base.hashing import digest_json
from engine.formats.parquet import read_parquet

FILE = "coverage.parquet"
OF_ALL_SOURCES = ("searched_documents", "flagged_documents")


def coverage_digest(path: Path) -> str:
    """Return the digest of what a sheet says of the search; what it counts over all sources is nothing to a mixture."""
    return digest_json(read_parquet(path).sort("benchmark").drop(OF_ALL_SOURCES).to_dicts())
