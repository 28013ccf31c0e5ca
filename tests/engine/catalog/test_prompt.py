"""The prompt answers query after query, on a terminal and from a pipe."""

import io
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.base.errors import ProvenderError
from engine.catalog import show_sql, sql
from engine.catalog.prompt import Session, _history, _statements


def test_statement_ends_at_a_semicolon_outside_of_quotes_and_comments() -> None:
    lines = io.StringIO("SELECT 'a;b' -- c;\n, 1; SELECT ü\n;;\n.views\nSELECT 2")
    assert list(_statements(lines)) == ["SELECT 'a;b' -- c;\n, 1;", "SELECT ü\n;", ".views", "SELECT 2"]


def test_pipe_is_answered_in_order(read_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(".format csv\n@replay_share_per_step mixture=none;\nSELECT 1 AS x;"))
    shown = show_sql(sql("-", read_workspace.root))
    assert shown is not None
    assert shown.endswith("replay_fraction,running_fraction\n\nx\n1")


def test_mistake_in_a_pipe_names_the_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 1;\nSELEC 2;"))
    with pytest.raises(ProvenderError, match=r"statement 2: query: .*line 1, column 1"):
        sql("-", tmp_path)


def test_dot_commands_answer(read_workspace: SimpleNamespace) -> None:
    session = Session(read_workspace.root, None, None, None, None)
    schema = session.answer(".schema heldout_groups")
    assert schema is not None
    assert schema["rows"] == [["doc_id", "UUID"], ["group_id", "UUID"], ["set", "VARCHAR"]]
    assert session.answer(".quit") is None
    for wrong in (".vews", ".schema", ".recipe nobody", ".format xlsx"):
        with pytest.raises(ProvenderError):
            session.answer(wrong)


ENDLESS = "SELECT sum(sin(a.range * b.range)) FROM range(100000000) a, range(100000000) b"
"""Rows for hours."""
# A child of a shell in the background would ignore the signal.
STOPPABLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from engine.cli import main
print("ready", file=sys.stderr, flush=True)
sys.exit(main())
"""


def test_ctrl_c_stops_a_query_and_the_prompt_goes_on(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    master, slave = pty.openpty()
    command = [sys.executable, "-c", STOPPABLE, "sql", "--workspace", str(tmp_path / "ws")]
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "dumb"}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    try:
        read_until(master, "sql> ")
        os.write(master, f"{ENDLESS};\n".encode())
        read_until(master, ";\r\n")
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        read_until(master, "interrupted\r\nsql> ")
        os.write(master, b"SELECT 6 * 7;\n")
        assert "42" in read_until(master, "row)\r\nsql> ")
        os.write(master, b"\x04")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_ctrl_c_leaves_neither_a_file_nor_temporary_ones(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    command = [sys.executable, "-c", STOPPABLE, "sql", ENDLESS, "--out", "rows.parquet", "--workspace", "ws"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ)
    assert process.stderr is not None
    try:
        assert process.stderr.readline() == "ready\n"
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert told.startswith("interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["ws"]
    assert list((tmp_path / "ws").iterdir()) == []


def read_until(master: int, wanted: str) -> str:
    """Return what a terminal shows up to a text that has to come."""
    text, end = "", time.monotonic() + 60
    while wanted not in text and time.monotonic() < end:
        text += os.read(master, 4096).decode(errors="replace")
    assert wanted in text, text
    return text


def test_terminal_survives_mistakes_and_keeps_its_history_outside_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "engine.cli", "sql", "--workspace", str(tmp_path / "ws")]
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "dumb"}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True)
    os.close(slave)

    read_until(master, "sql> ")
    os.write(master, b"FROM documnts;\n")
    assert "did you mean 'documents'?" in read_until(master, "?\r\nsql> ")
    os.write(master, b"SELECT 6 *\n7;\n")
    assert "42" in read_until(master, "row)\r\nsql> ")
    os.write(master, b"\x04")
    assert process.wait(30) == 0
    os.close(master)
    history = tmp_path / "state/provender/sql_history"
    assert "FROM documnts;" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "ws").iterdir()) == []


def test_history_that_cannot_be_kept_does_not_end_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with _history():
        assert "the history of queries is not kept: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_history_is_readable_by_its_owner_only_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "provender/sql_history"
    path.parent.mkdir()
    path.write_text("")
    path.chmod(0o644)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with _history():
        assert path.stat().st_mode & 0o777 == 0o600
