"""Of all candidates of a text those stay that overlap none of a kind that comes before."""

from hypothesis import given
from hypothesis import strategies as st

from engine.annotate.pii.find import KINDS, Found, find_in_text, without_overlaps


def test_a_text_may_hold_a_hundred_thousand_values() -> None:
    # Compared each with each, they would take minutes.
    text = " and ".join(f"ada{number}@analytical.org" for number in range(100_000))
    found = find_in_text(text, ("email",))
    assert len(found) == 100_000
    assert found == sorted(found)


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8), st.sampled_from(KINDS)), max_size=12)


@given(spans)
def test_of_overlapping_spans_those_stay_that_plain_python_keeps(given_spans: list[tuple[int, int, str]]) -> None:
    every = [Found(start, start + size, kind, "x") for start, size, kind in given_spans]
    kept: list[Found] = []
    for span in sorted(every, key=lambda s: (KINDS.index(s.kind), s.start - s.end, s.start)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    assert without_overlaps(every) == sorted(kept)
