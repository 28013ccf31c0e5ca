"""Text of other people is harmless on a terminal and fits it."""

import pytest

from engine.base.terminal import one_line, wrapped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred\x1b[0m", " [31mred [0m"),
        ("\u202eright to left", " right to left"),
        ("na\u00efve \u6f22", "na\u00efve \u6f22"),
        ("", ""),
    ],
)
def test_control_characters_become_spaces(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_what_was_cut_is_counted() -> None:
    assert one_line("x" * 1234, 234) == "x" * 234 + " ... (+1,000 characters)"
    assert one_line("x" * 234, 234) == "x" * 234
    assert one_line("x" * 20, 10, length=5_010) == "x" * 10 + " ... (+5,000 characters)"
    assert one_line("x", length=1) == "x"


def test_lines_keep_to_the_width_and_ids_stay_whole() -> None:
    uuid = "7731eeee-eeee-eeee-eeee-eeeeeeeeeeee"
    lines = wrapped(f"removed for {uuid} of the web, " + "y" * 100, 44, 2).splitlines()
    assert max(map(len, lines)) <= 44
    assert all(line.startswith("  ") for line in lines)
    assert any(uuid in line for line in lines)
