"""Which documents are taken: strata, what each of them gets, and who is first in it.

Bands of a score are cut among the first 5,000 documents of a stratum in seeded order: all of them where there are not
more, else as good as drawn at random. So memory hangs on the number of strata, not of documents.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from engine.base.seeded import seeded_keys
from engine.formats.annotation import Annotation, read_columns
from engine.formats.documents import Shard
from engine.formats.selection import DROPPED, HELD_OUT, KEPT, OVER_BUDGET, Selection
from engine.run.first_of_each import STRATUM, first_of_each

BANDED = 5_000
_DECISIONS = (KEPT, DROPPED, OVER_BUDGET, HELD_OUT)
_EMPTY = pl.DataFrame(
    schema={
        "source": pl.String,
        "decision": pl.String,
        "reason": pl.String,
        "tags": pl.List(pl.String),
        "key": pl.UInt64,
        "doc_id": pl.Binary,
        "shard": pl.UInt32,
        "row": pl.UInt32,
        "score": pl.Float64,
    }
)


def candidates(
    shards: Sequence[Shard],
    selection: Selection,
    annotations: Sequence[Annotation],
    most: int,
    seed: int,
    reason: str | None,
    score: str | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the first documents of every stratum in seeded order, `most` or with a score 5,000, and the strata sizes.

    reason: only documents dropped or tagged for it. score: column, null and not-a-number become null.
    """
    most = most if score is None else max(most, BANDED)
    first, sizes = _EMPTY, [_EMPTY.group_by(STRATUM).agg(pl.len().alias("documents"))]
    for number, shard in enumerate(shards):
        names = ["doc_id", "text_digest", *([score] if score is not None else [])]
        columns = [read_columns(shard, names, annotations), selection.decisions(shard)]
        frame = pl.concat(columns, how="horizontal").with_row_index("row")
        value = pl.lit(None, dtype=pl.Float64) if score is None else pl.col(score).cast(pl.Float64).fill_nan(None)
        frame = frame.with_columns(source=pl.lit(shard.source), score=value)
        # White space is no text either, and has no digest.
        frame = frame.filter(pl.col("text_digest").is_not_null() if reason is None else _is_for(reason))
        key = pl.Series("key", seeded_keys(frame["doc_id"], seed), dtype=pl.UInt64)
        frame = frame.with_columns(key, shard=pl.lit(number, dtype=pl.UInt32)).select(_EMPTY.columns)
        first = first_of_each(pl.concat([first, frame]), most)
        sizes.append(frame.group_by(STRATUM).agg(pl.len().alias("documents")))
    strata = pl.concat(sizes).group_by(STRATUM).agg(pl.col("documents").sum().cast(pl.Int64)).sort(STRATUM)
    return first, strata


def shares_of(strata: pl.DataFrame, documents: int) -> dict[tuple[Any, ...], int]:
    """Return stratum -> how many documents of it are shown."""
    sizes = {(row[0], row[1], row[2]): row[3] for row in strata.iter_rows()}
    shares: dict[tuple[Any, ...], int] = {}
    per_source = even_shares({s: sum(n for key, n in sizes.items() if key[0] == s) for s, _, _ in sizes}, documents)
    for number, (source, share) in enumerate(per_source.items()):
        kept = {key: n for key, n in sizes.items() if key[0] == source and key[1] == KEPT}
        others = {key: n for key, n in sizes.items() if key[0] == source and key[1] != KEPT}
        halves = {"kept": sum(kept.values()), "others": sum(others.values())}
        # The odd document is a kept one of the first source, a dropped one of the second, and so on.
        order = ("kept", "others") if number % 2 == 0 else ("others", "kept")
        halves = even_shares({half: halves[half] for half in order}, share)
        shares |= even_shares(kept, halves["kept"]) | even_shares(others, halves["others"])
    return shares


def even_shares(sizes: Mapping[Any, int], total: int) -> dict[Any, int]:
    """Return key -> share: as equal as the sizes allow, summing to `total` or to all there is; the first get more."""
    shares = dict.fromkeys(sizes, 0)
    left = min(total, sum(sizes.values()))
    while left:
        open_keys = [key for key in sizes if shares[key] < sizes[key]]
        each = max(1, left // len(open_keys))
        for key in open_keys:
            given = min(each, sizes[key] - shares[key], left)
            shares[key] += given
            left -= given
    return shares


def taken(found: pl.DataFrame, shares: Mapping[tuple[Any, ...], int], order: Sequence[str]) -> list[dict[str, Any]]:
    """Return the documents to show: by source in `order`, kept first, then by reason, from the highest score down."""
    rows: list[dict[str, Any]] = []
    for stratum, group in found.group_by(STRATUM, maintain_order=True):
        rows += spread(group, shares[tuple(stratum)]).to_dicts()
    return sorted(
        rows, key=lambda row: (order.index(row["source"]), _DECISIONS.index(row["decision"]), row["reason"] or "")
    )


def spread(group: pl.DataFrame, share: int) -> pl.DataFrame:
    """Return `share` rows of a stratum (key, doc_id, score; in the order of keys), one of each band of the score.

    Bands are of equal count, up to one document, from the highest score to the lowest; documents without a score are
    the last band. Where there are more rows to take than documents with a score, the rest have none.
    """
    without, scored = group.filter(pl.col("score").is_null()), group.filter(pl.col("score").is_not_null())
    if not scored.height:
        return without.head(share)
    bands = min(scored.height, share - 1 if without.height and share > 1 else share)
    if not bands:
        return group.head(0)
    ranked = scored.sort(["score", "key", "doc_id"], descending=[True, False, False])
    band = (pl.int_range(pl.len(), dtype=pl.Int64) * bands // scored.height).alias("band")
    first = ranked.with_columns(band).sort(["band", "key", "doc_id"]).unique("band", keep="first", maintain_order=True)
    # Within a band the order of keys is no order of scores, but bands follow each other.
    return pl.concat([first.drop("band"), without.head(share - bands)])


def _is_for(reason: str) -> pl.Expr:
    return (pl.col("reason") == reason).fill_null(False) | pl.col("tags").list.contains(reason).fill_null(False)
