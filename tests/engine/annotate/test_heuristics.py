"""heuristics: every measure on texts small enough to count by hand."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.annotate import heuristics
from engine.annotate.heuristics import ADDS, Config
from engine.annotate.heuristics.counts import BULLETS, TERMINALS, WHITE_SPACE

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
        ("duplicate_line_fraction", "a\n b\na \n\nb\nc\na", 0.5),
        ("duplicate_line_fraction", "a b\na  b", 0.0),
        ("top_2gram_fraction", "a b a b c a b", 0.5),
        ("top_2gram_fraction", "a a a a", 1.0),
        ("duplicate_5gram_fraction", "a b c d e x a b c d e", 0.1428),
        ("duplicate_5gram_fraction", "a b c d e", 0.0),
    ],
)
def test_measure(world: World, name: str, text: str, value: float) -> None:
    assert measure(world, text)[name] == [value]


@pytest.mark.parametrize("text", [None, ""])
def test_without_text_counts_are_zero_and_fractions_null(world: World, text: str | None) -> None:
    measured = {name: values[0] for name, values in measure(world, text).items() if name != "doc_id"}
    counts = ("num_words", "num_chars", "num_stop_words")
    assert measured == {name: 0 if name in counts else None for name in measured}


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


TEXTS = st.text(st.sampled_from("ab1#. \n\t-\u2022\u2026\u201d!\u00e9\u6f22\u00a0"), max_size=40)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=8))
def test_agrees_with_plain_python(world: World, texts: list[str]) -> None:
    measured = measure(world, *texts)
    for row, text in enumerate(texts):
        runs = text.split()
        lines = [line.strip() for line in text.split("\n") if line.strip()]

        def fraction(part: int, whole: int) -> float | None:
            return part * 10_000 // whole / 10_000 if whole else None

        expected = {
            "num_chars": len(text),
            "mean_word_chars": fraction(sum(map(len, runs)), len(runs)),
            "alpha_word_fraction": fraction(sum(any(c in "ab\u00e9\u6f22" for c in run) for run in runs), len(runs)),
            "symbol_fraction": fraction(len(re.findall(r"#|\u2026|\.{3}", text)), len(runs)),
            "digit_fraction": fraction(text.count("1"), len(text)),
            "bullet_line_fraction": fraction(sum(line[0] in BULLETS for line in lines), len(lines)),
            "ellipsis_line_fraction": fraction(sum(line.endswith(("...", "\u2026")) for line in lines), len(lines)),
            "terminal_line_fraction": fraction(sum(line[-1] in TERMINALS for line in lines), len(lines)),
            "duplicate_line_fraction": fraction(len(lines) - len(set(lines)), len(lines)),
        }
        assert {name: measured[name][row] for name in expected} == expected
