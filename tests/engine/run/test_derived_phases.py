"""Takedown and extension of a mixture of two phases that a recipe made, with the audits that judge what they make."""

import json
import shutil
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest

from engine.base.errors import AuditError
from engine.base.sql_files import sql_names
from engine.catalog import sql
from engine.formats.mixture import Mixture, mixture_versions, open_mixture
from engine.formats.parquet import read_parquet
from engine.formats.schedule import open_schedule
from engine.formats.workspace import Workspace
from engine.mixture import extended, without
from engine.mixture.curriculum import DIFFICULTY, order
from engine.mixture.derive import Derived, counted
from engine.mixture.versions import mixture_verify
from engine.run.extend import mixture_extend
from engine.run.pipeline import run
from engine.run.takedown import mixture_takedown
from tests.engine.run.derived_corpus import ids, recipe_in, words, write_rows

BY = "heuristics__num_chars"
MIXTURE = {
    "phases": [
        {"name": "general", "sources": ["books"], "budget_tokens": 1500},
        {
            "name": "own",
            "sources": ["web"],
            "replay": {"share": 0.3, "sources": ["books"]},
            "curriculum": "staged",
            "stages": 2,
            "difficulty": BY,
        },
    ],
    "row_tokens": 512,
    "rows_per_step": 2,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recipe.yaml and its workspace ws/."""
    folder = tmp_path_factory.mktemp("phases")
    run(recipe_in(folder, mixtures={"all": MIXTURE}), folder / "ws")
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def version(folder: Path, number: int) -> Mixture:
    return open_mixture(Workspace(folder / "ws"), f"all@v{number}")


def used_in(mixture: Mixture, phase: int) -> set[bytes]:
    return set(mixture.documents().filter(pl.col("phase") == phase)["doc_id"])


def extend(folder: Path) -> None:
    path = write_rows(folder / "new.jsonl", [{"uid": f"n{n}", "text": words(500 + n, 40 + 10 * n)} for n in range(6)])
    result = mixture_extend("all", [path], id_column="uid", recipe=folder / "recipe.yaml", workspace=folder / "ws")
    assert result["added"] == 6


def require_in_stages(folder: Path, mixture: Mixture) -> None:
    """The last phase has the order that its curriculum gives these documents, whatever order they come in."""
    rows = sql(f"SELECT doc_id, {BY} FROM corpus", folder / "ws", mixture=mixture.reference)["rows"]
    values = pl.DataFrame([(UUID(doc_id).bytes, value) for doc_id, value in rows], ["doc_id", DIFFICULTY], orient="row")
    last = mixture.documents().filter(pl.col("phase") == pl.col("phase").max()).join(values, on="doc_id", how="left")
    mixed = last.sort("doc_id")
    keys = extended.last_phase(mixture.manifest).curriculum_of()
    assert (keys.name, keys.stages) == ("staged", 2)
    positions = order(mixed, keys, mixture.manifest.seed, "last phase")
    assert mixed["doc_id"].gather(positions).to_list() == last["doc_id"].to_list()


def test_a_document_leaves_all_phases_and_each_keeps_its_sums(folder: Path) -> None:
    old = version(folder, 1)
    both = min(used_in(old, 0) & used_in(old, 1))
    (made,) = mixture_takedown([both.hex()], workspace=folder / "ws")["mixtures"]
    new = version(folder, 2)
    assert made["documents"] == 1
    assert [used_in(old, phase) - used_in(new, phase) for phase in (0, 1)] == [{both}, {both}]
    mixture_verify("all@v2", folder / "ws")
    assert new.manifest.documents == old.manifest.documents - 1
    assert sum(row.first_documents for row in new.manifest.sources) == new.manifest.documents
    assert new.manifest.licenses["CC-BY-4.0"] == old.manifest.licenses["CC-BY-4.0"] - 1
    assert new.manifest.coverage == old.manifest.coverage
    steps = open_schedule(Workspace(folder / "ws").schedule(new.manifest.schedule)).meta.first_steps
    assert list(steps) == ["0", "1"]


def test_new_documents_join_the_stages_of_the_last_phase(folder: Path) -> None:
    old = version(folder, 1)
    extend(folder)
    new = version(folder, 2)
    mixture_verify("all@v2", folder / "ws")
    first = [one.documents().filter(pl.col("phase") == 0).drop("store_row") for one in (old, new)]
    assert first[0].equals(first[1])
    assert len(used_in(new, 1) - used_in(old, 1)) == 6
    require_in_stages(folder, new)
    assert new.manifest.coverage is not None
    assert sum(row.first_tokens for row in new.manifest.sources) == int(
        new.documents().unique("doc_id")["num_tokens"].sum()
    )
    assert new.manifest.licenses["unknown"] == old.manifest.licenses["unknown"] + 6


def test_a_version_that_lost_its_first_phase_can_be_extended(folder: Path) -> None:
    books = [doc_id for uid, doc_id in ids(folder / "ws").items() if uid.startswith("b")]
    mixture_takedown(books, workspace=folder / "ws")
    extend(folder)
    new = version(folder, 3)
    mixture_verify("all@v3", folder / "ws")
    assert [phase.name for phase in new.manifest.phases] == ["own"]
    require_in_stages(folder, new)


def test_a_run_after_a_takedown_holds_and_makes_a_version_of_its_own(folder: Path) -> None:
    gone = min(used_in(version(folder, 1), 1))
    mixture_takedown([gone.hex()], workspace=folder / "ws")
    for _ in range(2):
        result = run(folder / "recipe.yaml", folder / "ws")
        assert result["audits"] == sql_names("audits")
        assert [one["reference"] for one in result["mixtures"]] == ["all@v3"]
    assert gone not in set(version(folder, 3).documents()["doc_id"])


@pytest.mark.parametrize("how", ["takedown", "extend"])
def test_a_version_that_does_not_hold_is_removed_again(folder: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def miscounted(*arguments: object) -> Derived:
        derived = counted(*arguments)  # type: ignore[arg-type]
        more = {"supervised_tokens": derived.manifest.supervised_tokens + 1}
        return Derived(derived.manifest.model_copy(update=more), derived.documents, derived.ledger)

    for module in (extended, without):
        monkeypatch.setattr(module, "counted", miscounted)
    leaving = min(used_in(version(folder, 1), 1)).hex()
    with pytest.raises(AuditError, match=r"audit sums_agree: 1 row.*\n.*\nremoved again, as it does not hold: all@v2"):
        extend(folder) if how == "extend" else mixture_takedown([leaving], workspace=folder / "ws")
    assert [one.reference for one in mixture_versions(Workspace(folder / "ws"), "all")] == ["all@v1"]
    assert read_parquet(folder / "ws/audits/failed/sums_agree.parquet").height == 1
    state = json.loads((folder / "ws/recipes/small.json").read_text())
    assert state["mixtures"] == {"all": "all@v1"}
