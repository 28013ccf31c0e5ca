"""Documents that were taken down leave every mixture with what is like them, and no later run brings them back."""

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from engine.base.errors import InputError, RecipeError
from engine.catalog import sql
from engine.explain import explain
from engine.explain.step import show
from engine.formats.mixture import open_mixture
from engine.formats.schedule import open_schedule
from engine.formats.state import read_state
from engine.formats.workspace import Workspace
from engine.mixture.versions import mixture_verify
from engine.run import audits, derived_versions
from engine.run.export import mixture_export
from engine.run.pipeline import run
from engine.run.show_derived import show_takedown
from engine.run.takedown import mixture_takedown
from tests.engine.run.derived_corpus import corpus, ids, reasons, recipe_in, similar, words, write_rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recipe.yaml and its workspace ws/."""
    folder = tmp_path_factory.mktemp("takedown")
    run(recipe_in(folder), folder / "ws")
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def uids_in(folder: Path, reference: str) -> set[str]:
    names = {UUID(doc_id).bytes: uid for uid, doc_id in ids(folder / "ws").items()}
    return {names[doc_id] for doc_id in open_mixture(Workspace(folder / "ws"), reference).documents()["doc_id"]}


def test_a_document_leaves_with_what_is_like_it_and_the_new_version_holds(folder: Path) -> None:
    before, known = uids_in(folder, "all@v1"), ids(folder / "ws")
    result = mixture_takedown([known["near"][:10], known["w5"].upper()], reason="by law", workspace=folder / "ws")
    why = {row["doc_id"]: (row["why"], row["similarity"]) for row in result["documents"]}
    assert why == {
        known["near"]: ("asked", 1.0),
        known["w3"]: ("near_duplicate", 0.9),
        known["w5"]: ("asked", 1.0),
        known["copy"]: ("exact_duplicate", 1.0),
    }
    # Neither document that was named is in the mixture: those that stayed for them are.
    assert set(result["not_in"]) == {known["near"], known["w5"]}
    assert [(one["before"], one["reference"]) for one in result["mixtures"]] == [("all@v1", "all@v2")]
    assert uids_in(folder, "all@v2") == before - {"near", "w3", "w5", "copy"}
    checked = mixture_verify("all@v2", folder / "ws")["checked"]
    assert {"documents and sums", "every use of every document scheduled", "held-out sets"} <= set(checked)
    manifest = open_mixture(Workspace(folder / "ws"), "all@v2").manifest
    assert manifest.derived_from is not None
    assert manifest.derived_from.reference == "all@v1"
    assert manifest.derived_from.reason == "by law"
    assert set(manifest.derived_from.removed) == {UUID(known[uid]).hex for uid in ("w3", "copy")}
    state = read_state(Workspace(folder / "ws"), "small")
    assert state is not None
    assert state.mixtures["all"] == "all@v2"
    rows = sql('SELECT doc_id, why, "of", reason FROM takedowns', folder / "ws")["rows"]
    assert {row[0]: row[1] for row in rows} == {doc_id: how for doc_id, (how, _) in why.items()}
    assert [known["w3"], "near_duplicate", known["near"], "by law"] in rows


def test_the_sums_and_the_ledger_are_those_of_what_is_left(folder: Path) -> None:
    old = open_mixture(Workspace(folder / "ws"), "all@v1")
    mixture_takedown([ids(folder / "ws")["w3"]], workspace=folder / "ws")
    new = open_mixture(Workspace(folder / "ws"), "all@v2")
    gone = old.documents().join(new.documents(), on="doc_id", how="anti")
    assert gone.height == 1
    assert old.manifest.tokens - new.manifest.tokens == gone["num_tokens"][0]
    assert (
        old.manifest.phases[0].supervised_tokens - new.manifest.phases[0].supervised_tokens
        == (gone["supervised_tokens"][0])
    )
    licenses = [row.licenses for mixture in (old, new) for row in mixture.manifest.sources if row.source == "web"]
    assert licenses[1] == licenses[0] | {"CC0-1.0": licenses[0]["CC0-1.0"] - 1}
    ledger = pl.read_parquet(new.folder / "ledger.parquet")
    for unit in ("documents", "bytes", "tokens"):
        sums = ledger.group_by("source").agg(
            pl.col(unit).filter(pl.col("outcome") == "in").sum().alias("came"),
            pl.col(unit).filter(pl.col("outcome") != "in").sum().alias("went"),
        )
        assert sums["came"].to_list() == sums["went"].to_list()
    assert ledger.filter(pl.col("reason") == "takedown").select("source", "documents").rows() == [("web", 1)]


def test_no_later_run_brings_them_back(folder: Path) -> None:
    known = ids(folder / "ws")
    mixture_takedown([known["w3"], known["w7"], known["b2"]], workspace=folder / "ws")
    # Copies come from a new source; w7 is not even in its own any more.
    rows = [{"uid": "n1", "text": words(7)}, {"uid": "n2", "text": similar(3, 901)}, {"uid": "n3", "text": words(70)}]
    write_rows(folder / "new.jsonl", rows)
    write_rows(folder / "web.jsonl", [row for row in corpus()["web"] if row["uid"] != "w7"])
    recipe = json.loads((folder / "recipe.yaml").read_text())
    recipe["sources"].append({"stage": "jsonl", "name": "new", "path": "new.jsonl", "columns": {"id": "uid"}})
    recipe["sources"][-1]["priority"] = 5
    recipe["mixtures"]["all"]["sources"].append("new")
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    result = run(folder / "recipe.yaml", folder / "ws")  # balances, or it would raise
    found = reasons(folder / "ws")
    assert {uid for uid, reason in found.items() if reason == "takedown"} == {"w3", "near", "b2"}
    dropped = {row["source"]: row["documents"] for row in result["ledger"] if row["reason"] == "takedown"}
    assert dropped == {"web": 2, "books": 1, "new": 2}
    reference = next(one["reference"] for one in result["mixtures"] if one["reference"].startswith("all@"))
    there = set(open_mixture(Workspace(folder / "ws"), reference).documents()["doc_id"])
    assert there.isdisjoint(UUID(known[uid]).bytes for uid in ("w3", "w7", "b2", "near"))
    decision = explain(known["b2"], folder / "ws")["decision"]
    assert (decision["decision"], decision["reason"]) == ("dropped", "takedown")
    assert decision["rule"].startswith("it was taken down")


def test_a_takedown_of_other_documents_leaves_the_selection_fresh(folder: Path) -> None:
    (folder / "ws" / "takedowns.jsonl").write_text(
        json.dumps(
            {
                "when": "2026-01-01T00:00:00+00:00",
                "documents": [
                    {"doc_id": "ab" * 16, "source": "x", "why": "asked", "of": "ab" * 16, "similarity": 1.0},
                ],
            }
        )
        + "\n"
    )
    states = {step["name"]: step["state"] for step in run(folder / "recipe.yaml", folder / "ws")["steps"]}
    assert states["selection"] == "fresh"


def test_a_source_leaves_with_its_last_document_and_an_empty_mixture_is_told(folder: Path) -> None:
    known = ids(folder / "ws")
    result = mixture_takedown([known[f"b{n}"] for n in range(8)], workspace=folder / "ws")
    by_name = {one["name"]: one for one in result["mixtures"]}
    assert by_name["books_only"]["is_empty"]
    assert by_name["books_only"]["reference"] is None
    assert by_name["all"]["sources_gone"] == ["books"]
    mixture_verify("all@v2", folder / "ws")
    assert "nothing would be left of it" in show_takedown(result)


def test_runs_that_saw_them_are_listed_with_the_steps_they_made(folder: Path) -> None:
    workspace = Workspace(folder / "ws")
    version = open_mixture(workspace, "all@v1")
    known = ids(folder / "ws")
    spans = open_schedule(workspace.schedule(version.manifest.schedule)).spans()
    document = version.documents().filter(pl.col("doc_id") == UUID(known["w9"]).bytes)["document"][0]
    seen = [row for row in spans.iter_rows(named=True) if row["document"] == document]
    last = max(row["step"] for row in seen) + 1
    named = {"reference": "all@v1", "digest": version.manifest.digest, "schedule": version.manifest.schedule}
    runs: dict[str, tuple[int, list[dict[str, Any]]]] = {
        "whole": (last, []),
        "stopped": (min(row["step"] for row in seen), []),
        "child": (0, [{"run": "whole", "mixture": named}]),
        "orphan": (0, [{"run": "deleted", "mixture": named}]),
        "unknown": (last, []),
    }
    for name, (steps, behind) in runs.items():
        folder_of_run = folder / "ws" / "runs" / name
        folder_of_run.mkdir(parents=True)
        mixture = named if name != "unknown" else {"reference": "all@v0", "digest": "f" * 32}
        content = {"run": name, "mixture": mixture, "lineage": {"runs": behind}}
        (folder_of_run / "run.json").write_text(json.dumps(content))
        lines = "".join(json.dumps({"step": step + 1}) + "\n" for step in range(steps))
        (folder_of_run / "metrics.jsonl").write_text(lines + '{"step": 9')
    result = mixture_takedown([known["w9"]], dry_run=True, workspace=folder / "ws")
    assert result["runs"] == [
        {
            "run": "whole",
            "mixture": "all@v1",
            "is_finished": False,
            "steps": sorted({row["step"] + 1 for row in seen}),
            "documents": 1,
            "supervised_tokens": sum(row["supervised_tokens"] for row in seen),
        }
    ]
    assert result["descendants"] == [{"run": "child", "from": ["whole"]}, {"run": "orphan", "from": ["deleted"]}]
    assert result["unknown_runs"] == ["unknown"]
    assert "run child started from whole" in show_takedown(result)
    assert "run unknown trained on a version that is gone: not known what it saw" in show_takedown(result)
    # explain and show count steps as it does.
    (trained,) = [one for one in explain(known["w9"], folder / "ws")["trained"] if one["run"] == "whole"]
    assert [one["step"] for one in trained["steps"]] == result["runs"][0]["steps"]
    for step in result["runs"][0]["steps"]:
        shown = [span["doc_id"] for row in show("whole", step, folder / "ws")["rows"] for span in row["spans"]]
        assert known["w9"] in shown


def test_a_dry_run_writes_nothing_and_a_second_call_adds_nothing(folder: Path) -> None:
    known = ids(folder / "ws")
    mixture_takedown([known["w3"]], dry_run=True, workspace=folder / "ws")
    assert not (folder / "ws" / "takedowns.jsonl").exists()
    assert len(list((folder / "ws" / "mixtures" / "all").glob("v*"))) == 1
    for _ in range(2):
        result = mixture_takedown([known["w3"]], by="A. Author", workspace=folder / "ws")
    assert result["mixtures"] == []
    assert read_state(Workspace(folder / "ws"), "small").mixtures["all"] == "all@v2"  # type: ignore[union-attr]
    listed = mixture_takedown(list_taken_down=True, workspace=folder / "ws")["takedowns"]
    assert [[row["doc_id"] for row in one["documents"]] for one in listed] == [
        sorted(UUID(known[uid]).hex for uid in ("w3", "near"))
    ]
    assert "asked by A. Author" in show_takedown({"takedowns": listed})


def test_a_takedown_that_was_killed_goes_on_where_it_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = ids(folder / "ws")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for place, name in ((audits, "_judge"), (derived_versions, "write_state")):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, killed)
            with pytest.raises(KeyboardInterrupt):
                mixture_takedown([known["w3"]], workspace=folder / "ws")
    mixture_takedown([known["w3"]], workspace=folder / "ws")
    state = read_state(Workspace(folder / "ws"), "small")
    assert state is not None
    assert state.mixtures["all"] == "all@v2"
    assert uids_in(folder, "all@latest").isdisjoint({"w3", "near"})


def test_a_version_with_documents_that_were_taken_down_is_exported_no_more(folder: Path) -> None:
    mixture_takedown([ids(folder / "ws")["w3"]], workspace=folder / "ws")
    with pytest.raises(InputError, match=r"all@v1: 1 of its documents were taken down.*take all@latest"):
        mixture_export("all@v1", folder / "out", folder / "ws")
    assert not (folder / "out").exists()
    assert mixture_export("all", folder / "out", folder / "ws")["reference"] == "all@v2"


def test_a_mixture_that_is_not_named_keeps_its_version_and_is_told(folder: Path) -> None:
    shared = ids(folder / "ws")[min(uids_in(folder, "all@v1") & uids_in(folder, "books_only@v1"))]
    result = mixture_takedown([shared], mixture=["books_only"], workspace=folder / "ws")
    assert [one["reference"] for one in result["mixtures"]] == ["books_only@v2"]
    assert result["left_in"] == ["all@v1"]


def test_where_nobody_looked_for_near_duplicates_it_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    without = {"split": None, "filters": [], "tokenizer": None, "mixtures": {}}
    run(recipe_in(tmp_path / "plain", annotate=[], **without), tmp_path / "ws")
    known = ids(tmp_path / "ws")
    assert known["w3"] == ids(folder / "ws")["w3"]
    result = mixture_takedown([known["w3"]], dry_run=True, workspace=tmp_path / "ws")
    assert [row["doc_id"] for row in result["documents"]] == [known["w3"]]
    assert "only equal texts" in result["remains"][-1]
    assert "only equal texts" not in " ".join(
        mixture_takedown([known["w3"]], dry_run=True, workspace=folder / "ws")["remains"]
    )
    with pytest.raises(InputError, match=r"--threshold 0\.7: no recipe here has a stage near_dup"):
        mixture_takedown([known["w3"]], threshold=0.7, workspace=tmp_path / "ws")
    assert not (tmp_path / "ws" / "takedowns.jsonl").exists()


def test_what_cannot_be_taken_down_is_refused(folder: Path) -> None:
    known, workspace = ids(folder / "ws"), folder / "ws"
    assert sql("SELECT * FROM takedowns", workspace)["rows"] == []
    with pytest.raises(RecipeError, match="none is given"):
        mixture_takedown([], workspace=workspace)
    with pytest.raises(InputError, match="no document of the recipe has this id"):
        mixture_takedown(["00" * 16], workspace=workspace)
    with pytest.raises(RecipeError, match=r"no mixture 'al'.*did you mean 'all'"):
        mixture_takedown([known["w1"]], mixture=["al"], workspace=workspace)
    with pytest.raises(InputError, match=r"pairs were verified down to 0\.4 only"):
        mixture_takedown([known["w1"]], threshold=0.3, workspace=workspace)
    (workspace / "takedowns.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"takedowns\.jsonl:1: no takedown"):
        run(folder / "recipe.yaml", workspace)
    with pytest.raises(InputError, match=r"takedowns\.jsonl:1: no takedown"):
        sql("SELECT * FROM takedowns", workspace)
    assert sql("SELECT count(*) FROM mixtures", workspace)["rows"] == [[2]]
