"""Columns of a file of scores (Parquet, CSV or JSON lines) beside the documents they belong to, joined by id.

`path` is a file, or a folder of files of which every one has the columns. Ids are doc_ids, as `provender sql` shows
them (UUIDs in text, or 16 bytes) or, where `source` names a source, that source's own ids as its files have them. No id
may be null or stand twice, and no value may be of another type than the recipe says; every document with text needs a
row (of the named source, if one is), unless `missing: null` leaves it without scores. Rows that belong to no document
are counted in details.json and said; where not one row belongs to any, the ids are of another kind: an error.

The columns are called as in the file, in lower case, with an underscore for every run of other characters than letters
and digits. Numbers with a fraction are rounded to 1e-4 and have to be finite; NaN, however it is written, is null, and
so is an empty field of a CSV file. The file is read in pieces: at its peak the join holds some 55 bytes per document
beside 100 MB (measured with 1 and 3 million documents and one column of numbers), 16 per row of no document, and the
values of further columns twice.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl
from pydantic import Field, model_validator

from engine.annotate.scores.files import check_columns, column_name
from engine.base.atomic import write_json
from engine.base.progress import say
from engine.base.stage import Column, StageConfig
from engine.formats.documents import Shard

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus, ShardView

SCOPE = "corpus"
VERSION = 2
READS = ("doc_id", "source", "text_digest")
PART_READS = ("text_digest",)
FILES = ("path",)
Kind = Literal["float", "int", "string", "bool"]
DTYPES: dict[str, type[pl.DataType]] = {
    "float": pl.Float64,
    "int": pl.Int64,
    "string": pl.String,
    "bool": pl.Boolean,
}


class Config(StageConfig):
    """Options of scores."""

    stage: Literal["scores"] = "scores"
    path: str = Field(description="Parquet, CSV or JSON lines (also .gz, .zst, .bz2), or a folder of one of them")
    id: str = Field(default="doc_id", description="column of the file that holds ids")
    source: str | None = Field(
        default=None, description="source whose own ids these are; without it they are doc_ids, of any source"
    )
    columns: dict[str, Kind] = Field(
        min_length=1, description="column of the file -> float, int, string or bool: what is taken over"
    )
    missing: Literal["error"] | None = Field(
        default="error", description="documents with text but without a row: an error, or null"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> "Config":
        names: dict[str, str] = {}
        for column in self.columns:
            name = column_name(column)
            if not name:
                raise ValueError(f"columns: '{column}' has neither a letter nor a digit")
            if name in names:
                raise ValueError(f"columns: '{names[name]}' and '{column}' would both be {self.stage}__{name}")
            names[name] = column
        return self


def ADDS(config: Config) -> dict[str, Column]:  # noqa: N802 - the name is the contract's
    """One column for each of the file's."""
    meaning = "column {} of the file of scores{}; null where it has none"
    rounded = {"float": ", rounded to 1e-4"}
    return {
        f"scores__{column_name(column)}": Column(DTYPES[kind], meaning.format(column, rounded.get(kind, "")))
        for column, kind in config.columns.items()
    }


def part_config(config: Config) -> dict[str, object]:  # noqa: ARG001 - the signature is the contract's
    """A shard part depends on no setting: it holds nothing of the scores."""
    return {}


def check_files(config: Config) -> None:
    """Raise InputError where there is no file of scores, or where its head lacks the columns of the recipe."""
    check_columns(Path(config.path), config.id, config.columns)


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:  # noqa: ARG001 - the signature is the contract's
    """Return whether each row has text (`has_text`); the file is joined once, by `combine`."""
    return shard.columns(["text_digest"]).select(pl.col("text_digest").is_not_null().alias("has_text"))


def combine(corpus: "Corpus", config: Config, folder: Path) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Yield the columns of every shard; leaves details.json (rows, documents with and without one) in `folder`.

    Raises InputError for ids that are null, no ids, or stand twice, for values of another type, for columns that are
    not there, for documents without a row and where no row belongs to any document; RecipeError for an unknown source.
    """
    from engine.annotate.scores.join import join_scores

    joined = join_scores(corpus, config)
    details = joined.details()
    write_json(folder / "details.json", details)
    if details["rows_without_document"]:
        say(
            f"{config.column_prefix}: {details['rows_without_document']:,} rows of {details['rows']:,} have no document"
        )
    start = 0
    for shard in corpus.shards:
        yield shard, joined.rows_of(start, shard.num_rows)
        start += shard.num_rows
