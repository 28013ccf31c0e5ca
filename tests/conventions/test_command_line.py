"""The command line starts fast, and every verb says how it is used."""

import gc
import importlib
import inspect
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

import engine.cli
from engine.base.command import Command, load
from engine.cli import all_commands, main

COMMANDS = all_commands()
HEAVY = {"polars", "duckdb", "pyarrow", "numpy", "numba", "torch", "transformers", "pydantic", "rich", "yaml"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "engine.cli", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.alone
def test_help_answers_within_300_ms() -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert run("--help").returncode == 0
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.3


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, engine.cli as c; c.build_parser(c.all_commands()); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY.isdisjoint(loaded)


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_not_collected_while_a_verb_is_loaded(collects: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    was_collecting: list[bool] = []

    def load_nothing(reference: str) -> None:
        was_collecting.append(gc.isenabled())
        raise ImportError(reference)

    monkeypatch.setattr(engine.cli, "load", load_nothing)
    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        with pytest.raises(ImportError):
            engine.cli.call(COMMANDS[0], {})
        assert was_collecting == [False]
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c.words))
def test_verb_exists_and_takes_its_arguments(command: Command) -> None:
    parameters = inspect.signature(load(command.function)).parameters
    for argument in command.arguments:
        name = argument.options.get("dest") or next(
            (n for n in argument.names if n.startswith("--")), argument.names[0]
        )
        assert name.lstrip("-").replace("-", "_") in parameters
    assert command.show is None or callable(load(command.show))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c.words))
def test_example_names_the_verb_and_parses(command: Command) -> None:
    from engine.cli import build_parser

    words = shlex.split(command.example)
    assert words[: 1 + len(command.words)] == ["provender", *command.words]
    assert build_parser(COMMANDS).parse_args(words[1:]).verb == command


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c.words))
def test_verb_is_a_plain_function_of_the_same_name(command: Command) -> None:
    module = importlib.import_module("engine.verbs" if command.function.startswith("engine.") else "trainers.verbs")
    assert getattr(module, "_".join(command.words)) is load(command.function)


def test_interrupted_verbs_say_what_the_same_command_does_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.cli, "call", interrupted)
    said = {}
    for command in COMMANDS:
        assert main(shlex.split(command.example)[1:]) == 130
        said[" ".join(command.words)] = capsys.readouterr().err
    assert {verb for verb, line in said.items() if "goes on" in line} == {
        "run",
        "tokenizer train",
        "mixture extend",
        "mixture takedown",
        "train",
        "demo",
    }
    for verb in ("dedup", "decontaminate"):
        assert said[verb] == "interrupted; nothing was written to --out; the same command starts anew\n"


def test_unknown_verb_suggests_the_right_one_and_exits_1() -> None:
    result = run("dedupe")
    assert result.returncode == 1
    assert "did you mean 'dedup'?" in result.stderr


def test_choice_that_an_option_does_not_have_is_no_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^1$"):
        main(["mixture", "export", "demo", "--out", "there", "--format", "csv"])
    said = capsys.readouterr().err
    assert said.startswith("provender: argument --format: invalid choice: 'csv'")
    assert "no command" not in said


def test_missing_argument_exits_1() -> None:
    assert run("run").returncode == 1


def test_missing_workspace_is_one_line_and_exits_1(tmp_path: Path) -> None:
    result = run("sql", "SELECT 1", "--workspace", str(tmp_path / "none"))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Fix:" in result.stderr


def test_json_is_one_object_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mixture", "list", "--workspace", str(tmp_path), "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)
