"""Items, indexes and hits from literals, for the tests of contamination."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from engine.annotate.contamination.index import ITEMS, Index, make_index
from engine.annotate.contamination.judge import document_counts, judge
from engine.annotate.contamination.search import search
from engine.annotate.contamination.targets import PASSAGE_WORDS


def words(first: int, last: int) -> str:
    """Words that stand nowhere else: `words(0, 2)` is "w0 w1"; none of them is a number."""
    return " ".join(f"w{number}" for number in range(first, last))


def item(
    question: str | Sequence[str] = (),
    answers: Sequence[str] = (),
    choices: Sequence[str] = (),
    passage: str | None = None,
) -> dict[str, Any]:
    """One item; a question is one wording or several."""
    questions = [question] if isinstance(question, str) else list(question)
    return {"questions": questions, "answers": list(answers), "choices": list(choices), "passage": passage}


def frame_of(*items: dict[str, Any], benchmark: str = "set") -> pl.DataFrame:
    """Items as the index takes them, called 0, 1, 2."""
    rows = [{"benchmark": benchmark, "item": str(number)} | one for number, one in enumerate(items)]
    return pl.DataFrame(rows, schema=ITEMS)


def index_of(*items: dict[str, Any], min_words: int = PASSAGE_WORDS) -> Index:
    return make_index(frame_of(*items), min_words)


def array(*texts: str | None) -> pa.Array:
    return pa.array(texts, pa.large_string())


def hits(
    index: Index,
    *texts: str | None,
    counts: Sequence[int] | np.ndarray | None = None,
    num_documents: int | None = None,
    min_passage: float = 0.5,
) -> list[dict[str, Any]]:
    """What is contamination in some texts: they are the corpus, unless counts are given."""
    found = search(array(*texts), index)
    known = document_counts(found.ngrams["ngram"], index.num_ngrams) if counts is None else np.asarray(counts, np.int64)
    num_documents = len(texts) if num_documents is None else num_documents
    return judge(found.matches, index, known, num_documents, min_passage).to_dicts()


def scores(index: Index, *texts: str | None, **options: Any) -> list[tuple[int, int, str, float]]:
    """(row, item, kind, score) of every hit."""
    return [(hit["row"], hit["item"], hit["kind"], hit["score"]) for hit in hits(index, *texts, **options)]
