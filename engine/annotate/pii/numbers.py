"""Payment cards and international bank account numbers: their forms and their check digits.

Cards: ISO/IEC 7812, the ranges the issuers publish, and Luhn's check digit. Accounts: ISO 13616, the lengths and forms
of SWIFT's registry of 2025 (release 101), and the check of ISO/IEC 7064, MOD 97-10.
"""

import re
from functools import lru_cache

MAESTRO = ("5018", "5020", "5038", "56", "57", "58", "6304", "6390", "6759", "676")
CARD_RANGES: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14, 16, 19)),  # Diners Club
    ("3095", "3095", (14, 16, 19)),
    ("36", "36", (14, 16, 19)),
    ("38", "39", (14, 16, 19)),
    ("6011", "6011", (16, 19)),  # Discover, RuPay
    ("644", "649", (16, 19)),
    ("65", "65", (16, 19)),
    ("60", "60", (16,)),
    ("35", "35", (16, 17, 18, 19)),  # JCB, which issues 3528 to 3589; nobody issues the rest
    ("1800", "1800", (15,)),
    ("2131", "2131", (15,)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("2200", "2204", (16,)),  # Mir
    *((prefix, prefix, (12, 13, 14, 15, 16, 17, 18, 19)) for prefix in MAESTRO),
)
"""First and last prefix of a range of issuers, and how many digits its cards have."""
_GROUPINGS = {(4, 4, 4), (4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4), (4, 4, 5), (6, 13), (4, 5, 6)}
_GROUPED = re.compile(rb"\d+(?:([ -])\d+(?:\1\d+)*)?\Z")
MIN_DIFFERENT_DIGITS = 2
JOINTS = (b".", b",", b"-", b"/", b":")
"""What joins digits to what follows, where no space stands behind it."""

_IBAN_FORMS = """
    AD=8n12c AE=19n AL=8n16c AT=16n AZ=4a20c BA=16n BE=12n BG=4a6n8c BH=4a14c BI=23n BR=23n1a1c BY=4c4n16c CH=5n12c
    CR=18n CY=8n16c CZ=20n DE=18n DJ=23n DK=14n DO=4c20n EE=16n EG=25n ES=20n FI=14n FK=2a12n FO=14n FR=10n11c2n
    GB=4a14n GE=2a16n GI=4a15c GL=14n GR=7n16c GT=4c20c HN=4a20n HR=17n HU=24n IE=4a14n IL=19n IQ=4a15n IS=22n
    IT=1a10n12c JO=4a4n18c KW=4a22c KZ=3n13c LB=4n20c LC=4a24c LI=5n12c LT=16n LU=3n13c LV=4a13c LY=21n MC=10n11c2n
    MD=2c18c ME=18n MK=3n10c2n MN=16n MR=23n MT=4a5n18c MU=4a19n3a NI=4a20n NL=4a10n NO=11n OM=3n16c PK=4a16c PL=24n
    PS=4a21c PT=21n QA=4a21c RO=4a16c RS=18n RU=14n15c SA=2n18c SC=4a20n3a SD=14n SE=20n SI=15n SK=20n SM=1a10n12c
    SO=19n ST=21n SV=4a20n TL=19n TN=20n TR=6n16c UA=6n19c VA=18n VG=4a16n XK=16n YE=4a4n18c
"""
IBAN_FORMS = dict(form.split("=") for form in _IBAN_FORMS.split())
"""Country -> what follows country and check digits: n digits, a letters, c letters or digits."""


def card_number(text: bytes, start: int, end: int) -> str | None:
    """Return the digits of a payment card that fills text[start:end]; None where it is none.

    Whole numbers or the groups cards are printed in, with one separator throughout; not what goes on behind a full stop
    (a decimal), a letter, a digit or a currency sign.
    """
    written = text[start:end]
    shape = _GROUPED.match(written)
    if shape is None or not _stands_alone(text, start, end):
        return None
    if shape[1] and tuple(map(len, written.split(shape[1]))) not in _GROUPINGS:
        return None
    digits = written.translate(None, b" -").decode("ascii")
    return digits if is_card(digits) else None


def is_card(digits: str) -> bool:
    """Return whether an issuer's prefix, the number of digits and the check digit agree."""
    return (
        len(set(digits)) >= MIN_DIFFERENT_DIGITS
        and any(
            len(digits) in lengths and first <= digits[: len(first)] <= last for first, last, lengths in CARD_RANGES
        )
        and luhn_sum(digits) % 10 == 0
    )


def luhn_sum(digits: str) -> int:
    """Return Luhn's sum: every second digit from the right but one doubled, its digits added."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total


def iban(text: bytes, start: int, end: int) -> tuple[str, int] | None:
    """Return (account number without separators in capitals, its end) at text[start:end]; None where there is none.

    Separators: none, or one space or hyphen after every four characters.
    """
    country = text[start : start + 2].decode("ascii").upper()
    form = _form(country)
    if form is None or text[max(start - 1, 0) : start] in (b"/", b"-", b"."):
        return None
    match = form.match(text, start, end)
    if match is None or text[match.end() : match.end() + 1].isalnum():
        return None
    compact = match[0].translate(None, b" -").decode("ascii").upper()
    numbers = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return (compact, match.end()) if 2 <= int(compact[2:4]) <= 98 and int(numbers) % 97 == 1 else None


@lru_cache(maxsize=128)
def _form(country: str) -> re.Pattern[bytes] | None:
    """Return what an account number of the country looks like, in one case throughout, grouped or not."""
    if country not in IBAN_FORMS:
        return None
    classes = ["[A-Za-z]"] * 2 + ["[0-9]"] * 2
    for number, kind in re.findall(r"(\d+)([nac])", IBAN_FORMS[country]):
        classes += [{"n": "[0-9]", "a": "[A-Za-z]", "c": "[A-Za-z0-9]"}[kind]] * int(number)
    grouped = [each if place % 4 or not place else rf"(?P=joint){each}" for place, each in enumerate(classes)]
    grouped[4] = f"(?P<joint>[ -]?){classes[4]}"
    return re.compile("".join(grouped).encode())


def _stands_alone(text: bytes, start: int, end: int) -> bool:
    """Return whether the digits are no part of a decimal, an amount, a path, a compound or a name."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    if before.endswith((b".", b"$", b"+", b"&", b"%", b"_")) or before[-1:].isalpha():
        return False
    if before.endswith((b"-", b"/", b",")) and before[:1].isalnum():
        return False
    if before.endswith(b":") and before[:1].isdigit():
        return False
    return not (after[:1].isalpha() or after[:1] == b"_" or (after[:1] in JOINTS and after[1:].isalnum()))
