"""Telephone numbers: digits grouped as people write them, that libphonenumber's tables call valid.

Without a plus a number is looked up in the regions of the recipe, and it has to be grouped the way that region does, or
stand behind a word that announces it. That keeps out most of what else has ten digits: dates, ISBNs, identifiers.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_ANNOUNCED = re.compile(
    rb"(?i)(?:\b(?:tele)?phone|\btel|\bmobile|\bcell|\bfax|\bdesk|\bwhatsapp|\bhotline|(?:tele)?fon|\bdial)"
    rb"(?:[ .]{1,2}(?:number|no|nr))?(?: is| at)?[.:]?\s{0,2}\(?\+?\Z"
    rb"|\b(?:call|ring|text|reach|phone|sms)(?:ing)?(?: (?:me|us|him|her|them|back)\b){0,2}(?: (?:on|at))?:? ?\(?\+?\Z"
)
_ANNOUNCED_BEHIND = re.compile(rb"(?i)(?: ?x ?\d{1,7})?[ -]{1,3}\(?(?:office|mobile|cell|home|work|fax|voice|tel)\b")
_NOT_A_PHONE = re.compile(
    rb"(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ]\d"  # 2024-05-06
    rb"|(?:0?[1-9]|[12]\d|3[01])[-./](?:0?[1-9]|1[0-2])[-./](?:19|20)\d\d"  # 06.05.2024
    rb"|(?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12]\d|3[01])[-./](?:19|20)\d\d"  # 05/06/2024
    rb"|97[89][- ]?\d"  # ISBN
    rb"|\d{3}-\d{2}-\d{4}\Z"  # social security numbers of the United States
    rb"|\d+(?:\.\d+){3}\Z"  # IPv4, versions
    rb"|\d+\.\d+\Z"  # decimals
    rb"|(?:\d{4,5}[-/. ]){1,}(?:19|20)\d\d\Z"
)
_OTHER_NUMBER = re.compile(
    rb"(?i)(?:\b(?:isbn|issn|doi|pmid|oclc|arxiv|rfc|bug|issue|id|no|page|pp|oid|version|cve|ssn)|[$#%=@])\W{0,3}\Z"
)
_EXTENSION = re.compile(rb"(?i)(?: ?x ?|,? ?ext\.? ?|;ext=)\d{1,7}\b")
_DIGITS = re.compile(rb"\d+")
_NANP_FICTION = re.compile(r"\+1\d{3}55501\d\d")
_OFCOM_FICTION = re.compile(r"\+447700900\d{3}")
_PART_OF_MORE = re.compile(rb"\b[0-9a-fA-F]{2}[ :-]\Z|\b[A-Z]{2}\d\d[ -](?:[A-Z0-9]{4}[ -])+\Z")
"""A dump of bytes, a number that begins like an account's."""
MIN_DIGITS, MIN_ANNOUNCED_DIGITS, MAX_BARE_DIGITS, MAX_DIGITS, MAX_E164 = 8, 7, 11, 18, 15


def phone(text: bytes, start: int, end: int, regions: Sequence[str]) -> tuple[int, int, str] | None:
    """Return (start, end, E.164 form) of the number at text[start:end]; None where there is none.

    regions: ISO 3166 codes whose national forms are looked for, in this order. The end takes in an extension.
    """
    written, before = text[start:end], text[max(start - 32, 0) : start]
    surplus = max(written.count(b"(") - written.count(b")"), 0) if written.startswith(b"(") else 0
    written, start = written[surplus:], start + surplus
    if written.count(b"(") != written.count(b")"):
        return None
    if not _stands_alone(before, text[end : end + 2]) or _NOT_A_PHONE.match(written):
        return None
    is_international = written.lstrip(b"(").startswith(b"+")
    groups = _DIGITS.findall(written)
    num_digits = sum(map(len, groups))
    # A number of another kind behind it would make one of both.
    has_two_forms = b"." in written and (b" " in written or b"-" in written)
    is_announced = _ANNOUNCED.search(before) is not None or _ANNOUNCED_BEHIND.match(text, end) is not None
    least = MIN_ANNOUNCED_DIGITS if is_announced else MIN_DIGITS
    if not least <= num_digits <= MAX_DIGITS or has_two_forms:
        return None
    is_grouped = _is_grouped(written, groups, 2 if is_announced else 3)
    if not (is_international or is_grouped) and num_digits > MAX_BARE_DIGITS:
        return None
    if not (is_international or is_announced) and (_OTHER_NUMBER.search(before) or not is_grouped):
        return None
    number = _look_up(written.decode("ascii"), () if is_international else tuple(regions))
    if number is None and is_announced and (is_grouped or is_international) and num_digits <= MAX_E164:
        # Named as one and written as one: of a region the recipe does not name, or mistyped.
        number = b"".join(groups).decode("ascii")
    if number is None or _NANP_FICTION.match(number) or _OFCOM_FICTION.match(number):
        return None
    extension = _EXTENSION.match(text, end)
    return start, extension.end() if extension else end, number


def _stands_alone(before: bytes, behind: bytes) -> bool:
    if before[-1:].isalnum() or before.endswith((b"_", b"$", b"%", b"&", b"#", b"<", b">=", b"^")):
        return False
    if before.endswith((b".", b"-", b"/", b",", b":", b"=")) and before[-2:-1].isalnum() and before[-2:-1] != b":":
        return before.endswith((b":", b"="))
    if behind[:1].isalpha() and not _EXTENSION.match(behind + b"0"):
        return False
    if behind.startswith((b"_", b"%", b"@", b"=")) or _PART_OF_MORE.search(before):
        return False
    return not (behind[:1] in (b".", b",", b"-", b"/", b":") and behind[1:].isdigit())


def _is_grouped(written: bytes, groups: Sequence[bytes], least: int) -> bool:
    """Return whether groups and separators are those of a telephone number.

    At least so many groups, or brackets; none but the first of one digit; no two spaces in a row; not the thousands
    of a round number.
    """
    if not (least <= len(groups) <= 6 or (len(groups) == 2 and b"(" in written)):
        return False
    separators = set(re.findall(rb"[^\d+()]", written))
    return (
        min(map(len, groups[1:])) >= 2
        and len(groups[0]) <= 5
        and len(separators) <= 2
        and b"  " not in written
        and groups[-2:] != [b"000", b"000"]
    )


@lru_cache(maxsize=1 << 16)
def _look_up(written: str, regions: tuple[str, ...]) -> str | None:
    """Return the E.164 form under the first region it is valid in and grouped as there; None under none."""
    import phonenumbers

    for region in regions or (None,):
        try:
            number = phonenumbers.parse(written, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number) and (region is None or _groups_fit(written, region)):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None


def _groups_fit(written: str, region: str) -> bool:
    """Return whether the number is grouped as the region does it, or not at all."""
    import phonenumbers

    if written.isdigit():
        return True
    leniency: Any = phonenumbers.Leniency.STRICT_GROUPING
    return phonenumbers.PhoneNumberMatcher(written, region, leniency=leniency).has_next()
