"""Keys by their prefix, private keys as one span, placeholders left alone. The values here are drawn, nobody's."""

import pytest

from benchmarks.pii.built import built_cases
from engine.annotate.pii.find import find_in_text
from engine.annotate.pii.keys import FORMS

BODY = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY"
PEM = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}{BODY}\n{BODY}\n-----END OPENSSH PRIVATE KEY-----"


def keys(text: str) -> list[str]:
    return [text.encode()[one.start : one.end].decode() for one in find_in_text(text, ["key"])]


@pytest.mark.parametrize(
    "key",
    [
        "AKIAQ3ZT6HWX2MBNC7DK",
        f"ghp_{BODY}abcd",
        f"github_pat_{BODY[:22]}_{BODY}{BODY[:27]}",
        f"glpat-{BODY[:20]}",
        f"xoxb-{'123456789012'}-{BODY[:24]}",
        f"AIza{BODY}abc",
        f"sk_live_{BODY[:24]}",
        f"sk-proj-{BODY}",
        f"sk-ant-api03-{BODY}{BODY}-AA",
        f"hf_{BODY}ab",
        f"npm_{BODY}abcd",
        f"pypi-AgEIcHlwaS5vcmc{BODY}{BODY}",
        f"SG.{BODY[:22]}.{BODY}abcdefghijk",
        f"eyJhbGciOiJIUzI1NiJ9.eyJ{BODY}.{BODY}",
        PEM,
        PEM.replace("\n", "\\n"),
        f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}{BODY}\n{BODY}{BODY}",
    ],
)
def test_key_is_one_span(key: str) -> None:
    for before, behind in (("", ""), ("token = '", "'"), ("Bearer ", "."), ("\u5bc6\u94a5", "\u3002")):
        assert keys(before + key + behind) == [key]


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "AKIAQ3ZT6HWX2MBNC7D",
        "AKIAQ3ZT6HWX2MBNC7DKX",
        "xAKIAQ3ZT6HWX2MBNC7DK",
        "ghp_" + "x" * 36,
        "sk-loading-spinner-container-outer",
        "risk-Management2-of-things-that-are-long",
        "hf_hub_download_with_many_retries_please",
        "-----BEGIN PUBLIC KEY-----\n" + BODY + BODY + "\n-----END PUBLIC KEY-----",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "eyJub3QiOiJhIHRva2VuIn0",
        "--------BEGIN",
    ],
)
def test_placeholders_names_and_public_keys_are_none(text: str) -> None:
    assert keys(text) == []


def test_built_cases_have_keys_of_many_services() -> None:
    found = {
        case.text.encode()[start:end].decode()
        for case in built_cases(60)
        for start, end, kind in case.spans
        if kind == "key"
    }
    assert sum(any(key.startswith(prefix) for key in found) for prefix in FORMS) >= 12
