"""Correctness: every tool's decisions on code, licence texts and many languages, beside the truth."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from benchmarks.harness import Row
from benchmarks.near_dup import corpora
from benchmarks.near_dup.rows import described, row, sample, size_of
from benchmarks.near_dup.tools import (
    DAFT,
    DAFT_RECALL,
    DAFT_WORDS,
    DATASKETCH,
    DATATROVE,
    PROVENDER_DEFAULT,
    RENSA,
    Runs,
    Tool,
)
from benchmarks.near_dup.verdict import OURS, PEERS, judge, pairs_named, truth

if TYPE_CHECKING:
    from benchmarks.near_dup import Sizes


JUDGED = (
    "Judged by exact Jaccard of all pairs, J >= 0.8, word 5-grams: ours over its own words ({} pairs of distinct "
    "texts), the peers over the lower-cased runs of \\w they are fed ({} pairs; the normalisation of `Daft` and "
    "datatrove makes other words of these). Duplicates removed: right removals beside those an exact greedy pass (the "
    "longest first) would still make among what the tool kept. False removals: no kept document has J >= 0.8 with it. "
    "Pairs settled: at most one of the two is kept. datatrove runs on the first {}. "
    "Documents without words are not judged."
)


def judged_rows(runs: Runs, what: str, whole: Path, sizes: "Sizes") -> tuple[str, list[Row]]:
    """Every tool's decisions on one corpus beside the truth."""
    if what == "code":
        folder, small = sample(runs, whole, sizes.code), sample(runs, whole, sizes.datatrove)
        about = "The first source and documentation files of this system"
    else:
        makers: dict[str, tuple[Callable[[Path], Path], str]] = {
            "licences": (corpora.licence_texts, "Licence texts of ScanCode"),
            "languages": (corpora.languages, f"Texts in {corpora.num_languages()} languages with planted copies"),
        }
        maker, about = makers[what]
        if not corpora.LICENCES.is_dir():
            return about, [Row(what, None, "MB/s", "nothing", f"skipped: no {corpora.DATA}")]
        folder = maker(runs.scratch / what)
        if size_of(folder)[1] > sizes.judged * 1_000_000:
            folder = sample(runs, folder, sizes.judged)
        small = folder
    rows = []
    for tool in (PROVENDER_DEFAULT, DAFT, DAFT_RECALL, DAFT_WORDS, RENSA, DATASKETCH, DATATROVE):
        rows.append(_judged(runs, tool, small if tool is DATATROVE else folder))
    counts = [f"{len(truth(folder, words).pairs):,}" for words in (OURS, PEERS)]
    return f"{about}: {described(folder)}. {JUDGED.format(*counts, described(small))}", rows


def _judged(runs: Runs, tool: Tool, folder: Path) -> Row:
    result = runs.of(tool, folder)
    if result.run.failure is not None:
        return row(result, "")
    try:
        details = judge(folder, tool.words, result.removed()).details()
    except ValueError as error:
        return Row(tool.name, None, "MB/s", tool.about, f"not judged: {error}")
    if tool.words == OURS:
        details |= pairs_named(folder, pl.read_parquet(result.out / "pairs.parquet", columns=["id", "other_id"]))
    return row(result, f"{described(folder)}, judged exactly", details=details)
