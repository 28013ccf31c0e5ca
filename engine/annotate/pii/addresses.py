"""E-mail and IP addresses: what stands around an `@`, runs of numbers with full stops, runs of digits with colons.

E-mail: RFC 5321 as people use it, and letters of other alphabets (RFC 6531) where they have two cases; characters of
scripts without cases border an address, since those are written without spaces. IP: addresses the IANA registries call
global; private, documentation and multicast ones belong to nobody (as in FineWeb's processing).
"""

import ipaddress
import re
from functools import lru_cache
from importlib.resources import files

_ATEXT = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-")
_MAX_LOCAL, _MAX_DOMAIN = 64, 253
_LABEL = r"[^\W_](?:[^\W_]|-){0,62}"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?:xn--[a-z0-9-]{{1,59}}|[^\W\d_]{{2,63}})", re.IGNORECASE)
_SCALED = re.compile(r"\d+x\.")
_ESCAPE = re.compile(rb"[nrt]|u[0-9a-fA-F]{4}")
"""What can follow a backslash in source code and JSON."""
_PATH = frozenset(bytes([byte]) for byte in b"/~abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
RESERVED_DOMAINS = ("example.com", "example.net", "example.org", "example", "test", "invalid", "localhost", "local")
"""RFC 2606, RFC 6761, RFC 6762: no mail goes there."""
NOT_PEOPLE = frozenset(("git", "hg", "svn"))
"""Accounts of version control: git@host is how a repository is reached."""
_VERSION_BEFORE = re.compile(rb"(?i)(?:\bv|version|ver|release|rev|firmware|build|driver|section|chapter|oid)\W{0,3}\Z")
SPECIAL_IPV4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4"),
    "240.0.0.0/4",
)
SPECIAL_IPV6 = (*("::/8", "100::/8", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/6"),)
"""IANA's special-purpose address registries of 2025, and what lies among them; Python's own list changes by version.

Blocks that IANA has given to nobody yet are found: such addresses are made up, but meant as one.
"""
SMALL_NUMBER = 32


@lru_cache(maxsize=1)
def top_level_domains() -> frozenset[str]:
    """Return the top-level domains of IANA's list (tlds.txt, its date in the first line) in small letters."""
    lines = files("engine.annotate.pii").joinpath("tlds.txt").read_text(encoding="ascii").splitlines()
    return frozenset(line.lower() for line in lines if not line.startswith("#"))


def email(text: bytes, at: int, end: int) -> tuple[int, int, str] | None:
    """Return (start, end, the address in small letters) around the `@` at `at`; None where there is none.

    end: how far the domain may reach. No address: image@2x.png and package@1.2.0 (their ends are no top-level
    domains), user@host, scp's host:path, the password of a URL, reserved domains.
    """
    domain = _domain(text[at + 1 : end])
    if domain is None:
        return None
    stop = at + 1 + len(domain.encode())
    start = _local_start(text, at)
    local = text[start:at].decode()
    if not local or ".." in local or len(local) > _MAX_LOCAL or local.lower() in NOT_PEOPLE:
        return None
    if text[stop : stop + 1] in (b"@", b"(") or (text[stop : stop + 1] == b":" and text[stop + 1 : stop + 2] in _PATH):
        return None
    token = text[max(start - 80, 0) : start].split()[-1:]
    if token and not text[start - 1 : start].isspace() and b"://" in token[0] and b"?" not in token[0]:
        return None
    return start, stop, f"{local}@{domain}".lower()


def _domain(written: bytes) -> str | None:
    """Return the longest domain at the beginning that ends in a top-level domain and is not reserved."""
    text = written.decode(errors="ignore")
    reach = next((place for place, each in enumerate(text) if not each.isascii() and not _is_cased(each)), len(text))
    match = _DOMAIN.match(text[:reach])
    if match is None or _SCALED.match(text):
        return None
    domain = match[0].rstrip("-")
    body, _, top = domain.rpartition(".")
    if top[:1].isupper() and top[1:].islower() and body.rpartition(".")[2].lower() in top_level_domains():
        # "a@b.com.Then": a sentence without a space behind.
        domain, top = body, body.rpartition(".")[2]
    behind = text[len(domain) : reach]
    # `a@b.com-x` and `a@b.c0m` are other things; a full stop behind is the sentence's.
    if top.lower() not in top_level_domains() or behind[:1].isalnum() or (behind[:1] == "-" and behind[1:2].isalnum()):
        return None
    if len(domain) > _MAX_DOMAIN or any(
        domain.lower() == one or domain.lower().endswith(f".{one}") for one in RESERVED_DOMAINS
    ):
        return None
    return domain


def _local_start(text: bytes, at: int) -> int:
    """Return where the part before the `@` begins."""
    start = at
    while start > 0 and at - start <= _MAX_LOCAL:
        if text[start - 1] in _ATEXT:
            start -= 1
        elif text[start - 1] < 0x80:
            break
        else:
            first = start - 1
            while text[first] & 0xC0 == 0x80:
                first -= 1
            if not _is_cased(text[first:start].decode()):
                break
            start = first
    # O'Brien, but not a quoted address.
    if text[max(start - 2, 0) : start] in (b"O'", b"o'") and not text[max(start - 3, 0) : start - 2].isalnum():
        start -= 2
    if start > 0 and text[start - 1 : start] == b"\\" and (escape := _ESCAPE.match(text, start, at)):
        start = escape.end()
    while start < at and text[start : start + 1] in (b".", b"%", b"-", b"+"):
        start += 1
    return at if text[at - 1 : at] == b"." else start


def _is_cased(character: str) -> bool:
    return character.islower() or character.isupper()


def ipv4(text: bytes, start: int, end: int) -> str | None:
    """Return the global address that fills text[start:end]; None where it is none.

    Four numbers exactly. No address: what is called a version or section, and, where no port or prefix length follows,
    four numbers below 32 or two zeros at the end (13.2.1.3, 5.15.0.0): these number sections and releases; of all
    addresses they are one in 4,000.
    """
    before, behind = text[max(start - 24, 0) : start], text[end : end + 2]
    if before[-1:].isalnum() or before.endswith((b".", b"-", b"_", b"+", b"#", b"$")):
        return None
    if behind[:1].isalpha() or behind[:1] in (b"_", b"-", b"+") or (behind[:1] == b"." and behind[1:].isalnum()):
        return None
    address = _global(ipaddress.IPv4Address, text[start:end].decode("ascii"))
    if address is None or _VERSION_BEFORE.search(before):
        return None
    numbers = [int(number) for number in address.split(".")]
    is_release = max(numbers) < SMALL_NUMBER or numbers[2:] == [0, 0]
    return None if is_release and not (behind[:1] in (b":", b"/") and behind[1:].isdigit()) else address


def ipv6(text: bytes, start: int, end: int) -> tuple[int, int, str] | None:
    """Return (start, end, address in its short form) of the global address that text[start:end] holds; else None.

    No address: `::` alone or with few digits (scopes, slices), eight groups of two digits (hardware addresses),
    times.
    """
    end -= text[end - 1 : end] == b":" and text[end - 2 : end - 1] != b":"
    written = text[start:end].decode("ascii")
    groups = [group for group in written.split(":") if group]
    is_long = len(groups) >= 3 or "." in written
    if not is_long or text[max(start - 1, 0) : start] in (b":", b".") or max(map(len, groups)) < 3:
        return None
    address = _global(ipaddress.IPv6Address, written)
    return None if address is None else (start, end, address)


def _global(kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address], written: str) -> str | None:
    try:
        address = kind(written)
    except ValueError:
        return None
    # ::ffff:8.8.8.8 is the IPv4 address.
    inner = getattr(address, "ipv4_mapped", None) or address
    return None if any(inner in network for network in _special(inner.version)) else str(address)


@lru_cache(maxsize=2)
def _special(version: int) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, SPECIAL_IPV4 if version == 4 else SPECIAL_IPV6))
