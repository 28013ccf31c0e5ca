"""A version without some documents is whole: its sums, ledger and schedule are those of what is left."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.base.errors import AuditError
from engine.formats.mixture import Mixture
from engine.mixture.curriculum import order
from engine.mixture.extended import NewSource, extended, last_phase
from engine.mixture.verify import verify
from engine.mixture.without import without
from engine.mixture.write import scheduled, write_content
from engine.pack.schedule import ScheduleConfig, schedule_digest, write_schedule

CONFIG = {
    "sources": ["code"],
    "replay": {"share": 0.3, "sources": ["prose"]},
    "budget_tokens": 600,
    "max_repeats": 3,
}


def written(built: Any, mixture: Mixture, removed: list[bytes]) -> Mixture | None:
    licenses = dict.fromkeys(removed, "CC0-1.0")
    derived = without(mixture, built.store.documents(), removed, licenses, "because")
    if derived is None:
        return None
    shape = ScheduleConfig(row_tokens=16, rows_per_step=2)
    folder = built.workspace.schedule(schedule_digest(derived.order_digest, built.store.meta.digest, shape))
    schedule = write_schedule(folder, derived.documents, built.store, shape, derived.order_digest)
    manifest = scheduled(derived.signed(built.store), schedule.meta)
    return write_content(built.workspace, manifest, derived.documents, derived.ledger, mixture.state())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.sets(st.integers(0, 59), min_size=1, max_size=59))
def test_whatever_leaves_what_is_left_holds_and_keeps_its_order(built: Any, chosen: set[int]) -> None:
    mixture = built.build(CONFIG)
    removed = built.store.documents()["doc_id"].gather(sorted(chosen)).to_list()
    before = mixture.documents()
    left = before.filter(~pl.col("doc_id").is_in(removed))
    found = written(built, mixture, removed)
    if left.is_empty():
        assert found is None
        return
    assert found is not None
    same = ["doc_id", "source", "is_replay", "store_row", "repeats"]
    assert found.documents().select(same).rows() == left.select(same).rows()
    assert verify(built.workspace, found)[1] == []
    repeats = left["repeats"].cast(pl.Int64)
    assert found.manifest.tokens == int((left["num_tokens"].cast(pl.Int64) * repeats).sum())
    assert sum(phase.supervised_tokens for phase in found.manifest.phases) == found.manifest.supervised_tokens
    assert [sum(row.licenses.values()) for row in found.manifest.sources] == [
        r.documents for r in found.manifest.sources
    ]
    ledger = pl.read_parquet(found.folder / "ledger.parquet")
    went = ledger.filter(pl.col("outcome") != "in").group_by("source").agg(pl.col("documents").sum()).sort("source")
    came = ledger.filter(pl.col("outcome") == "in").select("source", "documents").sort("source")
    assert went.rows() == came.rows()


def test_the_same_removal_gives_the_same_version_again(built: Any) -> None:
    mixture = built.build(CONFIG)
    removed = mixture.documents()["doc_id"].head(2).to_list()
    versions = [written(built, mixture, removed), written(built, mixture, removed[::-1])]
    assert [version.reference for version in versions if version is not None] == ["m@v2", "m@v2"]


TWO_PHASES = {
    "phases": [
        {"name": "general", "sources": ["prose"], "budget_tokens": 200},
        {"name": "own", "sources": ["code"], "budget_tokens": 300, "curriculum": "by_length"},
    ],
    "max_repeats": 3,
}


def new_source(documents: pl.DataFrame) -> NewSource:
    return NewSource("new", "digest of new", "text", documents.select("doc_id", license=pl.lit("CC0-1.0")))


def test_a_phase_that_loses_all_of_its_documents_leaves(built: Any) -> None:
    mixture = built.build(TWO_PHASES)
    removed = mixture.documents().filter(pl.col("phase") == 0)["doc_id"].to_list()
    found = written(built, mixture, removed)
    assert found is not None
    assert verify(built.workspace, found)[1] == []
    manifest = found.manifest
    assert ([phase.name for phase in manifest.phases], manifest.curriculum) == (["own"], "by_length")
    assert {row.phase for row in manifest.sources} == {0}
    assert set(found.documents()["phase"]) == {0}
    assert manifest.phases[0].tokens == manifest.tokens
    assert last_phase(manifest).name == "own"


CURRICULA = {
    "by_length": {"curriculum": "by_length"},
    "staged": {"curriculum": "staged", "stages": 3, "difficulty": "length"},
    "competence": {"curriculum": "competence", "initial_competence": 0.2, "difficulty": "length"},
}


@pytest.mark.parametrize("curriculum", CURRICULA)
def test_new_documents_come_in_once_in_the_last_phase_and_in_its_order(built: Any, curriculum: str) -> None:
    general = {"name": "general", "sources": ["prose"], "budget_tokens": 200}
    own = {"name": "own", "sources": ["code"], "budget_tokens": 300, **CURRICULA[curriculum]}
    candidates = built.candidates.with_columns(length="num_tokens")
    mixture = replace(built, candidates=candidates).build({"phases": [general, own], "max_repeats": 3})
    documents, old = mixture.documents(), mixture.manifest
    # What the mixture left over plays the new source.
    is_used = pl.col("doc_id").is_in(documents["doc_id"].implode())
    store = built.store.documents().with_columns(source=pl.when(is_used).then("source").otherwise(pl.lit("new")))
    new = store.filter(pl.col("source") == "new")
    difficulty = store.select("doc_id", difficulty="num_tokens") if "difficulty" in CURRICULA[curriculum] else None
    derived = extended(mixture, store, new_source(new), difficulty)
    first, last = (derived.documents.filter(pl.col("phase") == phase) for phase in (0, 1))
    same = ["doc_id", "source", "is_replay", "repeats", "num_tokens"]
    assert first.select(same).rows() == documents.filter(pl.col("phase") == 0).select(same).rows()
    in_order = order(
        last.sort("doc_id").with_columns(difficulty="num_tokens"), last_phase(old).curriculum_of(), old.seed, "m"
    )
    assert last["doc_id"].to_list() == last.sort("doc_id")["doc_id"].gather(in_order).to_list()
    assert last["num_tokens"].is_sorted() == (curriculum == "by_length")
    added = last.filter(pl.col("source") == "new")
    assert set(added["doc_id"]) == set(new["doc_id"])
    assert set(added["repeats"]) == {1}
    assert derived.documents["document"].to_list() == list(range(derived.documents.height))
    manifest = derived.manifest
    assert manifest.documents == derived.documents["doc_id"].n_unique()
    assert sum(phase.tokens for phase in manifest.phases) == manifest.tokens
    assert manifest.phases[1].budget_tokens - old.phases[1].budget_tokens == int(new["supervised_tokens"].sum())
    assert manifest.licenses["CC0-1.0"] - old.licenses["CC0-1.0"] == new.height
    row = next(row for row in manifest.sources if row.source == "new")
    assert (row.phase, row.first_documents, row.first_tokens) == (1, new.height, new["num_tokens"].sum())


def test_a_document_that_comes_to_other_tokens_stops_the_extension(built: Any) -> None:
    mixture = built.build(CONFIG)
    store = built.store.documents().with_columns(num_tokens=pl.col("num_tokens") + 1)
    with pytest.raises(AuditError, match="come to other tokens now"):
        extended(mixture, store, new_source(store), None)
