"""The bars: recall and precision per kind on presidio-research's sentences and on the built cases."""

from functools import partial
from pathlib import Path

import pytest

from benchmarks.pii.built import built_cases
from benchmarks.pii.truth import scores, shared_cases
from engine.annotate.pii import REGIONS
from engine.annotate.pii.find import find_in_text

find = partial(find_in_text, regions=REGIONS)
BARS = ("email", "credit_card", "iban", "ip")


def test_shared_sentences_reach_the_bars(shared_data: Path) -> None:
    measured, _ = scores(shared_cases(shared_data / "benchmarks" / "pii"), find)
    assert {kind: measured[kind].spans for kind in BARS} == {"email": 51, "credit_card": 146, "iban": 21, "ip": 16}
    for kind in BARS:
        assert measured[kind].recall >= 0.95, kind
        assert measured[kind].precision >= 0.95, kind
    assert measured["phone"].precision >= 0.95
    assert measured["phone"].recall >= 0.85


@pytest.mark.parametrize("seed", [1, 2])
def test_built_cases_reach_the_bars(seed: int) -> None:
    measured, wrong = scores(built_cases(200, seed), find)
    for kind in (*BARS, "phone", "key"):
        assert measured[kind].spans >= 200
        assert measured[kind].recall >= 0.95, wrong
        assert measured[kind].precision >= 0.95, wrong


def test_manuals_have_hardly_a_number_that_is_taken_for_personal(shared_data: Path) -> None:
    size, found = 0, []
    for path in sorted((shared_data / "corpora" / "debian").rglob("*.rst")):
        text = path.read_text(encoding="utf-8", errors="replace")
        size += len(text.encode())
        found += [text.encode()[one.start : one.end] for one in find(text) if one.kind not in ("email", "ipv6")]
    assert size > 1_000_000
    assert len(found) <= size / 1e6, found
