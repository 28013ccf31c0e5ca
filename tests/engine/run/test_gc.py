"""gc removes what nothing refers to, and what stays works as before."""

import errno
import fcntl
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.base.atomic import write_json
from engine.base.errors import InputError, ResourceError
from engine.base.hashing import digest_file
from engine.catalog import sql
from engine.explain import explain
from engine.formats.manifest import Derivation
from engine.formats.mixture import Mixture, mixture_versions, read_mixture
from engine.formats.receipt import read_receipt, write_receipt
from engine.formats.takedowns import Takedown, TakenDown, append_takedowns, now, read_takedowns
from engine.formats.workspace import Workspace
from engine.formats.workspace_lock import alone, in_use, only_writer
from engine.mixture.versions import mixture_verify
from engine.mixture.write import content_digest
from engine.report import report
from engine.run.export import mixture_export
from engine.run.gc import gc
from engine.run.gc.show import show_gc
from tests.engine.run.exported_corpus import recipe, run_in, write_corpus
from tests.engine.run.searched import states

SECOND = {"filters": [{"reason": "too_long", "keep": "heuristics__num_words <= 60"}]}
WITHOUT = {"tokenizer": None, "control_tokens": None, "mixtures": None}


def with_threshold(threshold: float) -> list[dict[str, Any]]:
    return [
        stage | ({"threshold": threshold} if stage["stage"] == "near_dup" else {}) for stage in recipe()["annotate"]
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of one mixture, and a second recipe whose first threshold nobody needs any more."""
    folder = write_corpus(tmp_path_factory.mktemp("built"))
    for sections in (
        {},
        {"name": "other", "annotate": with_threshold(0.95), **WITHOUT},
        {"name": "other", "annotate": with_threshold(0.9), "benchmarks": None, **WITHOUT},
        SECOND,
    ):
        run_in(folder, recipe(**sections))
    return folder


@pytest.fixture
def corpus(built: Path, tmp_path: Path) -> Path:
    """A copy of the workspace; the recipe and its files stay where they are."""
    shutil.copytree(built / "ws", tmp_path / "ws")
    return tmp_path


def versions(corpus: Path, name: str = "all") -> list[Mixture]:
    return mixture_versions(Workspace(corpus / "ws"), name)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_left_is_whole_and_the_current_recipe_is_fresh(built: Path, tmp_path: Path) -> None:
    before = tree(built / "ws")
    result = gc(built / "ws")
    after = tree(built / "ws")
    assert result["kinds"]["selections"]["artifacts"] == 1
    assert result["kinds"]["annotations"]["artifacts"] >= 1
    assert result["unknown"] == []
    # Where another threshold starts from.
    assert any("/_pairs/" in name for name in after)
    assert result["bytes"] == sum(map(len, before.values())) - sum(map(len, after.values()))
    assert all(after[name] == before[name] for name in after)
    assert gc(built / "ws")["removed"] == []
    for version in versions(built) + versions(built, "often"):
        mixture_verify(version.reference, built / "ws")
    assert set(states(run_in(built, recipe(**SECOND))).values()) == {"fresh"}
    (row,) = sql("SELECT doc_id FROM documents LIMIT 1", built / "ws")["rows"]
    assert explain(str(row[0]), built / "ws")["doc_id"]
    report(built / "ws", out=tmp_path / "report.html")
    first = versions(built)[0]
    assert mixture_export(first.reference, tmp_path / "out", built / "ws")["rows"] == first.manifest.documents


def test_a_dry_run_says_what_goes_and_removes_nothing(built: Path, corpus: Path) -> None:
    (corpus / "ws" / "selections" / ("a" * 12)).mkdir()
    (corpus / "ws" / "selections" / ("a" * 12) / "receipt.json").write_text("{}")
    before = tree(corpus / "ws")
    planned = gc(corpus / "ws", dry_run=True)
    assert tree(corpus / "ws") == before
    assert f"selections/{'a' * 12}" in planned["removed"]
    assert gc(corpus / "ws")["removed"] == planned["removed"]


def test_what_is_not_known_stays_and_is_listed(corpus: Path) -> None:
    place = corpus / "ws"
    (place / "notes.txt").write_text("mine")
    (place / "tokens" / "mine").mkdir()
    (place / "documents" / "web" / "readme").write_text("mine")
    model = place / "models" / ("b" * 12)
    model.mkdir()
    (model / "model.bin").write_text("mine")
    result = gc(place)
    assert result["unknown"] == ["notes.txt", "documents/web/readme", "tokens/mine"]
    assert (model / "model.bin").is_file()
    assert "not known, left alone: notes.txt" in show_gc(result)


def test_left_over_temporary_files_go_after_a_day(corpus: Path) -> None:
    place = corpus / "ws"
    old, young, gone = (place / "tokens" / name for name in (".tmp-old", ".tmp-young", ".tmp-gone-x"))
    for folder in (old, young, gone):
        folder.mkdir()
        (folder / "ids.bin").write_bytes(b"12345")
    yesterday = time.time() - 25 * 3600
    for path in (old / "ids.bin", old):
        os.utime(path, (yesterday, yesterday))
    result = gc(place)
    assert result["kinds"]["temporary"] == {"artifacts": 2, "bytes": 10}
    assert [path.exists() for path in (old, young, gone)] == [False, True, False]


def test_nothing_is_removed_while_a_run_is_at_work(corpus: Path) -> None:
    with in_use(corpus / "ws"), pytest.raises(ResourceError, match="at work"):
        gc(corpus / "ws")
    assert gc(corpus / "ws", dry_run=True)["dry_run"]


def test_no_run_starts_while_gc_is_at_work(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "copy")
    with alone(tmp_path / "copy" / "ws"), pytest.raises(ResourceError, match="`provender gc` is at work"):
        run_in(tmp_path / "copy", recipe(**SECOND))


def test_no_version_is_exported_while_gc_is_at_work(corpus: Path, tmp_path: Path) -> None:
    with alone(corpus / "ws"), pytest.raises(ResourceError, match="`provender gc` is at work"):
        mixture_export("all@v1", tmp_path / "out", corpus / "ws")


@pytest.mark.parametrize(
    "name",
    [
        "mixtures/all/v1/state.json",
        "mixtures/all/v1/manifest.json",
        "tokenizers/trained-*.json",
        "documents/*/*/source.json",
    ],
)
@pytest.mark.parametrize("content", ["", "{", '{"recipe": '])
def test_a_damaged_file_that_names_artifacts_is_named_and_nothing_goes(corpus: Path, name: str, content: str) -> None:
    place = corpus / "ws"
    path = next(iter(sorted(place.glob(name))))
    path.write_text(content)
    before = tree(place)
    with pytest.raises(InputError, match=f"{path.name}: cannot be read"):
        gc(place)
    assert tree(place) == before


def test_a_state_or_pointer_of_other_content_is_named_too(corpus: Path) -> None:
    place = corpus / "ws"
    for path in (place / "mixtures/all/v1/state.json", *sorted(place.glob("tokenizers/trained-*.json"))[:1]):
        whole = path.read_text()
        path.write_text("{}")
        with pytest.raises(InputError, match=f"{path.name}: cannot be read"):
            gc(place)
        path.write_text(whole)


def test_what_was_taken_down_is_known_and_stays(corpus: Path) -> None:
    gone = TakenDown(doc_id="ab" * 16, source="web", why="asked", of="ab" * 16, similarity=1.0)
    append_takedowns(Workspace(corpus / "ws"), [Takedown(when=now(), documents=[gone])])
    assert gc(corpus / "ws")["unknown"] == []
    assert read_takedowns(Workspace(corpus / "ws"))[0].documents == [gone]


def test_kept_rows_of_audits_that_failed_are_known_and_stay(corpus: Path) -> None:
    failed = corpus / "ws" / "audits" / "failed"
    failed.mkdir(parents=True, exist_ok=True)
    (failed / "shares.parquet").write_bytes(b"rows")
    assert gc(corpus / "ws")["unknown"] == []
    assert (failed / "shares.parquet").is_file()


def test_temporary_files_may_go_while_they_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    is_over = threading.Event()

    def open_and_close() -> None:
        while not is_over.is_set():
            folder = tmp_path / "ws" / ".tmp-sql-1"
            folder.mkdir()
            (folder / "spilled").write_bytes(b"rows")
            shutil.rmtree(folder)

    thread = threading.Thread(target=open_and_close)
    thread.start()
    try:
        for _ in range(100):
            assert gc(tmp_path / "ws", dry_run=True)["removed"] == []
    finally:
        is_over.set()
        thread.join()


def test_a_file_system_without_locks_keeps_nobody_out_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(number: int) -> Any:
        def flock(*_: Any) -> None:
            raise OSError(number, os.strerror(number))

        return flock

    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    for lock in (in_use, alone, only_writer):
        with lock(tmp_path):
            assert "its file system has no locks" in capsys.readouterr().err
    monkeypatch.setattr(fcntl, "flock", refuse(errno.EIO))
    for lock in (in_use, alone, only_writer):
        with pytest.raises(OSError, match="Input/output"), lock(tmp_path):
            pass


def test_a_named_version_goes_with_what_only_it_needs(corpus: Path) -> None:
    first, second = versions(corpus)
    gc(corpus / "ws")
    result = gc(corpus / "ws", versions=[first.reference])
    place = Workspace(corpus / "ws")
    assert result["removed"][0] == "mixtures/all/v1"
    assert result["kinds"]["schedules"]["artifacts"] == 1
    assert [version.reference for version in versions(corpus)] == [second.reference]
    assert not place.schedule(first.manifest.schedule).exists()
    # The other mixture of that run has the same selection and token store.
    assert place.tokens(first.manifest.token_store).exists()
    assert gc(corpus / "ws", versions=["often@v1"])["kinds"]["tokens"]["artifacts"] == 1
    assert not place.tokens(first.manifest.token_store).exists()
    mixture_verify(second.reference, corpus / "ws")


@pytest.mark.parametrize("edited", ["often/v1", "all/v1"])
def test_an_edited_version_is_in_nobodys_way_and_can_go(corpus: Path, edited: str) -> None:
    path = corpus / "ws" / "mixtures" / edited / "manifest.json"
    path.write_text(path.read_text() + " ")
    assert gc(corpus / "ws", versions=["all@v1"])["removed"][0] == "mixtures/all/v1"
    assert [one.reference for one in versions(corpus)] == ["all@v2"]


def test_versions_that_something_refers_to_stay(corpus: Path) -> None:
    first, second = versions(corpus)
    with pytest.raises(InputError, match="latest"):
        gc(corpus / "ws", versions=[second.reference])
    with pytest.raises(InputError, match="no number of a version"):
        gc(corpus / "ws", versions=["all@latest"])
    folder = corpus / "ws" / "runs" / "trained"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"lineage": [{"mixture": first.manifest.digest}]}))
    with pytest.raises(InputError, match="the run trained refers to it"):
        gc(corpus / "ws", versions=[first.reference])
    shutil.rmtree(folder)
    derived = derive(first, 3)
    assert mixture_verify(derived.reference, corpus / "ws")["checked"]
    with pytest.raises(InputError, match=r"all@v3 was made from it \(takedown\)"):
        gc(corpus / "ws", versions=[first.reference])
    assert len(versions(corpus)) == 3


def derive(version: Mixture, number: int) -> Mixture:
    """Write a version with the same documents that says it was made from another, its digests those of its content."""
    folder = version.folder.parent / f"v{number}"
    shutil.copytree(version.folder, folder)
    receipt = read_receipt(version.folder)
    assert receipt is not None
    derivation = Derivation(how="takedown", reference=version.reference, digest=version.manifest.digest)
    manifest = version.manifest.model_copy(update={"version": number, "derived_from": derivation})
    manifest = manifest.model_copy(update={"digest": content_digest(manifest, receipt.inputs["documents"])})
    path = folder / "manifest.json"
    write_json(path, manifest.model_dump(mode="json"))
    written = {"files": digest_file(path), "bytes": path.stat().st_size}
    details = receipt.details | {name: receipt.details[name] | {path.name: value} for name, value in written.items()}
    write_receipt(folder, receipt.model_copy(update={"digest": manifest.digest, "details": details}))
    return read_mixture(folder)


def test_a_source_that_left_takes_its_documents_along(corpus: Path) -> None:
    state = corpus / "ws" / "recipes" / "other.json"
    state.unlink()
    for version in ("all/v1", "often/v1"):
        shutil.rmtree(corpus / "ws" / "mixtures" / version)
    for path in [*corpus.glob("ws/mixtures/*/*/*.json"), corpus / "ws" / "recipes" / "exported.json"]:
        if path.name in ("state.json", "exported.json"):
            content = json.loads(path.read_text())
            content["sources"].pop("lake")
            path.write_text(json.dumps(content))
    gc(corpus / "ws")
    assert not (corpus / "ws" / "documents" / "lake").exists()
    assert not list(corpus.glob("ws/annotations/*/*/lake"))
    assert (corpus / "ws" / "documents" / "web" / "watch.json").is_file()


@pytest.mark.parametrize("columns", [60, 120])
def test_what_a_terminal_shows_fits_it(corpus: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (corpus / "ws" / "tokens" / ("c" * 12)).mkdir()
    for number in range(12):
        (corpus / "ws" / f"a file of mine {number}").write_text("mine")
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = show_gc(gc(corpus / "ws", dry_run=True))
    assert max(map(len, shown.splitlines())) <= columns
    assert "and 2 more" in shown
