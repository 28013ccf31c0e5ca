"""What may be given: Parquet, folders, JSONL, CSV; text columns of any string type; ids of the user or file#row."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .corpora import kept_ids, removed, run, span, survivors, write

BASE = span(0, 60, "word")
LONGER = BASE + " and a little more"
OTHER = span(0, 60, "other")


def test_without_id_column_the_id_is_the_path_as_given_and_the_row_from_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("one.parquet"), [OTHER, BASE])
    write(Path("more/two.parquet"), [None, None, LONGER], rows_per_group=2)
    two = str(tmp_path / "more" / "two.parquet")
    run(["one.parquet", two], tmp_path / "out")
    assert removed(tmp_path / "out") == {"one.parquet#1": (f"{two}#2", "near_dup", 0.9333)}


def test_folder_stands_for_the_parquet_files_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("data/a.parquet"), [OTHER, BASE])
    write(Path("data/b.parquet"), [LONGER])
    Path("data/_SUCCESS").touch()
    report = run(["data"], tmp_path / "out")
    assert report["documents"] == 3
    assert removed(tmp_path / "out") == {"data/a.parquet#1": ("data/b.parquet#0", "near_dup", 0.9333)}


def lines(texts: list[str]) -> str:
    return "".join(json.dumps({"uid": f"d{row}", "body": text}) + "\n" for row, text in enumerate(texts))


def as_jsonl(folder: Path, texts: list[str]) -> Path:
    (folder / "in.jsonl").write_text(lines(texts))
    return folder / "in.jsonl"


def as_packed_jsonl(folder: Path, texts: list[str]) -> Path:
    (folder / "in.jsonl.gz").write_bytes(gzip.compress(lines(texts).encode()))
    return folder / "in.jsonl.gz"


def as_csv(folder: Path, texts: list[str]) -> Path:
    (folder / "in.csv").write_text("uid,body\n" + "".join(f'd{row},"{text}"\n' for row, text in enumerate(texts)))
    return folder / "in.csv"


@pytest.mark.parametrize("form", [as_jsonl, as_packed_jsonl, as_csv])
def test_json_lines_and_csv_are_read_too(tmp_path: Path, form: Callable[[Path, list[str]], Path]) -> None:
    path = form(tmp_path, [BASE, OTHER, LONGER])
    run([path], tmp_path / "out", id_column="uid", text_column="body")
    assert removed(tmp_path / "out") == {"d0": ("d2", "near_dup", 0.9333)}
    assert survivors(tmp_path / "out") == [{"uid": "d1", "body": OTHER}, {"uid": "d2", "body": LONGER}]


def test_rows_of_json_lines_and_csv_count_from_0(tmp_path: Path) -> None:
    for form in (as_jsonl, as_csv):
        path = form(tmp_path, [BASE, OTHER, LONGER])
        run([path], tmp_path / form.__name__, text_column="body")
        assert removed(tmp_path / form.__name__) == {f"{path}#0": (f"{path}#2", "near_dup", 0.9333)}


STRING_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", STRING_TYPES, ids=str)
def test_text_may_be_of_any_string_type(tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.array([BASE, None, LONGER, BASE, OTHER], pa.string()).cast(kind)
    pq.write_table(pa.table({"uid": list("abcde"), "text": texts}), tmp_path / "in.parquet")
    run([tmp_path / "in.parquet"], tmp_path / "out", id_column="uid")
    assert kept_ids(tmp_path / "out") == {"b", "c", "e"}


def test_files_of_pyarrow_and_of_polars_go_together(tmp_path: Path) -> None:
    one = write(tmp_path / "one.parquet", [BASE, OTHER])
    pl.DataFrame({"uid": ["d2"], "text": [LONGER]}).write_parquet(tmp_path / "two.parquet")
    run([one, tmp_path / "two.parquet"], tmp_path / "out", id_column="uid")
    assert removed(tmp_path / "out") == {"d0": ("d2", "near_dup", 0.9333)}


def test_ids_that_are_numbers_are_written_as_text(tmp_path: Path) -> None:
    table = pa.table({"number": [70, 71, 72], "text": [BASE, OTHER, LONGER]})
    pq.write_table(table, tmp_path / "in.parquet")
    run([tmp_path / "in.parquet"], tmp_path / "out", id_column="number")
    assert removed(tmp_path / "out") == {"70": ("72", "near_dup", 0.9333)}
    assert [row["number"] for row in survivors(tmp_path / "out")] == [71, 72]


def test_a_table_with_a_column_called_as_ours_keeps_it(tmp_path: Path) -> None:
    path = write(
        tmp_path / "in.parquet", [BASE, LONGER, OTHER], doc_id=[7, 8, 9], source=["x", "y", "z"], row=[1, 2, 3]
    )
    run([path], tmp_path / "out", id_column="uid")
    assert survivors(tmp_path / "out") == [
        {"uid": "d1", "text": LONGER, "doc_id": 8, "source": "y", "row": 2},
        {"uid": "d2", "text": OTHER, "doc_id": 9, "source": "z", "row": 3},
    ]


@pytest.mark.parametrize("name", ["doc.text", "the text", "text\u00e9", "a/b", "text"])
def test_names_of_columns_may_hold_anything(tmp_path: Path, name: str) -> None:
    table = pa.table({f"{name} id": ["x", "y"], name: [BASE, LONGER], "doc": [{"text": "a"}, {"text": "b"}]})
    pq.write_table(table, tmp_path / "in.parquet")
    run([tmp_path / "in.parquet"], tmp_path / "out", id_column=f"{name} id", text_column=name)
    assert removed(tmp_path / "out") == {"x": ("y", "near_dup", 0.9333)}
    assert survivors(tmp_path / "out") == table.to_pylist()[1:]


def test_file_without_rows_among_others_adds_nothing(tmp_path: Path) -> None:
    files = [write(tmp_path / "none.parquet", []), write(tmp_path / "some.parquet", [BASE, BASE])]
    report = run(files, tmp_path / "out", id_column="uid")
    assert (report["documents"], report["kept"]) == (2, 1)


def test_ngram_words_says_how_many_words_make_a_shingle(tmp_path: Path) -> None:
    # Ten words, the sixth another one: 9 of 11 words, but 1 of 11 5-grams.
    texts = ["a b c d e f g h i j", "a b c d e x g h i j !"]
    for ngram_words, kept in ((1, 1), (5, 2)):
        path = write(tmp_path / "in.parquet", texts)
        report = run([path], tmp_path / f"out{ngram_words}", ngram_words=ngram_words)
        assert report["kept"] == kept
