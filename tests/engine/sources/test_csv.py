"""CSV: all columns as strings, quoting as in RFC 4180, bad rows named or dropped with a reason."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import InputError
from engine.sources.csv import Config, read


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [row for table in read(path, Config(name="web", path=str(path), **options)) for row in table.to_pylist()]


def file(folder: Path, content: bytes, name: str = "web.csv") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_quotes_commas_and_line_breaks_inside_a_field_belong_to_it(tmp_path: Path) -> None:
    path = file(tmp_path, b'id,text\r\n007,"a ""b"", c\r\nd"\r\n\r\n8,\r\n')
    assert rows(path) == [
        {"id": "007", "text": 'a "b", c\r\nd', "read_problem": None},
        {"id": "8", "text": None, "read_problem": None},
    ]


def test_tsv_and_compressed_files_and_other_delimiters(tmp_path: Path) -> None:
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(b"id\ttext\n1\tx, y\n"))
    assert rows(tmp_path / "a.tsv.gz")[0]["text"] == "x, y"
    assert rows(file(tmp_path, b"id;text\n1;x, y\n"), delimiter=";")[0]["text"] == "x, y"


def test_a_field_may_be_as_long_as_a_book(tmp_path: Path) -> None:
    book = "word " * 200_000
    assert rows(file(tmp_path, f'id,text\n1,"{book}"\n'.encode()))[0]["text"] == book


BAD = {
    "too_many_fields": (b"1,two,three", "3 fields, the header has 2", "broken_row"),
    "broken_quotes": (b'1,"two" more', "broken quotes", "broken_row"),
    "bytes": (b"1,\xff\xfe", "not UTF-8", "invalid_utf8"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_an_error_that_names_file_and_line(tmp_path: Path, case: str) -> None:
    line, finding, _ = BAD[case]
    path = file(tmp_path, b"id,text\n1,one\n" + line + b"\n")
    with pytest.raises(InputError) as caught:
        rows(path)
    assert f"{path}, line 3: " in str(caught.value)
    assert finding in str(caught.value)


def test_dropped_rows_stay_as_rows_without_text(tmp_path: Path) -> None:
    path = file(tmp_path, b"\n".join([b"id,text", b"0,one", *(line for line, _, _ in BAD.values()), b"9,two"]))
    found = rows(path, on_bad_row="drop")
    assert [row["text"] for row in found] == ["one", None, None, None, "two"]
    assert [row["read_problem"] for row in found] == [None, "broken_row", "broken_row", "invalid_utf8", None]


def test_an_open_quote_at_the_end_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: broken quotes"):
        rows(file(tmp_path, b'id,text\n1,"never closed\nand on'))


def test_a_missing_column_lists_the_header_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'text'.*have: id, body.*columns: \{text: body\}"):
        rows(file(tmp_path, b"id,body\n1,one\n"))
    with pytest.raises(InputError, match="no column 'key'"):
        rows(file(tmp_path, b"id,text\n1,one\n"), columns={"id": "key"})


@pytest.mark.parametrize("header", [b"", b"text,text", b"\xff,text"], ids=["empty", "twice", "bytes"])
def test_a_header_that_is_none_is_an_error(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(InputError, match="header"):
        rows(file(tmp_path, header + b"\n1,one\n" if header else b""))
