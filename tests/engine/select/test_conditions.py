"""Conditions: which rows they hold for, and what is said where one fails."""

import polars as pl
import pytest

from engine.base.errors import RecipeError
from engine.select.conditions import check_condition, condition_columns, holds

FRAME = pl.DataFrame({"n": [3, 5, None], "text": ["4", "x", None]})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("n > 4", [False, True, False]),
        ("n IS NULL", [False, False, True]),
        ("TRY_CAST(text AS INT) = 4", [True, False, False]),
        ("TRUE", [True, True, True]),
        ("NULL", [False, False, False]),
    ],
)
def test_null_does_not_hold_and_every_row_has_an_answer(condition: str, expected: list[bool]) -> None:
    found = holds(FRAME, condition, "x.yaml: where")
    assert found.dtype == pl.Boolean
    assert found.to_list() == expected
    assert holds(FRAME.clear(), condition, "x.yaml: where").to_list() == []


def test_condition_that_fails_on_a_row_is_an_error_that_names_place_value_and_way_out() -> None:
    with pytest.raises(RecipeError) as error:
        holds(FRAME, "CAST(text AS INT) > 3", "x.yaml: split.where")
    assert str(error.value).startswith("x.yaml: split.where: 'CAST(text AS INT) > 3': ")
    assert '"x"' in str(error.value)
    assert str(error.value).endswith("Fix: write TRY_CAST for CAST, NULLIF(x, 0) to divide by x.")


def test_cast_that_no_text_can_pass_leads_to_a_comparison_without_it() -> None:
    with pytest.raises(
        RecipeError, match=r"not supported.* Fix: compare the column as it is stored, a date as in date >="
    ):
        holds(FRAME, "CAST(text AS DATE) > '2020-01-31'", "x.yaml: split.where")


def test_a_condition_is_checked_under_its_place_alone() -> None:
    with pytest.raises(RecipeError, match=r"^x\.yaml: split\.where: no column 'txt' .*did you mean 'text'\?"):
        check_condition("x.yaml: split.where", "txt = 'a'", FRAME.schema)


def test_no_condition_reads_no_columns() -> None:
    assert condition_columns(None) == condition_columns("TRUE") == ()
    assert condition_columns("text = 'n' AND n > 1") == ("n", "text")
