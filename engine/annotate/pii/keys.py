"""Keys and tokens that show by their prefix what they are, and private keys in PEM blocks.

The forms are those the services document. Placeholders are none: what says "example", or has few different characters.
"""

import re

_BORDER = rb"(?![A-Za-z0-9_])"
_TOKEN = rb"[A-Za-z0-9_-]"
FORMS: dict[str, bytes] = {
    # Amazon Web Services, access key ids
    "AKIA": rb"[A-Z2-7]{16}",
    "ASIA": rb"[A-Z2-7]{16}",
    # Google
    "AIza": _TOKEN + rb"{35}",
    "ya29.": _TOKEN + rb"{20,}",
    # GitHub, GitLab
    "ghp_": rb"[A-Za-z0-9]{36,}",
    "gho_": rb"[A-Za-z0-9]{36,}",
    "ghu_": rb"[A-Za-z0-9]{36,}",
    "ghs_": rb"[A-Za-z0-9]{36,}",
    "ghr_": rb"[A-Za-z0-9]{36,}",
    "github_pat_": rb"[A-Za-z0-9_]{40,}",
    "glpat-": _TOKEN + rb"{20,}",
    # Slack
    "xoxa-": _TOKEN + rb"{20,}",
    "xoxb-": _TOKEN + rb"{20,}",
    "xoxe-": _TOKEN + rb"{20,}",
    "xoxp-": _TOKEN + rb"{20,}",
    "xoxr-": _TOKEN + rb"{20,}",
    "xoxs-": _TOKEN + rb"{20,}",
    "xapp-": _TOKEN + rb"{20,}",
    # Stripe
    "sk_live_": rb"[A-Za-z0-9]{16,}",
    "sk_test_": rb"[A-Za-z0-9]{16,}",
    "rk_live_": rb"[A-Za-z0-9]{16,}",
    "rk_test_": rb"[A-Za-z0-9]{16,}",
    # OpenAI, Anthropic, Hugging Face
    "sk-": _TOKEN + rb"{20,}",
    "hf_": rb"[A-Za-z0-9]{30,}",
    # Package registries
    "npm_": rb"[A-Za-z0-9]{36}",
    "pypi-": rb"AgE[A-Za-z0-9_-]{50,}",
    "dckr_pat_": _TOKEN + rb"{20,}",
    # SendGrid, Twilio, Shopify, DigitalOcean
    "SG.": rb"[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}",
    "SK": rb"[0-9a-f]{32}",
    "shpat_": rb"[0-9a-fA-F]{32}",
    "dop_v1_": rb"[0-9a-f]{64}",
    # age, JSON Web Tokens
    "AGE-SECRET-KEY-1": rb"[0-9A-Z]{58}",
    "eyJ": rb"[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "-----BEGIN ": rb"",
}
"""Prefix -> what has to follow."""
PREFIXES = tuple(FORMS)
_PEM = "-----BEGIN "
_MIXED = ("sk-", "hf_")
"""Prefixes that begin names of other things too: digits, capitals and small letters have to follow."""
_FORMS = {prefix: re.compile(re.escape(prefix.encode()) + form + _BORDER) for prefix, form in FORMS.items()}
_PEM_BLOCK = re.compile(
    rb"-----BEGIN (?P<what>[A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?)-----(?P<body>.{40,16384}?)-----END (?P=what)-----",
    re.DOTALL,
)
_PEM_OPEN = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?P<body>(?:\s+[A-Za-z0-9+/=]{40,76})+)")
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/=]{30,}")
_EXAMPLE = re.compile(rb"(?i)example|placeholder|redacted|xxxxxx")
_MIN_DIFFERENT = 8


def key_end(text: bytes, start: int, prefix_end: int) -> int | None:
    """Return where the key ends whose prefix is text[start:prefix_end]; None where it is none."""
    prefix = text[start:prefix_end].decode("ascii")
    if prefix == _PEM:
        block = _PEM_BLOCK.match(text, start) or _PEM_OPEN.match(text, start)
        return block.end() if block and _BASE64_RUN.search(block["body"]) and not _is_made_up(block["body"]) else None
    match = _FORMS[prefix].match(text, start)
    if match is None:
        return None
    # A hyphen at the end belongs to the sentence.
    end = start + len(match[0].rstrip(b"-"))
    body = text[prefix_end:end]
    if prefix in _MIXED and not (_has(body, b"0", b"9") and _has(body, b"A", b"Z") and _has(body, b"a", b"z")):
        return None
    return None if _is_made_up(body) else end


def _has(body: bytes, first: bytes, last: bytes) -> bool:
    return any(first[0] <= byte <= last[0] for byte in body)


def _is_made_up(body: bytes) -> bool:
    return len(set(body)) < _MIN_DIFFERENT or _EXAMPLE.search(body) is not None
