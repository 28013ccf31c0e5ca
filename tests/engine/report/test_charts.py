"""Charts: round ticks, escaped words, marks where the numbers are."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.report.axis import axis, bounded_axis, whole_axis
from engine.report.charts import Bar, Group, Line, Mark, Segment, bars, histogram, lines

NUMBERS = st.floats(-1e9, 1e9, allow_nan=False).map(lambda x: round(x, 3))


@given(NUMBERS, NUMBERS, st.integers(3, 8))
def test_axis_holds_its_range_and_has_few_round_ticks(a: float, b: float, num_ticks: int) -> None:
    low, high = min(a, b), max(a, b)
    found = axis(low, high, 0, 100, num_ticks)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert found.low <= low + slack
    assert found.high >= high - slack
    assert 2 <= len(found.ticks) <= num_ticks + 3
    assert list(found.ticks) == sorted(set(found.ticks))
    assert found.at(found.low) == 0
    assert found.at(found.high) == pytest.approx(100)


@given(NUMBERS, NUMBERS)
def test_labels_of_different_ticks_differ(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    if high - low >= 1e-3 * max(1.0, abs(low), abs(high)):
        found = axis(low, high, 0, 1)
        labels = [found.label(tick) for tick in found.ticks]
        assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1.9, 1.976, ["1.90", "1.92", "1.94", "1.96", "1.98"]), (0, 13.2, ["0", "5", "10", "15"]), (0, 1, None)],
)
def test_ticks_are_written_with_as_many_digits_as_they_need(
    low: float, high: float, expected: list[str] | None
) -> None:
    found = axis(low, high, 0, 1, 4)
    assert [found.label(tick) for tick in found.ticks] == (expected or ["0.00", "0.25", "0.50", "0.75", "1.00"])


def test_bounded_axis_ends_where_the_data_ends() -> None:
    found = bounded_axis(1, 40, 0, 390, 4)
    assert (found.low, found.high, found.at(40), found.ticks) == (1, 40, 390, (10, 20, 30, 40))
    assert bounded_axis(7, 7, 0, 1).high == 8


def test_ticks_of_steps_are_whole() -> None:
    assert whole_axis(0, 10, 0, 1, 4).ticks == (0, 5, 10)
    assert whole_axis(1, 2, 0, 1).ticks == (1, 2)


def test_axis_refuses_numbers_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="nan"):
        axis(math.nan, 1, 0, 1)


def test_bars_are_as_long_as_their_numbers() -> None:
    rows = [Bar("a", "10", (Segment(0, 10, "in", "a"),)), Bar("b", "4", (Segment(3, 4, "lost", "b"),))]
    chart = bars("Title", rows, half=True)
    places = re.findall(r'<rect class="(in|lost)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', chart)
    assert places[:2] == [("in", "0", "408"), ("lost", "122.4", "163.2")]


def test_small_but_present_share_stays_visible() -> None:
    chart = bars("t", [Bar("a", "", (Segment(0, 1e9, "in", ""), Segment(0, 1, "lost", ""), Segment(0, 0, "held", "")))])
    assert 'class="lost" x="200" y="7" width="1.5"' in chart
    assert 'class="held" x="200" y="7" width="0"' in chart


def test_words_of_every_chart_are_escaped() -> None:
    evil = "<script>&"
    groups = [Group(evil, "in", (1.0,), True), Group("b", "in", (1.0,))]
    line = Line(evil, "s0", (0.0, 1.0), (1.0, 2.0))
    charts = [
        bars(evil, [Bar(evil * 20, evil, (Segment(0, 1, "in", evil),))], {"in": evil}),
        histogram(evil, [0, 1], groups, (evil, evil), Mark(0.5, evil)),
        lines(evil, [line], (evil, evil), [Mark(1.5, evil)], note=evil),
    ]  # fmt: skip
    for chart in charts:
        assert "<script" not in chart
        assert "&lt;script&gt;&amp;" in chart


def test_chart_without_values_is_still_a_chart() -> None:
    assert "<svg" in bars("t", [Bar("a", "0", (Segment(0, 0, "in", ""),))])
    assert "<svg" in lines("t", [Line("a", "s0", (), ())], ("x", "y"))
    assert "<svg" in histogram("t", [0, 1], [Group("a", "in", (0.0,))], ("x", "y"))


def test_points_that_are_not_finite_leave_a_gap_in_line_and_band() -> None:
    nan = math.nan
    line = Line("a", "s0", (0.0, 1.0, 2.0, 3.0), (1.0, nan, 2.0, 3.0), (0.9, nan, 1.9, 2.9), (1.1, nan, 2.1, 3.1))
    chart = lines("t", [line], ("x", "y"), half=True)
    path = re.search(r'<path class="line s0" d="(M[^"]*)"/><circle', chart)
    assert path is not None
    assert (path[1].count("M"), path[1].count("L")) == (2, 1)
    assert "nan" not in chart
