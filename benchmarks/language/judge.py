"""Who was right: one rule for all tools.

Labels are brought to one form (engine.text.language_codes). The right answer for a document is the tool's own label
for its language; where it has none, that of the macrolanguage of which the language is the predominant member (zh for
Mandarin), and `no` for both written standards of Norwegian. No other leniency: hr, bs and sr are three languages, id
and ms two. Scripts do not count. A document is judged where the tool has such a label.
"""

from collections.abc import Sequence

import polars as pl

from engine.text.language_codes import codes

NORWEGIAN = {"nb": "no", "nn": "no"}


def judged(documents: pl.DataFrame, answers: Sequence[str | None], labels: Sequence[str]) -> pl.DataFrame:
    """Return the documents in languages the tool has a label for, with language (code), answer (code) and is_right.

    answers: one label of the tool per document.
    """
    code_of = dict(zip(labels, codes(labels), strict=True))
    known = set(code_of.values())
    spoken = sorted(set(documents["language"]))
    expected = {}
    for language in spoken:
        own, of_group = codes([language, *known])[0], codes([language])[0]
        expected[language] = own if own in known else NORWEGIAN.get(of_group, of_group)
    made = [None if answer is None else code_of.get(answer, codes([answer])[0]) for answer in answers]
    return (
        documents.with_columns(
            language=pl.col("language").replace_strict(expected), answer=pl.Series(made, dtype=pl.String)
        )
        .filter(pl.col("language").is_in(sorted(known)))
        .with_columns(is_right=pl.col("answer").eq_missing(pl.col("language")))
    )


def by_windows(windows: pl.DataFrame, answers: Sequence[str], num_documents: int) -> list[str | None]:
    """Return for each document the answer that most characters of its windows got; among equal ones the first."""
    asked = windows.with_columns(answer=pl.Series(answers, dtype=pl.String), chars=pl.col("window").str.len_chars())
    won = (
        asked.group_by("row", "answer", maintain_order=True)
        .agg(pl.col("chars").sum())
        .sort("chars", descending=True, maintain_order=True)
        .unique("row", keep="first", maintain_order=True)
    )
    of_row = dict(won.select("row", "answer").iter_rows())
    return [of_row.get(row) for row in range(num_documents)]


def accuracies(verdicts: pl.DataFrame) -> dict[str, float]:
    """Return the accuracy over all documents, and the mean over languages of that within each."""
    return {
        "accuracy": verdicts["is_right"].mean(),  # type: ignore[dict-item]
        "mean of languages": verdicts.group_by("language").agg(pl.col("is_right").mean())["is_right"].mean(),  # type: ignore[dict-item]
    }


def missed(verdicts: pl.DataFrame, least: float = 0.95) -> list[tuple[str, int, float, str]]:
    """Return (language, documents, accuracy, most frequent wrong answer) of those below `least`, the worst first."""
    frame = (
        verdicts.group_by("language")
        .agg(
            pl.len(),
            pl.col("is_right").mean(),
            wrong=pl.col("answer").filter(~pl.col("is_right")).fill_null("none").mode().sort().first(),
        )
        .filter(pl.col("is_right") < least)
        .sort("is_right", "language")
    )
    return list(frame.iter_rows())
