"""Operations of kernels: each equals plain Python on 64 bytes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text.instructions import leading_zeros, within_64
from engine.text.kernels import Bytes, kernel

BYTE = st.integers(0, 255)


@kernel
def within(data: Bytes, place: int, ones: int, first: int, last: int) -> np.uint64:
    return within_64(data, np.uint64(place), np.uint8(ones), np.uint8(first), np.uint8(last))


@kernel
def zeros_above(value: np.uint64) -> np.uint64:
    return leading_zeros(value)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(min_size=64, max_size=80), ones=BYTE, edges=st.tuples(BYTE, BYTE).map(sorted))
def test_bytes_within_two_edges(data: bytes, ones: int, edges: list[int]) -> None:
    place = len(data) - 64
    expected = sum((edges[0] <= byte | ones <= edges[1]) << bit for bit, byte in enumerate(data[place:]))
    assert int(within(np.frombuffer(data, dtype=np.uint8), place, ones, *edges)) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 64).flatmap(lambda bits: st.integers(0, (1 << bits) - 1)))
def test_leading_zeros(value: int) -> None:
    assert int(zeros_above(np.uint64(value))) == 64 - value.bit_length()
