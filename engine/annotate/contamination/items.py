"""From the items of a benchmark, as probes read them, to what of them is searched for."""

import re

import polars as pl

from engine.annotate.contamination.index import ITEMS
from engine.annotate.contamination.targets import SHARE_WORDS
from engine.formats.items import filled

_DOCSTRING = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', re.DOTALL)


def searched_items(benchmark: str, items: pl.DataFrame) -> pl.DataFrame:
    """Return the items (formats.items.ITEMS) of a benchmark as the index takes them (index.ITEMS)."""
    rows = [
        {
            "benchmark": benchmark,
            "item": item["item"],
            "questions": _questions(item["question"], item["blank"], item["choices"]),
            "answers": [answer for answer in (item["answer"], *item["other_answers"]) if answer],
            "choices": item["choices"],
            "passage": item["passage"],
        }
        for item in items.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=ITEMS)


def _questions(question: str | None, blank: int | None, choices: list[str]) -> list[str]:
    """Return the wordings of a question: as it stands; a blank filled with each choice; the docstring of code alone."""
    if not question:
        return []
    docstring = max((text for pair in _DOCSTRING.findall(question) for text in pair), key=len, default="")
    with_choices = [filled(question, blank, choice) for choice in choices] if blank is not None else []
    return [question, *with_choices, *([docstring] if len(docstring.split()) >= SHARE_WORDS else [])]
