"""Which documents share the fate of some others: equal texts, and those that a verified pair joins to them directly.

No chain of likenesses is followed: what is similar only to a relative is no relative. Exact duplicates are equal texts
by their digest, or one group of a stage exact_dup; a near-duplicate's own exact duplicates are as similar as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem
from engine.formats.annotation import Annotation, read_part
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.state import RecipeState
from engine.formats.takedowns import ASKED, EXACT, NEAR
from engine.formats.workspace import Workspace

SIMILARITY_UNITS = 10_000
SCHEMA = {
    "doc_id": pl.Binary,
    "source": pl.String,
    "why": pl.String,  # asked, exact_duplicate or near_duplicate
    "of": pl.Binary,  # the asked document it is joined to, the most similar one
    "similarity": pl.Float64,  # to that one, rounded down to 1e-4
}
_ORDER = {ASKED: 0, EXACT: 1, NEAR: 2}


@dataclass(frozen=True)
class Searched:
    """Documents with what their deduplication left."""

    sources: Sequence[SourceDocuments]
    annotations: Sequence[Annotation] = ()
    artifacts: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def of_state(cls, workspace: Workspace, state: RecipeState) -> "Searched":
        """Return the documents of a finished run."""
        artifacts = {prefix: workspace.root / folder for prefix, folder in state.artifacts.items()}
        return cls(state.source_documents(workspace), state.open_annotations(workspace), artifacts)

    def of_stage(self, stage: str) -> list[Annotation]:
        """Return the annotations of a stage."""
        return [annotation for annotation in self.annotations if annotation.stage == stage]

    def floors(self) -> list[float]:
        """Return the similarity down to which each stage near_dup verified its pairs."""
        return [read_json(self.artifacts[one.prefix] / "details.json")["floor"] for one in self.of_stage("near_dup")]


def relatives(
    searched: Searched,
    asked: Sequence[bytes],
    threshold: float | None,
    text_digests: Mapping[bytes, bytes] | None = None,
) -> pl.DataFrame:
    """Return the asked documents that are there and all that are joined to them, each once (SCHEMA), by doc_id.

    threshold: similarity from which a pair joins; None: that of each stage near_dup. text_digests: doc_id -> digest of
    the text of asked documents, which may not be there any more.

    Raises InputError where pairs were verified only above the threshold.
    """
    named = pl.DataFrame({"of": sorted(set(asked))}, schema={"of": pl.Binary})
    known = pl.DataFrame(list((text_digests or {}).items()), schema={"of": pl.Binary, "key": pl.Binary}, orient="row")
    equal = _equal(searched, named, known)
    near = _near(searched, equal, threshold)
    is_asked = pl.col("doc_id").is_in(named["of"].implode())
    found = pl.concat([equal.with_columns(why=pl.lit(EXACT), similarity=pl.lit(1.0)), near])
    found = found.with_columns(
        why=pl.when(is_asked).then(pl.lit(ASKED)).otherwise("why"),
        of=pl.when(is_asked).then("doc_id").otherwise("of"),
        similarity=pl.when(is_asked).then(1.0).otherwise("similarity"),
    )
    best = found.sort([pl.col("why").replace_strict(_ORDER), -pl.col("similarity"), "of"])
    return best.unique("doc_id", keep="first", maintain_order=True).select(list(SCHEMA)).sort("doc_id")


def _equal(searched: Searched, named: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return doc_id, source, of: the documents `named` (of) that are there, and all that are equal to one."""
    here = _rows(searched, pl.col("doc_id").is_in(named["of"].implode()))
    names = [name for name in here.columns if name not in ("doc_id", "source")]
    keys = {name: here.select(pl.col("doc_id").alias("of"), pl.col(name).alias("key")).drop_nulls() for name in names}
    keys["text_digest"] = pl.concat([keys["text_digest"], known]).unique()
    is_equal = pl.any_horizontal(pl.col(name).is_in(keys[name]["key"].implode()) for name in names)
    rows = _rows(searched, is_equal)
    joined = [
        rows.select("doc_id", "source", pl.col(name).alias("key")).join(keys[name], on="key").drop("key")
        for name in names
    ]
    own = here.select("doc_id", "source", pl.col("doc_id").alias("of"))
    return pl.concat([own, *joined]).unique().sort("doc_id", "of")


def _rows(searched: Searched, condition: pl.Expr) -> pl.DataFrame:
    """Return doc_id, source, text_digest, and for each stage exact_dup the survivor, of documents that satisfy it."""
    stages = searched.of_stage("exact_dup")
    schema = {"doc_id": pl.Binary, "source": pl.String, "text_digest": pl.Binary} | {
        f"{stage.prefix}__kept_id": pl.Binary for stage in stages
    }
    shards = [shard for source in searched.sources for shard in source.shards if shard.num_rows]
    found = [_shard_rows(shard, stages).filter(condition) for shard in shards]
    return pl.concat([pl.DataFrame(schema=schema), *(one.select(list(schema)) for one in found)])


def _shard_rows(shard: Shard, stages: Sequence[Annotation]) -> pl.DataFrame:
    frame = shard.read_core(["doc_id", "source", "text_digest"])
    for stage in stages:
        column = f"{stage.prefix}__kept_id"
        survivor = read_part(stage.folder, shard, [column])[column]
        # Documents without text have no group.
        group = pl.when(pl.col("text_digest").is_not_null()).then(pl.coalesce(survivor, "doc_id"))
        frame = frame.with_columns(group.alias(column))
    return frame


def _near(searched: Searched, equal: pl.DataFrame, threshold: float | None) -> pl.DataFrame:
    """Return doc_id, source, of, why, similarity of the documents that are similar to one of `equal`."""
    empty = pl.DataFrame(schema={"of": pl.Binary, "near": pl.Binary, "similarity": pl.Float64})
    pairs = pl.concat(
        [empty, *(_pairs(searched, stage.prefix, equal, threshold) for stage in searched.of_stage("near_dup"))]
    )
    others = pairs.select(of="near").unique()
    copies = _equal(searched, others, pl.DataFrame(schema={"of": pl.Binary, "key": pl.Binary}))
    found = copies.rename({"of": "near"}).join(pairs, on="near")
    return found.select("doc_id", "source", "of", pl.lit(NEAR).alias("why"), "similarity")


def _pairs(searched: Searched, prefix: str, equal: pl.DataFrame, threshold: float | None) -> pl.DataFrame:
    """Return of, near, similarity of the verified pairs of a stage that join one of `equal` to another document."""
    folder = searched.artifacts[prefix]
    details = read_json(folder / "details.json")
    least = details["threshold"] if threshold is None else threshold
    if least < details["floor"]:
        found = f"pairs were verified down to {details['floor']} only"
        needed = f"a threshold of at least that, or near_dup with floor: {least} in the recipe"
        raise InputError(problem(f"--threshold {least}", found, needed))
    members = equal.select(member="doc_id", of="of")
    one, other = pl.col("doc_id"), pl.col("other_id")
    inside = members["member"].implode()
    is_similar = pl.col("intersection") * SIMILARITY_UNITS >= pl.col("union") * round(least * SIMILARITY_UNITS)
    pairs = (
        pl.scan_parquet(folder / "pairs.parquet", glob=False)
        .filter(is_similar & (one.is_in(inside) | other.is_in(inside)))
        .select("doc_id", "other_id", "similarity")
        .collect()
    )
    turned = pairs.select(doc_id="other_id", other_id="doc_id", similarity="similarity")
    both = pl.concat([pairs, turned]).join(members, left_on="doc_id", right_on="member")
    return both.select("of", near="other_id", similarity="similarity")
