"""Every audit of sql/audits finds the damage that is made for it, and nothing else does; the run then stops."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from engine.base.atomic import read_json, write_json
from engine.base.errors import AuditError
from engine.base.hashing import digest_file
from engine.base.sql_files import read_sql, sql_names
from engine.catalog import sql
from engine.catalog.query import open_catalog
from engine.formats.mixture import Mixture, mixture_versions
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.receipt import read_receipt, write_receipt
from engine.formats.selection import KEPT
from engine.formats.state import read_state
from engine.formats.workspace import Workspace
from engine.run.pipeline import run
from engine.run.show import show_run
from tests.engine.run.searched import mixture_of, prose, recipe, write_corpus, write_lines

AUDITS = sql_names("audits")
MIXTURE = {"sources": ["web"], "replay": {"share": 0.1, "sources": ["general"]}, "budget_tokens": 12_000}
OTHER = {"sources": ["web"], "row_tokens": 128, "rows_per_step": 2}


def content(**mixtures: dict[str, Any]) -> dict[str, Any]:
    """A recipe over two sources; web has 7,000 supervised tokens, so that its documents are used twice and more."""
    sources = [
        {"stage": "jsonl", "name": name, "path": f"{name}.jsonl", "columns": {"id": "uid"}}
        for name in ("web", "general")
    ]
    shape = {"row_tokens": 64, "rows_per_step": 4}
    return recipe(sources=sources, mixtures={"all": MIXTURE | shape, **mixtures})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the corpus, recipe.yaml and ws/ as the run left it."""
    folder = write_corpus(tmp_path_factory.mktemp("audits") / "corpus")
    write_lines(folder / "general.jsonl", [{"uid": f"g{number}", "text": prose(number)} for number in range(500, 560)])
    (folder / "recipe.yaml").write_text(json.dumps(content()))
    run(folder / "recipe.yaml", folder / "ws")
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A copy of it that the test may damage; intake finds its files unchanged, as their times are copied too."""
    return Path(shutil.copytree(built, tmp_path / "corpus"))


def sign(folder: Path) -> None:
    """Make the receipt of an artifact agree with its files."""
    receipt = read_receipt(folder)
    assert receipt is not None
    files = {name: digest_file(folder / name) for name in receipt.details.get("files", ())}
    sizes = {name: (folder / name).stat().st_size for name in receipt.details.get("bytes", ())}
    details = receipt.details | {"files": files} | ({"bytes": sizes} if sizes else {})
    write_receipt(folder, receipt.model_copy(update={"details": details}))


def change(path: Path, edit: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    frame = read_parquet(path)
    edited = edit(frame)
    assert not edited.equals(frame), "something was damaged"
    write_parquet(path, edited.cast(frame.schema))
    if (path.parent / "receipt.json").is_file():
        sign(path.parent)


def change_manifest(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    mixture = mixture_of(folder)
    manifest = read_json(mixture.folder / "manifest.json")
    edit(manifest)
    write_json(mixture.folder / "manifest.json", manifest)
    sign(mixture.folder)


def schedule_of(folder: Path) -> Path:
    return Workspace(folder / "ws").schedule(mixture_of(folder).manifest.schedule) / "schedule.parquet"


def change_decision(folder: Path, before: str, after: str, source: str) -> None:
    """Give the first document of a source that was decided `before` another decision."""
    state = read_state(Workspace(folder / "ws"))
    assert state is not None
    (path,) = (folder / "ws" / str(state.selection) / source).glob("*.parquet")
    row = read_parquet(path)["decision"].to_list().index(before)
    here = pl.int_range(pl.len()) == row
    change(path, lambda frame: frame.with_columns(decision=pl.when(here).then(pl.lit(after)).otherwise("decision")))


def damage_budget(folder: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["sources"][0]["budget_tokens"] = manifest["sources"][0]["supervised_tokens"] - 1

    change_manifest(folder, edit)


def damage_use(folder: Path) -> None:
    """The first use of a document is called its second."""
    here = (pl.col("document") == 0) & (pl.col("repeat") == 0)
    change(schedule_of(folder), lambda spans: spans.with_columns(repeat=pl.col("repeat") + here.cast(pl.UInt16)))


def damage_ledger(folder: Path) -> None:
    more = pl.col("documents") + (pl.col("outcome") == KEPT).cast(pl.Int64)
    change(mixture_of(folder).folder / "ledger.parquet", lambda ledger: ledger.with_columns(documents=more))


def damage_heldout(folder: Path) -> None:
    """A document of the mixture is one that was dropped."""
    ((dropped,),) = sql("SELECT doc_id FROM decisions WHERE decision = 'dropped' LIMIT 1", folder / "ws")["rows"]
    doc_id = pl.when(pl.col("document") == 7).then(pl.lit(UUID(dropped).bytes)).otherwise("doc_id")
    change(mixture_of(folder).folder / "documents.parquet", lambda frame: frame.with_columns(doc_id=doc_id))


def damage_takedown(folder: Path) -> None:
    doc_id = mixture_of(folder).documents()["doc_id"][5].hex()
    taken = {"how": "takedown", "reference": "all@v1", "digest": "0" * 32, "removed": [doc_id]}
    change_manifest(folder, lambda manifest: manifest.update(derived_from=taken))


def damage_decisions(folder: Path) -> None:
    change_decision(folder, "dropped", "lost", "web")


def damage_cap(folder: Path) -> None:
    change_manifest(folder, lambda manifest: manifest["config"].update(max_repeats=1))


def damage_order(folder: Path) -> None:
    """The first two uses of the first document that is used twice change places."""
    documents = mixture_of(folder).documents()
    twice = documents.filter(pl.col("repeats") > 1)["document"][0]
    use = pl.col("repeat").replace_strict({0: 1, 1: 0}, default=pl.col("repeat"))
    change(
        schedule_of(folder),
        lambda spans: spans.with_columns(repeat=pl.when(pl.col("document") == twice).then(use).otherwise("repeat")),
    )


def damage_shares(folder: Path) -> None:
    """The training rows with the most replay come first; each use of a document is numbered as it comes then."""
    is_replay = mixture_of(folder).documents().select("document", "is_replay")
    place, shape = ["step", "row"], read_json(schedule_of(folder).parent / "schedule.json")

    def edit(spans: pl.DataFrame) -> pl.DataFrame:
        replayed = (pl.col("length") * pl.col("is_replay")).sum()
        rows = spans.join(is_replay, on="document").group_by(place).agg(replayed.alias("replayed"))
        rows = rows.sort(-pl.col("replayed").cast(pl.Int64), *place).with_row_index("now")
        moved = spans.join(rows, on=place).sort("now", "start")
        return moved.with_columns(
            step=pl.col("now") // shape["rows_per_step"],
            row=pl.col("now") % shape["rows_per_step"],
            repeat=pl.int_range(pl.len()).over("document", "document_start"),
        ).select(spans.columns)

    change(schedule_of(folder), edit)


def damage_fit(folder: Path) -> None:
    """The first span that follows another in its row begins a token early."""
    here = pl.int_range(pl.len()) == (pl.col("start") > 0).arg_max()
    change(schedule_of(folder), lambda spans: spans.with_columns(start=pl.col("start") - here.cast(pl.UInt32)))


def damage_search(folder: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["benchmarks"][0]["searched_documents"] -= 1

    change_manifest(folder, edit)


def damage_sum(folder: Path) -> None:
    change_manifest(folder, lambda manifest: manifest.update(num_steps=manifest["num_steps"] + 1))


DAMAGES = {
    "budgets_kept": damage_budget,
    "every_use_scheduled": damage_use,
    "ledger_balances": damage_ledger,
    "no_heldout_in_mixture": damage_heldout,
    "no_taken_down_document": damage_takedown,
    "one_decision_per_document": damage_decisions,
    "repeats_capped": damage_cap,
    "running_shares": damage_shares,
    "schedule_in_order": damage_order,
    "schedule_rows_fit": damage_fit,
    "searches_cover_mixture": damage_search,
    "sums_agree": damage_sum,
}


def found_by(folder: Path) -> list[str]:
    """The audits that return a row of the workspace as its state file says it is."""
    with open_catalog(folder / "ws") as connection:
        return [name for name in AUDITS if connection.execute(read_sql("audits", name).statement).fetchone()]


def test_every_audit_has_its_damage() -> None:
    assert list(DAMAGES) == AUDITS


def test_audits_hold_of_what_was_built_and_the_run_says_so(folder: Path) -> None:
    assert found_by(folder) == []
    result = run(folder / "recipe.yaml", folder / "ws")
    assert {step["state"] for step in result["steps"]} == {"fresh"}
    assert result["audits"] == AUDITS
    assert show_run(result).splitlines()[-1] == f"audits: {len(AUDITS)} hold"


@pytest.mark.parametrize("audit", DAMAGES)
def test_damage_is_found_by_its_audit_alone_and_stops_the_run(folder: Path, audit: str) -> None:
    before = (folder / "ws/recipes/searched.json").read_bytes()
    DAMAGES[audit](folder)
    assert found_by(folder) == [audit]
    with pytest.raises(AuditError, match=rf"^audit {audit}: \d+ rows?\. Needed: none \(") as stopped:
        run(folder / "recipe.yaml", folder / "ws")
    assert stopped.value.exit_code == 2
    saved = read_parquet(folder / f"ws/audits/failed/{audit}.parquet")
    assert saved.columns == list(read_sql("audits", audit).yields)
    assert read_json(folder / "ws/recipes/searched.json")["mixtures"] == json.loads(before)["mixtures"]
    assert [version.reference for version in versions(folder)] == ["all@v1"]


def versions(folder: Path, name: str = "all") -> list[Mixture]:
    return mixture_versions(Workspace(folder / "ws"), name)


def test_message_shows_rows_and_the_query_that_shows_them_all(folder: Path) -> None:
    damage_budget(folder)
    with pytest.raises(AuditError) as stopped:
        run(folder / "recipe.yaml", folder / "ws")
    (source,) = (row for row in mixture_of(folder).manifest.sources if row.source == "web")
    text = f"source web, is_replay False, budget_tokens {source.budget_tokens}, supervised_tokens"
    assert text in str(stopped.value)
    query = str(stopped.value).partition('provender sql "')[2].partition('"')[0]
    assert sql(query, folder / "ws")["rows"][0][-1] == "more than its budget"


def test_versions_that_were_made_and_do_not_hold_are_removed_and_older_ones_stay(folder: Path) -> None:
    damage_ledger(folder)
    (folder / "recipe.yaml").write_text(json.dumps(content(other=OTHER)))
    with pytest.raises(AuditError, match="removed again, as it does not hold: other@v1"):
        run(folder / "recipe.yaml", folder / "ws")
    assert versions(folder, "other") == []
    assert [version.reference for version in versions(folder)] == ["all@v1"]
    assert not (folder / "ws/mixtures/other/v1").exists()


def test_mended_workspace_runs_again_and_the_rows_are_gone(folder: Path) -> None:
    path = schedule_of(folder)
    good = path.read_bytes()
    damage_fit(folder)
    with pytest.raises(AuditError):
        run(folder / "recipe.yaml", folder / "ws")
    path.write_bytes(good)
    assert run(folder / "recipe.yaml", folder / "ws")["audits"] == AUDITS
    assert not (folder / "ws/audits/failed").exists()


def test_mixture_of_an_older_run_is_not_judged_by_new_decisions(folder: Path) -> None:
    """Another filter, and only the other mixture is built: what `all` was made from was decided otherwise."""
    changed = content(other=OTHER) | {"filters": [{"reason": "short", "keep": "heuristics__num_chars >= 230"}]}
    (folder / "recipe.yaml").write_text(json.dumps(changed | {"guard": {"max_source_loss": 1}}))
    assert run(folder / "recipe.yaml", folder / "ws", mixtures=["other"])["audits"] == AUDITS
    assert found_by(folder) == ["no_heldout_in_mixture"]
