"""The compiled pass proposes no less than plain Python that looks at every place."""

import re

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.annotate.pii.candidates import Candidate, find_candidates
from engine.annotate.pii.keys import PREFIXES
from engine.annotate.pii.phones import phone
from engine.text.utf8 import text_buffers

PIECES = (
    *("1", "22", "333", "4444", ".", "-", " ", "  ", "+", "(", ")", "/", ":", "::", "a", "ab", "@"),
    *("\u00e9", "\u6f22", "\n", "_", "x.com", "--", *PREFIXES),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


def candidates(*texts: str | None) -> list[tuple[int, int, int, int]]:
    return [tuple(row) for row in find_candidates(*text_buffers(pa.array(texts, pa.large_string()))).tolist()]


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("::133344444444")
def test_keys_dotted_numbers_and_long_runs_are_those_of_plain_python(text: str) -> None:
    data = text.encode()
    found = {row[1:] for row in candidates(text)}
    expected = {
        (Candidate.KEY, match.start(), match.start() + len(prefix))
        for prefix in PREFIXES
        for match in re.finditer(rb"(?<![A-Za-z0-9_])(?=" + re.escape(prefix.encode()) + rb")", data)
        if not (prefix[0] == "-" and data[max(match.start() - 1, 0) : match.start()] == b"-")
    }
    assert {row for row in found if row[0] == Candidate.KEY} == expected
    dotted = re.finditer(rb"(?<![A-Za-z0-9_])(?<!\d\.)\d+(?:\.\d+){3,}", data)
    expected = {(Candidate.IPV4, match.start(), match.end()) for match in dotted}
    assert expected <= found
    cards = re.finditer(rb"(?<![A-Za-z0-9_])(?<!\d[ -])\d+(?:[ -]\d+)*", data)
    expected = {(Candidate.CARD, m.start(), m.end()) for m in cards if len(re.sub(rb"\D", b"", m[0])) >= 12}
    assert expected <= found


@given(st.lists(st.one_of(st.none(), TEXTS), max_size=5))
def test_documents_are_apart_and_in_order(texts: list[str | None]) -> None:
    alone = [(number, *row[1:]) for number, text in enumerate(texts) for row in candidates(text)]
    assert candidates(*texts) == alone


def test_more_candidates_than_there_is_room_for_are_all_found() -> None:
    text = "81.2.69.142 x " * 10_000
    starts = [start for _, kind, start, _ in candidates(text) if kind == Candidate.IPV4]
    assert starts == list(range(0, 140_000, 14))


def test_slices_of_an_array_are_read_where_they_begin() -> None:
    whole = pa.array(["a@b.com", "x", "c@d.com"], pa.large_string())
    assert find_candidates(*text_buffers(whole.slice(2)))[:, 2:].tolist() == [[1, 7]]


PHONE_PIECES = (
    *("212-736-5000", "(212) 736-5000", "+49 30 226-32933", "2127365000", "9472 79 16", "1.5", "81.2.69.142", "7"),
    *(
        "Tel. ",
        "call ",
        " office",
        "x",
        "ext. 7",
        " ",
        "-",
        ".",
        ",",
        "/",
        ":",
        "=",
        "(",
        ")",
        "+",
        "$",
        "%",
        "\u00e9",
        "\n",
    ),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PHONE_PIECES), max_size=8).map("".join))
def test_no_telephone_number_is_left_out(text: str) -> None:
    data, found = text.encode(), {row[1:] for row in candidates(text)}
    runs = re.finditer(rb"[+(]{0,2}(?<![A-Za-z0-9_])\d+(?:[ ./()-]{1,3}\d+)*", data)
    addresses = [row for row in found if row[0] == Candidate.IPV6]
    for start, end in (match.span() for match in runs):
        if phone(data, start, end, ("US", "DE")) and all(end <= first or last <= start for _, first, last in addresses):
            assert (Candidate.PHONE, start, end) in found
