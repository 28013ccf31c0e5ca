"""Digests are fixed to the byte."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.hashing import (
    digest_bytes,
    digest_file,
    digest_json,
    digest_parts,
    digest_path,
    digests_of,
    seeded_order,
)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "af1349b9f5f9a1a6a0404dea36dcc949"),
        (1, "2d3adedff11b61f14c886e35afa03673"),
        (1024, "42214739f095a406f3fc83deb889744a"),
        (1025, "d00278ae47eb27b34faecf67b4fe263f"),
    ],
)
def test_digest_is_the_first_16_bytes_of_blake3(length: int, expected: str) -> None:
    # test_vectors.json of the BLAKE3 repository: bytes that count from 0 to 250, again and again.
    assert digest_bytes(bytes(n % 251 for n in range(length))).hex() == expected


@given(st.lists(st.binary(max_size=3000)), st.binary(max_size=5))
def test_digests_of_slices_are_those_of_their_bytes(parts: list[bytes], before: bytes) -> None:
    bounds = [len(before)]
    for part in parts:
        bounds.append(bounds[-1] + len(part))
    joined = before + b"".join(parts) + b"behind"
    expected = b"".join(digest_bytes(part) for part in parts)
    assert digests_of(joined, bounds) == digests_of(memoryview(joined), bounds) == expected


def test_parts_are_told_apart() -> None:
    assert digest_parts([b"ab", b"c"]) != digest_parts([b"a", b"bc"])


def test_order_of_keys_does_not_matter_and_values_do() -> None:
    assert digest_json({"a": 1, "b": [2]}) == digest_json({"b": [2], "a": 1})
    assert digest_json({"a": 1}) != digest_json({"a": "1"})


def test_file_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "f").write_bytes(data)
    assert digest_file(tmp_path / "f") == digest_bytes(data).hex()


@given(st.integers(0, 2**32), st.binary(min_size=16, max_size=16))
def test_seeded_order_is_a_64_bit_number_that_depends_on_seed_and_identity(seed: int, identity: bytes) -> None:
    order = seeded_order(seed, identity)
    assert 0 <= order < 2**64
    assert order != seeded_order(seed + 1, identity)


def test_digest_of_a_folder_is_of_names_and_contents_but_not_of_receipts(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "a.bin").write_text("a")
        (tmp_path / name / "receipt.json").write_text(f"seconds of {name}")
    (tmp_path / "three" / "inner" / "a.bin").rename(tmp_path / "three" / "inner" / "b.bin")
    assert digest_path(tmp_path / "one") == digest_path(tmp_path / "two") != digest_path(tmp_path / "three")
    assert digest_path(tmp_path / "one" / "inner" / "a.bin") == digest_file(tmp_path / "two" / "inner" / "a.bin")
