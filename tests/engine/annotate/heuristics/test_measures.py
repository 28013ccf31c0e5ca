"""heuristics: every measure on texts small enough to count by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from engine.annotate import heuristics
from engine.annotate.heuristics import ADDS, Config
from engine.annotate.heuristics.kinds import WHITE_SPACE

World = Callable[..., Any]


def measure(world: World, *texts: str | None) -> dict[str, list[Any]]:
    done = world({"web": {f"d{number:03}": text for number, text in enumerate(texts)}}).run(heuristics, Config())
    columns = done.columns(*ADDS)
    return {name.removeprefix("heuristics__"): values for name, values in columns.items()}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("num_words", "It's 5 o'clock \u2014 \u6f22\u5b57", 7),
        ("num_chars", "caf\u00e9 \u6f22", 6),
        ("mean_word_chars", "ab cde  f\u00e9\n", 2.3333),
        ("mean_word_chars", "a\u00a0b\u3000c", 1.0),
        ("alpha_word_fraction", "abc 123 -- d4 \u6f22 \u2026", 0.5),
        ("alpha_word_fraction", "1 2 3", 0.0),
        ("symbol_fraction", "# one ... two\u2026 ......", 1.0),
        ("symbol_fraction", "a.. b .... c", 0.25),
        ("digit_fraction", "a1b2", 0.5),
        ("digit_fraction", "\u0661\u0662", 0.0),
        ("num_stop_words", "The cat and THE dog, that is with", 4),
        ("num_stop_words", "other thebe", 0),
        ("bullet_line_fraction", " - a\n* b\n\n\u2022 c\nd - e", 0.75),
        ("ellipsis_line_fraction", "a...\nb\u2026  \nc..\n...d\n\n", 0.5),
        ("terminal_line_fraction", 'A.\nB! \nC?\nD\u201d\nE"\nF,\nG:\n\nH', 0.625),
        ("num_runs", "a  b\n\u3000c-d", 3),
        ("num_lines", "a\n\n \nb\n", 2),
        ("num_paragraphs", "a\nb\n\n \nc\n", 2),
        ("longest_word_chars", "ab c\u00e9d\u6f22 e", 4),
        ("hash_fraction", "# a b ##", 0.75),
        ("hash_fraction", "...", 0.0),
        ("ellipsis_fraction", "a... b\u2026 c.. #", 0.5),
        ("ellipsis_fraction", "......", 2.0),
        ("num_sentences", "One. Two! Three? Four", 4),
        ("num_sentences", "He weighs 3.5 kg, e.g. today. Really?!", 2),
        ("num_sentences", 'He said "Go." She (twice.) Went... away.', 3),
        ("num_sentences", "no stop\nnone here", 2),
        ("num_sentences", "\u4e00\u3002\u4e8c\u3002\u300d\u4e09", 3),
        ("num_sentences", "", 0),
        ("punctuation_line_fraction", "a.\nb'\nc\u3002\nd\u2026\ne,\nf:\ng)\nh", 0.5),
        ("line_under_3_words_fraction", "a b\na b c\nabc\na b c d", 0.5),
        ("line_under_5_words_fraction", "a b c d\na b c d e", 0.5),
        ("line_under_30_chars_fraction", f"{'x' * 29}\n  {'x' * 30}  ", 0.5),
        ("newline_fraction", "a b\n\nc d\n", 0.75),
        ("num_lorem_ipsum", "Lorem ipsum dolor LOREM IPSUM lorem  ipsum", 2),
        ("num_curly_brackets", "f { g {} }", 2),
        ("javascript_line_fraction", "Enable JavaScripts\njava script\n", 0.5),
        ("policy_line_fraction", "Terms of Use\nWe use cookies.\nuse of cookies\ncookie\nterms of\nuse", 0.5),
        ("c4_line_fraction", "one two three four five.\none two three four.\none two three four five\n", 0.3333),
        ("c4_line_fraction", "a b c d e...\na b c d e javascript.\na b c d e privacy policy.\n", 0.0),
        ("c4_line_fraction", f"a b c d {'x' * 1001}.\na b c d {'x' * 999}.\n", 0.5),
        ("num_c4_sentences", 'A is b. So is c. "So is d."\nOne. Two. Three.\n', 3),
        ("duplicate_line_fraction", "a\n b\na \n\nb\nc\na", 0.5),
        ("duplicate_line_fraction", "a b\na  b", 0.0),
        ("duplicate_line_char_fraction", "abc\n abc\nd\nabc ", 0.6),
        ("duplicate_paragraph_fraction", "a\nb\n\na\n\na\n b\n\nb", 0.25),
        ("duplicate_paragraph_fraction", "a\n\na b\n\nab\n\na", 0.25),
        ("duplicate_paragraph_char_fraction", "abcd\nef\n\nabcd\nef\n\ngh", 0.4285),
        ("top_2gram_fraction", "a b a b c a b", 0.5),
        ("top_2gram_fraction", "a a a a", 1.0),
        ("top_2gram_fraction", "a b c", 0.5),
        ("top_2gram_char_fraction", "to be, or not To be", 0.6153),
        ("top_2gram_char_fraction", "a b c d", 0.0),
        ("top_2gram_char_fraction", "a a a a", 1.5),
        ("top_2gram_char_fraction", "a b a b ab c ab c", 0.6),
        ("top_3gram_char_fraction", "a b c d a b c", 0.8571),
        ("top_4gram_char_fraction", "a b c d a b c", 0.0),
        ("top_4gram_char_fraction", "aa b c d e aa b c d", 0.9090),
        ("duplicate_5gram_fraction", "a b c d e x a b c d e", 0.1428),
        ("duplicate_5gram_fraction", "a b c d e", 0.0),
        ("duplicate_5gram_char_fraction", "a b c d e x a b c d e", 0.4545),
        ("duplicate_5gram_char_fraction", "a b c d e f A, b. c d e f", 0.5),
        ("duplicate_5gram_char_fraction", "a a a a a a", 0.8333),
        ("duplicate_6gram_char_fraction", "a b c d e x a b c d e", 0.0),
        ("duplicate_6gram_char_fraction", "a b c d e fgh a b c d e fgh", 0.5),
        ("duplicate_10gram_char_fraction", "a b c d e f g h i j k a b c d e f g h i j", 0.4761),
        ("duplicate_10gram_char_fraction", "\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341" * 2, 0.5),
    ],
)
def test_measure(world: World, name: str, text: str, value: float) -> None:
    assert measure(world, text)[name] == [value]


@pytest.mark.parametrize("text", [None, ""])
def test_without_text_counts_are_zero_and_fractions_null(world: World, text: str | None) -> None:
    measured = {name: values[0] for name, values in measure(world, text).items() if name != "doc_id"}
    is_count = {name: name.startswith("num_") or name == "longest_word_chars" for name in measured}
    assert measured == {name: 0 if is_count[name] else None for name in measured}


def test_a_text_is_measured_the_same_among_others(world: World) -> None:
    texts = ["a.\nb", None, "- x\n- x", "", "\u6f22\u5b57 ...", "one two three four five " * 3]
    together = measure(world, *texts)
    for number, text in enumerate(texts):
        alone = measure(world, text)
        assert {name: values[number] for name, values in together.items() if name != "doc_id"} == {
            name: values[0] for name, values in alone.items() if name != "doc_id"
        }


def test_white_space_is_what_python_calls_so() -> None:
    assert sorted(WHITE_SPACE) == [code_point for code_point in range(0x110000) if chr(code_point).isspace()]
