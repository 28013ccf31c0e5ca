"""The split: held-out sets whose likenesses are held out with them.

Groups are the connected components of documents over verified near-duplicate pairs of at least `min_similarity`, equal
texts, and equal values of the `group_by` columns (host, book, thread). A group goes to one side as a whole. Only the
documents that stand for it in a set are measured: of the set's sources, surviving deduplication, satisfying `where`.

For each set, by name: its groups are taken in an order drawn with `seed` from their smallest doc_id, each that still
fits into what the set may hold. Nothing depends on files, shards or the order of documents.

A set may ask for at most half (`max_share`) of what can stand in it once the sets before it are drawn. So a split that
is larger than the corpus, or nearly so, is an error, and not a corpus that is held out as a whole.
"""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from engine.base.atomic import read_json
from engine.base.errors import RecipeError, problem
from engine.base.hashing import seeded_order
from engine.base.stage import StrictModel
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.split import HELDOUT_SCHEMA, Split
from engine.select.components import components
from engine.select.conditions import Condition, condition_columns, holds
from engine.select.grouping import grouping, stored_columns

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus

VERSION = 2
SIMILARITY_UNITS = 10_000
_CORE = ("doc_id", "source", "text_digest", "num_bytes", "read_problem")
_SURVIVAL = ("exact_dup__kept_id", "near_dup__kept_id")

SetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class HeldOutSet(StrictModel):
    """One held-out set."""

    sources: tuple[str, ...] = Field(min_length=1, description="sources whose documents may stand in it")
    max_bytes: int | None = Field(default=None, ge=1, description="bytes of text it may hold; or max_tokens")
    max_tokens: int | None = Field(
        default=None, ge=1, description="tokens it may hold, as the recipe's first stage tokens counts them"
    )
    max_share: float = Field(
        default=0.5, gt=0, le=1, description="share of what can stand in it that it may ask for; 1: as much as you like"
    )

    @model_validator(mode="after")
    def _has_one_size(self) -> "HeldOutSet":
        if (self.max_bytes is None) == (self.max_tokens is None):
            raise ValueError("a set has max_bytes or max_tokens, exactly one of them")
        return self

    @property
    def unit(self) -> str:
        """What its size is counted in: bytes or tokens."""
        return "bytes" if self.max_tokens is None else "tokens"

    @property
    def size(self) -> int:
        """How much it may hold, in `unit`."""
        size = self.max_bytes if self.max_tokens is None else self.max_tokens
        assert size is not None
        return size


class Config(StrictModel):
    """What is held out, and what belongs together."""

    heldout: dict[SetName, HeldOutSet] = Field(min_length=1, description="held-out sets by name")
    min_similarity: float = Field(default=0.5, gt=0, le=1, description="Jaccard similarity that joins two documents")
    group_by: tuple[str, ...] = Field(
        default=(), description="columns whose equal values join documents; url_host works"
    )
    where: Condition | None = Field(default=None, description="SQL condition on documents that may stand in a set")
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of the order in which groups are taken")


def split_columns(config: Config, token_counts: str | None = None) -> tuple[str, ...]:
    """Return the columns the split reads; those of exact_dup and near_dup are always among them.

    token_counts: the column of tokens per document, where the recipe has one.
    """
    counts = [token_counts] if token_counts is not None else []
    chosen = [*stored_columns(config.group_by), *condition_columns(config.where)]
    return tuple(dict.fromkeys([*_CORE, *_SURVIVAL, *chosen, *counts]))


def make_split(corpus: "Corpus", config: Config, folder: Path, token_counts: str | None = None) -> None:
    """Write heldout.parquet and groups.parquet (engine.formats.split) to `folder`.

    token_counts: the column of tokens per document; sets sized in tokens need it, else num_tokens may stay null.
    Raises RecipeError where a set stays empty or asks for too much, pairs were not verified to `min_similarity`, or
    `where` fails on a document.
    """
    documents = corpus.all_columns(split_columns(config, token_counts)).sort("doc_id")
    counts = pl.lit(None) if token_counts is None else pl.col(token_counts)
    documents = documents.with_columns(
        counts.cast(pl.Int64).alias("num_tokens"),
        pl.Series("group", _groups(documents, corpus.artifacts["near_dup"], config)),
    )
    chosen = _choose(documents, config)
    members = documents.join(chosen, on="group", how="inner", maintain_order="left")
    members = members.with_columns(group_id=documents["doc_id"].gather(members["group"]))
    write_parquet(folder / "groups.parquet", members.select("doc_id", "group_id", "set"))
    measured = _able(members, config).join(_sources(config), on=["set", "source"], how="semi", maintain_order="left")
    measured = measured.unique("text_digest", keep="first", maintain_order=True)
    texts = _texts(corpus, measured).sort("set", "doc_id")
    write_parquet(folder / "heldout.parquet", texts.select(list(HELDOUT_SCHEMA)))


def extend_split(
    corpus: "Corpus", config: Config, folder: Path, before: Split, token_counts: str | None = None
) -> None:
    """Write the held-out sets of `before` to `folder`, with all documents of `corpus` that belong to their groups now.

    The sets and their texts stay as they were: only their groups grow, by documents that came. A group that several
    sets are in counts for the first of them by name.
    """
    documents = corpus.all_columns(split_columns(config, token_counts)).sort("doc_id")
    documents = documents.with_columns(pl.Series("group", _groups(documents, corpus.artifacts["near_dup"], config)))
    held_out = documents.join(before.groups().select("doc_id", "set"), on="doc_id", how="inner")
    sets = held_out.group_by("group").agg(pl.col("set").min())
    members = documents.join(sets, on="group", how="inner", maintain_order="left")
    members = members.with_columns(group_id=documents["doc_id"].gather(members["group"]))
    write_parquet(folder / "groups.parquet", members.select("doc_id", "group_id", "set"))
    write_parquet(folder / "heldout.parquet", before.heldout())


def _groups(documents: pl.DataFrame, near_dup: Path, config: Config) -> NDArray[np.int64]:
    """Return the group of each document, as the row of its first member; documents are sorted by doc_id."""
    edges = [_similar(documents, near_dup, config), _equal(documents["text_digest"])]
    for name in config.group_by:
        edges.append(_equal(documents.select(grouping(name)).to_series()))
    return components(documents.height, edges)


def _similar(documents: pl.DataFrame, near_dup: Path, config: Config) -> NDArray[np.int64]:
    floor = read_json(near_dup / "details.json")["floor"]
    if floor > config.min_similarity:
        needed, fix = f"at most split.min_similarity, {config.min_similarity}", "set near_dup floor to it"
        raise RecipeError(problem("near_dup: floor", f"pairs were verified down to {floor} only", needed, fix))
    pairs = read_parquet(near_dup / "pairs.parquet", ["doc_id", "other_id", "intersection", "union"])
    units = round(config.min_similarity * SIMILARITY_UNITS)
    similar = pairs.filter(pl.col("intersection") * SIMILARITY_UNITS >= pl.col("union") * units)
    nodes = documents.select("doc_id").with_row_index("node")
    joined = similar.join(nodes, on="doc_id").join(nodes, left_on="other_id", right_on="doc_id", suffix="_other")
    return joined.select("node", "node_other").to_numpy().astype(np.int64)


def _equal(values: pl.Series) -> NDArray[np.int64]:
    nodes = pl.DataFrame({"value": values}).with_row_index("node").filter(pl.col("value").is_not_null())
    joined = nodes.select("node", first=pl.col("node").min().over("value")).filter(pl.col("node") != pl.col("first"))
    return joined.to_numpy().astype(np.int64)


def _able(documents: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Return the documents that may stand in a set of their source: readable survivors that satisfy `where`."""
    stays = [pl.col(name).is_null() for name in ("read_problem", *_SURVIVAL)]
    there = documents.filter(*stays, pl.col("text_digest").is_not_null())
    return there if config.where is None else there.filter(holds(there, config.where, "split.where"))


def _choose(documents: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Return the groups that are held out: group, set."""
    able = _able(documents, config).select("group", "source", "text_digest", "num_bytes", "num_tokens")
    chosen = pl.DataFrame(schema={"group": pl.Int64, "set": pl.String})
    for name, wanted in sorted(config.heldout.items()):
        free = able.filter(pl.col("source").is_in(list(wanted.sources))).join(chosen, on="group", how="anti")
        size = pl.col(f"num_{wanted.unit}").fill_null(0).sum().alias("size")
        groups = free.unique("text_digest", keep="first").group_by("group").agg(size, pl.len().alias("documents"))
        _require_room(name, wanted, groups)
        taken = _taken(groups, documents["doc_id"], wanted.size, config.seed)
        chosen = pl.concat([chosen, taken.select("group", pl.lit(name).alias("set"))])
    return chosen


def _taken(groups: pl.DataFrame, doc_ids: pl.Series, most: int, seed: int) -> pl.DataFrame:
    """Return those of the groups, in seeded order, that still fit into `most`."""
    order = [seeded_order(seed, doc_id) for doc_id in doc_ids.gather(groups["group"])]
    drawn = groups.with_columns(pl.Series("order", order, dtype=pl.UInt64)).sort("order", "group")
    fits, left, smallest = [], most, _integer(groups["size"].min())
    for row, size in enumerate(drawn["size"]):
        if size <= left:
            fits.append(row)
            left -= size
            if left < smallest:
                break
    return drawn[fits]


def _require_room(name: str, wanted: HeldOutSet, groups: pl.DataFrame) -> None:
    place, key = f"split.heldout.{name}", f"max_{wanted.unit}"
    if not groups.height:
        found = f"no document of {', '.join(wanted.sources)} can stand in it"
        needed = "one that survives deduplication, satisfies split.where and is in no group of another set"
        raise RecipeError(problem(place, found, needed, "name other sources, or loosen split.where"))
    there, documents = (_integer(groups[column].sum()) for column in ("size", "documents"))
    limit = int(there * Fraction(str(wanted.max_share)))
    if wanted.max_share < 1 and wanted.size > limit:
        left = max(0, there - wanted.size)
        rest = f"{left:,} {wanted.unit}" if left else "nothing"
        found = (
            f"it asks for {wanted.size:,} {wanted.unit} where {there:,} can stand in it ({documents:,} documents in "
            f"{groups.height:,} groups), so {rest} of them would be left to train on"
        )
        fix = f"lower {key}, name more sources, or write max_share: 1 to hold out as much as that"
        raise RecipeError(problem(place, found, f"at most {wanted.max_share:.0%} of them, {key}: {limit}", fix))
    smallest = _integer(groups["size"].min())
    if smallest > wanted.size:
        found = f"the set stays empty: the smallest of {groups.height:,} groups has {smallest:,} {wanted.unit}"
        needed = f"a group of at most {key}, {wanted.size:,}"
        raise RecipeError(problem(place, found, needed, f"raise {key}, or group_by less"))


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return value


def _sources(config: Config) -> pl.DataFrame:
    rows = [(name, source) for name, wanted in config.heldout.items() for source in wanted.sources]
    return pl.DataFrame(rows, schema={"set": pl.String, "source": pl.String}, orient="row")


def _texts(corpus: "Corpus", documents: pl.DataFrame) -> pl.DataFrame:
    """Return the documents with their `text`; each shard that holds one is read once."""
    shards = list(corpus.shards)
    parts = []
    for (shard,), rows in documents.group_by("shard", maintain_order=True):
        taken = shards[int(str(shard))].read_text().take(pa.array(rows["row"].to_numpy()))
        parts.append(rows.with_columns(text=pl.Series(pl.from_arrow(taken))))
    return pl.concat(parts)
