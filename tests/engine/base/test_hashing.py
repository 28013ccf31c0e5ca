"""Digests are fixed to the byte."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from engine.base.hashing import digest_bytes, digest_file, digest_json, digest_parts, seeded_order


def test_digest_is_blake2b_of_16_bytes() -> None:
    # RFC 7693, digest size 16, empty message.
    assert digest_bytes(b"").hex() == "cae66941d9efbd404e4d88758ea67670"


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
