"""Wrong input ends in one clear error on stderr and exit 1, or in a named drop reason; never in a traceback."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from .conftest import recipe_content, write_jsonl


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.cli", "run", "recipe.yaml", "--json"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def recipe(folder: Path, **source: Any) -> None:
    content = {
        "name": "bad",
        "sources": [{"stage": "jsonl", "name": "web", "path": "web.jsonl"} | source],
        "annotate": [{"stage": "exact_dup"}],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))


def renamed_column(folder: Path) -> None:
    recipe(folder)
    write_jsonl(folder / "web.jsonl", [{"body": "one"}])


def broken_line(folder: Path) -> None:
    recipe(folder)
    (folder / "web.jsonl").write_text('{"text": "one"}\n{"text": "two\n')


def invalid_utf8(folder: Path) -> None:
    recipe(folder)
    (folder / "web.jsonl").write_bytes(b'{"text": "one"}\n{"text": "\xff\xfe"}\n')


def truncated_parquet(folder: Path) -> None:
    recipe(folder, stage="parquet", path="web.parquet")
    pq.write_table(pa.table({"text": ["one"] * 1000}), folder / "web.parquet")
    data = (folder / "web.parquet").read_bytes()
    (folder / "web.parquet").write_bytes(data[: len(data) // 2])


def repeated_ids(folder: Path) -> None:
    recipe(folder, columns={"id": "uid"})
    write_jsonl(folder / "web.jsonl", [{"text": "one", "uid": 7}, {"text": "two", "uid": "7"}])


def no_rows(folder: Path) -> None:
    recipe(folder)
    (folder / "web.jsonl").write_text("")


def no_file(folder: Path) -> None:
    recipe(folder, path="wbe.jsonl")
    write_jsonl(folder / "web.jsonl", [{"text": "one"}])


def broken_yaml(folder: Path) -> None:
    (folder / "recipe.yaml").write_text("name: bad\nsources: [\n")


def no_recipe(folder: Path) -> None:
    (folder / "other.yaml").write_text("")


CASES: dict[Callable[[Path], None], tuple[str, ...]] = {
    renamed_column: ("web.jsonl", "no column 'text'", "body"),
    broken_line: ("web.jsonl", "line 2"),
    invalid_utf8: ("web.jsonl", "line 2", "UTF-8"),
    truncated_parquet: ("web.parquet", "cannot be read"),
    repeated_ids: ("web", "7"),
    no_rows: ("web", "no "),
    no_file: ("wbe.jsonl", "web.jsonl"),
    broken_yaml: ("recipe.yaml", "line"),
    no_recipe: ("recipe.yaml", "cannot be read"),
}


@pytest.mark.parametrize("spoil", CASES, ids=lambda case: case.__name__)
def test_it_is_one_clear_error(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path)
    result = run(tmp_path)
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in CASES[spoil]:
        assert part in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_rows_that_cannot_be_read_become_named_drop_reasons(tmp_path: Path) -> None:
    recipe(tmp_path, on_bad_row="drop")
    lines = [
        b'{"text": "one"}',
        b'{"text": "two',
        b'{"text": "\xff"}',
        b"[1]",
        b'{"text": ""}',
        b'{"text": null}',
        b'{"text": "one"}',
    ]
    (tmp_path / "web.jsonl").write_bytes(b"\n".join(lines))
    content = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content | {"guard": {"max_source_loss": 1.0}}))
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
    dropped = {
        row["reason"]: row["documents"] for row in json.loads(result.stdout)["ledger"] if row["outcome"] == "dropped"
    }
    assert dropped == {"broken_json": 1, "invalid_utf8": 1, "not_an_object": 1, "no_text": 2, "exact_duplicate": 1}


def test_five_mistakes_come_at_once(tmp_path: Path) -> None:
    content = recipe_content()
    content["sources"][0]["nmae"] = content["sources"][0].pop("name")
    content["annotate"][1]["threshold"] = 1.4
    content["filters"][0]["keep"] = "heuristics__num_words >="
    content["split"]["heldout"]["general"]["sources"] = ["prse"]
    content["sed"] = content.pop("seed")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    result = run(tmp_path)
    assert result.returncode == 1
    for part in (
        "did you mean 'name'?",
        "threshold: got 1.4",
        "filters[0].keep",
        "no source 'prse'",
        "did you mean 'seed'?",
    ):
        assert part in result.stderr
    assert "Traceback" not in result.stderr
