"""The mixture's part of a recipe is checked before anything runs."""

from fractions import Fraction

import pytest
from pydantic import ValidationError

from engine.mixture.config import Config, exact


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sources": []}, "at least 1"),
        ({"sources": ["a", "b", "a"]}, "a named twice"),
        ({"sources": {"a": 0}}, "greater than 0"),
        ({"sources": {"a": -1.5}}, "greater than 0"),
        ({"sources": {"a": float("nan")}}, "finite"),
        ({"sources": {"a": float("inf")}}, "finite"),
        ({"sources": ["a"], "replay": {"share": 1, "sources": ["b"]}}, "less than 1"),
        ({"sources": ["a"], "replay": {"share": -0.1, "sources": ["b"]}}, "greater than or equal to 0"),
        ({"sources": ["a"], "replay": {"share": 0.1, "sources": []}}, "at least 1"),
        ({"sources": ["a"], "curriculum": "by_lenght"}, "did you mean 'by_length'"),
        ({"sources": ["a"], "curriculum": "easy_to_hard"}, "difficulty is not set"),
        ({"sources": ["a"], "difficulty": "difficulty__value"}, "with easy_to_hard and hard_to_easy"),
        ({"sources": ["a"], "budget_tokens": 0}, "greater than or equal to 1"),
        ({"sources": ["a"], "max_repeats": 0}, "greater than or equal to 1"),
        ({"sources": ["a"], "row_tokens": 7}, "greater than or equal to 8"),
        ({"sources": ["a"], "rows_per_step": 0}, "greater than or equal to 1"),
        ({"sources": ["a"], "budget": 3}, "Extra inputs"),
    ],
)
def test_a_mistake_is_named(content: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(content)


def test_numbers_are_taken_as_they_are_written() -> None:
    assert [exact(number) for number in (0.1, 0.3, 1, 2.5, 1e-3)] == [
        Fraction(1, 10),
        Fraction(3, 10),
        Fraction(1),
        Fraction(5, 2),
        Fraction(1, 1000),
    ]


def test_sources_are_named_once_domain_text_first() -> None:
    replay = {"share": 0.1, "sources": {"b": 1, "c": 2}}
    assert Config(sources=["d", "b"], replay=replay).source_names() == ["d", "b", "c"]
    assert Config(sources=["d"], replay=replay | {"share": 0}).source_names() == ["d"]
    assert Config(sources={"d": 2}).source_names() == ["d"]
