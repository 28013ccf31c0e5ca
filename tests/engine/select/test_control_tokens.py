"""Tags are what columns say, in the order of the recipe, for any cut; some documents go without, by draw."""

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.base.hashing import digest_bytes
from engine.select.control_tokens import Config, Tag, all_tokens, assign, control_token_columns

TAGS = [
    {"tag": "quality", "column": "score", "ranges": {"high": [0.75, None], "mid": [0.25, 0.75], "bad": [None, 0.1]}},
    {"tag": "lang", "column": "language", "values": ["de", "en"]},
    {"tag": "level", "column": "grade", "values": {"easy": [1, 2], "hard": [9]}},
    {"tag": "short", "column": "tagged__short", "values": {"yes": [True]}},
]


def config(**changes: Any) -> Config:
    return Config.model_validate({"tags": TAGS, "drop_out": 0, **changes})


def documents(rows: list[tuple[float | None, str | None, int | None, bool | None]]) -> pl.DataFrame:
    schema = {"score": pl.Float64, "language": pl.String, "grade": pl.Int32, "tagged__short": pl.Boolean}
    ids = pl.Series("doc_id", [digest_bytes(str(n).encode()) for n in range(len(rows))], dtype=pl.Binary)
    return pl.DataFrame(rows, schema=schema, orient="row").insert_column(0, ids)


def test_values_go_by_equality_and_ranges_from_their_lower_end_on() -> None:
    rows = [
        (0.75, "de", 1, True),
        (0.7499, "en", 9, False),
        (0.25, "fr", 3, None),
        (0.1, None, None, None),
        (0.0999, "DE", 2, False),
        (math.nan, "en", None, None),
        (None, None, None, None),
        (math.inf, None, None, None),
        (-math.inf, None, None, None),
    ]
    assert assign(documents(rows), config()).to_list() == [
        ["<|quality:high|>", "<|lang:de|>", "<|level:easy|>", "<|short:yes|>"],
        ["<|quality:mid|>", "<|lang:en|>", "<|level:hard|>"],
        ["<|quality:mid|>"],
        None,
        ["<|quality:bad|>", "<|level:easy|>"],
        ["<|lang:en|>"],
        None,
        ["<|quality:high|>"],
        ["<|quality:bad|>"],
    ]
    assert control_token_columns(config()) == ("score", "language", "grade", "tagged__short")
    assert all_tokens(config())[:4] == ("<|quality:high|>", "<|quality:mid|>", "<|quality:bad|>", "<|lang:de|>")


def test_whole_numbers_have_ranges_too_and_the_order_is_that_of_the_recipe() -> None:
    tags = [TAGS[1], {"tag": "length", "column": "grade", "ranges": {"long": [5, None], "short": [None, 5]}}]
    found = assign(
        documents([(None, "en", 5, None), (None, "de", 4, None), (None, "de", None, None)]), config(tags=tags)
    )
    assert found.to_list() == [["<|lang:en|>", "<|length:long|>"], ["<|lang:de|>", "<|length:short|>"], ["<|lang:de|>"]]


NUMBERS = st.one_of(st.none(), st.floats(), st.sampled_from([0.1, 0.25, 0.75]))
ROWS = st.tuples(NUMBERS, st.sampled_from(["de", "en", "fr", None]), st.sampled_from([1, 2, 9, 7, None]), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=12), st.integers(0, 12))
def test_tokens_are_those_of_a_naive_reading_for_any_cut(rows: list[Any], cut: int) -> None:
    ranges = {"high": (0.75, math.inf), "mid": (0.25, 0.75), "bad": (-math.inf, 0.1)}

    def naive(score: float | None, language: str | None, grade: int | None, short: bool) -> list[str] | None:
        # Python compares as the recipe says; infinity itself belongs to a range without an end.
        fits = [
            name
            for name, (low, below) in ranges.items()
            if score is not None and low <= score and (score < below or below == math.inf)
        ]
        found = [f"<|quality:{name}|>" for name in fits]
        found += [f"<|lang:{language}|>"] * (language in ("de", "en"))
        found += ["<|level:easy|>"] * (grade in (1, 2)) + ["<|level:hard|>"] * (grade == 9)
        return [*found, *["<|short:yes|>"] * short] or None

    frame = documents(rows)
    half = config(drop_out=0.5, drop_out_each=0.5)
    assert assign(frame, config()).to_list() == [naive(*row) for row in rows]
    parts = [assign(part, half).to_list() for part in (frame[:cut], frame[cut:])]
    assert [*parts[0], *parts[1]] == assign(frame, half).to_list()
    assert assign(frame[::-1], half).to_list() == assign(frame, half).to_list()[::-1]


@pytest.fixture(scope="module")
def many() -> pl.DataFrame:
    return documents([(0.9, "de", 1, True)] * 4000)


def shares(found: pl.Series) -> list[int]:
    return [
        found.list.contains(token).fill_null(False).sum()
        for token in ("<|quality:high|>", "<|lang:de|>", "<|level:easy|>", "<|short:yes|>")
    ]


def test_drop_out_takes_all_tags_of_a_document(many: pl.DataFrame) -> None:
    found = assign(many, config(drop_out=0.25))
    assert set(found.list.len().fill_null(0)) == {0, 4}
    assert abs(found.null_count() - 1000) < 110
    assert assign(many, config(drop_out=1)).null_count() == 4000


def test_drop_out_of_each_takes_single_tags_independently(many: pl.DataFrame) -> None:
    found = assign(many, config(drop_out_each=0.5))
    assert all(abs(share - 2000) < 130 for share in shares(found))
    lengths = found.list.len().fill_null(0).value_counts().sort("control_tokens")["count"].to_list()
    # Binomial of four fair draws.
    assert all(abs(n - 4000 * k / 16) < 130 for n, k in zip(lengths, [1, 4, 6, 4, 1], strict=True))


def test_a_tag_more_leaves_the_draws_of_the_others_alone(many: pl.DataFrame) -> None:
    some = assign(many, config(tags=TAGS[:2], drop_out=0.3, drop_out_each=0.3))
    more = assign(many, config(drop_out=0.3, drop_out_each=0.3))
    assert shares(some)[:2] == shares(more)[:2]
    assert assign(many, config(drop_out=0.3, seed=2)).to_list() != assign(many, config(drop_out=0.3)).to_list()


@pytest.mark.parametrize("ends", ["<50", [40], [0, "inf"], [True, 3], [1, 2, 3]])
def test_range_that_is_no_pair_of_numbers_shows_what_one_looks_like(ends: object) -> None:
    with pytest.raises(ValidationError, match=r"Needed: two ends, \[from, below\], such as \[0, 50\] or \[50, null\]"):
        Tag.model_validate({"tag": "length", "column": "n", "ranges": {"some": ends}})
