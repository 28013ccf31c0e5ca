"""Versions through `provender run`: the order of files changes nothing, and what changed is told with its reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.base.atomic import read_json, write_json
from engine.base.errors import AuditError, InputError
from engine.catalog import sql
from engine.formats.manifest import Derivation
from engine.formats.mixture import open_mixture
from engine.formats.receipt import read_receipt, write_receipt
from engine.formats.workspace import Workspace
from engine.mixture.diff import mixture_diff
from engine.mixture.show import show_mixture, show_mixture_list
from engine.mixture.show_diff import show_diff
from engine.mixture.versions import mixture_list, mixture_show, mixture_verify
from engine.run.export import mixture_export
from engine.run.pipeline import run
from tests.engine.run.searched import prose

Rows = list[dict[str, str]]
UNITS = ("documents", "tokens", "supervised_tokens")


def corpus() -> dict[str, Rows]:
    """Two sources; the last two of `web` are near-duplicates of the first two, and three are short."""
    web = [{"uid": f"w{n:02}", "text": prose(n, num_words=20 + n)} for n in range(30)]
    web += [{"uid": f"x{n}", "text": web[n + 20]["text"] + " more"} for n in range(2)]
    web += [{"uid": f"s{n}", "text": f"short {n}"} for n in range(3)]
    return {"web": web, "books": [{"uid": f"b{n:02}", "text": prose(100 + n, num_words=40)} for n in range(20)]}


def recipe(name: str = "small", **mixture: Any) -> dict[str, Any]:
    columns = {"id": "uid"}
    mixed = {"sources": ["web"], "replay": {"share": 0.2, "sources": ["books"]}, "row_tokens": 128, "rows_per_step": 2}
    return {
        "name": name,
        "sources": [
            {"stage": "jsonl", "name": source, "path": f"{source}*.jsonl", "columns": columns}
            for source in ("web", "books")
        ],
        "annotate": [{"stage": "exact_dup"}, {"stage": "near_dup", "threshold": 0.7}, {"stage": "heuristics"}],
        "filters": [{"reason": "too_short", "keep": "heuristics__num_words >= 5"}],
        "tokenizer": {"train": {"sources": ["books"], "vocab_size": 400, "control_slots": 0}},
        "mixtures": {"m": mixed | mixture},
    }


def write(folder: Path, rows: dict[str, Rows], content: dict[str, Any], parts: int = 1) -> Path:
    for path in folder.glob("*.jsonl"):
        path.unlink()
    for source, documents in rows.items():
        for part in range(parts):
            lines = [json.dumps(row) + "\n" for row in documents[part::parts]]
            (folder / f"{source}-{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    path = folder / f"{content['name']}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def total(result: dict[str, Any], name: str, unit: str) -> int:
    return sum(row[f"{unit}_{name}"] for row in result["sources"])


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions of m: 2 with another filter, one document gone and one new; 3 of another recipe; 4 in another order."""
    folder = tmp_path_factory.mktemp("versions")
    rows = corpus()
    run(write(folder, rows, recipe()), folder / "ws", jobs=1)
    changed = recipe()
    changed["filters"][0]["keep"] = "heuristics__num_words >= 25"
    new = [*rows["web"][:10], *rows["web"][11:], {"uid": "n0", "text": prose(500, num_words=50)}]
    run(write(folder, rows | {"web": new}, changed), folder / "ws", jobs=1)
    run(write(folder, rows | {"web": new}, recipe("other", replay={"share": 0.4, "sources": ["books"]})), folder / "ws")
    run(write(folder, rows, recipe(curriculum="by_length")), folder / "ws")
    return folder


def test_names_parts_and_order_of_files_change_no_digest(four: Path, tmp_path: Path) -> None:
    rows = {source: documents[::-1] for source, documents in corpus().items()}
    run(write(tmp_path, rows, recipe(), parts=3), tmp_path / "ws", jobs=2)
    one, other = (open_mixture(Workspace(folder / "ws"), "m@v1") for folder in (four, tmp_path))
    assert one.manifest == other.manifest
    assert one.documents().equals(other.documents())


def test_old_content_again_is_the_old_version(four: Path) -> None:
    before = [row["reference"] for row in mixture_list(four / "ws")["mixtures"]]
    result = run(write(four, corpus(), recipe()), four / "ws", jobs=1)
    assert result["mixtures"][0]["reference"] == "m@v1"
    assert (
        [row["reference"] for row in mixture_list(four / "ws")["mixtures"]]
        == before
        == [f"m@v{n}" for n in range(1, 5)]
    )
    run(write(four, corpus(), recipe(curriculum="by_length")), four / "ws", jobs=1)


def test_a_difference_adds_up_and_says_why(four: Path) -> None:
    found = mixture_diff("m@v1", "m@v2", four / "ws")
    for unit in UNITS:
        moves = 0 if unit == "documents" else total(found, "moved", unit) + total(found, "changed", unit)
        change = total(found, "added", unit) - total(found, "removed", unit) + moves
        assert (found["from"][unit], found["to"][unit]) == (total(found, "before", unit), total(found, "after", unit))
        assert found["from"][unit] + change == found["to"][unit]
    reasons = {
        (group, row["source"], row["reason"]): row["documents"]
        for group in ("added", "removed")
        for row in found[group]
    }
    assert reasons["added", "web", "not_in_source"] == 1
    assert reasons["removed", "web", "not_in_source"] == 1
    assert reasons["removed", "web", "dropped: too_short"] == 5
    assert {key[:2] for key in reasons} <= {("added", "web"), ("removed", "web"), ("removed", "books")}
    assert {"reason": "not_in_source", "source": "web"}.items() <= found["examples"]["added"][0].items()
    assert found["examples"]["added"][0]["excerpt"].startswith(prose(500, num_words=50)[:60])
    assert [row["key"] for row in found["contract"]] == ["input.web"]


def test_a_difference_backwards_swaps_what_was_added_and_removed(four: Path) -> None:
    there, back = (mixture_diff(*names, four / "ws") for names in (("m@v1", "m@v2"), ("m@v2", "m@v1")))
    for unit in UNITS:
        assert total(there, "added", unit) == total(back, "removed", unit)
        assert total(there, "moved", unit) == -total(back, "moved", unit)
    assert {row["reason"] for row in back["added"]} >= {"dropped: too_short", "not_in_source"}


def test_a_mere_change_of_order_is_told_as_such(four: Path) -> None:
    found = mixture_diff("m@v1", "m@v4", four / "ws")
    assert [found[group] for group in ("added", "removed", "moved", "changed")] == [[], [], [], []]
    assert found["is_reordered"]
    assert not found["is_same"]
    assert {"key": "curriculum", "from": "shuffled", "to": "by_length"} in found["contract"]
    assert "another order" in show_diff(found)
    assert "the same content" in show_diff(mixture_diff("m@v1", "m@v1", four / "ws"))


def test_a_mixture_that_replays_more_says_its_documents_were_over_budget(four: Path) -> None:
    found = mixture_diff("m@v2", "m@v3", four / "ws")
    assert {row["reason"] for row in found["added"] if row["source"] == "books"} == {"over_budget"}
    assert {row["key"] for row in found["contract"]} >= {"recipe", "replay.share"}


def test_what_was_taken_down_is_said_of_every_version_after_it(four: Path, tmp_path: Path) -> None:
    # As takedown leaves it: the old selection still keeps what left, only the derivation knows.
    workspace = Workspace(four / "ws")
    old, new = open_mixture(workspace, "m@v1"), open_mixture(workspace, "m@v2")
    found = mixture_diff("m@v1", "m@v2", four / "ws")
    gone = [one["doc_id"].replace("-", "") for one in found["examples"]["removed"]]
    files = [new.folder / name for name in ("manifest.json", "receipt.json")]
    contents = [path.read_bytes() for path in files]
    derived = Derivation(how="takedown", reference="m@v1", digest=old.manifest.digest, removed=gone)
    write_json(files[0], read_json(files[0]) | {"derived_from": derived.model_dump()})
    receipt = read_receipt(new.folder)
    assert receipt is not None
    write_receipt(new.folder, receipt.model_copy(update={"details": {}}))
    try:
        again = mixture_diff("m@v1", "m@v2", four / "ws")
        assert sum(row["documents"] for row in again["removed"] if row["reason"] == "taken_down") == len(gone)
        assert {"key": "derived_from", "from": None, "to": "m@v1"} in again["contract"]
    finally:
        for path, content in zip(files, contents, strict=True):
            path.write_bytes(content)


def test_a_cut_state_is_an_error_that_says_what_to_do_for_each_verb_that_reads_it(four: Path, tmp_path: Path) -> None:
    path = open_mixture(Workspace(four / "ws"), "m@v2").folder / "state.json"
    content = path.read_bytes()
    path.write_bytes(content[:50])
    verbs: list[Callable[[], object]] = [
        lambda: mixture_diff("m@v1", "m@v2", four / "ws"),
        lambda: mixture_export("m@v2", tmp_path / "out", four / "ws"),
        lambda: sql("SELECT 1", four / "ws", mixture="m@v2"),
    ]
    try:
        for verb in verbs:
            with pytest.raises(InputError, match=r"v2/state\.json: cannot be read .*Fix: restore it"):
                verb()
    finally:
        path.write_bytes(content)


def test_reasons_are_unknown_where_the_state_of_a_version_is_gone(four: Path) -> None:
    path = open_mixture(Workspace(four / "ws"), "m@v2").folder / "state.json"
    content = path.read_bytes()
    path.unlink()
    try:
        found = mixture_diff("m@v1", "m@v2", four / "ws")
        assert {row["reason"] for row in found["removed"]} == {"unknown"}
        assert {row["reason"] for row in found["added"]} == {"not_in_source"}
        assert {one["problem"] for one in found["examples"]["added"]} == {"its source is gone"}
    finally:
        path.write_bytes(content)


def test_versions_of_two_recipes_are_numbered_together_and_the_list_says_so(four: Path) -> None:
    listed = mixture_list(four / "ws")
    told = [(row["reference"], row["recipe"], row["current_for"]) for row in listed["mixtures"]]
    assert told == [
        ("m@v1", "small", []),
        ("m@v2", "small", []),
        ("m@v3", "other", ["other"]),
        ("m@v4", "small", ["small"]),
    ]
    assert "versions of 2 recipes (other, small) are numbered together" in " ".join(show_mixture_list(listed).split())
    assert open_mixture(Workspace(four / "ws"), "m").reference == "m@v4"


def test_every_reference_finds_its_version_and_others_are_errors(four: Path) -> None:
    workspace = Workspace(four / "ws")
    for row in mixture_list(four / "ws")["mixtures"]:
        for reference in (row["reference"], f"m@{row['digest'][:6]}", f"m@{row['digest'].upper()}"):
            assert open_mixture(workspace, reference).manifest.digest == row["digest"]
    for wrong in ("m@v5", "m@v0", "m@", "m@latest "):
        if wrong == "m@":
            assert open_mixture(workspace, wrong).reference == "m@v4"
            continue
        with pytest.raises(InputError, match=r"there is no such version\. Needed: one of v1 \("):
            open_mixture(workspace, wrong)
    with pytest.raises(InputError, match="there is no such version"):
        open_mixture(workspace, f"m@{row['digest'][:5]}")


@pytest.mark.parametrize("width", [60, 120])
def test_lists_and_differences_fit_the_terminal(four: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = [
        show_mixture_list(mixture_list(four / "ws")),
        show_mixture(mixture_show("m@v3", four / "ws")),
        show_diff(mixture_diff("m@v1", "m@v2", four / "ws")),
        show_diff(mixture_diff("m@v2", "m@v3", four / "ws")),
    ]
    folder = str(four)
    for text in shown:
        assert [line for line in text.splitlines() if len(line) > width and folder not in line] == []
    assert "40.0% asked, " in " ".join(shown[1].split())


def test_verify_and_sql_know_the_phases(four: Path) -> None:
    assert mixture_verify("m@v3", four / "ws")["checked"]
    rows = sql("SELECT phase, documents, replay_tokens FROM mixture_phases WHERE version = 3", four / "ws")["rows"]
    shown = mixture_show("m@v3", four / "ws")
    replayed = sum(row["supervised_tokens"] for row in shown["sources"] if row["is_replay"])
    assert rows == [["all", shown["documents"], replayed]]
    phases = sql("SELECT DISTINCT phase, phase_number FROM mixture_documents", four / "ws")["rows"]
    assert phases == [["all", 0]]


def test_sql_over_a_version_shows_what_it_was_made_from(four: Path) -> None:
    """Versions 1 and 2 differ by a filter, and by a document that left and one that came."""
    dropped = "SELECT count(*) FROM decisions WHERE reason = 'too_short'"
    assert [sql(dropped, four / "ws", mixture=f"m@v{number}")["rows"] for number in (1, 2)] == [[[3]], [[8]]]
    assert sql(dropped, four / "ws")["rows"] == [[3]]
    texts = f"SELECT count(*) FROM documents WHERE text LIKE '{prose(500, num_words=50)}'"
    assert [sql(texts, four / "ws", mixture=f"m@v{number}")["rows"] for number in (1, 2)] == [[[0]], [[1]]]
    path = open_mixture(Workspace(four / "ws"), "m@v2").folder / "state.json"
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(InputError, match="it does not say where the artifacts lie"):
            sql(dropped, four / "ws", mixture="m@v2")
    finally:
        path.write_bytes(content)


def test_a_state_that_was_edited_is_found_and_what_it_names_is_not_looked_into(four: Path) -> None:
    path = open_mixture(Workspace(four / "ws"), "m@v4").folder / "state.json"
    content = path.read_bytes()
    state = json.loads(content)
    path.write_text(json.dumps(state | {"sources": {}}))
    try:
        with pytest.raises(AuditError, match=r"1 found:\n.*state.json: its bytes changed"):
            mixture_verify("m@v4", four / "ws")
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("pattern", ["web/*.parquet", "ledger.parquet", "*.ids.parquet", "source.json", "state.json"])
@pytest.mark.parametrize("damage", ["overwritten", "truncated"])
def test_what_a_version_was_made_from_is_verified_to_the_byte(four: Path, pattern: str, damage: str) -> None:
    mixture = open_mixture(Workspace(four / "ws"), "m@v4")
    state = mixture.require_state()
    folders = [four / "ws" / str(state.selection), four / "ws" / state.sources["web"], mixture.folder]
    path = next(path for folder in folders for path in sorted(folder.glob(pattern)))
    content = path.read_bytes()
    path.write_bytes(b"broken" if damage == "overwritten" else content[:-20])
    try:
        with pytest.raises(AuditError, match=rf"{path.name}: its bytes changed since it was written"):
            mixture_verify("m@v4", four / "ws")
    finally:
        path.write_bytes(content)
    assert {"selection", "documents of the sources"} <= set(mixture_verify("m@v4", four / "ws")["checked"])
