"""JSON lines: fields are columns, bad lines are named or dropped with a reason."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pydantic import ValidationError

from engine.base.errors import InputError
from engine.sources import jsonl
from engine.sources.jsonl import Config, files, read


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    tables = list(read(path, Config(name="web", path=str(path), **options)))
    return [row for table in tables for row in table.to_pylist()]


def file(folder: Path, *lines: bytes, name: str = "web.jsonl") -> Path:
    path = folder / name
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_fields_are_columns_and_nested_values_json(tmp_path: Path) -> None:
    path = file(tmp_path, b'{"text": "one", "n": 1, "meta": {"a": [1, 2]}}', b"", b'{"text": null, "tag": "x"}\r')
    assert rows(path) == [
        {"text": "one", "n": 1, "meta": '{"a":[1,2]}', "tag": None, "read_problem": None},
        {"text": None, "n": None, "meta": None, "tag": "x", "read_problem": None},
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json.gz", "a.jsonl.gz", "a.jsonl.zst", "a.zst"])
def test_every_suffix_is_read(tmp_path: Path, name: str) -> None:
    data = b'{"text": "one"}\n{"text": "two"}\n'
    compress = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(Path(name).suffix, bytes)
    (tmp_path / name).write_bytes(compress(data))
    assert [row["text"] for row in rows(tmp_path / name)] == ["one", "two"]


BAD = {
    "broken_json": (b'{"text": "two', "broken JSON"),
    "not_an_object": (b'["two"]', "a list instead of an object"),
    "invalid_utf8": (b'{"text": "\xff\xfe"}', "not UTF-8"),
    "text_not_a_string": (b'{"text": 5}', "a number instead of a string"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_line_is_an_error_that_names_file_and_line(tmp_path: Path, kind: str) -> None:
    line, finding = BAD[kind]
    path = file(tmp_path, b'{"text": "one"}', b"", line)
    with pytest.raises(InputError) as caught:
        rows(path)
    message = str(caught.value)
    assert f"{path}, line 3: " in message
    assert finding in message
    assert f"on_bad_row: drop to leave such rows out as '{kind}'" in message


def test_dropped_lines_stay_as_rows_without_text(tmp_path: Path) -> None:
    path = file(tmp_path, b'{"text": "one"}', *(line for line, _ in BAD.values()), b'{"text": "two"}')
    found = rows(path, on_bad_row="drop")
    assert [row["text"] for row in found] == ["one", None, None, None, None, "two"]
    assert [row["read_problem"] for row in found] == [None, *BAD, None]


@pytest.mark.parametrize("line", [b'{"text": "\\ud800"}', b'{"text": "\xed\xa0\x80"}'], ids=["escaped", "encoded"])
def test_half_of_a_surrogate_pair_is_no_text(tmp_path: Path, line: bytes) -> None:
    assert rows(file(tmp_path, line), on_bad_row="drop")[0]["read_problem"] in ("broken_json", "invalid_utf8")


def test_a_json_array_over_many_lines_is_called_what_it_is(tmp_path: Path) -> None:
    path = file(tmp_path, b"[", b'{"text": "one"}', b"]", name="web.json")
    with pytest.raises(InputError, match="one JSON value over many lines"):
        rows(path)


def test_a_renamed_text_field_lists_the_fields_and_the_fix(tmp_path: Path) -> None:
    path = file(tmp_path, b'{"body": "one", "n": 1}')
    with pytest.raises(InputError) as caught:
        rows(path)
    message = str(caught.value)
    assert "no column 'text'" in message
    assert "body, n" in message
    assert "columns: {text: body}" in message
    assert rows(path, columns={"text": "body"})[0]["body"] == "one"


def test_chat_records_are_told_apart_from_a_missing_column(tmp_path: Path) -> None:
    path = file(tmp_path, b'{"messages": [{"role": "user", "content": "hi"}]}')
    with pytest.raises(InputError, match="chat records"):
        rows(path)


def test_a_row_without_the_text_field_has_no_text(tmp_path: Path) -> None:
    path = file(tmp_path, b'{"text": "one"}', b'{"other": "x"}')
    assert [row["text"] for row in rows(path)] == ["one", None]


def test_rows_do_not_depend_on_the_size_of_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path, *(b'{"text": "t%d", "n": %d}' % (n, n) for n in range(50)))
    whole = rows(path)
    monkeypatch.setattr(jsonl, "BATCH_BYTES", 30)
    tables = list(read(path, Config(name="web", path=str(path))))
    assert len(tables) > 10
    assert pa.concat_tables(tables).to_pylist() == whole


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    assert rows(tmp_path / "a.jsonl") == []
    assert files(Config(name="web", path="*.jsonl"), tmp_path) == [tmp_path / "a.jsonl"]


def test_a_column_mapped_and_stated_as_constant_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="one of the two"):
        Config(name="web", path="a", columns={"license": "lic"}, license="MIT")


def test_an_unknown_core_column_lists_what_there_is() -> None:
    with pytest.raises(ValidationError, match="did you mean 'license'"):
        Config(name="web", path="a", columns={"licence": "lic"})


@pytest.mark.parametrize("path", ["", [], ["a", ""]])
def test_an_empty_path_is_a_mistake(path: Any) -> None:
    with pytest.raises(ValidationError, match="path"):
        Config(name="web", path=path)
