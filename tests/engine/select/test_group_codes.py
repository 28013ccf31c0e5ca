"""Equal values have equal codes, whichever frame they come in; and every code has its name."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.select import group_codes
from engine.select.group_codes import GroupCodes

ROW = st.tuples(st.sampled_from(["en", "de", "a, b = c", " 1", ""]), st.integers(-2, 2), st.booleans())
SCHEMA = {"x": pl.String, "n": pl.Int64, "t": pl.Boolean}


@given(
    frames=st.lists(st.lists(ROW, max_size=12), max_size=4),
    by=st.sampled_from([["x"], ["n"], ["t", "x"], ["x", "n", "t"]]),
)
@settings(max_examples=40, deadline=None)
def test_rows_have_the_same_code_where_and_only_where_their_values_are_equal(
    frames: list[list[tuple[str, int, bool]]], by: list[str]
) -> None:
    groups, codes_of = GroupCodes(by), {}
    for rows in frames:
        frame = pl.DataFrame(rows, schema=SCHEMA, orient="row").select(by)
        for values, code in zip(frame.rows(), groups.codes(frame).tolist(), strict=True):
            assert codes_of.setdefault(values, code) == code
            assert groups.code(values) == code
            texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
            assert groups.names(np.array([code], np.uint32)) == [
                ", ".join(f"{a} = {b}" for a, b in zip(by, texts, strict=True))
            ]
    assert len(set(codes_of.values())) == len(codes_of)


def test_more_pairs_than_a_table_holds_are_told_apart_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_codes, "LOOKUP_VALUES", 3)
    frame = pl.DataFrame({"x": ["a", "b", "a", "c", "a"], "n": [1, 1, 2, 1, 1]})
    codes = GroupCodes(["x", "n"]).codes(frame).tolist()
    assert codes[0] == codes[4]
    assert len(set(codes)) == 4
