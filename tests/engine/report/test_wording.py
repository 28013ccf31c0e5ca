"""Numbers in words: one form per kind of quantity."""

import pytest

from engine.report.table import table
from engine.report.wording import amount, brief, change, counted, decimal, duration, interval, listed, settings, share


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (counted(1, "document"), "1 document"),
        (counted(12345, "document"), "12,345 documents"),
        (amount(999), "999 B"),
        (amount(1000), "1.00 kB"),
        (amount(45_200_000), "45.2 MB"),
        (amount(812_000_000_000), "812 GB"),
        (amount(None), "-"),
        (brief(12_000), "12k"),
        (brief(0.25), "0.25"),
        (share(1, 3), "33.3 %"),
        (share(0, 3), "0.0 %"),
        (share(3, 3), "100.0 %"),
        (share(1, 100_000), "<0.1 %"),
        (share(99_999, 100_000), ">99.9 %"),
        (share(0, 0), "-"),
        (change(0.0123), "+1.23 %"),
        (change(-0.2), "-20.00 %"),
        (change(float("nan")), "not finite"),
        (interval(0.005, 0.019), "+0.50 to +1.90 %"),
        (interval(None, 0.1), "-"),
        (decimal(None), "-"),
        (decimal(1234.567), "1,234.57"),
        (duration(12.34), "12.3 s"),
        (duration(245), "4 min 05 s"),
        (duration(7620), "2 h 07 min"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_number_in_words(found: str, expected: str) -> None:
    assert found == expected


def test_settings_are_dotted_keys_in_their_own_order() -> None:
    content = {"b": {"x": 1, "y": None}, "a": [1, 2], "c": [{"k": True}, {"k": "t"}], "empty": []}
    assert settings(content) == [("b.x", "1"), ("a", "1, 2"), ("c[0].k", "true"), ("c[1].k", "t")]


def test_table_refuses_a_row_of_another_width() -> None:
    with pytest.raises(ValueError, match="1 cells under 2 headings"):
        table(["a", "b"], [["1"]])
