"""Values of parameters are typed, bound and never part of the text."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.base.errors import ProvenderError
from engine.catalog import sql


@pytest.mark.parametrize(
    ("expression", "value", "expected", "dtype"),
    [
        ("$x", "7", 7, "BIGINT"),
        ("$x + 1", "1.5", 2.5, "DOUBLE"),
        ("$x", "it's", "it's", "VARCHAR"),
        ("'$x' || $x -- $x", "é", "$xé", "VARCHAR"),
        ("$x || 'é' || $x", "ä", "äéä", "VARCHAR"),
        ("$x", "' || getenv('HOME') || '", "' || getenv('HOME') || '", "VARCHAR"),
        ("$x", "99999999999999999999", "99999999999999999999", "VARCHAR"),
    ],
)
def test_value_of_an_own_query_is_a_number_or_text(
    tmp_path: Path, expression: str, value: str, expected: object, dtype: str
) -> None:
    result = sql(f"SELECT {expression}\n AS v", tmp_path, values=[f"x={value}"])
    assert (result["rows"], result["types"]) == ([[expected]], [dtype])


def test_named_query_takes_a_value_and_has_a_default(read_workspace: SimpleNamespace) -> None:
    def tokens(*values: str) -> list[object]:
        found = sql("@tokens_by_source_and_license", read_workspace.root, values=values)["rows"]
        return [(row[0], row[2]) for row in found]

    assert tokens() == tokens("mixture=demo") == [("demo", "books"), ("demo", "web")]
    assert tokens("mixture=other") == tokens("mixture=x' OR true OR 'x") == []


def test_funnel_of_one_source_is_its_part_of_the_whole(read_workspace: SimpleNamespace) -> None:
    whole = sql("@funnel", read_workspace.root)["rows"]
    books = sql("@funnel", read_workspace.root, values=["source=books"])["rows"]
    assert [row for row in books if row[0] == "books"] == [row for row in whole if row[0] == "books"] != []


@pytest.mark.parametrize(
    ("query", "values", "message"),
    [
        ("@quality_at_least", [], r"@quality_at_least: no value for min_score \(lowest score.*Needed: number"),
        ("@quality_at_least", ["min_score=high"], r"@quality_at_least, min_score: 'high'\. Needed: a number"),
        ("@funnel", ["sorce=web"], r"no parameter 'sorce' \(have: source\)\. Fix: did you mean 'source'\?"),
        ("@funnel", ["web"], r"parameter: 'web'\. Needed: name=value"),
        ("@funnel", ["source=a", "source=b"], "parameter source: given twice"),
        ("@tokenizer_fit", ["words=2.5"], "words: '2.5'. Needed: a whole number"),
        ("SELECT $x", [], r"no value for \$x"),
        ("SELECT $x", ["x=1", "y=2"], r"no parameter 'y' \(have: x\)"),
        ("SELECT 1", ["x=1"], r"it has no \$name"),
        ("SELECT ?", [], r"Needed: a name: \$source"),
    ],
)
def test_wrong_value_is_named(read_workspace: SimpleNamespace, query: str, values: list[str], message: str) -> None:
    with pytest.raises(ProvenderError, match=message):
        sql(query, read_workspace.root, values=values)
