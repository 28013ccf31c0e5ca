"""Duplicates: sizes of clusters, the largest ones with their survivor, similarity of the verified pairs, recall."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from markupsafe import Markup

from engine.base.errors import InputError
from engine.formats.doc_ids import id_text
from engine.formats.documents import Shard
from engine.formats.parquet import read_parquet
from engine.report.charts import Bar, Group, Mark, Segment, bars, histogram
from engine.report.duplicate_recall import MeasuredRecall, measured_recalls
from engine.report.evidence import Evidence
from engine.report.wording import count, counted, share

NUM_LARGEST = 10
EXCERPT_CHARS = 280
_SIZE_CLASSES = (2, 3, 4, 5, 9, 17, 33, 65, 129, 257, 1025, 10_001)
_BIN = 0.02
_MAX_HOPS = 8


@dataclass(frozen=True)
class Cluster:
    """A survivor and the documents removed in its favour."""

    survivor: str
    source: str
    documents: int
    """The survivor included."""
    exact: int
    near: int
    mean_similarity: float | None
    """Of the near-duplicates to the survivor, verified Jaccard."""
    excerpt: str


@dataclass(frozen=True)
class Similarities:
    """Verified pairs of one instance of near_dup."""

    prefix: str
    num_pairs: int
    threshold: float | None
    edges: tuple[float, ...]
    pairs: tuple[int, ...]
    """Verified pairs in each bin of `edges`; the last bin holds its upper bound too."""


@dataclass(frozen=True)
class Duplicates:
    """All exact and near-duplicates of a recipe."""

    removed_exact: int
    removed_near: int
    num_clusters: int
    sizes: tuple[tuple[str, int], ...]
    """Class of sizes in documents ("5-8") -> clusters."""
    largest: tuple[Cluster, ...]
    similarities: tuple[Similarities, ...]
    recalls: tuple[MeasuredRecall, ...] = ()

    @property
    def removed(self) -> int:
        """Documents that name another one as their survivor."""
        return self.removed_exact + self.removed_near


def duplicates(evidence: Evidence) -> Duplicates | None:
    """Return the duplicates of a recipe, or None where it looked for none."""
    instances = [*evidence.instances("exact_dup"), *evidence.instances("near_dup")]
    columns = [f"{i.prefix}__kept_id" for i in instances if f"{i.prefix}__kept_id" in i.columns]
    if not columns:
        return None
    removed = _removed(evidence, columns)
    clusters = (
        removed.group_by("survivor")
        .agg(
            (pl.len() + 1).cast(pl.Int64).alias("documents"),
            pl.col("is_exact").sum().cast(pl.Int64).alias("exact"),
            (~pl.col("is_exact")).sum().cast(pl.Int64).alias("near"),
            pl.col("similarity").filter(~pl.col("is_exact")).mean(),
        )
        .sort(["documents", "survivor"], descending=[True, False])
    )
    exact = int(removed.get_column("is_exact").sum())
    similarities = [_similarities(evidence, i.prefix) for i in evidence.instances("near_dup")]
    return Duplicates(
        removed_exact=exact,
        removed_near=removed.height - exact,
        num_clusters=clusters.height,
        sizes=_size_classes(clusters.get_column("documents")),
        largest=_described(evidence, clusters.head(NUM_LARGEST)),
        similarities=tuple(s for s in similarities if s is not None and s.num_pairs),
        recalls=measured_recalls(evidence),
    )


def duplicates_charts(numbers: Duplicates) -> list[Markup]:
    """Return clusters by size, and the similarity of verified pairs for every instance of near_dup."""
    rows = [
        Bar(
            f"{size} documents",
            f"{count(n)} ({share(n, numbers.num_clusters)})" if n else "0",
            (Segment(0, n, "in", f"{size}: {count(n)}"),),
        )
        for size, n in numbers.sizes
    ]
    charts = [bars("Clusters by size, the survivor counted", rows, half=bool(numbers.similarities))] if rows else []
    for found in numbers.similarities:
        mark = None if found.threshold is None else Mark(found.threshold, f"threshold {found.threshold:g}")
        group = Group("verified pairs", "in", tuple(float(n) for n in found.pairs))
        title = f"Similarity of {counted(found.num_pairs, 'verified pair')}"
        title += "" if len(numbers.similarities) == 1 else f" ({found.prefix})"
        charts.append(histogram(title, found.edges, [group], ("Jaccard similarity", "pairs"), mark, half=True))
    return charts


def _removed(evidence: Evidence, columns: list[str]) -> pl.DataFrame:
    # One row per removed document: doc_id, survivor, is_exact, similarity. The first stage to name a survivor has it.
    parts = []
    scores = [c.replace("__kept_id", "__similarity") for c in columns]
    written = {name for annotation in evidence.annotations for name in annotation.columns}
    exact = {f"{annotation.prefix}__kept_id" for annotation in evidence.instances("exact_dup")}
    for _, frame in evidence.frames(["doc_id", *columns, *(s for s in scores if s in written)]):
        names = [pl.when(pl.col(c) != pl.col("doc_id")).then(pl.col(c)) for c in columns]
        is_exact = [
            pl.when(name.is_not_null()).then(pl.lit(c in exact)) for c, name in zip(columns, names, strict=True)
        ]
        similarity = [pl.col(s) for s in scores if s in written] or [pl.lit(None, dtype=pl.Float64)]
        found = frame.select(
            "doc_id",
            pl.coalesce(names).alias("survivor"),
            pl.coalesce(is_exact).alias("is_exact"),
            pl.coalesce(similarity).cast(pl.Float64).alias("similarity"),
        )
        parts.append(found.filter(pl.col("survivor").is_not_null()))
    schema = {"doc_id": pl.Binary, "survivor": pl.Binary, "is_exact": pl.Boolean, "similarity": pl.Float64}
    return _followed(pl.concat(parts) if parts else pl.DataFrame(schema=schema))


def _followed(removed: pl.DataFrame) -> pl.DataFrame:
    # An exact duplicate may name a document that a later stage removed: the cluster is that of the last survivor.
    for _ in range(_MAX_HOPS):
        onward = removed.select(pl.col("doc_id").alias("survivor"), pl.col("survivor").alias("next"))
        removed = removed.join(onward, on="survivor", how="left", maintain_order="left")
        if not removed.get_column("next").count():
            return removed.drop("next")
        removed = removed.with_columns(pl.coalesce("next", "survivor").alias("survivor")).drop("next")
    return removed


def _size_classes(sizes: pl.Series) -> tuple[tuple[str, int], ...]:
    if not sizes.len():
        return ()
    bounds = np.array([*_SIZE_CLASSES, np.iinfo(np.int64).max])
    numbers, _ = np.histogram(sizes.to_numpy(), bounds)
    names = [
        f"{low:,}" if high == low + 1 else f"{low:,} and more" if high == bounds[-1] else f"{low:,}-{high - 1:,}"
        for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]
    last = max(i for i, n in enumerate(numbers) if n)
    return tuple((name, int(n)) for name, n in zip(names[: last + 1], numbers[: last + 1], strict=True))


def _similarities(evidence: Evidence, prefix: str) -> Similarities | None:
    folder = evidence.artifact(prefix)
    if folder is None or not (folder / "pairs.parquet").is_file():
        return None
    values = read_parquet(folder / "pairs.parquet", ["similarity"]).get_column("similarity").to_numpy()
    receipt = evidence.receipt(prefix)
    threshold = receipt.config.get("threshold") if receipt is not None else None
    first = int(np.floor(values.min() / _BIN + 1e-9)) if len(values) else 0
    edges = np.round(np.arange(min(first, round(1 / _BIN) - 1), round(1 / _BIN) + 1) * _BIN, 10)
    numbers, _ = np.histogram(values, edges)
    return Similarities(
        prefix,
        len(values),
        None if threshold is None else float(threshold),
        tuple(edges.tolist()),
        tuple(int(n) for n in numbers),
    )


def _described(evidence: Evidence, clusters: pl.DataFrame) -> tuple[Cluster, ...]:
    wanted = clusters.get_column("survivor")
    found: dict[bytes, tuple[str, str]] = {}
    for shard, frame in evidence.frames(["doc_id"]):
        rows = frame.with_row_index("row").filter(pl.col("doc_id").is_in(wanted.implode()))
        if rows.height:
            excerpts = _excerpts(shard, rows.get_column("row").to_list())
            found |= {
                doc_id: (shard.source, text) for doc_id, text in zip(rows.get_column("doc_id"), excerpts, strict=True)
            }
    described = []
    for survivor, documents, exact, near, similarity in clusters.iter_rows():
        source, excerpt = found.get(survivor, ("", "(not among the documents of this recipe)"))
        described.append(Cluster(id_text(survivor), source, documents, exact, near, similarity, excerpt))
    return tuple(described)


def _excerpts(shard: Shard, rows: list[int]) -> list[str]:
    try:
        texts = shard.read_text().take(pa.array(rows)).to_pylist()
    except InputError as error:
        # A source read in place may have moved since; the page then says so where the text would stand.
        return [f"(no excerpt: {error})"] * len(rows)
    return [excerpt(text or "") for text in texts]


def excerpt(text: str) -> str:
    """Return the beginning of a text in one line, white space run together."""
    words = " ".join(text[: 4 * EXCERPT_CHARS].split())
    return words if len(words) <= EXCERPT_CHARS else words[:EXCERPT_CHARS].rstrip() + " ..."
