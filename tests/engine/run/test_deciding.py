"""Decisions over a whole corpus against plain Python; nothing is lost, whatever the rules and however it is cut."""

import random
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.base.errors import AuditError
from engine.formats.encoder import open_encoder
from engine.formats.ledger import unbalanced
from engine.run import balancing, large_groups
from engine.run.deciding import decisions_in_memory
from engine.select.balance import Rule
from engine.select.filters import Filter
from tests.engine.run.decided_corpus import corpus, expected, expected_sums, letters, row, verdicts

FILTERS = {
    "low_score": ("m__score >= 0.5", lambda one: one.get("score") is not None and not one["score"] < 0.5),
    "no_language": ("m__language IS NOT NULL", lambda one: one.get("language") is not None),
    "easy": ("m__grade > 1", lambda one: one.get("grade") is not None and one["grade"] > 1),
}
GROUPINGS = [
    ("m__language",),
    ("url_host",),
    ("m__grade", "m__language"),
    ("m__is_code", "m__language", "m__grade"),
    ("tagged__easy", "m__language"),
]


def random_rows(seed: int) -> list[dict[str, Any]]:
    """Forty documents, most of them in a few groups, so that caps and quotas have to choose."""
    numbers = random.Random(seed)

    def one_of(*values: Any) -> Any:
        return numbers.choice(values)

    texts = (None, " ", *("ab cd ef"[:size] + "gh ab." * numbers.randrange(6) for size in (2, 3, 5, 8, 8, 8)))
    rows = []
    for number in range(40):
        text = one_of(*texts)
        rare = {"held_out": "general", "is_copy": True, "read_problem": one_of("bad_json", "bad_utf8")}
        rows.append(
            row(
                f"{number}", text, one_of("web", "web", "books", "golden"),
                cut=one_of([], [(2, 9)], [(0, 3), (5, 11)]) if text and len(text) > 12 else [],
                language=one_of(None, "en", "en", "en", "de"), grade=one_of(None, 1, 2, 2, 3),
                is_code=one_of(None, True, True, False), url=one_of(None, "https://a.org/1", "http://B.org/2", "http://b.org"),
                score=one_of(None, 0.0, -0.0, 0.25, 0.5, 0.75, 1.0, float("nan"), float("inf")),
                **dict([one_of(*rare.items())] if numbers.random() < 0.2 else []),
            )
        )  # fmt: skip
    return rows


@st.composite
def balance_rules(draw: st.DrawFn) -> list[Rule]:
    rules = []
    for position in range(draw(st.integers(1, 3))):
        by = draw(st.sampled_from(GROUPINGS))
        unit = draw(st.sampled_from(["documents", "bytes", "tokens"]))
        scale = {"documents": 1, "bytes": 20, "tokens": 12}[unit]
        cap = draw(st.one_of(st.none(), st.integers(0, 5)))
        has_quota = cap is None or draw(st.booleans())
        values = {"m__language": "en", "url_host": "b.org", "m__grade": 2, "m__is_code": True, "tagged__easy": True}
        quotas = [{"group": {name: values[name] for name in by}, "amount": draw(st.integers(1, 6)) * scale}]
        prefer, where = draw(st.sampled_from([None, "m__score"])), draw(st.sampled_from([None, None, "m__grade >= 2"]))
        rules.append(
            Rule(
                reason=f"b{position}", by=by, unit=unit, cap=None if cap is None else cap * scale,
                quotas=quotas if has_quota else [], prefer=prefer, where=where, seed=draw(st.integers(0, 3)),
            )
        )  # fmt: skip
    return rules


# Of every value that quotas ask for there is one somewhere, so that none is an error; what becomes of it is no matter.
ALWAYS = row("always", "ab", "web", language="en", grade=2, is_code=True, score=1.0, url="http://b.org")
TAGGED = row("tagged", "ab", "golden", language="en", grade=1, is_code=True, score=1.0, url="http://b.org")


def test_tokens_that_came_in_are_those_the_stage_summed_up(tmp_path: Path) -> None:
    rows = [row(f"{n}", "ab cd", "web", language="en") for n in range(4)]
    made = corpus(tmp_path, rows, with_split=False)
    decisions = decisions_in_memory(made.context, made.state)
    assert decisions.ledger().filter(pl.col("outcome") == "in")["tokens"].to_list() == [12]
    [part] = (tmp_path / "columns" / "web").glob("*.parquet")
    frame = pl.read_parquet(part)
    frame.with_columns(pl.lit(2, pl.UInt32).alias("tokens__count")).write_parquet(part)
    with pytest.raises(AuditError, match=r"12 tokens of web came in, 8 are accounted for"):
        decisions.ledger()


@given(
    seed=st.integers(0, 10**6),
    filters=st.lists(st.sampled_from(sorted(FILTERS)), max_size=2, unique=True),
    actions=st.lists(st.sampled_from(["drop", "tag"]), min_size=2, max_size=2),
    rules=balance_rules(),
    width=st.sampled_from([4, 6, 40]),
    layout=st.tuples(st.booleans(), st.integers(1, 2), st.sampled_from([3, 1 << 20])),
)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_decisions_and_ledger_are_those_of_plain_python(
    seed: int, filters: list[str], actions: list[str], rules: list[Rule], width: int, layout: Any
) -> None:
    rows = [*random_rows(seed), ALWAYS, TAGGED]
    chosen = [
        Filter(reason=name, keep=FILTERS[name][0], action=action)
        for name, action in zip(filters, actions, strict=False)
        if name != "easy"
    ]
    chosen.append(Filter(reason="easy", keep=FILTERS["easy"][0], action="tag"))
    passes = {name: test for name, (_, test) in FILTERS.items()}
    backwards, jobs, entries = layout
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(balancing, "most_entries", lambda _: entries)
        patch.setattr(large_groups, "BOUNDS", 4)
        patch.setattr(large_groups, "SAMPLE", 6)
        made = corpus(Path(folder), rows, chosen, rules, lambda place: place * 7 % 11 // width, jobs, backwards)
        decisions = decisions_in_memory(made.context, made.state)
        encode = open_encoder(letters(Path(folder)))

        def tokens(text: str) -> int:
            return len(encode([text])[0])

        found = verdicts(decisions.frames())
        should = expected(rows, chosen, passes, rules, tokens)
        assert found == should
        ledger = decisions.ledger()
        assert unbalanced(ledger).height == 0
        sums = {(one[1], one[2], one[3]): one[4:] for one in ledger.rows()}
        assert sums == expected_sums(rows, should, tokens)
        assert decisions.balance.table.filter(pl.col("kept_documents") > pl.col("available_documents")).height == 0
