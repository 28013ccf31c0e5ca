"""The interval of a measured share is Wilson's: by its closed form, its definition, and figures worked out by hand."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.annotate.near_dup.recall import Recall

counts = st.integers(1, 2000).flatmap(lambda pairs: st.tuples(st.just(pairs), st.integers(0, pairs)))


@pytest.mark.parametrize(
    ("pairs", "found", "low", "high"),
    [(100, 95, 0.888, 0.978), (100, 100, 0.963, 1), (100, 0, 0, 0.037), (1, 1, 0.207, 1), (1000, 990, 0.982, 0.995)],
)
def test_interval_is_wilsons(pairs: int, found: int, low: float, high: float) -> None:
    assert Recall(pairs, found).interval() == pytest.approx((low, high), abs=6e-4)


@given(counts)
def test_share_is_1_96_standard_deviations_from_either_bound(case: tuple[int, int]) -> None:
    pairs, found = case
    interval = Recall(pairs, found).interval()
    assert interval is not None
    for bound in interval:
        assert 0 <= bound <= 1
        # Squared, for at 0 and 1 a root would make much of what rounding leaves.
        variance = 1.959964**2 * bound * (1 - bound) / pairs
        assert (found / pairs - bound) ** 2 == pytest.approx(variance, abs=1e-12)


@given(counts)
def test_share_lies_in_its_interval(case: tuple[int, int]) -> None:
    recall = Recall(*case)
    interval, share = recall.interval(), recall.share
    assert interval is not None
    assert share == case[1] / case[0]
    # 801 of none: the lower bound is 4e-19, by rounding.
    assert interval[0] - 1e-15 <= share <= interval[1] + 1e-15


@given(counts)
def test_interval_of_the_pairs_that_are_missed_is_the_same_from_the_other_end(case: tuple[int, int]) -> None:
    pairs, found = case
    one, other = Recall(pairs, found).interval(), Recall(pairs, pairs - found).interval()
    assert one is not None
    assert other is not None
    assert one == pytest.approx((1 - other[1], 1 - other[0]), abs=1e-12)


def test_more_pairs_of_the_same_share_narrow_the_interval() -> None:
    widths = []
    for pairs in (20, 200, 2000):
        low, high = Recall(pairs, pairs * 9 // 10).interval() or (0, 0)
        widths.append(high - low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]
    assert widths[2] == pytest.approx(2 * 1.96 * sqrt(0.9 * 0.1 / 2000), rel=0.01)


def test_no_pairs_have_no_share_and_no_interval() -> None:
    recall = Recall(0, 0)
    assert recall.share is recall.interval() is None
    assert recall.as_json() == {"pairs": 0, "found": 0, "share": None, "interval_95": None}


def test_report_holds_shares_in_ten_thousandths_and_names_the_pairs() -> None:
    figures = {"found": 299, "share": 0.9967, "interval_95": [0.9814, 0.9994]}
    assert Recall(300, 299).as_json() == {"pairs": 300, **figures}
    assert Recall(300, 299).as_json("planted") == {"planted": 300, **figures}
