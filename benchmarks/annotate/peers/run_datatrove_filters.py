"""datatrove's filters of Gopher, C4 and FineWeb: seconds of each as it is, and what each of their rules decides alone.

`script OUT.json FILE`: a Parquet file with the column text. Words are split once for all rules that are timed not at
all; filters that are timed split for themselves, as they do in a pipeline. Runs in the peers' own venv.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)

FILTERS: dict[str, Callable[[], Any]] = {
    "gopher_quality": GopherQualityFilter,
    "gopher_repetition": GopherRepetitionFilter,
    "c4": C4QualityFilter,
    "fineweb": FineWebQualityFilter,
}
_QUALITY_OFF = dict.fromkeys(
    (
        "min_doc_words", "max_doc_words", "min_avg_word_length", "max_avg_word_length", "max_symbol_word_ratio",
        "max_bullet_lines_ratio", "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio", "min_stop_words",
    )
)  # fmt: skip
_REPETITION_OFF = {
    **dict.fromkeys(("dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac")),
    "top_n_grams": (),
    "dup_n_grams": (),
}
_FINEWEB_OFF = {
    "line_punct_thr": 0.0, "short_line_thr": 1.0, "char_duplicates_ratio": 1.0, "new_line_ratio": float("inf"),
}  # fmt: skip


def _quality(**on: Any) -> Any:
    return GopherQualityFilter(**_QUALITY_OFF | on)


def _repetition(**on: Any) -> Any:
    return GopherRepetitionFilter(**_REPETITION_OFF | on)


def _fineweb(**on: Any) -> Any:
    return FineWebQualityFilter(**_FINEWEB_OFF | on)


# Our drop reason -> datatrove's rule with the threshold of our preset.
RULES = {
    "gopher_too_few_words": _quality(min_doc_words=50),
    "gopher_short_words": _quality(min_avg_word_length=3),
    "gopher_long_words": _quality(max_avg_word_length=10),
    "gopher_too_many_bullets": _quality(max_bullet_lines_ratio=0.9),
    "gopher_too_many_ellipsis_lines": _quality(max_ellipsis_lines_ratio=0.3),
    "gopher_too_few_letters": _quality(max_non_alpha_words_ratio=0.8),
    "gopher_too_few_stop_words": _quality(min_stop_words=2),
    "gopher_duplicate_lines": _repetition(dup_line_frac=0.3),
    "gopher_duplicate_paragraphs": _repetition(dup_para_frac=0.3),
    "gopher_duplicate_line_chars": _repetition(dup_line_char_frac=0.2),
    "gopher_duplicate_paragraph_chars": _repetition(dup_para_char_frac=0.2),
    **{
        f"gopher_top_{n}gram": _repetition(top_n_grams=((n, most),))
        for n, most in ((2, 0.2), (3, 0.18), (4, 0.16))
    },
    **{
        f"gopher_duplicate_{n}grams": _repetition(dup_n_grams=((n, most),))
        for n, most in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1))
    },
    "c4_too_few_sentences": C4QualityFilter(
        min_num_sentences=3, min_words_per_line=5, remove_citations=False, filter_lorem_ipsum=False,
        filter_curly_bracket=False,
    ),
    "fineweb_few_punctuated_lines": _fineweb(line_punct_thr=0.12),
    "fineweb_duplicate_line_chars": _fineweb(char_duplicates_ratio=0.1),
    "fineweb_short_lines": _fineweb(short_line_thr=0.67),
    "fineweb_too_many_newlines": _fineweb(new_line_ratio=0.3),
}  # fmt: skip


def _drops(rule: Any, text: str) -> bool | None:
    """Return whether a rule drops a text, None where it fails on it."""
    try:
        result = rule.filter(Document(text=text, id="0"))
    except (ZeroDivisionError, AssertionError):
        return None
    return result is not True


def _remembering(split: Callable[..., list[str]]) -> Callable[..., list[str]]:
    kept: dict[str, list[str]] = {}

    def words(text: str, language: str) -> list[str]:
        if text not in kept:
            kept.clear()
            kept[text] = split(text, language)
        return kept[text]

    return words


def main() -> None:
    """Write {"seconds": filter -> seconds, "drops": reason -> list of true, false or null}."""
    texts = pq.read_table(sys.argv[2], columns=["text"])["text"].to_pylist()
    seconds = {}
    for name, make in FILTERS.items():
        one = make()
        _drops(one, texts[0])
        started = time.process_time()
        for text in texts:
            _drops(one, text)
        seconds[name] = time.process_time() - started
    for module in (gopher_quality_filter, gopher_repetition_filter, fineweb_quality_filter):
        module.split_into_words = _remembering(module.split_into_words)
    drops: dict[str, list[bool | None]] = {reason: [] for reason in RULES}
    for text in texts:
        for reason, rule in RULES.items():
            drops[reason].append(_drops(rule, text))
    with open(sys.argv[1], "w") as file:  # noqa: PTH123 - one line
        json.dump({"seconds": seconds, "drops": drops}, file)


if __name__ == "__main__":
    main()
