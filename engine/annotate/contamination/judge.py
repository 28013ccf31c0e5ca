"""Decides which matches are contamination: the share of a target that a document holds, weighted by how rare it is.

Of a passage all n-grams weigh the same. Of a question, one that d of N documents have weighs the number of binary
digits of N // (d + 1), at least 1: among a thousand documents a phrase of half of them weighs 1, one of none weighs 10.
A score is the weight found of the weight there is, in whole ten-thousandths rounded down; integers only, so the order
of documents changes nothing.

    question, 13 words or more    score >= 0.8 (0.7 from 50 words on) and, unless all of it was found, three quarters
                                  of its numbers; from 50 words on also one of its last four n-grams, an answer or
                                  two choices
    question, 8 to 12 words       found whole; where more than max(10, N / 1000) documents have it, with its answer or
                                  two choices
    shorter question              found whole with its answer or all choices
    passage                       score >= `min_passage`

Runs found whole score 1, common ones with no answer are no hit.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.annotate.contamination.index import END_NGRAMS, Index
from engine.annotate.contamination.targets import LONG_WORDS, PASSAGE, RUN, RUN_AND_ANSWER, SHARE
from engine.text.spans import SPAN

UNITS = 10_000
MIN_SHARE, MIN_LONG_SHARE = 8_000, 7_000
MIN_PASSAGE = 0.5
MIN_CHOICES = 2
COMMON_DOCUMENTS, COMMON_PART = 10, 1_000
QUESTION_AND_ANSWER = "question+answer"
EVIDENCE_CHARS = 2_000
HITS = {
    "item": pl.UInt32,
    "kind": pl.String,
    "score": pl.Float64,
    "evidence": pl.String,
    "spans": pl.List(SPAN),
}
"""item: row of the index's items; kind: question, question+answer or passage; spans: bytes of the document's text."""


def weights(document_counts: NDArray[np.int64], num_documents: int) -> NDArray[np.int64]:
    """Return the weight of each n-gram: int64, from the number of documents that have it, of `num_documents`."""
    quotients = num_documents // (document_counts + 1)
    # frexp's exponent is the number of binary digits, exact below 2**53.
    return np.maximum(np.frexp(quotients.astype(np.float64))[1], 1).astype(np.int64)


def document_counts(ngrams: pl.Series, num_ngrams: int) -> NDArray[np.int64]:
    """Return in how many documents each n-gram stands; ngrams: one value for each document and different n-gram."""
    return np.bincount(ngrams.to_numpy(), minlength=num_ngrams).astype(np.int64)


def judge(
    matches: pl.DataFrame, index: Index, counts: NDArray[np.int64], num_documents: int, min_passage: float = MIN_PASSAGE
) -> pl.DataFrame:
    """Return the matches that are contamination: HITS after the columns of `matches` that are none of its own.

    matches: search.MATCHES (`row` may be any columns that name a document); counts: documents per n-gram, of
    `num_documents` searched. One row per document, item and kind of target, the best: passage or question.
    """
    is_passage = (index.targets["kind"] == PASSAGE).to_numpy()
    scored = matches.with_columns(
        score_units=_scores(matches, index, weights(counts, num_documents), is_passage),
        is_common=_is_common(matches, counts, num_documents),
        has_end=_has_end(matches, index),
    )
    joined = scored.join(index.targets.with_row_index("target"), on="target", how="left", maintain_order="left")
    hits = joined.filter(_is_hit(round(min_passage * UNITS)))
    kind = pl.when((pl.col("kind") != PASSAGE) & pl.col("has_answer")).then(pl.lit(QUESTION_AND_ANSWER))
    own = [name for name in matches.columns if name not in _OF_MATCHES]
    best = hits.sort(
        [*own, "item", "kind", "score_units", "has_answer", "target"],
        descending=[False] * len(own) + [False, False, True, True, False],
    )
    return best.unique([*own, "item", "kind"], keep="first", maintain_order=True).select(
        *own,
        "item",
        kind.otherwise("kind").alias("kind"),
        (pl.col("score_units") / UNITS).round(4).alias("score"),
        pl.col("pieces").list.join(" ... ").str.head(EVIDENCE_CHARS).alias("evidence"),
        "spans",
    )


_OF_MATCHES = ("target", "ngrams", "has_question", "has_answer", "num_choices", "num_numbers", "spans", "pieces")


def _scores(matches: pl.DataFrame, index: Index, weight: NDArray[np.int64], is_passage: NDArray[np.bool_]) -> pl.Series:
    begins, ngrams = index.by_target
    targets = matches["target"].to_numpy()
    if len(targets) == 0:
        return pl.Series([], dtype=pl.Int64)
    of_target = np.repeat(np.arange(len(is_passage)), np.diff(begins))
    there_is = np.add.reduceat(np.where(is_passage[of_target], 1, weight[ngrams]), begins[:-1])
    counts = matches["ngrams"].list.len().to_numpy().astype(np.int64)
    found = np.where(np.repeat(is_passage[targets], counts), 1, weight[matches["ngrams"].explode().to_numpy()])
    held = np.add.reduceat(found, np.cumsum(counts) - counts)
    return pl.Series(held * UNITS // there_is[targets], dtype=pl.Int64)


def _is_common(matches: pl.DataFrame, counts: NDArray[np.int64], num_documents: int) -> pl.Series:
    """Whether the first n-gram of each match, the whole of a run, stands in many documents."""
    first = matches["ngrams"].list.first().to_numpy()
    return pl.Series(counts[first] > max(COMMON_DOCUMENTS, num_documents // COMMON_PART), dtype=pl.Boolean)


def _has_end(matches: pl.DataFrame, index: Index) -> pl.Series:
    """Whether one of the last n-grams of the target is among those found."""
    ends = index.ends[matches["target"].to_numpy()]
    columns = [pl.Series(ends[:, place], dtype=pl.UInt32) for place in range(END_NGRAMS)]
    found = (pl.col("ngrams").list.contains(column) for column in columns)
    return matches.select(pl.any_horizontal(found).alias("has_end")).to_series()


def _is_hit(min_passage_units: int) -> pl.Expr:
    score, is_passage = pl.col("score_units"), pl.col("kind") == PASSAGE
    min_units = pl.when(pl.col("num_words") >= LONG_WORDS).then(MIN_LONG_SHARE).otherwise(MIN_SHARE)
    is_same_problem = (score == UNITS) | (4 * pl.col("num_numbers") >= 3 * pl.col("num_numbers_right"))
    is_asked = (
        (pl.col("num_words") < LONG_WORDS)
        | pl.col("has_end")
        | pl.col("has_answer")
        | (pl.col("num_choices") >= MIN_CHOICES)
    )
    is_question = (score >= min_units) & is_same_problem & is_asked
    is_share = pl.when(is_passage).then(score >= min_passage_units).otherwise(is_question)
    has_answer = pl.col("has_answer") | (pl.col("num_choices") >= pl.col("needed_choices"))
    is_run = is_passage | ~pl.col("is_common") | has_answer
    rules = {SHARE: is_share, RUN: is_run, RUN_AND_ANSWER: pl.col("has_question") & has_answer}
    return pl.any_horizontal((pl.col("rule") == rule) & holds for rule, holds in rules.items())
