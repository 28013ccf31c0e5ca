"""Draws hang on ids and seed alone, take the share they are asked for, and know nothing of each other."""

import numpy as np
import polars as pl

from engine.base.hashing import digest_bytes
from engine.base.seeded import drawn, seeded_keys

IDS = pl.Series([digest_bytes(str(number).encode()) for number in range(4000)], dtype=pl.Binary)


def test_keys_are_those_of_splitmix64() -> None:
    """Against the algorithm in plain Python integers, and with the known first output of SplitMix64 for seed 0."""
    ids = [bytes(16), bytes(range(16)), b"\xff" * 16]

    def naive(first: int, seed: int) -> int:
        mixed = (first + seed * 0x9E3779B97F4A7C15) % 2**64
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        return mixed ^ mixed >> 31

    keys = seeded_keys(pl.Series(ids, dtype=pl.Binary), 7)
    assert keys.dtype == np.uint64
    assert keys.tolist() == [naive(int.from_bytes(one[:8], "little"), 7) for one in ids]
    assert seeded_keys(pl.Series(ids[:1], dtype=pl.Binary), 1).tolist() == [0xE220A8397B1DCDAF]


def test_a_draw_takes_its_share_and_all_or_none_at_the_ends() -> None:
    assert drawn(IDS, 1, 0.0, "a").sum() == 0
    assert drawn(IDS, 1, 1.0, "a").sum() == 4000
    assert abs(drawn(IDS, 1, 0.25, "a").sum() - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5


def test_draws_of_other_names_and_seeds_are_independent() -> None:
    one = drawn(IDS, 1, 0.5, "a")
    for other in (drawn(IDS, 1, 0.5, "b"), drawn(IDS, 2, 0.5, "a")):
        assert abs((one & other).sum() - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5


def test_a_draw_is_the_same_for_any_company_and_takes_more_as_the_share_grows() -> None:
    some, more = drawn(IDS, 3, 0.1, "a"), drawn(IDS, 3, 0.2, "a")
    assert (some & ~more).sum() == 0
    assert drawn(IDS[::-1], 3, 0.1, "a")[::-1].to_list() == some.to_list()
    assert drawn(IDS[17:40], 3, 0.1, "a").to_list() == some[17:40].to_list()
