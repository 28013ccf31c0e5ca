"""The prompt answers query after query, on a terminal and from a pipe."""

import io
import os
import pty
import runpy
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.base.errors import ProvenderError
from engine.catalog import show_sql, sql
from engine.catalog.prompt import Session, _statements

small_workspace = runpy.run_path(str(Path(__file__).parents[1] / "small_workspace.py"))["small_workspace"]


def test_statement_ends_at_a_semicolon_outside_of_quotes_and_comments() -> None:
    lines = io.StringIO("SELECT 'a;b' -- c;\n, 1; SELECT ü\n;;\n.views\nSELECT 2")
    assert list(_statements(lines)) == ["SELECT 'a;b' -- c;\n, 1;", "SELECT ü\n;", ".views", "SELECT 2"]


def test_pipe_is_answered_in_order(small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(".format csv\n@replay_share_per_step mixture=none;\nSELECT 1 AS x;"))
    shown = show_sql(sql("-", small_workspace.root))
    assert shown is not None
    assert shown.endswith("replay_fraction,running_fraction\n\nx\n1")


def test_mistake_in_a_pipe_names_the_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 1;\nSELEC 2;"))
    with pytest.raises(ProvenderError, match=r"statement 2: query: .*line 1, column 1"):
        sql("-", tmp_path)


def test_dot_commands_answer(small_workspace: SimpleNamespace) -> None:
    session = Session(small_workspace.root, None, None, None, None)
    schema = session.answer(".schema heldout_groups")
    assert schema is not None
    assert schema["rows"] == [["doc_id", "UUID"], ["group_id", "UUID"], ["set", "VARCHAR"]]
    assert session.answer(".quit") is None
    for wrong in (".vews", ".schema", ".recipe nobody", ".format xlsx"):
        with pytest.raises(ProvenderError):
            session.answer(wrong)


def test_terminal_survives_mistakes_and_keeps_its_history_outside_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "engine.cli", "sql", "--workspace", str(tmp_path / "ws")]
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "dumb"}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True)
    os.close(slave)

    def until(wanted: str) -> str:
        text, end = "", time.monotonic() + 60
        while wanted not in text and time.monotonic() < end:
            text += os.read(master, 4096).decode(errors="replace")
        assert wanted in text, text
        return text

    until("sql> ")
    os.write(master, b"FROM documnts;\n")
    assert "did you mean 'documents'?" in until("?\r\nsql> ")
    os.write(master, b"SELECT 6 *\n7;\n")
    assert "42" in until("row)\r\nsql> ")
    os.write(master, b"\x04")
    assert process.wait(30) == 0
    os.close(master)
    assert "FROM documnts;" in (tmp_path / "state/provender/sql_history").read_text()
    assert list((tmp_path / "ws").iterdir()) == []
