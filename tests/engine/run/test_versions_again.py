"""Old content built again is the old version, whatever else a recipe makes, and whatever became of its schedule."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import AuditError, InputError
from engine.formats.mixture import Mixture, mixture_versions, open_mixture
from engine.formats.workspace import Workspace
from engine.mixture.versions import mixture_list, mixture_verify
from engine.run import audits
from engine.run.gc import gc
from engine.run.pipeline import run
from tests.engine.run.searched import prose, write_lines

SHAPE = {"row_tokens": 64, "rows_per_step": 2}
MIXTURE = {"sources": ["a"], **SHAPE}


def write(folder: Path, mixtures: dict[str, Any], sources: str = "ab", **keys: Any) -> Path:
    """A recipe over sources of 12 short texts each."""
    rows = [{"stage": "jsonl", "name": name, "path": f"{name}.jsonl", "columns": {"id": "uid"}} for name in sources]
    tokenizer = {"train": {"sources": ["a"], "vocab_size": 300, "control_slots": 0}}
    content = {"name": "again", "sources": rows, "annotate": [], "tokenizer": tokenizer, "mixtures": mixtures}
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(content | keys))
    return path


def write_source(folder: Path, name: str, start: int, changed: str | None = None) -> None:
    texts = [prose(start + number, num_words=20) for number in range(12)]
    if changed is not None:
        texts[3] = changed
    write_lines(folder / f"{name}.jsonl", [{"uid": f"{name}{n}", "text": text} for n, text in enumerate(texts)])


def built(folder: Path, *arguments: Any, **keys: Any) -> list[str]:
    result = run(write(folder, *arguments, **keys), folder / "ws", jobs=1)
    return [mixture["reference"] for mixture in result["mixtures"]]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """m@v1 over source a."""
    folder = tmp_path_factory.mktemp("again") / "first"
    folder.mkdir()
    for number, name in enumerate("abc"):
        write_source(folder, name, 100 * number)
    assert built(folder, {"m": MIXTURE}) == ["m@v1"]
    return folder


@pytest.fixture
def folder(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "corpus"))


def version(folder: Path, reference: str = "m@v1") -> Mixture:
    return open_mixture(Workspace(folder / "ws"), reference)


def table(folder: Path) -> Path:
    return Workspace(folder / "ws").schedule(version(folder).manifest.schedule) / "schedule.parquet"


def test_what_else_a_recipe_makes_changes_no_version(folder: Path) -> None:
    other = {"m": MIXTURE, "other": {"sources": ["b"], **SHAPE}}
    assert built(folder, other) == ["m@v1", "other@v1"]
    assert built(folder, {"m": MIXTURE}, filters=[{"reason": "none", "keep": "num_chars >= 1"}]) == ["m@v1"]
    assert built(folder, {**other, "wide": {"sources": ["c"], **SHAPE}}, "abc") == ["m@v1", "other@v1", "wide@v1"]
    assert mixture_verify("m@v1", folder / "ws")["checked"]


def test_another_text_of_the_same_id_and_length_is_another_version(folder: Path) -> None:
    old = prose(3, num_words=20)
    text = " ".join([*old.split()[1:], old.split()[0]])
    before = version(folder).documents()
    write_source(folder, "a", 0, changed=text)
    assert built(folder, {"m": MIXTURE}) == ["m@v2"]
    assert version(folder, "m@v2").documents()["doc_id"].sort().to_list() == before["doc_id"].sort().to_list()


@pytest.mark.parametrize("damage", ["cut short", "gone", "folder gone"])
def test_a_schedule_that_is_not_whole_is_made_anew_for_its_version(folder: Path, damage: str) -> None:
    path = table(folder)
    content = path.read_bytes()
    if damage == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "gone":
        path.unlink()
    else:
        shutil.rmtree(path.parent)
    assert built(folder, {"m": MIXTURE, "other": {"sources": ["b"], **SHAPE}}) == ["m@v1", "other@v1"]
    assert path.read_bytes() == content


def test_a_token_store_that_cannot_be_made_anew_is_told_with_what_helps(folder: Path) -> None:
    other = {"m": MIXTURE, "other": {"sources": ["b"], **SHAPE}}
    assert built(folder, other) == ["m@v1", "other@v1"]
    shutil.rmtree(Workspace(folder / "ws").tokens(version(folder).manifest.token_store))
    plan = {step["name"]: step["why"] for step in run(write(folder, other), folder / "ws", dry_run=True)["steps"]}
    assert plan["mixture m"] == "the schedule or the token store of m@v1 is not whole"
    with pytest.raises(InputError, match=r"m@v1: it has the content .* its token store is not whole .*or delete"):
        built(folder, other)
    shutil.rmtree(version(folder).folder)
    assert built(folder, other) == ["m@v1", "other@v1"]


@contextmanager
def judged_by(monkeypatch: pytest.MonkeyPatch, judge: Callable[..., str]) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(audits, "_judge", judge)
        yield


def fail(*_: object) -> str:
    return "audit x: 1 row"


def end(*_: object) -> str:
    """The run is killed within its audits."""
    raise KeyboardInterrupt


def test_audits_that_fail_leave_a_version_that_held_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(folder / "ws/schedules")
    with judged_by(monkeypatch, fail), pytest.raises(AuditError, match="removed again, as it does not hold: n@v1"):
        built(folder, {"m": MIXTURE, "n": MIXTURE | {"seed": 2}})
    assert [mixture.reference for mixture in mixture_versions(Workspace(folder / "ws"), "m")] == ["m@v1"]
    assert not (folder / "ws/mixtures/n/v1").exists()


def test_a_version_whose_run_was_killed_is_found_by_nobody_until_its_audits_hold(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = {"m": MIXTURE | {"seed": 2}}
    with judged_by(monkeypatch, end), pytest.raises(KeyboardInterrupt):
        built(folder, second)
    assert (folder / "ws/mixtures/m/v2/unaudited").is_file()
    assert [row["reference"] for row in mixture_list(folder / "ws")["mixtures"]] == ["m@v1"]
    assert version(folder, "m").reference == "m@v1"
    with judged_by(monkeypatch, fail), pytest.raises(AuditError, match=r"removed again, .*: m@v2"):
        built(folder, second)
    with judged_by(monkeypatch, end), pytest.raises(KeyboardInterrupt):
        built(folder, second)
    assert built(folder, second) == ["m@v2"]
    assert version(folder, "m").reference == "m@v2"
    assert not (folder / "ws/mixtures/m/v2/unaudited").exists()


def test_what_a_killed_run_left_goes_with_gc(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gc(folder / "ws")
    before = {path for path in folder.glob("ws/*/*") if path.is_dir()}
    with judged_by(monkeypatch, end), pytest.raises(KeyboardInterrupt):
        built(folder, {"n": MIXTURE | {"seed": 2}})
    with pytest.raises(InputError, match=r"n: it has no finished version.*run the recipe"):
        version(folder, "n")
    left = {path.relative_to(folder / "ws").as_posix() for path in folder.glob("ws/schedules/*") if path not in before}
    assert len(left) == 1
    removed = gc(folder / "ws")["removed"]
    assert set(removed) == {"mixtures/n/v1", *left}
    assert version(folder).reference == "m@v1"
    assert built(folder, {"n": MIXTURE | {"seed": 2}}) == ["n@v1"]


def test_a_damaged_version_before_is_told_and_stops_no_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = version(folder).folder / "manifest.json"
    path.write_text(path.read_text().replace('"seed"', '"sead"', 1))
    assert built(folder, {"m": MIXTURE | {"seed": 3}}) == ["m@v2"]
    assert "m@v1, the version before, is damaged" in capsys.readouterr().err
