"""The page counts the control tokens of the stored documents, and text that looks like one."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from engine.catalog import sql
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.token_store import (
    CONTROL_TOKENS_FILE,
    CONTROL_TOKENS_SCHEMA,
    LOOK_ALIKES_FILE,
    LOOK_ALIKES_SCHEMA,
)
from engine.report import report
from engine.report.control_tokens import ControlTokens, control_token_tables, control_tokens
from engine.report.evidence import open_evidence


@pytest.fixture(scope="module")
def tagged(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of which three documents have control tokens, and two spell tokens; tests only read it."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("tagged") / "workspace"))
    folder = next(root.glob("tokens/*/store.json")).parent
    first, second, third = read_parquet(folder / "documents.parquet")["doc_id"][:3]
    placed = [(first, 0, "<|lang:en|>"), (first, 1, "<|quality:high|>"), (second, 0, "<|lang:en|>")]
    alike = [(first, "<s>", 7), (third, "<s>", 1_200), (third, "<|lang:de|>", 1)]
    placed.append((third, 0, "<|lang:de|>"))
    for file, rows, schema in (
        (CONTROL_TOKENS_FILE, placed, CONTROL_TOKENS_SCHEMA),
        (LOOK_ALIKES_FILE, alike, LOOK_ALIKES_SCHEMA),
    ):
        write_parquet(folder / file, pl.DataFrame(rows, schema=schema, orient="row"))
    return root


def test_tokens_are_counted_by_document_and_look_alikes_by_occurrence_too(tagged: Path) -> None:
    found = control_tokens(open_evidence(tagged))
    assert found is not None
    tokens, alike = control_token_tables(ControlTokens(found.tokens, found.look_alikes, 8))
    assert tokens.rows == (
        ("<|lang:en|>", "2", "25.0 %"),
        ("<|lang:de|>", "1", "12.5 %"),
        ("<|quality:high|>", "1", "12.5 %"),
    )
    assert alike.rows == (("<s>", "2", "1,207"), ("<|lang:de|>", "1", "1"))
    assert found.num_documents == len(read_parquet(next(tagged.glob("tokens/*/documents.parquet"))))


def test_page_escapes_the_tokens_and_says_how_to_count_them_again(tagged: Path, tmp_path: Path) -> None:
    html = Path(report(tagged, out=tmp_path / "page.html")["path"]).read_text(encoding="utf-8")
    assert '<section id="control-tokens">' in html
    assert "<span>&lt;|lang:en|&gt;</span>" in html
    assert "<s>" not in html
    for view in ("control_tokens", "look_alikes"):
        query = f"SELECT token, count(DISTINCT doc_id) AS documents FROM {view} GROUP BY token"
        assert query in html.replace("<wbr>", "")
        assert ["<|lang:de|>", 1] in [list(row) for row in sql(query, workspace=tagged)["rows"]]


def test_store_without_control_tokens_has_no_section(finished: Path, tmp_path: Path) -> None:
    assert control_tokens(open_evidence(finished)) is None
    html = Path(report(finished, out=tmp_path / "page.html")["path"]).read_text(encoding="utf-8")
    assert "control-tokens" not in html


def test_one_of_both_is_enough_and_many_tokens_are_cut() -> None:
    none = pl.DataFrame(schema={"token": pl.String, "documents": pl.Int64})
    many = pl.DataFrame({"token": [f"<|a:{n}|>" for n in range(41)], "documents": [1] * 41})
    (tokens,) = control_token_tables(ControlTokens(many, none, 41))
    assert len(tokens.rows) == 40
    assert tokens.caption.endswith("; 40 of 41, the view control_tokens has all")
