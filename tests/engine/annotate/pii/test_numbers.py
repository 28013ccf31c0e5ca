"""Cards and account numbers: forms, check digits, and one wrong digit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.annotate.pii.find import Found, find_in_text
from engine.annotate.pii.numbers import IBAN_FORMS, is_card, luhn_sum


def values(text: str, kind: str) -> list[str]:
    return [one.value for one in find_in_text(text, [kind])]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4111111111111111", "4111111111111111"),
        ("4111 1111 1111 1111.", "4111111111111111"),
        ("card:5500-0055-5555-5559,", "5500005555555559"),
        ("3782 822463 10005", "378282246310005"),
        ("(30569309025904)", "30569309025904"),
        ("6011111111111117", "6011111111111117"),
        ("\u53613530111333300000\u3002", "3530111333300000"),
        ("4222222222222\n", "4222222222222"),
    ],
)
def test_card_is_found_in_the_forms_cards_are_written(text: str, value: str) -> None:
    assert values(text, "credit_card") == [value]


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "4111 1111-1111 1111",
        "41 11 11 11 11 11 11 11",
        "0.4111111111111111",
        "x4111111111111111",
        "4111111111111111a",
        "id-4111111111111111",
        "4444444444444444",
        "$4111111111111111",
        "1411111111111111",
        "4111111111111111.25",
    ],
)
def test_wrong_digit_wrong_grouping_and_parts_of_more_are_no_card(text: str) -> None:
    assert values(text, "credit_card") == []


@given(st.from_regex(r"4[0-9]{15}", fullmatch=True))
def test_any_single_wrong_digit_undoes_a_card(digits: str) -> None:
    right = digits[:-1] + str((int(digits[-1]) - luhn_sum(digits)) % 10)
    for place in range(1, 16):
        wrong = right[:place] + str((int(right[place]) + 1) % 10) + right[place + 1 :]
        assert not is_card(wrong)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432"),
        ("IBAN:DE89370400440532013000.", "DE89370400440532013000"),
        ("gb82west12345698765432", "GB82WEST12345698765432"),
        ("FR14-2004-1010-0505-0001-3M02-606, paid", "FR1420041010050500013M02606"),
        ("NO93 8601 1117 947 is mine", "NO9386011117947"),
        ("MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"),
    ],
)
def test_account_number_is_found_grouped_or_not(text: str, value: str) -> None:
    assert values(text, "iban") == [value]


@pytest.mark.parametrize(
    "text",
    [
        "GB82 WEST 1234 5698 7654 33",
        "GB82WEST1234569876543",
        "GB82WEST123456987654321",
        "GB82 WES T1234 5698 7654 32",
        "XX82WEST12345698765432",
        "DE8937040044053201300A",
        "aGB82WEST12345698765432",
        "GB00WEST12345698765432",
    ],
)
def test_wrong_check_length_country_or_form_is_no_account(text: str) -> None:
    assert values(text, "iban") == []


def test_every_country_has_the_length_the_standard_allows() -> None:
    import re

    lengths = {country: 4 + sum(map(int, re.findall(r"\d+", form))) for country, form in IBAN_FORMS.items()}
    assert len(lengths) == 89
    assert min(lengths.items(), key=lambda pair: pair[1]) == ("NO", 15)
    assert max(lengths.values()) == 33
    assert (lengths["GB"], lengths["DE"], lengths["FR"], lengths["MT"], lengths["CH"]) == (22, 22, 27, 31, 21)


def test_account_wins_over_the_card_and_telephone_inside_it() -> None:
    assert find_in_text("GB82 WEST 1234 5698 7654 32") == [Found(0, 27, "iban", "GB82WEST12345698765432")]
