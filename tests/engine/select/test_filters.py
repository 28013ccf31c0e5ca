"""Filters: read and checked before anything runs."""

import polars as pl
import pytest
from pydantic import ValidationError

from engine.base.errors import RecipeError
from engine.select.filters import Filter, check_filter, filter_columns

SCHEMA = {"q__score": pl.Float64, "h__num_words": pl.UInt32, "language": pl.String}


@pytest.mark.parametrize(
    ("keep", "columns"),
    [
        ("q__score >= 0.5", ("q__score",)),
        ("h__num_words BETWEEN 20 AND 100 AND language IN ('en', 'de')", ("h__num_words", "language")),
        ("language LIKE 'en%' OR language IS NULL", ("language",)),
        ('"q__score" > 0 AND "q__score" < 1', ("q__score",)),
        ("COALESCE(q__score, 0) > 0.1 AND LENGTH(language) = 2", ("language", "q__score")),
        ("CASE WHEN h__num_words > 5 THEN TRUE ELSE FALSE END", ("h__num_words",)),
        ("language = 'Agg'", ("language",)),
        ("TRUE", ()),
    ],
)
def test_columns_are_those_of_the_expression(keep: str, columns: tuple[str, ...]) -> None:
    rule = Filter(reason="r", keep=keep)
    assert filter_columns(rule) == columns
    check_filter("demo.yaml: filters[0]", rule, SCHEMA)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("q__score >", "not an SQL expression"),
        ("language in ['en']", r"not an SQL expression: .* Needed: SQL, such as language IN \('en', 'de'\)"),
        ("q__score > 1; DROP TABLE x", "not an SQL expression"),
        ("nosuchfunction(q__score) > 1", "unsupported function 'nosuchfunction'"),
        ("q__score > AVG(q__score)", "an aggregate looks at more than one document"),
        ("COUNT(*) > 1", "a count of rows looks at more"),
        ("SUM(h__num_words) OVER (PARTITION BY language) > 5", "looks at more than one document"),
        ("LAG(q__score) OVER (ORDER BY language) > 0", "looks at more than one document"),
        ("q__score > (SELECT 1)", "looks at more than one document"),
    ],
)
def test_expression_that_is_no_condition_on_a_row_is_refused_when_read(keep: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Filter(reason="r", keep=keep)


@pytest.mark.parametrize("reason", ["Too Short", "too-short", "", "1st"])
def test_reason_is_snake_case(reason: str) -> None:
    with pytest.raises(ValidationError, match="reason"):
        Filter(reason=reason, keep="TRUE")


def test_unknown_column_suggests_the_right_one() -> None:
    with pytest.raises(RecipeError, match=r"filters\[0\] \(r\): no column 'q__scor' .*did you mean 'q__score'\?"):
        check_filter("demo.yaml: filters[0]", Filter(reason="r", keep="q__scor > 0"), SCHEMA)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("q__score + 1", "is Float64"),
        ("h__num_words LIKE 'a%'", "expected String type"),
        ("language > 3", "cannot compare string with .* Needed: what suits its columns: language is String"),
    ],
)
def test_expression_of_another_type_is_refused(keep: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("+", r"\+")):
        check_filter("demo.yaml: filters[0]", Filter(reason="r", keep=keep), SCHEMA)


@pytest.mark.parametrize(
    ("keep", "fix"),
    [
        ('language = "en"', "write 'en' with single quotes where it is a text"),
        ("language != None", "write IS NULL or IS NOT NULL"),
        ("LENGTH(text) > 20", "such as num_chars or heuristics__num_words"),
        ("num_words > 20", "did you mean 'h__num_words'?"),
    ],
)
def test_what_is_written_like_a_column_and_is_none_leads_to_what_was_meant(keep: str, fix: str) -> None:
    with pytest.raises(RecipeError) as error:
        check_filter("demo.yaml: filters[0]", Filter(reason="r", keep=keep), SCHEMA)
    assert fix in str(error.value).partition(" Fix: ")[2]
