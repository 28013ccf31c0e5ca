"""The mixture's part of a recipe is checked before anything runs."""

from fractions import Fraction

import pytest
from pydantic import ValidationError

from engine.mixture.config import Config
from engine.mixture.weights import exact

COMPETENCE = {"sources": ["a"], "curriculum": "competence", "difficulty": "d"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sources": []}, "at least 1"),
        ({"sources": ["a", "b", "a"]}, "a named twice"),
        ({}, "sources: no source is named. Needed: at least 1"),
        ({"sources": {"a": 0, "b": 0}}, "weights that sum to zero"),
        ({"sources": {"a": -1.5}}, "greater than or equal to 0"),
        ({"sources": {"a": float("nan")}}, "finite"),
        ({"sources": {"a": float("inf")}}, "finite"),
        ({"sources": ["a"], "replay": {"share": 1, "sources": ["b"]}}, "less than 1"),
        ({"sources": ["a"], "replay": {"share": -0.1, "sources": ["b"]}}, "greater than or equal to 0"),
        ({"sources": ["a"], "replay": {"share": 0.1, "sources": []}}, "at least 1"),
        ({"sources": ["a"], "curriculum": "by_lenght"}, "did you mean 'by_length'"),
        ({"sources": ["a"], "curriculum": "easy_to_hard"}, "difficulty is not set"),
        ({"sources": ["a"], "difficulty": "difficulty__value"}, "difficulty is d.*and with them alone"),
        ({"sources": ["a"], "curriculum": "staged", "difficulty": "d"}, "curriculum staged: stages is not set"),
        ({"sources": ["a"], "stages": 3}, "curriculum shuffled: stages is 3"),
        ({"sources": ["a"], "initial_competence": 0.1}, "Needed: the curriculum competence"),
        (COMPETENCE | {"initial_competence": 0.12345}, "more than four decimals"),
        (COMPETENCE | {"initial_competence": 0}, "greater than 0"),
        ({"sources": ["a"], "weighting": "unimaxx"}, "did you mean 'unimax'"),
        ({"sources": ["a"], "weighting": "unimax"}, "there is no budget_tokens"),
        ({"sources": ["a"], "weighting": "temperature"}, "temperature: not set.*Fix: write temperature: 2.0"),
        ({"sources": ["a"], "temperature": 2}, "which nothing reads.*Fix: write weighting: temperature"),
        ({"sources": ["a"], "weighting": "temperature", "temperature": 0}, "greater than or equal to 0.01"),
        ({"sources": {"a": 1}, "weighting": "proportional"}, "the sources have weights already"),
        (
            {"sources": {"a": 1, "b": 2}, "temperature": 0.5},
            r"temperature: 0.5, but the sources have weights already.*Fix: write sources: \[a, b\] with weighting: "
            "temperature and temperature: 0.5, or leave temperature out",
        ),
        ({"weights": {"a": 3}}, "weights: unknown key.*Fix: write sources: {a: 3}, in place of weights"),
        ({"sources": ["a"], "weights": [3]}, "Fix: write sources: {NAME: WEIGHT}"),
        ({"sources": ["a"], "replay": {"share": 0.1}}, "no source is named"),
        ({"sources": ["a"], "replay": {"share": 0.1, "sources": {"b": 0}}}, "weights that sum to zero"),
        ({"sources": ["a"], "replay": {"share": 0.1, "sources": {"b": 1}, "weighting": "unimax"}}, "weights already"),
        ({"sources": ["a"], "replay": {"share": 0.1, "sources": ["b"], "temperature": 2}}, "which nothing reads"),
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


SHORT = {"name": "p", "curriculum": "by_length"}
HALVES = [{"name": "one", "share": 0.5}, {"name": "two", "share": 0.5}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"phases": HALVES, "budget_tokens": 9}, "sources: no source is named, nor by phase one, two"),
        ({"sources": ["a"], "phases": HALVES}, "phase one has a share, but there is no budget_tokens"),
        ({"sources": ["a"], "phases": [*HALVES, HALVES[0]], "budget_tokens": 9}, "two are called 'one'"),
        ({"sources": ["a"], "phases": HALVES[:1], "budget_tokens": 9}, "shares that sum to 0.5"),
        ({"sources": ["a"], "phases": [{"name": "one"}], "budget_tokens": 9}, "a phase says no share"),
        ({"sources": ["a"], "phases": [{"name": "p", "budget_tokens": 3}], "budget_tokens": 9}, "phase p has its own"),
        (
            {"sources": ["a"], "phases": [{"name": "p", "share": 0}], "budget_tokens": 9},
            "phase p: share is 0, so it is",
        ),
        (
            {"sources": ["a"], "phases": [{"name": "p", "budget_tokens": 0}]},
            "phase p: budget_tokens is 0, so it is emp",
        ),
        ({"phases": [{"name": "p", "sources": []}]}, r"phase p: sources is \[\], so it is empty"),
        (
            {"sources": ["a"], "phases": [{"name": "p", "share": 0.999}, {"name": "q", "share": 0.001}]}
            | {"budget_tokens": 9},
            "phase q: its share of 9 tokens is less than one",
        ),
        ({"sources": ["a"], "phases": [{"name": "p", "curriculum": "stagd"}]}, "phase p: curriculum.*mean 'staged'"),
        ({"sources": ["a"], "phases": [{"name": "p", "curriculum": "staged"}]}, "phase p: .*difficulty is not set"),
        ({"sources": ["a"], "difficulty": "d", "phases": [{"name": "p"}]}, "difficulty: no phase goes by it"),
        ({"sources": ["a"], "curriculum": "stagd", "phases": [SHORT]}, "curriculum: no .*mean 'staged'"),
        (
            {"weighting": "proportional", "phases": [SHORT | {"sources": {"a": 1}}]},
            "no phase takes the sources it is for",
        ),
        ({"sources": {"a": 1}, "phases": [{"name": "p", "weighting": "unimax"}]}, "phase p: weighting: unimax, but"),
        (
            {"sources": ["a"], "phases": [{"name": "p", "weighting": "unimax"}]},
            "phase p: weighting unimax: there is no",
        ),
    ],
)
def test_a_mistake_of_a_phase_names_it(content: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(content)


def test_a_phase_is_as_the_mixture_where_it_says_nothing() -> None:
    config = Config.model_validate(
        {
            "sources": ["a"],
            "weighting": "temperature",
            "temperature": 2,
            "budget_tokens": 100,
            "replay": {"share": 0.1, "sources": ["b"]},
            "curriculum": "staged",
            "stages": 3,
            "difficulty": "d",
            "phases": [
                {"name": "as_it_is", "share": 0.3333},
                {"name": "other", "share": 0.3333, "sources": {"c": 1, "e": 0}, "curriculum": "shuffled"},
                {"name": "bare", "share": 0.3333, "replay": {"share": 0}, "stages": 4},
            ],
        }
    )
    one, two, three = config.phase_list()
    assert (one.sources, one.weighting, one.temperature, one.budget_tokens) == (["a"], "temperature", 2, 34)
    assert (one.replay, one.curriculum, one.stages, one.difficulty) == (config.replay, "staged", 3, "d")
    assert (two.weighting, two.temperature, two.budget_tokens) == (None, None, 33)
    assert (two.replay, two.curriculum, two.stages, two.difficulty) == (config.replay, "shuffled", None, None)
    assert (three.replay_share, three.stages, three.budget_tokens) == (0, 4, 33)
    assert config.source_names() == ["a", "b", "c"]
    assert Config.model_validate(config.model_dump(mode="json")) == config


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


def test_a_phase_that_lists_sources_of_its_own_weights_them_as_the_mixture_says() -> None:
    content = {"sources": ["a", "b"], "weighting": "temperature", "temperature": 2.0}
    phases = [SHORT | {"sources": ["b", "c"]}, SHORT | {"name": "q", "sources": {"b": 1}}]
    first, second = Config.model_validate(content | {"phases": phases}).phase_list()
    assert (first.weighting, first.temperature) == ("temperature", 2.0)
    assert (second.weighting, second.temperature) == (None, None)
