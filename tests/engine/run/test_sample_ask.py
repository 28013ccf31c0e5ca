"""`provender sample --label` asks after each document, and keeps what was answered whatever happens next."""

import io
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.base.errors import InputError
from engine.cli import main
from engine.formats.labels import read_labels
from engine.verbs import sample

small_workspace = runpy.run_path(str(Path(__file__).parents[1] / "small_workspace.py"))["small_workspace"]


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def stored(here: SimpleNamespace) -> list[tuple[str, str | None]]:
    return [(one.label, one.why) for one in read_labels(Path(here.root) / "labels")]


def test_answers_are_read_by_lines_and_stored(
    small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = small_workspace
    answer(monkeypatch, "good", "", "b a list of links", "what", "skip", "BAD", "cut off", "q", "good")
    assert main(["sample", "--label", "--json", "--workspace", str(here.root)]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["labelled"] == {"good": 1, "bad": 2, "skipped": 1, "known": 0, "left": 4}
    assert stored(here) == [("good", None), ("bad", "a list of links"), ("bad", "cut off")]
    ids = [one["doc_id"] for one in result["documents"]]
    assert [one.doc_id for one in read_labels(Path(here.root) / "labels")] == [ids[0], ids[1], ids[3]]
    assert printed.err.count("good, bad, skip, quit?") == 6
    assert "  Call me\n  Ishmael." in printed.err


def test_the_same_command_asks_about_the_rest(
    small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = small_workspace
    answer(monkeypatch, "g one", "g two")
    assert sample(here.root, label=True)["labelled"] == {"good": 2, "bad": 0, "skipped": 0, "known": 0, "left": 6}
    answer(monkeypatch, "b three")
    assert sample(here.root, label=True)["labelled"] == {"good": 0, "bad": 1, "skipped": 0, "known": 2, "left": 5}
    assert len({one.doc_id for one in read_labels(Path(here.root) / "labels")}) == 3
    answer(monkeypatch)
    assert main(["sample", "--label", "--workspace", str(here.root)]) == 0
    said = "0 labelled good, 0 bad, 0 skipped; 3 had one already; 5 not asked about\n"
    assert capsys.readouterr().out == said


def test_interrupted_keeps_what_was_typed_and_exits_130(
    small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(io.StringIO):
        def readline(self, *_: object) -> str:
            line = super().readline()
            if not line:
                raise KeyboardInterrupt
            return line

    monkeypatch.setattr("sys.stdin", Interrupted("good\nbecause\nbad\n"))
    assert main(["sample", "--label", "--workspace", str(small_workspace.root)]) == 130
    assert stored(small_workspace) == [("good", "because")]
    assert "labels given so far are stored" in capsys.readouterr().err


def test_document_without_text_is_not_asked_about(
    small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, "good")
    counts = sample(small_workspace.root, reason="no_text", label=True)["labelled"]
    assert counts == {"good": 0, "bad": 0, "skipped": 0, "known": 0, "left": 1}


def test_bytes_that_are_no_text_are_an_input_error(
    small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"good \xff\n"), encoding="utf-8"))
    with pytest.raises(InputError, match="stdin: bytes that are no text"):
        sample(small_workspace.root, label=True)


def test_colours_are_written_only_to_a_terminal(
    small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answer(monkeypatch, "quit")
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    sample(small_workspace.root, label=True)
    assert "\x1b[32mkept\x1b[0m" in screen.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    answer(monkeypatch, "quit")
    screen.truncate(0)
    sample(small_workspace.root, label=True)
    assert "\x1b" not in screen.getvalue()
