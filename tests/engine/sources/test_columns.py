"""Rows become typed columns, and types of several batches are brought together without losing a value."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import InputError
from engine.sources._columns import conform, json_text, merge_schemas, to_array, to_table


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["a", None], pa.large_string(), ["a", None]),
        ([1, None, 2], pa.int64(), [1, None, 2]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([True, None], pa.bool_(), [True, None]),
        ([None, None], pa.null(), [None, None]),
        ([1, "1", True], pa.large_string(), ["1", "1", "true"]),
        ([{"b": 1, "a": [2]}, None], pa.large_string(), ['{"b":1,"a":[2]}', None]),
        ([2**63, 1], pa.large_string(), ["9223372036854775808", "1"]),
        ([1.0, "x"], pa.large_string(), ["1", "x"]),
    ],
)
def test_columns_have_the_narrowest_type_that_holds_them(
    values: list[Any], kind: pa.DataType, expected: list[Any]
) -> None:
    column = to_array(values)
    assert column.type == kind
    assert column.to_pylist() == expected


JSON = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=3)


@given(values=st.lists(JSON, min_size=1, max_size=12), cut=st.integers(0, 12))
def test_batches_merge_to_what_one_batch_would_have_been(values: list[Any], cut: int) -> None:
    if {type(v) for v in values if v is not None} >= {int, float} and any(
        isinstance(v, int) and abs(v) > 2**53 for v in values
    ):
        return  # integers that a float cannot hold are the one loss, and the values are then numbers of mixed kinds
    whole = to_table("x", [{"v": value} for value in values], [None] * len(values))
    parts = [
        to_table("x", [{"v": v} for v in part], [None] * len(part)) for part in (values[:cut], values[cut:]) if part
    ]
    schema = merge_schemas([part.schema for part in parts])
    merged = pa.concat_tables([conform(part, schema) for part in parts])
    assert merged.column("v").type == whole.column("v").type
    assert merged.column("v").to_pylist() == whole.column("v").to_pylist()


def test_absent_keys_and_absent_columns_are_null() -> None:
    table = to_table("x", [{"a": 1}, {"b": "two"}], [None, None])
    wide = conform(table, pa.schema([("a", pa.int64()), ("c", pa.large_string()), ("b", pa.large_string())]))
    assert wide.to_pydict() == {"a": [1, None], "c": [None, None], "b": [None, "two"]}


def test_a_column_called_read_problem_is_refused() -> None:
    with pytest.raises(InputError, match="read_problem"):
        to_table("a.jsonl", [{"read_problem": "x"}], [None])


def test_json_text_keeps_strings_and_writes_the_rest_as_json() -> None:
    assert [json_text(v) for v in ("a", 1, 1.0, 1.5, True, [1, None], {"é": 2})] == [
        "a", "1", "1", "1.5", "true", "[1,null]", '{"é":2}',
    ]  # fmt: skip
