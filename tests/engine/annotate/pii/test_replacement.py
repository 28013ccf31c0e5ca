"""Replacements: the same for the same value, different for others, under a key, and never found again."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.pii.built import built_cases
from engine.annotate.pii import REGIONS
from engine.annotate.pii.find import KINDS, find_in_text
from engine.annotate.pii.replacement import derived_key, surrogate, tag
from engine.text.spans import with_replacements

Replace = Callable[[bytes, str, str], str]
KEY = derived_key(b"")
CASES = [case for case in built_cases(40) if case.spans]
PLACED = [case.text.encode()[start:end].decode() for case in CASES for start, end, _ in case.spans]
APART = (" ", ", ", "\n", "/", " - ", ". ", ": ", " tel ", "(", " +", "\u6f22", "|")
JOINTS = (*APART, "", "-", ".", ":", "x", "@", "1")


def replaced(text: str, make: Replace) -> str:
    return with_replacements(
        text, [(f.start, f.end, make(KEY, f.kind, f.value)) for f in find_in_text(text, KINDS, REGIONS)]
    )


def test_tag_is_fixed_by_kind_value_and_key() -> None:
    assert tag(KEY, "email", "anna@acme.com") == tag(derived_key(b""), "email", "anna@acme.com")
    assert re.fullmatch(r"<EMAIL-[0-9a-f]{8}>", tag(KEY, "email", "anna@acme.com"))
    assert tag(KEY, "email", "anna@acme.com") != tag(KEY, "email", "ben@acme.com")
    assert tag(KEY, "email", "anna@acme.com") != tag(derived_key(b"secret"), "email", "anna@acme.com")
    assert tag(KEY, "ipv4", "1")[6:] != tag(KEY, "iban", "1")[6:]


@pytest.mark.parametrize(
    ("kind", "value", "form"),
    [
        ("email", "anna@acme.com", r"user-[0-9a-f]{8}@example\.org"),
        ("ipv4", "81.2.69.142", r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}"),
        ("ipv6", "2a00:1450::200e", r"2001:db8::[0-9a-f]{4}:[0-9a-f]{4}"),
        ("phone", "+12127365000", r"\+1 \d{3}-555-01\d\d"),
        ("credit_card", "4111111111111111", r"4111\d{12}"),
        ("iban", "GB82WEST12345698765432", r"GB00\d{18}"),
        ("key", "AKIAQ3ZT6HWX2MBNC7DK", r"AKIAEXAMPLE[0-9a-f]{32}"),
        ("key", "-----BEGIN", r"<KEY-[0-9a-f]{8}>"),
        ("person", "anna", r"<PERSON-[0-9a-f]{8}>"),
    ],
)
def test_surrogate_has_the_form_of_its_kind(kind: str, value: str, form: str) -> None:
    assert re.fullmatch(form, surrogate(KEY, kind, value))


@pytest.mark.parametrize("make", [tag, surrogate])
def test_nothing_is_found_in_a_text_with_its_replacements(make: Replace) -> None:
    for case in CASES:
        assert find_in_text(replaced(case.text, make), KINDS, REGIONS) == [], case.text


def joined(joints: tuple[str, ...]) -> st.SearchStrategy[str]:
    pieces = st.tuples(st.sampled_from(PLACED), st.sampled_from(joints)).map("".join)
    return st.lists(pieces, min_size=1, max_size=5).map("".join)


@settings(max_examples=200, deadline=None)
@given(joined(JOINTS))
def test_nothing_new_is_found_beside_tags_however_values_stand_together(text: str) -> None:
    assert find_in_text(replaced(text, tag), KINDS, REGIONS) == []


@settings(max_examples=200, deadline=None)
@given(joined(APART))
def test_nothing_new_is_found_beside_surrogates_of_values_that_stand_apart(text: str) -> None:
    assert find_in_text(replaced(text, surrogate), KINDS, REGIONS) == []
