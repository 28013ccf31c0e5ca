"""E-mail and IP addresses: where they begin and end, and what only looks like one."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.annotate.pii.find import find_in_text


def spans(text: str, *kinds: str) -> list[str]:
    data = text.encode()
    return [data[one.start : one.end].decode() for one in find_in_text(text, kinds)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Mail anna.b+news@mail.acme.de.", ["anna.b+news@mail.acme.de"]),
        ("<a@b.io>, (c_d@e-f.org); mailto:g@h.fr?subject=x", ["a@b.io", "c_d@e-f.org", "g@h.fr"]),
        ("x=a@b.com&y=c@d.com", ["a@b.com", "c@d.com"]),
        ("\u8bf7\u8054\u7cfbanna@acme.com\u8c22\u8c22", ["anna@acme.com"]),
        ("jos\u00e9.p\u00e9rez@m\u00fcller.de", ["jos\u00e9.p\u00e9rez@m\u00fcller.de"]),
        ("Write to O'Brien@acme.ie or 'ben@acme.ie'", ["O'Brien@acme.ie", "ben@acme.ie"]),
        ("a@b.com.Then we left", ["a@b.com"]),
        ('"first\\nanna@acme.com\\u003cben@acme.com"', ["anna@acme.com", "ben@acme.com"]),
        ("ANNA@ACME.COM", ["ANNA@ACME.COM"]),
        ("anna@xn--mller-kva.xn--p1ai", ["anna@xn--mller-kva.xn--p1ai"]),
        ("https://x.org/?mail=anna@acme.com", ["anna@acme.com"]),
    ],
)
def test_address_is_found_from_end_to_end(text: str, found: list[str]) -> None:
    assert spans(text, "email") == found


@pytest.mark.parametrize(
    "text",
    [
        "logo@2x.png",
        "lodash@4.17.21",
        "@app.route('/')",
        "root@localhost",
        "user@host",
        "git@github.com:acme/tools.git",
        "ssh://git@github.com/acme/tools",
        "anna@server.acme.com:/srv/data",
        "ftp://anna:secret@acme.com/x",
        "anna@example.com",
        "anna@mail.example.org",
        "getty@tty1.service",
        "a..b@acme.com",
        ".@acme.com",
        "A @ B.T",
        "a@.com",
        "anna@acme.com-x",
        "@",
        "a@",
    ],
)
def test_what_looks_like_an_address_is_none(text: str) -> None:
    assert spans(text, "email") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from 81.2.69.142 to 151.101.1.69.", ["81.2.69.142", "151.101.1.69"]),
        ("http://81.2.69.142:8080/ [81.2.69.142] 81.2.69.142/24", ["81.2.69.142"] * 3),
        ("1.1.1.1:53", ["1.1.1.1"]),
        ("[2a00:1450:4001:81b::200e]:443", ["2a00:1450:4001:81b::200e"]),
        ("2A00:1450:4001:081B:0000:0000:0000:200E,", ["2A00:1450:4001:081B:0000:0000:0000:200E"]),
        ("host: 2a00:1450:4001::200e: up", ["2a00:1450:4001::200e"]),
        ("::ffff:81.2.69.142", ["::ffff:81.2.69.142"]),
    ],
)
def test_public_address_is_found(text: str, found: list[str]) -> None:
    assert spans(text, "ipv4", "ipv6") == found


@pytest.mark.parametrize(
    "text",
    [
        "192.168.1.7, 10.0.0.1, 127.0.0.1, 172.16.9.9, 169.254.8.8, 100.64.1.1, 224.0.0.251, 203.0.113.77",
        "1.2.3.4 and 5.15.0.0, section 13.2.1.3, version 90.0.4430.212, v81.2.69.142",
        "1.3.6.1.4.1.311, 999.1.1.1, 81.2.69.142.5, 81.2.69.142-rc1, 081.2.69.142",
        "std::vector, a[::2], x::y::z, 12:34:56, dead::beef, add::cafe::bad, ::1, ::, fe80::1234:5678:9abc:def0",
        "00:11:22:33:44:55, 00:11:22:33:44:55:66:77, 2001:db8::1234:5678, 1:2:3:4:5:6:7:8:9, 12:2345:6789",
    ],
)
def test_versions_scopes_times_and_private_addresses_are_none(text: str) -> None:
    assert spans(text, "ipv4", "ipv6") == []


@given(st.ip_addresses(v=6))
def test_every_public_ipv6_address_is_found_but_those_of_few_digits(address: ipaddress.IPv6Address) -> None:
    found = find_in_text(f"see {address}, please")
    groups = [group for group in str(address).split(":") if group]
    if address in ipaddress.ip_network("2400::/6") and len(groups) > 2:
        assert [(one.kind, one.value) for one in found] == [("ipv6", str(address))]
    if address in ipaddress.ip_network("fc00::/6"):
        assert found == []


@given(st.ip_addresses(v=4, network="60.0.0.0/6").filter(lambda a: not str(a).endswith(".0.0")))
def test_every_public_ipv4_address_is_found(address: ipaddress.IPv4Address) -> None:
    assert [one.value for one in find_in_text(f"see {address}, please")] == [str(address)]
