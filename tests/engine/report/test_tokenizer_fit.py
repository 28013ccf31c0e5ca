"""Tokenizer fit on the page: what the stage left, in the order of what it costs, and nothing where it did not run."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.annotate.tokens.fit import FIT_SCHEMA
from engine.annotate.tokens.shattered import SHATTERED_SCHEMA
from engine.base.hashing import digest_json
from engine.catalog import sql
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.state import AnnotationState, RecipeState, read_state, write_state
from engine.formats.workspace import Workspace
from engine.report.evidence import open_evidence
from engine.report.numbers import gather
from engine.report.page import render
from engine.report.tokenizer_fit import fit_tables, tokenizer_fit

SUMS = {"documents": 2, "bytes": 1000, "words": 200, "tokens_per_word": 1.5, "tokens_per_byte": 0.3}
RATES = {"bytes_per_token": 3.3333, "ratio_per_word": 1.2, "ratio_per_byte": 1.25}
FIT = [
    {"source": "code", "domain": None, "is_general": False, "tokens": 300, "tokens_over_general": 60, **SUMS, **RATES},
    {"source": "medquad", "domain": "medical", "is_general": False, "tokens": 900, "tokens_over_general": 420,
     **SUMS, **RATES},
    {"source": "stdlib_docs", "domain": None, "is_general": True, "tokens": 240, "tokens_over_general": 0,
     **SUMS, **RATES},
]  # fmt: skip
HOSTILE = "<b>angina</b>"


def word(name: str, extra: int) -> dict[str, Any]:
    return {"source": "medquad", "domain": "medical", "word": name, "occurrences": 2, "documents": 2,
            "pieces": extra + 2, "pieces_per_occurrence": (extra + 2) / 2, "extra_tokens": extra,
            "general_occurrences": 0, "rate_ratio": 9.0, "sampled_words": 99}  # fmt: skip


@pytest.fixture
def with_fit(workspace: Path) -> Path:
    """The workspace with what a tokens stage leaves."""
    place = Workspace(workspace)
    folder = place.annotation("tokens", digest_json("tokens")) / "_corpus" / "abc"
    write_parquet(folder / "fit.parquet", pl.DataFrame(FIT, schema=FIT_SCHEMA))
    words = pl.DataFrame([word(HOSTILE, 12), word("stent", 7)], schema=SHATTERED_SCHEMA)
    write_parquet(folder / "shattered.parquet", words)
    config = {"stage": "tokens", "tokenizer": "/models/base/tokenizer.json"}
    write_receipt(folder, Receipt(made_by="tokens/1", digest="0" * 32, config=config, rows=300, seconds=0.1))
    relative, state = str(folder.relative_to(workspace)), read_state(place).model_dump()
    made = AnnotationState(prefix="tokens", stage="tokens", digest="0" * 32, folder=relative, columns=[])
    state["annotations"].append(made.model_dump())
    state["artifacts"]["tokens"] = relative
    write_state(place, RecipeState.model_validate(state))
    return workspace


def test_groups_stand_in_the_order_of_what_they_cost(with_fit: Path) -> None:
    (found,) = tokenizer_fit(open_evidence(with_fit))
    groups, words = fit_tables(found)
    assert groups.caption == "Tokens under tokenizer.json (tokens)"
    assert groups.rows == (
        ("medquad", "medical", "2", "900", "1.50", "3.33", "1.250", "420"),
        ("code", "unknown", "2", "300", "1.50", "3.33", "1.250", "60"),
        ("stdlib_docs (general)", "unknown", "2", "240", "1.50", "3.33", "1.250", "0"),
    )
    assert words.rows == (("medquad", "medical", f"{HOSTILE} 7.0, stent 4.5", "19"),)


def test_page_has_a_section_and_its_words_are_escaped(with_fit: Path) -> None:
    evidence = open_evidence(with_fit)
    page = render(evidence, gather(evidence), [])
    section = page[page.index('<section id="tokenizer">') :]
    section = section[: section.index("</section>")]
    assert "&lt;b&gt;angina" in section
    assert HOSTILE not in section
    assert 'href="#tokenizer"' in page
    assert "@tokenizer_fit" in page.replace("<wbr>", "")


def test_named_query_gives_the_groups_of_the_page(with_fit: Path) -> None:
    answer = sql("@tokenizer_fit", workspace=with_fit)
    rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
    assert [(row["source"], row["tokens_over_general"], row["shattered"]) for row in rows] == [
        ("medquad", 420, f"{HOSTILE}, stent"),
        ("code", 60, None),
        ("stdlib_docs", 0, None),
    ]
    words = sql("SELECT word, extra_tokens FROM shattered_words WHERE stage = 'tokens'", workspace=with_fit)
    assert words["rows"] == [[HOSTILE, 12], ["stent", 7]]


def test_without_general_text_nothing_is_compared(with_fit: Path) -> None:
    (path,) = with_fit.glob("annotations/tokens/*/_corpus/*/fit.parquet")
    rows = [row | {"tokens_over_general": None, "ratio_per_byte": None, "is_general": False} for row in FIT]
    write_parquet(path, pl.DataFrame(rows, schema=FIT_SCHEMA))
    (found,) = tokenizer_fit(open_evidence(with_fit))
    assert [row[-2:] for row in fit_tables(found)[0].rows] == [("-", "-")] * 3
    assert [row[0] for row in fit_tables(found)[0].rows] == ["medquad", "code", "stdlib_docs"]


def test_recipe_without_the_stage_has_no_section(finished: Path) -> None:
    evidence = open_evidence(finished)
    assert tokenizer_fit(evidence) == []
    assert 'id="tokenizer"' not in render(evidence, gather(evidence), [])
    assert sql("SELECT source, tokens FROM tokenizer_fit", workspace=finished)["rows"] == []
