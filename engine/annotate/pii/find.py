"""All spans of a text: candidates checked one by one, and of those that overlap the one whose kind comes first."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.pii.addresses import email, ipv4, ipv6
from engine.annotate.pii.candidates import Candidate, find_candidates
from engine.annotate.pii.keys import key_end
from engine.annotate.pii.numbers import card_number, iban
from engine.annotate.pii.phones import phone
from engine.text.utf8 import text_buffers

KINDS = ("key", "email", "iban", "credit_card", "ipv6", "ipv4", "phone")
"""In the order in which they win where spans overlap: what is checked most strictly, first."""
_KIND_OF = {
    Candidate.KEY: "key",
    Candidate.EMAIL: "email",
    Candidate.IBAN: "iban",
    Candidate.CARD: "credit_card",
    Candidate.IPV6: "ipv6",
    Candidate.IPV4: "ipv4",
    Candidate.PHONE: "phone",
}


@dataclass(frozen=True, order=True)
class Found:
    """One span: bytes of the UTF-8 text, its kind, and its value in one form for all ways of writing it."""

    start: int
    end: int
    kind: str
    value: str


def find_in_text(text: str, kinds: Collection[str] = KINDS, regions: Sequence[str] = ("US",)) -> list[Found]:
    """Return the spans of one text in order; no two overlap."""
    return dict(find_all(pa.chunked_array([pa.array([text], pa.large_string())]), kinds, regions)).get(0, [])


def find_all(
    texts: pa.ChunkedArray, kinds: Collection[str], regions: Sequence[str]
) -> Iterator[tuple[int, list[Found]]]:
    """Yield (row, its spans in order) of the texts that have any. texts: large strings or nulls."""
    first = 0
    for chunk in texts.chunks:
        data, edges = text_buffers(chunk)
        rows = _wanted(find_candidates(data, edges), kinds)
        for row, of_row in groupby(rows, key=itemgetter(0)):
            text = data[edges[row] : edges[row + 1]].tobytes()
            spans = _checked(text, of_row, regions)
            if spans:
                yield first + row, _completed(text, spans, kinds, regions)
        first += len(chunk)


def _wanted(candidates: NDArray[np.int64], kinds: Collection[str]) -> list[list[int]]:
    wanted = [int(candidate) for candidate, kind in _KIND_OF.items() if kind in kinds]
    return candidates[np.isin(candidates[:, 1], wanted)].tolist()


def _completed(text: bytes, spans: list[Found], kinds: Collection[str], regions: Sequence[str]) -> list[Found]:
    """Return the spans and those found once these are taken away, as often as there are more.

    A value next to another is judged as it will stand when that is replaced; so nothing new is found afterwards.
    """
    more = spans
    while more:
        rest = bytearray(text)
        for span in spans:
            rest[span.start : span.end] = b"<".ljust(span.end - span.start - 1, b"~") + b">"
        edges = np.frombuffer(np.array([0, len(rest)], dtype=np.int64).tobytes(), dtype=np.int64)
        candidates = find_candidates(np.frombuffer(bytes(rest), dtype=np.uint8), edges)
        found = _checked(bytes(rest), _wanted(candidates, kinds), regions)
        taken = _Taken(spans)
        more = [one for one in found if taken.has_room(one)]
        spans = sorted([*spans, *more])
    return spans


def _checked(text: bytes, candidates: Iterable[list[int]], regions: Sequence[str]) -> list[Found]:
    found = []
    for _, candidate, start, end in candidates:
        span = _check(text, candidate, start, end, regions)
        if span is not None:
            found.append(span)
    return without_overlaps(found)


def without_overlaps(found: list[Found]) -> list[Found]:
    """Return spans of which no two overlap, in order: the first kind of KINDS wins, then the longer, the earlier."""
    rank = {kind: number for number, kind in enumerate(KINDS)}
    taken = _Taken()
    for span in sorted(found, key=lambda s: (rank.get(s.kind, len(rank)), s.start - s.end, s.start)):
        if taken.has_room(span):
            taken.add(span)
    return taken.spans


class _Taken:
    """Spans of which no two overlap, in order; a text can have hundreds of thousands."""

    def __init__(self, spans: Sequence[Found] = ()) -> None:
        self.spans = sorted(spans)
        self._ends = [span.end for span in self.spans]

    def has_room(self, span: Found) -> bool:
        """Return whether a span overlaps none: neither the last that ends at or before its start, nor the next one."""
        place = bisect_right(self._ends, span.start)
        return place == len(self.spans) or span.end <= self.spans[place].start

    def add(self, span: Found) -> None:
        """Add a span there is room for."""
        place = bisect_right(self._ends, span.start)
        self.spans.insert(place, span)
        self._ends.insert(place, span.end)


def _check(text: bytes, candidate: int, start: int, end: int, regions: Sequence[str]) -> Found | None:
    kind = _KIND_OF[Candidate(candidate)]
    if candidate == Candidate.EMAIL:
        address = email(text, start, end)
        return None if address is None else Found(address[0], address[1], kind, address[2])
    if candidate == Candidate.KEY:
        stop = key_end(text, start, end)
        return None if stop is None else Found(start, stop, kind, "".join(text[start:stop].decode().split()))
    if candidate == Candidate.IBAN:
        account = iban(text, start, end)
        return None if account is None else Found(start, account[1], kind, account[0])
    if candidate == Candidate.CARD:
        digits = card_number(text, start, end)
        return None if digits is None else Found(start, end, kind, digits)
    if candidate == Candidate.IPV4:
        numbers = ipv4(text, start, end)
        return None if numbers is None else Found(start, end, kind, numbers)
    address = ipv6(text, start, end) if candidate == Candidate.IPV6 else phone(text, start, end, regions)
    return None if address is None else Found(address[0], address[1], kind, address[2])
