"""Published rule sets by name, as filters over the raw measures of the stage heuristics.

A recipe says `- preset: gopher_quality` among its filters; the rules stand in its place, in the order given here, and
are written out in the resolved recipe. To move a threshold, copy a rule from there and change it: the measures stay.

Measures are rounded down to 1e-4, so a document may lie on the other side of a limit it misses by less than that. C4's
rule about bad words is not among the rules: it is a filter over the columns of the stage toxicity.

Each rule says what it does with a null, a fraction without anything to divide by (no words, no lines): where the rule
asks for a least value, null fails it; where it sets a limit, null keeps it, as nothing exceeds the limit.
"""

from dataclasses import dataclass

HEURISTICS = "heuristics"
"""The prefix of the columns, unless the recipe names another with `as`."""


@dataclass(frozen=True)
class PresetRule:
    """A drop reason, the condition that keeps, with `{h}` for the prefix of the columns, and where it was published."""

    reason: str
    keep: str
    source: str


def _at_least(reason: str, column: str, least: float, source: str) -> PresetRule:
    return PresetRule(reason, f"COALESCE({{h}}__{column} >= {least}, FALSE)", source)


def _at_most(reason: str, column: str, most: float, source: str) -> PresetRule:
    return PresetRule(reason, f"COALESCE({{h}}__{column} <= {most}, TRUE)", source)


def _below(reason: str, column: str, limit: float, source: str) -> PresetRule:
    return PresetRule(reason, f"COALESCE({{h}}__{column} < {limit}, TRUE)", source)


_GOPHER = "Rae et al. 2021, arXiv:2112.11446, A.1.1, quality filtering"
_GOPHER_A1 = "Rae et al. 2021, arXiv:2112.11446, table A1"
_C4 = "Raffel et al. 2019, arXiv:1910.10683, 2.2"
_FINEWEB = "Penedo et al. 2024, arXiv:2406.17557, 3.6"

_GOPHER_QUALITY = (
    _at_least("gopher_too_few_words", "num_words", 50, _GOPHER),
    _at_most("gopher_too_many_words", "num_words", 100_000, _GOPHER),
    _at_least("gopher_short_words", "mean_word_chars", 3, _GOPHER),
    _at_most("gopher_long_words", "mean_word_chars", 10, _GOPHER),
    _at_most("gopher_too_many_hashes", "hash_fraction", 0.1, _GOPHER),
    _at_most("gopher_too_many_ellipses", "ellipsis_fraction", 0.1, _GOPHER),
    _at_most("gopher_too_many_bullets", "bullet_line_fraction", 0.9, _GOPHER),
    _at_most("gopher_too_many_ellipsis_lines", "ellipsis_line_fraction", 0.3, _GOPHER),
    _at_least("gopher_too_few_letters", "alpha_word_fraction", 0.8, _GOPHER),
    _at_least("gopher_too_few_stop_words", "num_stop_words", 2, _GOPHER),
)
_GOPHER_REPETITION = (
    _at_most("gopher_duplicate_lines", "duplicate_line_fraction", 0.3, _GOPHER_A1),
    _at_most("gopher_duplicate_paragraphs", "duplicate_paragraph_fraction", 0.3, _GOPHER_A1),
    _at_most("gopher_duplicate_line_chars", "duplicate_line_char_fraction", 0.2, _GOPHER_A1),
    _at_most("gopher_duplicate_paragraph_chars", "duplicate_paragraph_char_fraction", 0.2, _GOPHER_A1),
    *(
        _at_most(f"gopher_top_{words}gram", f"top_{words}gram_char_fraction", most, _GOPHER_A1)
        for words, most in ((2, 0.2), (3, 0.18), (4, 0.16))
    ),
    *(
        _at_most(f"gopher_duplicate_{words}grams", f"duplicate_{words}gram_char_fraction", most, _GOPHER_A1)
        for words, most in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1))
    ),
)
# C4 cuts the lines it does not keep; filters judge whole documents, so its rules for lines act through the sentences of
# the lines it would leave. Three sentences and five words are those of the paper's later versions and of the published
# code (tensorflow_datasets, c4_utils); datatrove asks for five sentences and three words.
_C4_RULES = (
    _at_most("c4_lorem_ipsum", "num_lorem_ipsum", 0, _C4),
    _at_most("c4_curly_bracket", "num_curly_brackets", 0, _C4),
    _at_least("c4_too_few_sentences", "num_c4_sentences", 3, _C4),
)
# The text drops from 0.1 of characters in duplicated lines on; its appendix E.4 and datatrove's default, with which the
# dataset was made, say 0.01. The limit on line feeds is only in that code (datatrove, FineWebQualityFilter).
_FINEWEB_RULES = (
    PresetRule("fineweb_few_punctuated_lines", "COALESCE({h}__punctuation_line_fraction > 0.12, FALSE)", _FINEWEB),
    _below("fineweb_duplicate_line_chars", "duplicate_line_char_fraction", 0.1, _FINEWEB),
    _below("fineweb_short_lines", "line_under_30_chars_fraction", 0.67, _FINEWEB),
    _at_most("fineweb_too_many_newlines", "newline_fraction", 0.3, "datatrove 0.10.1, FineWebQualityFilter"),
)

PRESETS = {
    "gopher_quality": _GOPHER_QUALITY,
    "gopher_repetition": _GOPHER_REPETITION,
    "c4": _C4_RULES,
    "fineweb": _FINEWEB_RULES,
}
