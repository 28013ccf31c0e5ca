"""Rules about the source files themselves: sizes, names, imports that are allowed nowhere."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("engine/**/*.py"), *ROOT.glob("trainers/**/*.py")])
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "aliases", "manager", "processor", "handler", "misc"}
MAX_LINES, MAX_FUNCTION_LINES = 400, 60


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_is_short_enough_to_read(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, node.name


def test_no_file_is_a_drawer_for_everything() -> None:
    assert [path for path in FILES if BANNED_NAMES & set(path.stem.split("_"))] == []


def test_no_import_error_is_swallowed() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                names = ast.unparse(node.type) if node.type is not None else "everything"
                is_raised = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                assert "ImportError" not in names or is_raised, f"{path}: except {names}"
                assert names != "everything", f"{path}: bare except"


def test_code_is_ascii() -> None:
    assert [path for path in FILES if not path.read_text().isascii()] == []
