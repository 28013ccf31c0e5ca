"""The order in which documents stay where they compete: one policy for exact and for near-duplicates.

Documents that are pinned (those of protected sources, or of the version that is extended) first, then the source's
priority, then the score column (higher first; null and NaN last), then length in characters (longer first), then
doc_id. The last one makes the order total: no result depends on files or shards.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from engine.base.errors import RecipeError, problem

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus


def read_ranked(corpus: "Corpus", columns: Sequence[str], score: str | None) -> pl.DataFrame:
    """Return one row per document, in the order of shards and rows: doc_id, `columns`, pinned, rank.

    rank: Int64, 0 for the document that stays before all others. Raises RecipeError where `score` cannot be ordered.
    """
    named = [*columns, *([score] if score is not None else [])]
    names = list(dict.fromkeys(["doc_id", "source", "num_chars", *named]))
    documents = corpus.all_columns(names).join(_policies(corpus), "source", how="left", maintain_order="left")
    if corpus.pinned is not None:
        documents = documents.with_columns(pl.col("doc_id").is_in(corpus.pinned.implode()).alias("pinned"))
    return with_rank(documents, score).select(list(dict.fromkeys(["doc_id", *columns, "pinned", "rank"])))


def with_rank(documents: pl.DataFrame, score: str | None) -> pl.DataFrame:
    """Return `documents` (pinned, priority, num_chars, doc_id and `score`) with their rank: Int64, the best is 0."""
    by = [pl.col("pinned"), pl.col("priority"), *([_score(documents, score)] if score is not None else [])]
    best_first = documents.select(
        pl.arg_sort_by(
            [*by, pl.col("num_chars"), pl.col("doc_id")],
            descending=[True] * (len(by) + 1) + [False],
            nulls_last=True,
        )
    ).to_series()
    rank = pl.DataFrame({"row": best_first, "rank": pl.int_range(len(best_first), dtype=pl.Int64, eager=True)}).sort(
        "row"
    )["rank"]
    return documents.with_columns(rank)


def _score(documents: pl.DataFrame, score: str) -> pl.Expr:
    dtype = documents.schema[score]
    if dtype.is_float():
        # Adding zero makes -0.0 and 0.0 the same score.
        return pl.col(score).fill_nan(None) + 0.0
    if dtype.is_integer() or dtype.is_temporal() or dtype in (pl.String, pl.Boolean):
        return pl.col(score)
    raise RecipeError(problem("score", f"column {score} is {dtype}", "a number, a date or a text that can be ordered"))


def _policies(corpus: "Corpus") -> pl.DataFrame:
    rows = [
        (source.name, bool(source.config.get("protected", False)), int(source.config.get("priority", 0)))
        for source in corpus.sources
    ]
    return pl.DataFrame(rows, schema={"source": pl.String, "pinned": pl.Boolean, "priority": pl.Int64}, orient="row")
