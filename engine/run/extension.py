"""What an extension of a mixture holds on to: the documents of the version, and what was held out with it."""

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from engine.base.hashing import digest_json, digest_parts
from engine.formats.split import Split

NOT_IN_VERSION = "not_in_version"
"""Reason of old documents that stay out because the version that is extended does not have them."""


@dataclass(frozen=True)
class Extension:
    """A version to which the documents of one new source come."""

    doc_ids: pl.Series
    """Documents of the version, Binary, ascending: they stay, and win over whatever is like them."""
    source: str
    """The new source."""
    split: Split | None
    """What was held out when the version was made, and stays so."""

    @cached_property
    def digest(self) -> str:
        """Digest of all that it changes in a run."""
        held_out = self.split.digest if self.split is not None else None
        return digest_json([digest_parts(self.doc_ids).hex(), self.source, held_out])
