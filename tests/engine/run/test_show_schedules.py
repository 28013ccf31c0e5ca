"""What a run says of its schedules, only where there is something to say."""

import pytest

from engine.run.show_schedules import half_empty_rows


def step(rows: int, best_fit_rows: int) -> dict[str, object]:
    return {"name": "mix", "details": {"rows": rows, "best_fit_rows": best_fit_rows, "phases": [{"phase": 0}]}}


def test_rows_that_stay_empty_for_the_shares_are_told_with_the_way_out() -> None:
    assert list(half_empty_rows([step(1301, 1000)])) == [
        "mix: 1,301 rows, where 1,000 would do, because sources keep their share at the end of every step; a larger"
        " rows_per_step fills them"
    ]


@pytest.mark.parametrize(("rows", "best_fit_rows"), [(1000, 1000), (1050, 1000), (2, 1)])
def test_rows_that_are_about_full_are_not_worth_a_line(rows: int, best_fit_rows: int) -> None:
    assert list(half_empty_rows([step(rows, best_fit_rows), {"name": "read", "details": {}}])) == []
