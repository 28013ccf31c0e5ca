"""The split: held-out sets whose likenesses are held out with them.

Groups are the connected components of documents over verified near-duplicate pairs of at least `min_similarity`, equal
texts, and equal values of the `group_by` columns (host, book, thread). A group goes to one side as a whole. Only the
documents that stand for it in a set are measured: of the set's sources, surviving deduplication, satisfying `where`.

For each set, by name: its groups are taken in an order drawn with `seed` from their smallest doc_id, each that still
fits into `max_bytes`. Nothing depends on files, shards or the order of documents.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, field_validator

from engine.base.atomic import read_json
from engine.base.errors import RecipeError, problem
from engine.base.hashing import seeded_order
from engine.base.stage import StrictModel
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.split import HELDOUT_SCHEMA
from engine.select.components import components
from engine.select.filters import condition_columns, parse_condition
from engine.select.grouping import grouping, stored_columns

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus

VERSION = 1
SIMILARITY_UNITS = 10_000
_CORE = ("doc_id", "source", "text_digest", "num_bytes", "read_problem")
_SURVIVAL = ("exact_dup__kept_id", "near_dup__kept_id")

SetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class HeldOutSet(StrictModel):
    """One held-out set."""

    sources: tuple[str, ...] = Field(min_length=1, description="sources whose documents may stand in it")
    max_bytes: int = Field(ge=1, description="bytes of text it may hold")


class Config(StrictModel):
    """What is held out, and what belongs together."""

    heldout: dict[SetName, HeldOutSet] = Field(min_length=1, description="held-out sets by name")
    min_similarity: float = Field(default=0.5, gt=0, le=1, description="Jaccard similarity that joins two documents")
    group_by: tuple[str, ...] = Field(
        default=(), description="columns whose equal values join documents; url_host works"
    )
    where: str | None = Field(default=None, description="SQL condition on documents that may stand in a set")
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of the order in which groups are taken")

    @field_validator("where")
    @classmethod
    def _parses(cls, where: str | None) -> str | None:
        if where is not None:
            parse_condition(where)
        return where


def split_columns(config: Config) -> tuple[str, ...]:
    """Return the columns the split reads; those of exact_dup and near_dup are always among them."""
    conditions = condition_columns(config.where) if config.where is not None else ()
    return tuple(dict.fromkeys([*_CORE, *_SURVIVAL, *stored_columns(config.group_by), *conditions]))


def make_split(corpus: "Corpus", config: Config, folder: Path) -> None:
    """Write heldout.parquet and groups.parquet (engine.formats.split) to `folder`.

    Raises RecipeError where a set stays empty, or pairs were not verified down to `min_similarity`.
    """
    documents = corpus.all_columns(split_columns(config)).sort("doc_id")
    grouped = documents.with_columns(group=pl.Series(_groups(documents, corpus.artifacts["near_dup"], config)))
    chosen = _choose(grouped, config)
    group_id = pl.col("group").replace_strict(_ids(grouped, chosen), return_dtype=pl.Binary).alias("group_id")
    members = grouped.join(chosen.select("group", "set"), on="group", how="inner").sort("doc_id")
    write_parquet(folder / "groups.parquet", members.select("doc_id", group_id, "set"))
    measured = _able(members, config).join(_sources(config), on=["set", "source"], how="semi", maintain_order="left")
    measured = measured.unique("text_digest", keep="first", maintain_order=True)
    texts = _texts(corpus, measured).sort("set", "doc_id")
    write_parquet(folder / "heldout.parquet", texts.with_columns(group_id).select(list(HELDOUT_SCHEMA)))


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
    condition = parse_condition(config.where) if config.where is not None else pl.lit(True)
    stays = [pl.col(name).is_null() for name in ("read_problem", *_SURVIVAL)]
    return documents.filter(*stays, pl.col("text_digest").is_not_null(), condition)


def _choose(documents: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Return the groups that are held out: group, set."""
    able = _able(documents, config)
    first_ids = documents["doc_id"]
    taken: dict[int, str] = {}
    for name, wanted in sorted(config.heldout.items()):
        sizes = (
            able.filter(pl.col("source").is_in(list(wanted.sources)), ~pl.col("group").is_in(list(taken)))
            .unique("text_digest")
            .group_by("group")
            .agg(pl.col("num_bytes").sum())
        )
        drawn = sorted((seeded_order(config.seed, first_ids[group]), group, size) for group, size in sizes.iter_rows())
        left = wanted.max_bytes
        for _, group, size in drawn:
            if size <= left:
                taken[group] = name
                left -= size
        if left == wanted.max_bytes:
            raise RecipeError(_empty(name, wanted, sizes))
    return pl.DataFrame(
        {"group": list(taken), "set": list(taken.values())}, schema={"group": pl.Int64, "set": pl.String}
    )


def _empty(name: str, wanted: HeldOutSet, sizes: pl.DataFrame) -> str:
    place = f"split.heldout.{name}"
    if not sizes.height:
        found = f"no document of {', '.join(wanted.sources)} can stand in it"
        needed = "one that survives deduplication, satisfies split.where and is in no group of another set"
        return problem(place, found, needed, "name other sources, or loosen split.where")
    smallest = int(sizes["num_bytes"].to_numpy().min())
    found = f"the set stays empty: the smallest of {sizes.height:,} groups has {smallest:,} bytes"
    needed = f"a group of at most max_bytes, {wanted.max_bytes:,}"
    return problem(place, found, needed, "raise max_bytes, or group_by less")


def _ids(documents: pl.DataFrame, chosen: pl.DataFrame) -> dict[int, bytes]:
    return {group: documents["doc_id"][group] for group in chosen["group"].to_list()}


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
