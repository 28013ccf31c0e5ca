"""Telephone numbers, and the dates, identifiers and versions that have as many digits."""

import pytest

from engine.annotate.pii.find import find_in_text


def numbers(text: str, *regions: str) -> list[str]:
    return [one.value for one in find_in_text(text, ["phone"], regions or ("US", "GB", "DE", "FR"))]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(212) 736-5000", "+12127365000"),
        ("212-736-5000", "+12127365000"),
        ("212.736.5000", "+12127365000"),
        ("+1 212 736 5000", "+12127365000"),
        ("+12127365000", "+12127365000"),
        ("call (+1) 212-736-5000!", "+12127365000"),
        ("020 7925 0918", "+442079250918"),
        ("+44 (0)20 7925 0918", "+442079250918"),
        ("01 42 68 53 00", "+33142685300"),
        ("+49 30 226-32933", "+493022632933"),
        ("Tel. 2127365000", "+12127365000"),
        ("call me at 2127365000", "+12127365000"),
        ("Phone: 9472 79 16", "94727916"),
        ("Phone:\n467 3395", "4673395"),
        ("416 60 039 office", "41660039"),
    ],
)
def test_number_is_found_and_written_in_one_form(text: str, value: str) -> None:
    assert numbers(text) == [value]


def test_extension_belongs_to_the_span() -> None:
    (one,) = find_in_text("Fax: 212-736-5000x4587, please", ["phone"], ["US"])
    assert (one.start, one.end) == (5, 22)


def test_region_decides_about_numbers_without_a_plus() -> None:
    assert numbers("020 7925 0918", "US") == []
    assert numbers("020 7925 0918", "GB") == ["+442079250918"]


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-06",
        "06.05.2024",
        "2024-05-06 10:30",
        "2127365000",
        "467 3395",
        "416 60 039 rows",
        "id 212-736-5000",
        "ISBN 978-3-16-148410-0",
        "978 0 306 40615 7",
        "460-89-9847",
        "123-45-6789",
        "1.2.3.4",
        "v10.20.3040",
        "3.14159265358979",
        "0x2127365000",
        "1,234,567,890",
        "400 000 000",
        "123 456 789 012 345 678 901",
        "21  72.100000",
        "550e8400-e29b-41d4-a716-446655440000",
        "12345678-1234-1234-1234-123456789012",
        "b9 01 20 00 04 80",
        "$ 212 736 5000",
        "#212-736-5000",
        "+1 212 555 0147",
        "07700 900123",
    ],
)
def test_dates_identifiers_and_fiction_are_none(text: str) -> None:
    assert numbers(text) == []
