"""The gate: what a run is judged by must have been searched for in its data and in its ancestors' data."""

from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import AuditError, RecipeError
from engine.formats.manifest import Audit, HeldOutSet, Manifest, Phase, SearchedBenchmark
from engine.formats.mixture import Mixture
from engine.formats.workspace import Workspace
from tests.trainers.conftest import write_split
from trainers import coverage
from trainers.coverage import require_coverage
from trainers.recipe import GateConfig, ProbesConfig

AUDIT = Audit(digest="a" * 32, documents=10, tokens=100)
ITEMS = "b" * 32
WHOLE = Phase(name="all", curriculum="shuffled", budget_tokens=1, documents=10, tokens=1, supervised_tokens=1)


def searched(**changes: Any) -> SearchedBenchmark:
    given = {
        "name": "gsm8k",
        "digest": ITEMS,
        "stored": ITEMS,
        "items": 5,
        "matchable_items": 5,
        "searched_documents": 10,
    }
    return SearchedBenchmark(**{**given, "planted_recall": 1.0, **changes})


def mixture(name: str = "web", benchmarks: tuple[SearchedBenchmark, ...] = (), **changes: Any) -> Mixture:
    manifest = Manifest(
        name=name, version=1, digest=changes.pop("digest", "d" * 32), recipe="data", tokenizer="t", token_store="s",
        selection="e", recipe_digest="r", seed=1, curriculum="shuffled", phases=[WHOLE], replay_share=None,
        sources=[], documents=10, tokens=1,
        supervised_tokens=1, n_eff_before=1, n_eff_after=1, n_eff_documents_before=1, n_eff_documents_after=1,
        schedule="c", row_tokens=1, rows_per_step=1, num_steps=1,
        benchmarks=list(benchmarks), **{"audit": AUDIT, "split": "f" * 32, **changes},
    )  # fmt: skip
    return Mixture(Path(), manifest)


def gate(trained: Mixture, ancestors: list[Mixture] | None = None, monkeypatch: Any = None, **config: Any) -> list[str]:
    older = {one.reference: one for one in ancestors or []}
    if monkeypatch is not None:
        monkeypatch.setattr(coverage, "open_mixture", lambda _, reference: older[reference])
    named = [
        {"run": "base", "mixture": {"reference": name, "digest": one.manifest.digest}} for name, one in older.items()
    ]
    probes, workspace = config.pop("probes", ProbesConfig(benchmarks=["gsm8k"])), config.pop("workspace", Path())
    return require_coverage(probes, GateConfig(**config), trained, named, Workspace(workspace))


def test_a_searched_audited_and_clean_mixture_passes() -> None:
    assert gate(mixture(benchmarks=(searched(),))) == []


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        (mixture(), "no benchmark searched for in it 'gsm8k'"),
        (mixture(benchmarks=(searched(searched_documents=9),)), "9 of its 10 documents were searched for 'gsm8k'"),
        (mixture(benchmarks=(searched(planted_recall=None),)), "no search can find any item of 'gsm8k'"),
        (mixture(benchmarks=(searched(planted_recall=0.9),)), "found 90.0% of its planted copies"),
        (mixture(benchmarks=(searched(found=["01", "02"]),)), "2 of its documents hold items of 'gsm8k': 01, 02"),
        (mixture(benchmarks=(searched(),), audit=None), "its tokens were not searched for 'gsm8k'"),
    ],
)
def test_each_gap_is_refused_with_its_remedy(trained: Mixture, message: str) -> None:
    with pytest.raises(AuditError) as refused:
        gate(trained)
    assert message in str(refused.value)
    assert "Fix: " in str(refused.value)


def test_an_ancestor_has_to_be_searched_for_the_same_items(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = mixture(benchmarks=(searched(),))
    older = mixture("old", (searched(digest="c" * 32),), digest="9" * 32)
    with pytest.raises(AuditError, match="searched for other items of 'gsm8k'"):
        gate(trained, [older], monkeypatch)
    assert gate(trained, [mixture("old", (searched(),), digest="9" * 32)], monkeypatch) == []


def test_an_ancestor_that_holds_an_item_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    older = mixture("old", (searched(found=["0a"]),), digest="9" * 32)
    with pytest.raises(AuditError, match=r"old@v1 \(behind base run base\): 1 of its documents hold items"):
        gate(mixture(benchmarks=(searched(),)), [older], monkeypatch)


@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        ({"general": ("crawl", ["b", "a", "c"]), "code": ("web", ["d"])}, None),
        ({"general": ("crawl", ["a"]), "code": ("web", ["b"])}, "it held out 1 of the 2 texts that 'general' asks"),
        (None, "its split is another, and not here"),
    ],
    ids=["the same texts and more", "some", "gone"],
)
def test_an_ancestor_of_another_split_is_covered_where_it_held_out_the_same_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_out: dict[str, Any] | None, message: str | None
) -> None:
    workspace = Workspace(tmp_path)
    own = write_split(workspace, {"general": ("web", ["a", "b"])})
    other = "9" * 32 if held_out is None else write_split(workspace, held_out)
    row = HeldOutSet(set="general", documents=2, bytes=2, searched_documents=10, contaminated_documents=0)
    covered = {"held_out": [row.model_copy(update={"planted_recall": 1.0})]}
    trained, older = mixture(split=own, **covered), mixture("old", digest="9" * 32, split=other, **covered)
    config = {"probes": ProbesConfig(general=["general"]), "workspace": tmp_path}
    if message is None:
        assert gate(trained, [older], monkeypatch, **config) == []
        return
    with pytest.raises(AuditError, match=rf"old@v1 \(behind base run base\): {message}.*gate: .waive: .general.."):
        gate(trained, [older], monkeypatch, **config)
    assert len(gate(trained, [older], monkeypatch, **config, waive=["general"])) == 1


def test_what_is_waived_comes_back_in_words_and_stops_nothing() -> None:
    (text,) = gate(mixture(), waive=["gsm8k"])
    assert "no benchmark searched for in it 'gsm8k'" in text


def test_waiving_one_probe_lets_no_other_through() -> None:
    held = HeldOutSet(set="general", documents=1, bytes=1, searched_documents=9, contaminated_documents=0)
    probes = ProbesConfig(general=["general"], benchmarks=["gsm8k"])
    with pytest.raises(AuditError, match="searched for 'general'") as refused:
        gate(mixture(held_out=[held]), waive=["gsm8k"], probes=probes)
    assert "gsm8k" not in str(refused.value)


def test_waiving_what_is_no_probe_is_an_error() -> None:
    with pytest.raises(RecipeError, match="probe of this recipe"):
        gate(mixture(benchmarks=(searched(),)), waive=["gsm8"])


def test_the_least_recall_is_the_recipes() -> None:
    trained = mixture(benchmarks=(searched(planted_recall=0.9),))
    assert gate(trained, min_planted_recall=0.9) == []
