"""What stands in place of a value: a tag, or a value of the same form that can belong to nobody.

Both follow from kind and value by BLAKE3 under the recipe's key, so equal values get equal replacements in any order,
shard layout and machine, and nothing has to be remembered. Neither is found again by the stage.
"""

from blake3 import blake3

from engine.annotate.pii.numbers import luhn_sum

_CONTEXT = "provender 2026 engine.annotate.pii replacement"
TAG_DIGITS = 8
_AREAS = (
    "201",
    "212",
    "303",
    "312",
    "404",
    "415",
    "503",
    "512",
    "602",
    "617",
    "702",
    "718",
    "801",
    "813",
    "914",
    "919",
)
_DOCUMENTATION_NETS = ("192.0.2", "198.51.100", "203.0.113")


def derived_key(secret: bytes) -> bytes:
    """Return the 32-byte key that replacements are made under."""
    return blake3(secret, derive_key_context=_CONTEXT).digest()


def tag(key: bytes, kind: str, value: str) -> str:
    """Return a tag as in <EMAIL-3f2a91c0>: the kind and 32 bits of the value's keyed hash."""
    return f"<{kind.upper()}-{_digest(key, kind, value).hex()[:TAG_DIGITS]}>"


def surrogate(key: bytes, kind: str, value: str) -> str:
    """Return a value of the same form that belongs to nobody.

    email: at example.org (RFC 2606). ipv4, ipv6: documentation networks (RFC 5737, RFC 3849). phone: North American
    555-0100 to 555-0199. credit_card: the same issuer and length with a wrong check digit. iban: the same country and
    length with check digits 00. key: its first four characters and EXAMPLE. Other kinds get their tag. Different values
    can share a surrogate of a small space (762 IPv4 addresses, 1,600 telephone numbers).
    """
    digest = _digest(key, kind, value)
    number = int.from_bytes(digest, "big")
    if kind == "email":
        return f"user-{digest.hex()[:TAG_DIGITS]}@example.org"
    if kind == "ipv4":
        return f"{_DOCUMENTATION_NETS[number % 3]}.{number // 3 % 254 + 1}"
    if kind == "ipv6":
        return f"2001:db8::{digest.hex()[:4]}:{digest.hex()[4:8]}"
    if kind == "phone":
        return f"+1 {_AREAS[number % len(_AREAS)]}-555-01{number // len(_AREAS) % 100:02}"
    if kind == "credit_card":
        return _wrong_card(value, number)
    if kind == "iban":
        return f"{value[:2]}00{str(number)[: len(value) - 4].zfill(len(value) - 4)}"
    if kind == "key" and not value.startswith("-"):
        return f"{value[:4]}EXAMPLE{digest.hex()}"
    return tag(key, kind, value)


def _wrong_card(value: str, number: int) -> str:
    body = value[:4] + str(number)[: len(value) - 5].zfill(len(value) - 5)
    # The check digit that would be right, and one more.
    return body + str((-luhn_sum(body + "0") + 1) % 10)


def _digest(key: bytes, kind: str, value: str) -> bytes:
    return blake3(f"{kind}\0{value}".encode(), key=key).digest(length=16)
