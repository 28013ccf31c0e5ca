"""Text files: one document per file, paragraph, or <doc> element."""

import html
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.base.errors import InputError
from engine.sources._files import located
from engine.sources.text import Config, read


def rows(path: Path, pattern: str | None = None, **options: Any) -> list[dict[str, Any]]:
    config = located(Config(name="books", path=pattern or str(path), **options), path.parent)
    return [row for table in read(path, config) for row in table.to_pylist()]


def test_a_file_is_a_document_with_its_name_below_the_pattern_as_id(tmp_path: Path) -> None:
    path = tmp_path / "books" / "a.txt"
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo\n")
    config = located(Config(name="books", path="**/*.txt"), tmp_path)
    (table,) = read(path, config)
    assert table.to_pylist() == [{"text": "one\r\n\r\ntwo\n", "file": "books/a.txt", "read_problem": None}]
    assert config.mapping == {"text": "text", "id": "file"}


def test_paragraphs_are_the_lines_between_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("\n\none\ntwo\n \n\t\nthree\n")
    assert [row["text"] for row in rows(path, document="paragraph")] == ["one\ntwo", "three"]


def test_elements_of_wikiextractor_have_id_url_and_title(tmp_path: Path) -> None:
    path = tmp_path / "wiki_00"
    path.write_text(
        '<doc id="12" url="https://x?curid=12" title="A &amp; B">\nA & B\n\nText.\n</doc>\n\n'
        '<doc id="13" url="" title="C">\n</doc>\n'
    )
    alike = {"file": "wiki_00", "read_problem": None}
    assert rows(path, document="wikiextractor") == [
        {"id": "12", "url": "https://x?curid=12", "title": "A & B", "text": "A & B\n\nText."} | alike,
        {"id": "13", "url": "", "title": "C", "text": ""} | alike,
    ]


BROKEN = '<doc id="1" title="a">\nopen\n<doc id="2" title="b">\nfine\n</doc>\nstray\n<doc id="3" title="c">\ncut'


def test_broken_elements_are_errors_that_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "wiki_00"
    path.write_text(BROKEN)
    with pytest.raises(InputError, match="line 1: a <doc> element that is not closed"):
        rows(path, document="wikiextractor")


def test_broken_elements_can_be_dropped_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "wiki_00"
    path.write_text(BROKEN)
    found = rows(path, document="wikiextractor", on_bad_row="drop")
    assert [(row["id"], row["text"], row["read_problem"]) for row in found] == [
        ("1", None, "broken_document"),
        ("2", "fine", None),
        (None, None, "broken_document"),
        ("3", None, "broken_document"),
    ]


@pytest.mark.parametrize("document", ["file", "paragraph"])
def test_bytes_that_are_no_text_are_named(tmp_path: Path, document: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match=r"byte 4 of the (file|paragraph) is not utf-8"):
        rows(path, document=document)
    assert [row["read_problem"] for row in rows(path, document=document, on_bad_row="drop")] == ["invalid_utf8"]
    assert rows(path, document="file", encoding="latin-1")[0]["text"] == "caf\u00e9\n"


def test_an_empty_file_is_a_document_without_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    assert [row["text"] for row in rows(tmp_path / "a.txt")] == [""]


@pytest.mark.parametrize("encoding", ["klingon", "base64"])
def test_an_encoding_that_is_none_is_a_mistake(encoding: str) -> None:
    with pytest.raises(ValidationError, match="there is no"):
        Config(name="a", path="a", encoding=encoding)


def test_lines_cannot_be_told_apart_in_utf_16() -> None:
    with pytest.raises(ValidationError, match="lines cannot be found"):
        Config(name="a", path="a", encoding="utf-16", document="paragraph")


def test_real_wikiextractor_files_are_read_without_a_problem(shared_data: Path) -> None:
    path = shared_data / "corpora" / "enwiki" / "text" / "AA" / "wiki_10"
    found = rows(path, document="wikiextractor")
    assert len(found) == path.read_bytes().count(b"<doc id=")
    assert all(row["read_problem"] is None and html.unescape(row["text"]).startswith(row["title"]) for row in found)
