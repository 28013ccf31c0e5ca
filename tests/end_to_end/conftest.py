"""A small real corpus (texts of the standard library) and a recipe over it, for tests of the whole way."""

import ast
import json
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

MODULES = """
    argparse ast asyncio/base_events asyncio/tasks bdb calendar cmd code codecs collections/__init__ configparser
    contextlib copy csv dataclasses datetime decimal difflib dis doctest email/message enum fileinput fractions
    ftplib functools gettext getopt glob gzip heapq hmac html/parser http/client imaplib inspect ipaddress
    json/decoder json/encoder keyword linecache locale logging/__init__ lzma mailbox mimetypes nntplib ntpath
    numbers operator optparse os pathlib pdb pickle pickletools pkgutil platform plistlib poplib posixpath pprint
    profile pstats py_compile pydoc queue quopri random re/_parser rlcompleter runpy sched selectors shelve shlex
    shutil smtplib socket socketserver ssl stat statistics string subprocess symtable sysconfig tarfile tempfile
    textwrap threading timeit token tokenize trace traceback tracemalloc turtle types typing unittest/case
    unittest/mock urllib/parse urllib/request uuid warnings wave weakref webbrowser xml/dom/minidom xmlrpc/client
    zipfile
"""


def standard_library_documents() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (prose, code): per module its documentation strings, and the last 6,000 characters of its source."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    prose, code = [], []
    for module in MODULES.split():
        path = folder / f"{module}.py"
        if not path.is_file():
            continue
        source = path.read_text(encoding="utf-8", errors="strict")
        nodes = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef))
        strings = [text for node in nodes if (text := ast.get_docstring(node))]
        prose.append({"uid": f"doc/{module}", "body": "\n\n".join(strings)[:6000], "licence": "PSF-2.0"})
        code.append({"uid": f"src/{module}", "body": source[-6000:], "licence": "PSF-2.0"})
    # True duplicates, exact and near, and rows without text.
    prose += [
        {**prose[0], "uid": "doc/planted-copy"},
        {**prose[1], "uid": "doc/edited", "body": prose[1]["body"] + "\nOne more line."},
    ]
    prose += [{"uid": "doc/empty", "body": "", "licence": None}, {"uid": "doc/null", "body": None, "licence": None}]
    return prose, code


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def recipe_content() -> dict[str, Any]:
    columns = {"text": "body", "id": "uid", "license": "licence"}
    return {
        "name": "small",
        "seed": 3,
        "sources": [
            {"stage": "jsonl", "name": "prose", "path": "prose*.jsonl", "columns": columns, "domain": "prose"},
            {"stage": "jsonl", "name": "code", "path": "code*.jsonl", "columns": columns, "domain": "code"},
        ],
        "annotate": [
            {"stage": "exact_dup"},
            {"stage": "near_dup", "threshold": 0.8},
            {"stage": "heuristics"},
            {"stage": "contamination"},
            {"stage": "quality", "positive": ["prose"], "negative": ["code"]},
        ],
        "split": {
            "heldout": {
                "general": {"sources": ["prose"], "max_bytes": 20_000},
                "code": {"sources": ["code"], "max_bytes": 20_000},
            },
            "min_similarity": 0.5,
        },
        "filters": [{"reason": "too_short", "keep": "heuristics__num_words >= 20"}],
        "tokenizer": {"train": {"sources": ["prose"], "vocab_size": 1000, "control_slots": 4}},
        "mixtures": {
            "small_code": {
                "sources": ["code"],
                "replay": {"share": 0.1, "sources": ["prose"]},
                "row_tokens": 128,
                "rows_per_step": 8,
            }
        },
    }


@pytest.fixture
def small_corpus(tmp_path: Path) -> Path:
    """A folder with prose.jsonl, code.jsonl and recipe.yaml."""
    prose, code = standard_library_documents()
    write_jsonl(tmp_path / "prose.jsonl", prose)
    write_jsonl(tmp_path / "code.jsonl", code)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe_content(), sort_keys=False))
    return tmp_path


@pytest.fixture
def edit_recipe() -> Callable[[Path, Callable[[dict[str, Any]], None]], Path]:
    """Change a recipe file in place: edit_recipe(path, lambda recipe: ...)."""

    def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return edit
