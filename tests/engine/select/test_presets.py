"""Published rule sets: the thresholds of the papers, each at its edge, over columns that heuristics writes."""

from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from engine.annotate.heuristics import ADDS
from engine.select.conditions import parse_condition
from engine.select.filters import Filter, Preset, check_filter, expanded
from engine.select.presets import PRESETS

SCHEMA = {name: column.dtype for name, column in ADDS.items()}


def keeps(rule: Filter, **measures: Any) -> bool | None:
    row = {name: [measures.get(name.removeprefix("heuristics__"))] for name in SCHEMA}
    return pl.DataFrame(row, schema=SCHEMA).select(parse_condition(rule.keep)).to_series()[0]


def rule(preset: str, reason: str) -> Filter:
    return next(rule for rule in Preset(preset=preset).filters() if rule.reason == reason)


EDGES = [
    ("gopher_quality", "gopher_too_few_words", "num_words", 50, 49),
    ("gopher_quality", "gopher_too_many_words", "num_words", 100_000, 100_001),
    ("gopher_quality", "gopher_short_words", "mean_word_chars", 3.0, 2.9999),
    ("gopher_quality", "gopher_long_words", "mean_word_chars", 10.0, 10.0001),
    ("gopher_quality", "gopher_too_many_hashes", "hash_fraction", 0.1, 0.1001),
    ("gopher_quality", "gopher_too_many_ellipses", "ellipsis_fraction", 0.1, 0.1001),
    ("gopher_quality", "gopher_too_many_bullets", "bullet_line_fraction", 0.9, 0.9001),
    ("gopher_quality", "gopher_too_many_ellipsis_lines", "ellipsis_line_fraction", 0.3, 0.3001),
    ("gopher_quality", "gopher_too_few_letters", "alpha_word_fraction", 0.8, 0.7999),
    ("gopher_quality", "gopher_too_few_stop_words", "num_stop_words", 2, 1),
    ("gopher_repetition", "gopher_duplicate_lines", "duplicate_line_fraction", 0.3, 0.3001),
    ("gopher_repetition", "gopher_duplicate_paragraphs", "duplicate_paragraph_fraction", 0.3, 0.3001),
    ("gopher_repetition", "gopher_duplicate_line_chars", "duplicate_line_char_fraction", 0.2, 0.2001),
    ("gopher_repetition", "gopher_duplicate_paragraph_chars", "duplicate_paragraph_char_fraction", 0.2, 0.2001),
    ("gopher_repetition", "gopher_top_2gram", "top_2gram_char_fraction", 0.2, 0.2001),
    ("gopher_repetition", "gopher_top_3gram", "top_3gram_char_fraction", 0.18, 0.1801),
    ("gopher_repetition", "gopher_top_4gram", "top_4gram_char_fraction", 0.16, 0.1601),
    ("gopher_repetition", "gopher_duplicate_5grams", "duplicate_5gram_char_fraction", 0.15, 0.1501),
    ("gopher_repetition", "gopher_duplicate_6grams", "duplicate_6gram_char_fraction", 0.14, 0.1401),
    ("gopher_repetition", "gopher_duplicate_7grams", "duplicate_7gram_char_fraction", 0.13, 0.1301),
    ("gopher_repetition", "gopher_duplicate_8grams", "duplicate_8gram_char_fraction", 0.12, 0.1201),
    ("gopher_repetition", "gopher_duplicate_9grams", "duplicate_9gram_char_fraction", 0.11, 0.1101),
    ("gopher_repetition", "gopher_duplicate_10grams", "duplicate_10gram_char_fraction", 0.1, 0.1001),
    ("c4", "c4_lorem_ipsum", "num_lorem_ipsum", 0, 1),
    ("c4", "c4_curly_bracket", "num_curly_brackets", 0, 1),
    ("c4", "c4_too_few_sentences", "num_c4_sentences", 3, 2),
    ("fineweb", "fineweb_few_punctuated_lines", "punctuation_line_fraction", 0.1201, 0.12),
    ("fineweb", "fineweb_duplicate_line_chars", "duplicate_line_char_fraction", 0.0999, 0.1),
    ("fineweb", "fineweb_short_lines", "line_under_30_chars_fraction", 0.6699, 0.67),
    ("fineweb", "fineweb_too_many_newlines", "newline_fraction", 0.3, 0.3001),
]


@pytest.mark.parametrize(("preset", "reason", "column", "kept", "dropped"), EDGES)
def test_threshold_is_that_of_the_paper(preset: str, reason: str, column: str, kept: float, dropped: float) -> None:
    checked = rule(preset, reason)
    assert keeps(checked, **{column: kept}) is True
    assert keeps(checked, **{column: dropped}) is False


def test_every_rule_is_tested_at_its_edge_and_says_where_it_was_published() -> None:
    rules = [(preset, one) for preset, rules in PRESETS.items() for one in rules]
    assert [(preset, one.reason) for preset, one in rules] == [edge[:2] for edge in EDGES]
    assert all("arXiv" in one.source or "datatrove" in one.source for _, one in rules)


@pytest.mark.parametrize("preset", PRESETS)
def test_null_decides_in_every_rule(preset: str) -> None:
    for one in Preset(preset=preset).filters():
        asks_for_least = ">" in one.keep
        assert keeps(one) is (not asks_for_least), one.reason


@pytest.mark.parametrize("preset", PRESETS)
def test_rules_read_columns_of_heuristics(preset: str) -> None:
    for one in Preset(preset=preset).filters():
        check_filter("demo.yaml: filters[0]", one, SCHEMA)


def test_rules_stand_in_the_place_of_their_name_with_the_prefix_asked_for() -> None:
    before, behind = Filter(reason="a", keep="TRUE"), Filter(reason="b", keep="TRUE")
    made = expanded([before, Preset.model_validate({"preset": "c4", "as": "h2"}), behind])
    assert [one.reason for one in made] == ["a", "c4_lorem_ipsum", "c4_curly_bracket", "c4_too_few_sentences", "b"]
    assert made[1].keep == "COALESCE(h2__num_lorem_ipsum <= 0, TRUE)"


def test_rules_judge_only_the_documents_they_are_meant_for() -> None:
    rules = Preset(preset="gopher_quality", where="language = 'en' OR language IS NULL").filters()
    frame = pl.DataFrame({"language": ["en", "ko", None], "heuristics__num_words": [49, 49, 49]})
    assert [rule.reason for rule in rules] == [rule.reason for rule in Preset(preset="gopher_quality").filters()]
    assert frame.select(parse_condition(rules[0].keep)).to_series().to_list() == [False, True, False]
    unknown = Preset(preset="gopher_quality", where="language = 'en'").filters()[0]
    assert frame.select(parse_condition(unknown.keep)).to_series().to_list() == [False, True, True]


def test_a_condition_that_is_none_is_an_error_of_the_recipe() -> None:
    with pytest.raises(ValidationError, match="not an SQL expression"):
        Preset(preset="c4", where="language = ")
