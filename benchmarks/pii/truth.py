"""Texts with the spans that are to be found in them, and how many of them are: recall and precision per kind.

The shared set is presidio-research's (generated sentences with the places of the values; MIT).
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.annotate.pii.find import Found

SHARED_FILES = ("synth_dataset_v2.json", "generated_small.json")
KIND_OF = {
    "EMAIL_ADDRESS": "email",
    "IP_ADDRESS": "ip",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "credit_card",
    "PHONE_NUMBER": "phone",
}
"""Their entities that are kinds of ours; their others (names, addresses, dates, SSN) are not looked for."""


@dataclass(frozen=True)
class Case:
    """A text and the spans (start, end, kind) in bytes that are to be found in it; none for a hard negative."""

    text: str
    spans: tuple[tuple[int, int, str], ...]
    what: str


@dataclass
class Score:
    """What was found of one kind, in spans."""

    spans: int = 0
    found: int = 0
    """Spans that one of this kind covers whole."""
    false: int = 0
    """What touches no span of its kind."""

    @property
    def recall(self) -> float:
        """Found of all spans."""
        return self.found / self.spans if self.spans else 1.0

    @property
    def precision(self) -> float:
        """Found of all that was said to be of this kind."""
        return self.found / (self.found + self.false) if self.found + self.false else 1.0


def shared_cases(folder: Path) -> list[Case]:
    """Return the sentences of presidio-research with the spans of our kinds."""
    cases = []
    for name in SHARED_FILES:
        for row in json.loads((folder / name).read_text(encoding="utf-8")):
            text = row["full_text"]
            spans = tuple(
                (_bytes(text, span["start_position"]), _bytes(text, span["end_position"]), KIND_OF[span["entity_type"]])
                for span in row["spans"]
                if span["entity_type"] in KIND_OF
            )
            cases.append(Case(text, spans, name))
    return cases


def _bytes(text: str, place: int) -> int:
    return len(text[:place].encode())


def ip_as_one(kind: str) -> str:
    """Return the kind, both versions of IP as one, as the shared set has them."""
    return "ip" if kind in ("ipv4", "ipv6") else kind


def scores(cases: Iterable[Case], find: Callable[[str], list[Found]]) -> tuple[dict[str, Score], list[dict[str, str]]]:
    """Return (kind -> score, every miss and every false span with the text around it)."""
    of_kind: dict[str, Score] = {}
    wrong = []
    for case in cases:
        truth = [(start, end, ip_as_one(kind)) for start, end, kind in case.spans]
        found = [(one.start, one.end, ip_as_one(one.kind)) for one in find(case.text)]
        for start, end, kind in truth:
            score = of_kind.setdefault(kind, Score())
            is_found = any(f <= start and end <= e and k == kind for f, e, k in found)
            score.spans += 1
            score.found += is_found
            if not is_found:
                wrong.append({"what": "missed", "kind": kind, "case": case.what, "text": around(case.text, start, end)})
        for start, end, kind in found:
            if not any(start < e and s < end and k == kind for s, e, k in truth):
                of_kind.setdefault(kind, Score()).false += 1
                wrong.append({"what": "false", "kind": kind, "case": case.what, "text": around(case.text, start, end)})
    return of_kind, wrong


def around(text: str, start: int, end: int, width: int = 40) -> str:
    """Return a span marked, and what stands around it."""
    data = text.encode()
    before, behind = data[max(start - width, 0) : start], data[end : end + width]
    return f"{before.decode(errors='ignore')}<<{data[start:end].decode()}>>{behind.decode(errors='ignore')}"
