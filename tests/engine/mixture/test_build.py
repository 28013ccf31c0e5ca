"""A plan takes whole documents up to exact budgets, each in one role, whatever order they come in."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import RecipeError
from engine.base.hashing import digest_bytes
from engine.formats.ledger import unbalanced
from engine.formats.manifest import DOCUMENTS_SCHEMA
from engine.mixture.accounts import effective_sources
from engine.mixture.build import CANDIDATES_SCHEMA, MixturePlan, plan_mixture
from engine.mixture.config import Config


def candidates(**sources: Sequence[int]) -> pl.DataFrame:
    """Kept documents by their supervised tokens; each has one token more, and four bytes a token."""
    rows = [
        {
            "doc_id": digest_bytes(f"{source} {number}".encode()),
            "source": source,
            "license": "MIT" if number % 2 else None,
            "num_tokens": tokens + 1,
            "supervised_tokens": tokens,
            "num_bytes": 4 * tokens,
        }
        for source, lengths in sources.items()
        for number, tokens in enumerate(lengths)
    ]
    frame = pl.DataFrame(rows).sort("doc_id").with_row_index("store_row")
    schema = pl.Schema(CANDIDATES_SCHEMA)
    return frame.select(schema.names()).cast(schema)


def plan(config: dict[str, object] | Config, frame: pl.DataFrame) -> MixturePlan:
    """Plan a mixture named `m`."""
    config = config if isinstance(config, Config) else Config.model_validate(config)
    return plan_mixture("m", config, frame, {name: f"digest of {name}" for name in config.source_names()})


def supervised(documents: pl.DataFrame) -> int:
    return int((documents["supervised_tokens"].cast(pl.Int64) * documents["repeats"].cast(pl.Int64)).sum())


def test_without_a_budget_everything_is_used_once() -> None:
    frame = candidates(a=[10, 20], b=[30], c=[99])
    planned = plan({"sources": ["a", "b"]}, frame)
    assert planned.documents.schema == pl.Schema(DOCUMENTS_SCHEMA)
    assert planned.documents["document"].to_list() == [0, 1, 2]
    assert sorted(planned.documents["supervised_tokens"]) == [10, 20, 30]
    assert set(planned.documents["repeats"]) == {1}
    assert [(s.source, s.is_replay, s.budget_tokens, s.supervised_tokens) for s in planned.sources] == [
        ("a", False, 30, 30),
        ("b", False, 30, 30),
    ]


def test_with_weights_and_no_budget_the_scarcest_source_is_used_whole() -> None:
    planned = plan({"sources": {"a": 3, "b": 1}}, candidates(a=[1] * 100, b=[1] * 100))
    assert [(s.source, s.supervised_tokens) for s in planned.sources] == [("a", 100), ("b", 33)]
    assert planned.documents["repeats"].max() == 1


def test_a_row_says_what_was_there_and_what_is_used() -> None:
    planned = plan({"sources": {"a": 1}, "budget_tokens": 25, "max_repeats": 3}, candidates(a=[5, 5]))
    assert [row.model_dump() for row in planned.sources] == [
        {
            "source": "a",
            "is_replay": False,
            "phase": 0,
            "objective": "text",
            "input_digest": "digest of a",
            "budget_tokens": 25,
            "available_documents": 2,
            "available_tokens": 12,
            "documents": 2,
            "unique_tokens": 12,
            "first_documents": 0,  # of the version, when it is written
            "first_tokens": 0,
            "tokens": 30,
            "supervised_tokens": 25,
            "max_repeats": 3,
            "licenses": {"MIT": 1, "unknown": 1},
        }
    ]


lengths = st.lists(st.integers(20, 300), min_size=8, max_size=60)


@settings(deadline=None)
@given(lengths, lengths, lengths, st.sampled_from([0, 0.05, 0.1, 0.25, 0.5]), st.integers(0, 99))
def test_replay_is_its_share_of_the_supervised_tokens_to_within_one_document(
    a: list[int], b: list[int], c: list[int], share: float, seed: int
) -> None:
    # Replay sources of sufficient size, so that only the sizes of documents stand in the way.
    config = {
        "sources": ["a"],
        "replay": {"share": share, "sources": ["b", "c"]},
        "max_repeats": 1000,
        "seed": seed,
    }
    planned = plan(config, candidates(a=a * 20, b=[*b, 1], c=[*c, 1]))
    replay = supervised(planned.documents.filter("is_replay"))
    domain = supervised(planned.documents.filter(~pl.col("is_replay")))
    assert domain == sum(a) * 20
    exact = Fraction(str(share))
    assert 0 <= exact / (1 - exact) * domain - replay < max(b + c)
    if share == 0:
        assert replay == 0


@settings(deadline=None)
@given(st.integers(100, 5000), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_no_source_exceeds_its_budget_and_budgets_sum_to_the_whole(budget: int, a: int, b: int, seed: int) -> None:
    frame = candidates(a=[7, 3, 11, 2, 9, 5, 1] * 5, b=[4, 6, 1] * 9)
    config = {"sources": {"a": a, "b": b}, "budget_tokens": budget, "max_repeats": 1000, "seed": seed}
    planned = plan(config, frame)
    assert sum(row.budget_tokens for row in planned.sources) == budget
    for row in planned.sources:
        mine = planned.documents.filter(pl.col("source") == row.source)
        assert 0 <= row.budget_tokens - row.supervised_tokens <= 11
        assert row.supervised_tokens == supervised(mine)
        assert row.max_repeats == mine["repeats"].max()


def test_documents_are_chosen_by_the_seed_and_not_by_their_order() -> None:
    frame = candidates(a=list(range(1, 200)))
    shuffled = frame.sample(fraction=1, shuffle=True, seed=1)
    config = {"sources": ["a"], "budget_tokens": 2000}
    one, two = plan(config, frame), plan(config, shuffled)
    assert one.documents.equals(two.documents)
    assert one.order_digest == two.order_digest
    other = plan({**config, "seed": 2}, frame)
    assert set(other.documents["doc_id"]) != set(one.documents["doc_id"])


def test_a_source_may_be_domain_text_and_replay_but_a_document_only_one() -> None:
    config = {"sources": ["a"], "replay": {"share": 0.5, "sources": ["a"]}, "budget_tokens": 100}
    planned = plan(config, candidates(a=[10] * 20))
    assert planned.documents.group_by("is_replay").len().sort("is_replay")["len"].to_list() == [5, 5]
    assert planned.documents["doc_id"].is_unique().all()
    assert [(s.source, s.is_replay) for s in planned.sources] == [("a", False), ("a", True)]
    assert unbalanced(planned.ledger).is_empty()


def test_a_source_whose_domain_text_takes_all_leaves_no_replay() -> None:
    with pytest.raises(RecipeError, match=r"mixtures\.m\.replay\.sources\.a: it is domain text and replay"):
        plan({"sources": ["a"], "replay": {"share": 0.1, "sources": ["a"]}}, candidates(a=[10] * 20))


def test_a_source_without_kept_documents_is_an_error_that_names_it() -> None:
    for config in ({"sources": ["a", "b"]}, {"sources": ["a"], "replay": {"share": 0.1, "sources": ["b"]}}):
        with pytest.raises(RecipeError, match=r"sources\.b: no kept document"):
            plan(config, candidates(a=[10]))


def test_a_source_that_would_get_no_document_is_an_error_that_names_it() -> None:
    with pytest.raises(
        RecipeError, match=r"sources\.b: budget of 50 supervised tokens, but its shortest document has 60"
    ):
        plan({"sources": {"a": 1, "b": 1}, "budget_tokens": 100}, candidates(a=[10] * 9, b=[60, 70]))


def test_what_the_message_says_is_possible_is_possible() -> None:
    frame = candidates(a=[10] * 10, b=[10] * 3)
    config = {"sources": ["a"], "replay": {"share": 0.5, "sources": ["b"]}, "max_repeats": 2}
    with pytest.raises(RecipeError, match=r"replay\.sources\.b: budget of 100 .* budget_tokens to 120 or less"):
        plan({**config, "budget_tokens": 200}, frame)
    planned = plan({**config, "budget_tokens": 120}, frame)
    assert [(s.source, s.supervised_tokens) for s in planned.sources] == [("a", 60), ("b", 60)]


def test_the_ledger_balances_and_names_what_is_over_budget() -> None:
    planned = plan({"sources": ["a"], "budget_tokens": 30}, candidates(a=[10] * 10, b=[5]))
    assert unbalanced(planned.ledger).is_empty()
    assert planned.ledger.select("step", "source", "outcome", "documents", "bytes", "tokens").rows() == [
        ("mixture:m", "a", "in", 10, 400, 110),
        ("mixture:m", "a", "kept", 3, 120, 33),
        ("mixture:m", "a", "over_budget", 7, 280, 77),
    ]


def test_documents_without_labels_are_left_over() -> None:
    planned = plan({"sources": ["a"]}, candidates(a=[0, 10, 0]))
    assert planned.documents["supervised_tokens"].to_list() == [10]
    assert unbalanced(planned.ledger).is_empty()


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [([], 0.0), ([7], 1.0), ([5, 5, 5], 3.0), ([3, 1], 1.7548), ([1, 0], 1.0), ([10**15, 1], 1.0)],
)
def test_the_effective_number_of_sources_is_exp_of_the_entropy(tokens: list[int], expected: float) -> None:
    assert effective_sources(tokens) == expected
    shares = np.array([count / sum(tokens) for count in tokens if count])
    if shares.size:
        assert abs(effective_sources(tokens) - np.exp(-(shares * np.log(shares)).sum())) < 1e-4


def test_a_mixture_of_equal_parts_has_more_effective_sources_than_its_corpus() -> None:
    planned = plan({"sources": {"a": 1, "b": 1}, "budget_tokens": 200}, candidates(a=[9] * 200, b=[9] * 20))
    assert planned.n_eff_before == effective_sources([2000, 200]) == 1.3561
    assert planned.n_eff_after == 2.0
