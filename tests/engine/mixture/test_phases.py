"""A whole plan is that of its definition in plain Python, and phases share documents as they should."""

import random
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import RecipeError
from engine.base.hashing import digest_bytes, digest_parts
from engine.base.seeded import seeded_keys
from engine.formats.ledger import unbalanced
from engine.mixture.build import CANDIDATES_SCHEMA, MixturePlan, order_digest, plan_mixture
from engine.mixture.config import Config
from engine.mixture.seeded_order import seeded_positions


def candidates(**sources: list[int]) -> pl.DataFrame:
    """Kept documents by their supervised tokens, each with two tokens more; the difficulty is arbitrary."""
    rows = [
        (digest_bytes(f"{source} {number}".encode()), source, None, tokens + 2, tokens, 4 * tokens, number * 7 % 5)
        for source, lengths in sources.items()
        for number, tokens in enumerate(lengths)
    ]
    names = ["doc_id", "source", "license", "num_tokens", "supervised_tokens", "num_bytes", "difficulty"]
    frame = pl.DataFrame(rows, schema=names, orient="row").sort("doc_id").with_row_index("store_row")
    return frame.cast({name: dtype for name, dtype in CANDIDATES_SCHEMA.items() if name in frame.columns})  # type: ignore[arg-type]


def plan(config: dict[str, Any], frame: pl.DataFrame, **more: Any) -> MixturePlan:
    checked = Config.model_validate(config)
    return plan_mixture("m", checked, frame, dict.fromkeys(checked.source_names(), "0" * 32), **more)


def split(total: int, weights: dict[str, Fraction]) -> dict[str, int]:
    quotas = {name: total * weight / sum(weights.values()) for name, weight in weights.items()}
    parts = {name: quota.__floor__() for name, quota in quotas.items()}
    for name in sorted(quotas, key=lambda name: (parts[name] - quotas[name], name))[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def fill(documents: list[dict[str, Any]], budget: int) -> dict[bytes, int]:
    """Use documents, in the seeded order, those used least first; returns doc_id -> uses."""
    found: Counter[bytes] = Counter()
    while budget:
        now = {doc["doc_id"]: doc["used"] + found[doc["doc_id"]] for doc in documents}
        rows = [doc for doc in documents if now[doc["doc_id"]] == min(now.values())]
        rows.sort(key=lambda doc: found[doc["doc_id"]])
        fits = sum(doc["supervised_tokens"] for doc in rows) <= budget
        for doc in rows:
            if doc["supervised_tokens"] <= budget:
                found[doc["doc_id"]] += 1
                budget -= doc["supervised_tokens"]
        if not fits:
            break
    return dict(found)


class ImpossibleError(Exception):
    """The oracle finds a budget that cannot be had."""


def oracle(config: dict[str, Any], frame: pl.DataFrame) -> list[tuple[int, str, bool, bytes, int]]:
    """Plan phases that write all their keys: (phase, source, is_replay, doc_id, repeats), sorted."""
    own = int.from_bytes(digest_bytes(b"1:mixture")[:8], "little")
    documents = [row | {"used": 0} for row in frame.filter(pl.col("supervised_tokens") > 0).to_dicts()]
    keys = seeded_keys(pl.Series([doc["doc_id"] for doc in documents], dtype=pl.Binary), own).tolist()
    by_key = sorted(zip(keys, documents, strict=True), key=lambda pair: (pair[0], pair[1]["doc_id"]))
    documents = [doc for _, doc in by_key]
    found = []
    for number, phase in enumerate(config["phases"]):
        share = Fraction(str(phase["replay"]["share"]))
        domain = split(phase["budget_tokens"], {"domain": 1 - share, "replay": share})["domain"]
        taken: Counter[bytes] = Counter()
        for is_replay, weights in ((False, phase["sources"]), (True, phase["replay"]["sources"])):
            if is_replay and not share:
                continue
            cost = sum(doc["supervised_tokens"] * taken[doc["doc_id"]] for doc in documents)
            total = (cost * share / (1 - share)).__floor__() if is_replay else domain
            left = 0
            budgets = split(total, {name: Fraction(weight) for name, weight in weights.items() if weight})
            roles: Counter[bytes] = Counter()
            for name in sorted(budgets):
                mine = [doc for doc in documents if doc["source"] == name and not taken[doc["doc_id"]]]
                room = sum(doc["supervised_tokens"] * (config["max_repeats"] - doc["used"]) for doc in mine)
                if not 0 < budgets[name] <= room:
                    raise ImpossibleError
                used = fill(mine, min(budgets[name] + left, room))
                if not used:
                    raise ImpossibleError
                spent = sum(doc["supervised_tokens"] * used.get(doc["doc_id"], 0) for doc in mine)
                left = budgets[name] + left - spent if is_replay else 0
                roles.update(used)
                found += [(number, name, is_replay, doc_id, uses) for doc_id, uses in used.items()]
            taken.update(roles)
            for doc in documents:
                doc["used"] += roles[doc["doc_id"]]
    return sorted(found)


lengths = st.lists(st.integers(0, 6), min_size=5, max_size=12)
weights = st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), min_size=1)
phases = st.fixed_dictionaries(
    {
        "sources": weights,
        "budget_tokens": st.integers(30, 60),
        "replay": st.fixed_dictionaries({"share": st.sampled_from([0, 0.1, 0.3]), "sources": weights}),
        "curriculum": st.sampled_from(["shuffled", "by_length"]),
    }
)


@settings(deadline=None, max_examples=80)
@given(st.tuples(lengths, lengths, lengths), st.lists(phases, min_size=1, max_size=3), st.integers(1, 6), st.randoms())
def test_a_plan_is_that_of_its_definition_in_any_order_of_the_candidates(
    sources: tuple[list[int], list[int], list[int]], phases: list[dict[str, Any]], cap: int, random: random.Random
) -> None:
    frame = candidates(a=sources[0], b=sources[1], c=sources[2])
    rows = list(range(frame.height))
    random.shuffle(rows)
    named = [phase | {"name": f"p{number}"} for number, phase in enumerate(phases)]
    config = {"sources": ["a"], "phases": named, "max_repeats": cap}
    try:
        expected = oracle(config, frame)
    except ImpossibleError:
        with pytest.raises(RecipeError, match=r"mixtures\.m\.phases\.p[0-2]\."):
            plan(config, frame)
        return
    planned = plan(config, frame)
    documents = planned.documents
    found = documents.select("phase", "source", "is_replay", "doc_id", "repeats").rows()
    assert sorted(found) == expected
    assert plan(config, frame[rows]).documents.equals(documents)
    # What follows for everybody: budgets sum, caps hold over phases, every cell has a document.
    assert documents.group_by("doc_id").agg(pl.col("repeats").cast(int).sum())["repeats"].max() <= cap  # type: ignore[operator]
    assert documents["phase"].is_sorted()
    assert unbalanced(planned.ledger).is_empty()
    for number, phase in enumerate(named):
        share = Fraction(str(phase["replay"]["share"]))
        whole = phase["budget_tokens"]
        rows_of = [row for row in planned.sources if row.phase == number]
        domain = sum(row.budget_tokens for row in rows_of if not row.is_replay)
        assert domain == split(whole, {"domain": 1 - share, "replay": share})["domain"]
        for is_replay, weights in ((False, phase["sources"]), (True, phase["replay"]["sources"] if share else {})):
            budgets = {row.source: row.budget_tokens for row in rows_of if row.is_replay is is_replay}
            asked = {name: Fraction(weight) for name, weight in weights.items() if weight}
            assert budgets == (split(sum(budgets.values()), asked) if asked else {})
        assert planned.phases[number].supervised_tokens == sum(row.supervised_tokens for row in rows_of)
        assert all(row.documents > 0 for row in rows_of)


def test_a_later_phase_takes_what_was_used_least_and_repeats_only_where_a_source_is_exhausted() -> None:
    half = {"sources": ["web"], "budget_tokens": 60}
    third = {"sources": ["web"], "budget_tokens": 50}
    config = {"phases": [half | {"name": "one"}, half | {"name": "two"}, third | {"name": "three"}]}
    documents = plan(config, candidates(web=[10] * 10)).documents
    one, two, three = (set(documents.filter(phase=phase)["doc_id"]) for phase in range(3))
    assert (len(one), len(two), len(three)) == (6, 6, 5)
    assert len(one | two) == 10
    # Two had to repeat two documents of one; three repeats none of these.
    assert documents["repeats"].max() == 1
    assert not (one & two) & three


def test_text_of_an_earlier_phase_is_replayed_in_a_later_one() -> None:
    config = {
        "phases": [
            {"name": "general", "sources": ["web"]},
            {"name": "specific", "sources": ["law"], "replay": {"share": 0.5, "sources": ["web"]}},
        ],
    }
    planned = plan(config, candidates(web=[10] * 10, law=[10] * 4), objectives={"law": "answers"})
    assert [(row.phase, row.source, row.is_replay, row.documents, row.objective) for row in planned.sources] == [
        (0, "web", False, 10, "text"),
        (1, "law", False, 4, "answers"),
        (1, "web", True, 4, "text"),
    ]
    assert [(phase.name, phase.documents, phase.supervised_tokens) for phase in planned.phases] == [
        ("general", 10, 100),
        ("specific", 8, 80),
    ]
    assert planned.curriculum == "shuffled, then shuffled"
    assert planned.replay_share == 0.2222  # half of the 80 of 180
    assert planned.ledger.filter(outcome="kept")["documents"].to_list() == [4, 10]


def test_shares_of_phases_sum_to_the_budget() -> None:
    thirds = [{"name": name, "share": 0.3333} for name in ("a", "b", "c")]
    planned = plan({"sources": ["web"], "budget_tokens": 100, "phases": thirds}, candidates(web=[1] * 99))
    assert [phase.budget_tokens for phase in planned.phases] == [34, 33, 33]


def test_what_is_used_up_is_an_error_that_names_the_phase_and_what_is_possible() -> None:
    frame = candidates(web=[10] * 10)
    one = {"name": "one", "sources": ["web"], "budget_tokens": 80}
    two = {"name": "two", "sources": ["web"], "budget_tokens": 30}
    possible = r"mixtures\.m\.phases\.two\.sources\.web: .*leaves it 20\..*lower the budget of phase two to 20 or less"
    with pytest.raises(RecipeError, match=possible):
        plan({"phases": [one, two], "max_repeats": 1}, frame)
    assert plan({"phases": [one, two | {"budget_tokens": 20}], "max_repeats": 1}, frame).documents.height == 10
    with pytest.raises(RecipeError, match=r"two\.sources\.web: the phases before use each of its documents 1 times"):
        plan({"phases": [one | {"budget_tokens": 100}, two], "max_repeats": 1}, frame)


def test_weights_by_rule_and_a_source_left_out() -> None:
    frame = candidates(big=[1] * 400, small=[1] * 100, tiny=[1] * 4)
    rows = {
        rule: [row.budget_tokens for row in plan({"sources": ["big", "small", "tiny"], **keys}, frame).sources]
        for rule, keys in {
            "proportional": {"weighting": "proportional", "budget_tokens": 252},
            "temperature": {"weighting": "temperature", "temperature": 2, "budget_tokens": 32},
            "unimax": {"weighting": "unimax", "budget_tokens": 308, "max_repeats": 2},
        }.items()
    }
    assert rows == {"proportional": [200, 50, 2], "temperature": [20, 10, 2], "unimax": [150, 150, 8]}
    explicit = plan({"sources": {"big": 1, "small": 0}, "budget_tokens": 10}, frame)
    assert [row.source for row in explicit.sources] == ["big"]
    replay = {"share": 0.5, "sources": ["small", "tiny"], "weighting": "unimax"}
    replayed = plan({"sources": {"big": 1}, "budget_tokens": 40, "replay": replay, "max_repeats": 1}, frame)
    assert [row.budget_tokens for row in replayed.sources] == [20, 16, 4]
    with pytest.raises(RecipeError, match=r"m\.sources: budget of 505 .* leaves them 504 together.*to 504 or less"):
        plan(
            {"sources": ["big", "small", "tiny"], "weighting": "unimax", "budget_tokens": 505, "max_repeats": 1}, frame
        )


def test_each_phase_has_its_own_order() -> None:
    config = {
        "sources": ["a"],
        "difficulty": "difficulty",
        "curriculum": "easy_to_hard",
        "budget_tokens": 100,
        "phases": [{"name": "up", "share": 0.5}, {"name": "down", "share": 0.5, "curriculum": "hard_to_easy"}],
    }
    frame = candidates(a=[5] * 20)
    planned = plan(config, frame)
    values = planned.documents.join(frame, on="doc_id", how="left", maintain_order="left")["difficulty"].to_list()
    assert values[:10] == sorted(values[:10])
    assert values[10:] == sorted(values[10:], reverse=True)
    assert planned.curriculum == "easy_to_hard by difficulty, then hard_to_easy by difficulty"


def test_equal_keys_are_ordered_by_doc_id() -> None:
    # The keys come from the first eight bytes; whole ids differ.
    ids = [bytes(7) + bytes([number // 5]) + digest_bytes(bytes([number]))[:8] for number in range(20)]
    for seed in range(3):
        shuffled = random.Random(seed).sample(ids, 20)
        found = [shuffled[row] for row in seeded_positions(pl.Series(shuffled), seed, "mixture")]
        groups = [found[start : start + 5] for start in range(0, 20, 5)]
        assert all(group == sorted(group) and len({one[:8] for one in group}) == 1 for group in groups)


def test_the_digest_of_documents_is_that_of_their_bytes() -> None:
    documents = plan({"sources": ["a", "b"]}, candidates(a=[3] * 40, b=[4] * 9)).documents
    numbers = documents.with_columns(source=(pl.col("source") == "b").cast(pl.Int64)).drop("doc_id").cast(pl.Int64)
    parts = [b"a\0b", b"".join(documents["doc_id"])]
    parts += [np.array(numbers[name].to_list(), "<i8").tobytes() for name in sorted(numbers.columns)]
    assert order_digest(documents) == digest_parts(parts).hex()
    assert order_digest(pl.concat([documents[:9], documents[9:]], rechunk=False)) == order_digest(documents)
    assert order_digest(documents[7:]) == order_digest(documents[7:].clone().rechunk())
    assert order_digest(documents[7:]) != order_digest(documents[6:])


@pytest.mark.parametrize(
    ("config", "source"),
    [
        ({"sources": ["a"], "budget_tokens": 100, "replay": {"share": 0.0001, "sources": ["b"]}}, "replay.sources.b"),
        (
            {
                "sources": ["a"],
                "budget_tokens": 100,
                "replay": {"share": 0.0001, "sources": ["b"], "weighting": "unimax"},
            },
            "replay.sources.b",
        ),
        (
            {
                "sources": ["a"],
                "weighting": "unimax",
                "budget_tokens": 1,
                "replay": {"share": 0.9, "sources": ["b"]},
            },
            "sources.a",
        ),
    ],
)
def test_a_share_that_rounds_to_nothing_is_refused_whatever_the_rule(config: dict[str, Any], source: str) -> None:
    with pytest.raises(RecipeError, match=rf"^mixtures\.m\.{source}: its part of 0 supervised tokens is less than one"):
        plan(config, candidates(a=[10] * 50, b=[10] * 5))


def test_a_message_names_the_budget_of_a_phase_even_where_it_is_called_all() -> None:
    phases = {"sources": ["a"], "phases": [{"name": "all", "budget_tokens": 10_000}]}
    with pytest.raises(RecipeError, match="lower the budget of phase all"):
        plan(phases, candidates(a=[10] * 5))
    with pytest.raises(RecipeError, match="lower budget_tokens"):
        plan({"sources": ["a"], "budget_tokens": 10_000}, candidates(a=[10] * 5))


def test_a_group_of_a_stage_without_documents_is_named_with_its_mixture_and_phase() -> None:
    staged = {"curriculum": "staged", "difficulty": "difficulty", "stages": 4}
    with pytest.raises(RecipeError, match=r"^mixtures\.m\.stages: group"):
        plan({"sources": ["a"], **staged}, candidates(a=[10]))
    with pytest.raises(RecipeError, match=r"^mixtures\.m\.phases\.late\.stages: group"):
        plan({"sources": ["a"], "phases": [{"name": "late", "budget_tokens": 10, **staged}]}, candidates(a=[10]))
