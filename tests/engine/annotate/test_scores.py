"""scores: a file of scores joined by id, and every way it can be wrong."""

import gzip
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from engine.annotate import scores
from engine.annotate.scores import ADDS, Config
from engine.annotate.scores.files import Piece
from engine.annotate.scores.join import piece_keys
from engine.base.errors import InputError, RecipeError
from engine.formats.doc_ids import own_doc_ids
from engine.recipe import check_recipe

World = Callable[..., Any]
KINDS = ("parquet", "csv", "jsonl")


def uuid(name: str) -> str:
    return str(UUID(bytes=name.encode().ljust(16, b"\0")))


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    """Write columns in the format the name of the file says."""
    frame = pl.DataFrame(columns, strict=False)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_ndjson(path)
    return path


def config(path: Path, columns: dict[str, Any], **options: Any) -> Config:
    return Config(path=str(path), columns=columns, **options)


def details(made: Any) -> dict[str, int]:
    content: dict[str, int] = json.loads((made.artifacts["scores"] / "details.json").read_text())
    return content


def three(world: World) -> Any:
    return world({"web": {"a": "text", "b": "text", "c": None, "d": "text"}}, shard_rows=2)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_every_type_are_joined_by_doc_id(world: World, tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"grades.{kind}", {
        "doc_id": [uuid("d"), uuid("b").upper(), uuid("a"), uuid("zz")],
        "Edu Score": [0.123456, 2.0, None, 9.0],
        "votes": [3, None, -1, 9],
        "label": ["good, \"very\"", None, "bad", "x"],
        "safe": [True, False, None, True],
        "unused": ["1", "x", "2", "y"],
    })  # fmt: skip
    made = three(world).run(
        scores, config(path, {"label": "string", "Edu Score": "float", "votes": "int", "safe": "bool"})
    )
    assert made.columns("scores__edu_score", "scores__votes", "scores__label", "scores__safe") == {
        "doc_id": ["a", "b", "c", "d"],
        "scores__edu_score": [None, 2.0, None, 0.1235],
        "scores__votes": [-1, None, None, 3],
        "scores__label": ["bad", None, None, 'good, "very"'],
        "scores__safe": [None, False, None, True],
    }
    assert details(made) == {
        "rows": 4,
        "rows_without_document": 1,
        "documents_with_row": 3,
        "documents_without_row": 0,
    }


def test_columns_follow_from_the_recipe_without_reading() -> None:
    adds = ADDS(config(Path("nowhere"), {"Edu Score": "float", "ok": "bool"}))
    assert {name: column.dtype for name, column in adds.items()} == {
        "scores__edu_score": pl.Float64,
        "scores__ok": pl.Boolean,
    }


def test_doc_ids_can_be_bytes_and_digits_without_hyphens(world: World, tmp_path: Path) -> None:
    names = ["a", "b", "d"]
    raw = [name.encode().ljust(16, b"\0") for name in names]
    for number, ids in enumerate(
        (
            pa.array(raw, pa.binary()),
            pa.array(raw, pa.binary(16)),
            pa.ExtensionArray.from_storage(pa.uuid(), pa.array(raw, pa.binary(16))),
            pa.array([value.hex() for value in raw]),
        )
    ):
        pq.write_table(pa.table({"doc_id": ids, "x": [1, 2, 3]}), tmp_path / f"{number}.parquet")
        made = three(world).run(scores, config(tmp_path / f"{number}.parquet", {"x": "int"}))
        assert made.by_name("scores__x") == {"a": 1, "b": 2, "c": None, "d": 3}


@pytest.mark.parametrize("kind", KINDS)
def test_own_ids_are_hashed_as_those_of_the_source(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"grades.{kind}", {"uid": [7, 10**15, -3], "x": [1, 2, 3]})
    found = [piece_keys(piece, "uid", "forum") for piece in scores_pieces(path, "uid")]
    expected = own_doc_ids("forum", pl.Series(["7", "1000000000000000", "-3"]))
    assert np.concatenate(found).tobytes() == expected.tobytes()


def scores_pieces(path: Path, id_column: str, kind: str = "int") -> list[Piece]:
    from engine.annotate.scores.files import pieces

    return list(pieces(path, id_column, {"x": kind}))


def test_own_ids_are_those_of_one_source_and_others_need_no_row(world: World, tmp_path: Path) -> None:
    path = write(tmp_path / "grades.csv", {"uid": ["q1", "q2"], "x": [1, 2]})
    made = world({"forum": {"a": "text", "b": "text"}, "web": {"c": "text"}})
    with_ids = made.corpus().sources[0].shards[0]
    frame = pl.read_parquet(with_ids.ids_path)
    own = own_doc_ids("forum", pl.Series(["q2", "q1"]))
    renamed = frame.with_columns(doc_id=pl.Series([row.tobytes() for row in own]))
    from engine.formats.parquet import write_parquet

    write_parquet(with_ids.ids_path, renamed)
    run = made.run(scores, config(path, {"x": "int"}, id="uid", source="forum"))
    shards = list(run.corpus().shards)
    assert run.corpus().columns(shards[0], ["scores__x"])["scores__x"].to_list() == [2, 1]
    assert run.corpus().columns(shards[1], ["scores__x"])["scores__x"].to_list() == [None]


def test_unknown_source_is_named(world: World, tmp_path: Path) -> None:
    path = write(tmp_path / "grades.csv", {"doc_id": ["q"], "x": [1]})
    with pytest.raises(RecipeError, match=r"scores: source: no source 'wbe' \(have: web\). Fix: did you mean 'web'?"):
        three(world).run(scores, config(path, {"x": "int"}, source="wbe"))


def test_folder_of_packed_files_is_one_file_of_scores(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "grades"
    folder.mkdir()
    for number, names in enumerate((["a"], ["b", "d"])):
        lines = "".join(json.dumps({"doc_id": uuid(name), "x": number}) + "\n\n" for name in names)
        (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "README.md").write_text("notes")
    made = three(world).run(scores, config(folder, {"x": "int"}))
    assert made.by_name("scores__x") == {"a": 0, "b": 1, "c": None, "d": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_that_stand_twice_are_named_whether_they_belong_to_a_document_or_not(
    world: World, tmp_path: Path, kind: str
) -> None:
    names = ["a", "a", "b", "d", "none", "none", "none", *"vvwwxx"]
    path = write(tmp_path / f"grades.{kind}", {"doc_id": [uuid(name) for name in names], "x": [1] * len(names)})
    with pytest.raises(InputError) as error:
        three(world).run(scores, config(path, {"x": "int"}))
    assert f"ids stand twice: '{uuid('a')}' in row 1 and 2, '{uuid('none')}' in row 5 and 6 and 7, " in str(error.value)
    assert str(error.value).endswith("and 2 more. Needed: every id once. Fix: leave one row for each.")


@pytest.mark.parametrize("kind", KINDS)
def test_null_ids_are_named_by_their_rows(world: World, tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"grades.{kind}", {"doc_id": [uuid("a"), *[None] * 4], "x": [1] * 5})
    found = r"column 'doc_id': no id in row 2, 3, 4 and 1 more near them\. Needed: an id in every row"
    for options in ({}, {"source": "web"}):
        with pytest.raises(InputError, match=found):
            three(world).run(scores, config(path, {"x": "int"}, **options))


@pytest.mark.parametrize(("ids", "kind"), [(["q1", "q2"], "csv"), ([1, 2], "parquet"), ([b"q1", b"q2"], "parquet")])
def test_ids_that_are_no_doc_ids_are_told_apart(world: World, tmp_path: Path, ids: list[Any], kind: str) -> None:
    path = write(tmp_path / f"grades.{kind}", {"doc_id": ids, "x": [1, 2]})
    found = r"no doc_id in row 1, 2\. Needed: doc_ids.*Fix: name the source whose own ids these are: source: NAME\."
    with pytest.raises(InputError, match=found):
        three(world).run(scores, config(path, {"x": "int"}))


@pytest.mark.parametrize("kind", KINDS)
def test_column_that_is_not_there_is_named_with_those_that_are(world: World, tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"grades.{kind}", {"doc_id": [uuid("a")], "x": [1]})
    with pytest.raises(InputError, match=r"no column 'y', 'z' \(have: doc_id, x\)"):
        three(world).run(scores, config(path, {"y": "int", "z": "int", "x": "int"}))


@pytest.mark.parametrize(
    ("kind", "typed", "values", "message"),
    [
        ("csv", "float", ["1", "x", "2"], r"column 'x': 'x' in row 2\. Needed: finite numbers\. Fix: mend them"),
        ("jsonl", "float", ["a", "b", "c", "d"], r"'a' in row 1, 'b' in row 2, 'c' in row 3 and 1 more near them"),
        ("csv", "int", ["1", "1.5", "1.0"], r"'1\.5' in row 2\. Needed: whole numbers"),
        ("parquet", "int", [1.0, 2.5, float("nan")], r"'2\.5' in row 2"),
        ("parquet", "int", [2**63, 1, 2], r"'9223372036854775808' in row 1"),
        ("csv", "float", ["1", "inf", "1e999"], r"'inf' in row 2, '1e999' in row 3\. Needed: finite numbers"),
        ("jsonl", "float", ["1", "-inf", "2"], r"'-inf' in row 2\. Needed: finite"),
        ("parquet", "float", [1.0, float("inf"), 2.0], r"'inf' in row 2\. Needed: finite"),
        ("parquet", "float", ["1", "Infinity", "2"], r"'Infinity' in row 2\. Needed: finite"),
        ("csv", "bool", ["True", "yes", "false"], r"'yes' in row 2\. Needed: true or false"),
        ("parquet", "float", ["1", "b", "2"], r"'b' in row 2"),
        (
            "parquet",
            "float",
            [True, False, True],
            r"it is Boolean\. Needed: finite numbers\. Fix: mend it, or its type",
        ),
        ("parquet", "string", [1, 2, 3], r"it is Int64\. Needed: text"),
        ("parquet", "bool", [1, 0, 1], r"it is Int64\. Needed: true or false"),
    ],
)
def test_value_of_another_type_is_named(
    world: World, tmp_path: Path, kind: str, typed: Any, values: list[Any], message: str
) -> None:
    ids = [uuid(name) for name in "abdefg"][: len(values)]
    path = write(tmp_path / f"grades.{kind}", {"doc_id": ids, "x": values})
    with pytest.raises(InputError, match=message):
        three(world).run(scores, config(path, {"x": typed}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("typed", ["float", "int"])
def test_nan_is_null_in_every_format_and_a_word_of_text(world: World, tmp_path: Path, kind: str, typed: Any) -> None:
    ids, path = [uuid(name) for name in "abd"], tmp_path / f"grades.{kind}"
    if kind == "csv":
        path.write_text(
            "doc_id,x,said\n" + "".join(f"{i},{x},nan\n" for i, x in zip(ids, ["nan", " NaN", "3"], strict=True))
        )
    elif kind == "jsonl":
        rows = [{"doc_id": i, "x": x, "said": "nan"} for i, x in zip(ids, [float("nan"), "nan", 3], strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        write(path, {"doc_id": ids, "x": [float("nan"), float("nan"), 3.0], "said": ["nan"] * 3})
    made = three(world).run(scores, config(path, {"x": typed, "said": "string"}))
    assert made.by_name("scores__x") == {"a": None, "b": None, "c": None, "d": 3}
    assert made.by_name("scores__said") == {"a": "nan", "b": "nan", "c": None, "d": "nan"}


def test_categories_are_read_as_what_they_stand_for(world: World, tmp_path: Path) -> None:
    ids = [uuid(name) for name in "abd"]
    own = pa.array(["q1", "q2", "q2"]).dictionary_encode()
    table = {
        "doc_id": pa.array(ids).dictionary_encode(),
        "x": pa.array(["1", "2", "2"]).dictionary_encode(),
        "own": own,
    }
    path = tmp_path / "grades.parquet"
    pq.write_table(pa.table(table), path)
    assert pq.read_table(path).column("doc_id").type == table["doc_id"].type
    made = three(world).run(scores, config(path, {"x": "float", "own": "string"}))
    assert made.by_name("scores__x") == {"a": 1.0, "b": 2.0, "c": None, "d": 2.0}
    assert made.by_name("scores__own") == {"a": "q1", "b": "q2", "c": None, "d": "q2"}
    keys = [piece_keys(piece, "own", "forum") for piece in scores_pieces(path, "own", "float")]
    assert np.concatenate(keys).tobytes() == own_doc_ids("forum", pl.Series(["q1", "q2", "q2"])).tobytes()


@pytest.mark.parametrize(("header", "twice"), [("doc_id,x,x", "x"), ("doc_id,x,doc_id", "doc_id")])
def test_name_of_two_columns_is_an_error_where_it_is_meant(
    world: World, tmp_path: Path, header: str, twice: str
) -> None:
    path = tmp_path / "grades.csv"
    path.write_text(f"{header}\n{uuid('a')},1,2\n")
    with pytest.raises(InputError, match=rf"several columns '{twice}'\. Needed: one column of a name"):
        three(world).run(scores, config(path, {"x": "int"}, missing=None))
    path.write_text(f"doc_id,x,notes,notes\n{uuid('a')},1,2,3\n")
    made = three(world).run(scores, config(path, {"x": "int"}, missing=None))
    assert made.by_name("scores__x")["a"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("grades.xlsx", b"x", r"grades\.xlsx: no file of scores\. Needed: one of \.parquet"),
        ("grades.csv", b"doc_id,y\na,1\n", r"grades\.csv: no column 'x' \(have: doc_id, y\)"),
        ("grades.csv", b"doc_id,x,x\na,1,1\n", "several columns 'x'"),
        ("grades.csv.gz", b"junk", "cannot be read"),
        ("grades.parquet", b"junk", "cannot be read"),
        ("grades.jsonl", b'\n{"id": 1, "x": 1}\n', r"no column 'doc_id' \(have: id, x\)"),
        ("grades.jsonl", b"[1]\n", "line 1: list"),
    ],
)
def test_file_is_looked_at_when_the_recipe_is_read(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=message) as error:
        check_recipe(recipe(name), tmp_path / "r.yaml")
    assert str(error.value).startswith("r.yaml: grades: ")


def test_look_at_a_good_file_reads_its_head_only(tmp_path: Path) -> None:
    for kind in KINDS:
        write(tmp_path / f"grades.{kind}", {"doc_id": ["no uuid"], "x": ["no number"]})
        check_recipe(recipe(f"grades.{kind}"), tmp_path / "r.yaml")
    (tmp_path / "grades.jsonl").write_text('{"doc_id": "a"}\n{"doc_id": "b", "x": 1}\n')
    check_recipe(recipe("grades.jsonl"), tmp_path / "r.yaml")


def recipe(path: str) -> dict[str, Any]:
    stage = {"stage": "scores", "as": "grades", "path": path, "columns": {"x": "float"}}
    return {"name": "r", "sources": [{"stage": "text", "name": "web", "path": "*.txt"}], "annotate": [stage]}


def test_whole_numbers_may_be_written_with_a_point(world: World, tmp_path: Path) -> None:
    for kind, values in (("csv", ["1.0", "+2", " 3 "]), ("parquet", [1.0, 2.0, 3.0]), ("jsonl", [1.0, 2, 3])):
        path = write(tmp_path / f"grades.{kind}", {"doc_id": [uuid(name) for name in "abd"], "x": values})
        assert three(world).run(scores, config(path, {"x": "int"})).by_name("scores__x")["d"] == 3


def test_documents_without_a_row_are_an_error_that_names_three(world: World, tmp_path: Path) -> None:
    path = write(tmp_path / "grades.csv", {"doc_id": [uuid("c0")], "x": [1]})
    made = world({"web": {f"c{number}": "text" for number in range(6)}})
    message = (
        f"no row for {uuid('c1')} (web), {uuid('c2')} (web), {uuid('c3')} (web) and 2 more. Needed: a row for every"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        made.run(scores, config(path, {"x": "int"}))
    run = made.run(scores, config(path, {"x": "int"}, missing=None))
    assert list(run.by_name("scores__x").values()) == [1, *[None] * 5]
    assert details(run)["documents_without_row"] == 5


def test_rows_of_no_document_are_said(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "grades.csv", {"doc_id": [uuid(name) for name in ("a", "b", "d", "y", "z")], "x": [1] * 5})
    three(world).run(scores, config(path, {"x": "int"}))
    assert capsys.readouterr().err == "scores: 2 rows of 5 have no document\n"


def test_file_of_strangers_is_an_error(world: World, tmp_path: Path) -> None:
    path = write(tmp_path / "grades.csv", {"doc_id": [uuid("y"), uuid("z")], "x": [1, 2]})
    with pytest.raises(InputError, match=r"none of 2 ids belongs to a document\. Needed: doc_ids of this recipe"):
        three(world).run(scores, config(path, {"x": "int"}, missing=None))
    with pytest.raises(InputError, match=r"Needed: own ids of source web\. Fix: look at the id that columns: maps"):
        three(world).run(scores, config(path, {"x": "int"}, source="web", missing=None))
    write(path, {"doc_id": [], "x": []})
    with pytest.raises(InputError, match=r"no row in it"):
        three(world).run(scores, config(path, {"x": "int"}, missing=None))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("grades.csv", b"", "cannot be read"),
        ("grades.csv", b"doc_id,x\na,1,2\n", "cannot be read"),
        ("grades.parquet", b"PAR1", "cannot be read"),
        ("grades.jsonl.gz", b"no gzip", "cannot be read"),
        ("grades.jsonl", b'{"doc_id": 1}\n[1]\n', "line 2: list"),
        ("grades.jsonl", b'{"doc_id": 1}\n{\n', "line 2: no JSON"),
        ("grades.xlsx", b"", r"no file of scores\. Needed: one of \.parquet, \.csv"),
    ],
)
def test_file_that_cannot_be_read_is_named(
    world: World, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        three(world).run(scores, config(tmp_path / name, {"x": "int"}))


def test_folder_of_two_kinds_of_files_is_an_error(world: World, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", {"doc_id": [], "x": []})
    write(tmp_path / "b.parquet", {"doc_id": [], "x": []})
    with pytest.raises(InputError, match="files of 2 kinds"):
        three(world).run(scores, config(tmp_path, {"x": "int"}))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "at least 1 item"),
        ({"x": "number"}, "Input should be 'float', 'int', 'string' or 'bool'"),
        ({"Edu Score": "float", "edu-score": "int"}, "'Edu Score' and 'edu-score' would both be scores__edu_score"),
        ({"!?": "float"}, "neither a letter nor a digit"),
    ],
)
def test_bad_columns_are_named(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(path="x", columns=columns)


def test_order_of_rows_pieces_and_shards_make_no_difference(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"document-with-a-long-name-{n:02}"[-16:] for n in range(40)]
    rows = [(uuid(name), number) for number, name in enumerate(names)]
    found = []
    for shard_rows, piece_rows, seed in ((3, 1 << 17, 1), (100, 7, 2)):
        monkeypatch.setattr("engine.annotate.scores.files.ROWS_AT_ONCE", piece_rows)
        mixed = random.Random(seed).sample(rows, len(rows))
        path = write(tmp_path / f"{seed}.parquet", {"doc_id": [i for i, _ in mixed], "x": [x for _, x in mixed]})
        made = world({"web": dict.fromkeys(names, "text")}, shard_rows=shard_rows).run(
            scores, config(path, {"x": "int"})
        )
        found.append(made.by_name("scores__x"))
    assert found[0] == found[1] == {name: number for number, name in enumerate(names)}
