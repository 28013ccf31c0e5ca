"""Sources become documents: ids that no cut changes, errors that name the place, nothing read twice or half done."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.atomic import read_json, write_json
from engine.base.errors import InputError
from engine.base.hashing import digest_bytes, digest_parts
from engine.formats.columns import CORE
from engine.formats.core_of_text import is_blank
from engine.formats.documents import SourceDocuments
from engine.formats.receipt import read_receipt
from engine.formats.workspace import Workspace
from engine.run.intake import current, take_in, watch
from engine.run.intake import shards as shards_module
from engine.sources import csv, jsonl, parquet, text

READERS: dict[str, ModuleType] = {"jsonl": jsonl, "parquet": parquet, "csv": csv, "text": text}
Rows = Sequence[dict[str, Any]]


def write(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        schema = pa.schema([("text", pa.string())]) if not rows else None
        pq.write_table(pa.Table.from_pylist(list(rows), schema), path, row_group_size=2)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def take(
    folder: Path, reader: str = "jsonl", workspace: str = "ws", jobs: int = 1, cut: int | None = None, **options: Any
) -> SourceDocuments:
    """Take in a source called web from the files of its kind in `folder`."""
    module = READERS[reader]
    path = {"path": f"*.{reader}"} | options
    return take_in(module.Config(name="web", **path), module, folder, Workspace(folder / workspace), jobs, cut)


def core(source: SourceDocuments) -> pl.DataFrame:
    return pl.concat([shard.read_core() for shard in source.shards])


def texts(source: SourceDocuments) -> list[str | None]:
    return [text for shard in source.shards for text in shard.read_text().to_pylist()]


def by_id(source: SourceDocuments) -> dict[bytes, tuple[Any, ...]]:
    """doc_id -> core columns and text; fails where an id repeats."""
    frame = core(source).with_columns(text=pl.Series(texts(source), dtype=pl.String))
    rows = {row[0]: row[1:] for row in frame.iter_rows()}
    assert len(rows) == source.num_documents
    return rows


# What comes out


def test_core_columns_hold_what_the_source_states(tmp_path: Path) -> None:
    rows = [
        {"uid": 7, "body": "Gr\u00fc\u00dfe", "link": "http://a", "licence": "MIT", "date": "2024-01-02", "n": 3},
        {"uid": 8, "body": " \n", "link": None, "licence": None, "date": None, "n": 4},
        {"uid": 9, "body": None, "link": None, "licence": None, "date": None, "n": None},
    ]
    write(tmp_path / "a.jsonl", rows)
    columns = {"text": "body", "id": "uid", "url": "link", "license": "licence"}
    source = take(tmp_path, columns=columns, domain="greetings")
    frame = core(source)
    assert frame.schema == {name: column.dtype for name, column in CORE.items()}
    ids = [digest_parts([b"web", b"id", str(uid).encode()]) for uid in (7, 8, 9)]
    assert frame.to_dict(as_series=False) == {
        "doc_id": ids,
        "source": ["web"] * 3,
        "license": ["MIT", None, None],
        "url": ["http://a", None, None],
        "date": ["2024-01-02", None, None],
        "language": [None] * 3,
        "domain": ["greetings"] * 3,
        "text_digest": [digest_bytes("Gr\u00fc\u00dfe".encode()), None, None],
        "num_bytes": [7, 2, 0],
        "num_chars": [5, 2, 0],
        "read_problem": [None] * 3,
    }
    assert texts(source) == ["Gr\u00fc\u00dfe", " \n", None]
    (shard,) = source.shards
    assert (shard.num_rows, shard.num_bytes, shard.text_column) == (3, 9, "body")
    assert pl.read_parquet(shard.text_path)["n"].to_list() == [3, 4, None]


def test_a_text_is_blank_where_stripping_leaves_nothing() -> None:
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    mixed = ["", None, " \n\t\u3000", " \u2028x", "x ", " " * 9999 + "x", " " * 9999, "\0", "\u200b"]
    texts = pl.Series([*mixed, *characters, *(" " + character for character in characters)], dtype=pl.String)
    found = is_blank(texts)
    assert found.to_list() == (texts.str.strip_chars().fill_null("") == "").to_list()


def test_a_constant_wins_over_a_column_of_the_same_name_that_nobody_mapped(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": "one", "license": "unknown", "language": "de"}])
    frame = core(take(tmp_path, license="CC0-1.0"))
    assert frame.select("license", "language").rows() == [("CC0-1.0", "de")]


def test_doc_ids_are_uuids_for_duckdb(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": "one"}])
    source = take(tmp_path)
    (kind,) = duckdb.sql(f"SELECT typeof(doc_id) FROM '{source.shards[0].ids_path}'").fetchall()[0]
    assert kind == "UUID"


def test_parquet_stays_where_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"text": f"t{n}", "n": n} for n in range(5)])
    source = take(tmp_path, "parquet", cut=1)
    assert {shard.text_path for shard in source.shards} == {path}
    assert [shard.row_groups for shard in source.shards] == [(0,), (1,), (2,)]
    assert texts(source) == [f"t{n}" for n in range(5)]
    assert sorted(p.name for p in source.folder.glob("*.parquet")) == [f"0000{n}.ids.parquet" for n in range(3)]


def test_every_type_of_column_can_be_an_id_or_a_date(tmp_path: Path) -> None:
    import datetime
    import uuid

    moment = datetime.datetime(2024, 1, 2, 3, 4, 5)
    columns = {
        "text": ["one"],
        "date": pa.array([moment], pa.timestamp("us")),
        "url": pa.array([[1, 2]]),
        "language": pa.array([moment.date()]),
        "domain": pa.array([2.0]),
        "license": pa.array([b"\x01\xff"]),
        "key": pa.array([uuid.UUID(int=5).bytes], pa.uuid()),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    source = take(tmp_path, "parquet", columns={"id": "key"})
    row = core(source).to_dicts()[0]
    assert row["doc_id"] == digest_parts([b"web", b"id", str(uuid.UUID(int=5)).encode()])
    stated = [row[name] for name in ("date", "url", "language", "domain", "license")]
    assert stated == ["2024-01-02T03:04:05", "[1, 2]", "2024-01-02", "2", "01ff"]


# Identity


WORDS = st.sampled_from(["", "a", "b", "c", " ", "a b"])
DOCUMENTS = st.lists(
    st.fixed_dictionaries({"text": st.none() | WORDS, "url": st.none() | WORDS}, optional={"n": st.integers(0, 2)}),
    min_size=1,
    max_size=14,
)


@settings(deadline=None, max_examples=25)
@given(
    rows=DOCUMENTS,
    order=st.randoms(use_true_random=False),
    num_files=st.integers(1, 3),
    cut=st.sampled_from([1, 250, 900]),
)
def test_no_cut_into_files_and_shards_changes_a_document(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, order: random.Random, num_files: int, cut: int
) -> None:
    one, many = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("many")
    write(one / "a.jsonl", [{"text": "first"}, *rows])
    shuffled = [{"text": "first"}, *rows]
    order.shuffle(shuffled)
    for number in range(num_files):
        write(many / f"{number}.jsonl", shuffled[number::num_files])
    whole = take(one)
    pieces = take(many, cut=cut)
    assert by_id(pieces) == by_id(whole)
    assert pieces.digest == whole.digest


@settings(deadline=None, max_examples=15)
@given(rows=DOCUMENTS, order=st.randoms(use_true_random=False), cut=st.sampled_from([1, 250, 900]))
def test_formats_agree_on_who_a_document_is(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, order: random.Random, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    rows = [{"text": None, "url": None, "n": None} | row for row in rows]
    write(folder / "a.jsonl", rows)
    order.shuffle(rows)
    schema = pa.schema([("text", pa.string()), ("url", pa.large_string()), ("n", pa.int32())])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "a.parquet", row_group_size=3)
    lines, groups = take(folder, workspace="lines"), take(folder, "parquet", "groups", cut=cut)
    assert by_id(lines) == by_id(groups)
    assert lines.digest == groups.digest


@pytest.mark.parametrize("cut", [150, 1000])
def test_jobs_change_no_byte(tmp_path: Path, cut: int) -> None:
    write(tmp_path / "a.jsonl", [{"text": "t" * (n % 7), "n": n} for n in range(12)])
    one, many = take(tmp_path, workspace="one", cut=cut), take(tmp_path, workspace="many", cut=cut, jobs=3)
    names = sorted(path.name for path in one.folder.iterdir())
    assert names == sorted(path.name for path in many.folder.iterdir())
    for name in names:
        if name != "receipt.json":
            assert (one.folder / name).read_bytes() == (many.folder / name).read_bytes()


def test_shards_are_cut_where_the_text_reaches_the_size_whatever_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.jsonl", [{"text": "x" * 100} for _ in range(10)])
    whole = take(tmp_path, workspace="whole", cut=3 * (100 + shards_module.ROW_BYTES))
    monkeypatch.setattr(jsonl, "BATCH_BYTES", 150)
    batched = take(tmp_path, workspace="batched", cut=3 * (100 + shards_module.ROW_BYTES))
    assert [shard.num_rows for shard in whole.shards] == [3, 3, 3, 1]
    assert [shard.key for shard in whole.shards] == [shard.key for shard in batched.shards]


def test_an_appended_file_leaves_the_keys_of_the_other_shards(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": f"a{n}", "uid": n} for n in range(6)])
    before = take(tmp_path, cut=300, columns={"id": "uid"})
    write(tmp_path / "b.jsonl", [{"text": "new", "uid": 99}])
    after = take(tmp_path, cut=300, columns={"id": "uid"})
    assert len(before.shards) == 2
    assert [shard.key for shard in after.shards][:2] == [shard.key for shard in before.shards]
    assert after.digest != before.digest


def test_equal_texts_without_own_ids_are_documents_of_their_own(tmp_path: Path) -> None:
    write(
        tmp_path / "a.jsonl", [{"text": "same", "url": "b"}, {"text": "same", "url": "a"}, {"text": "same", "url": "a"}]
    )
    rows = by_id(take(tmp_path))
    key = digest_bytes(b"same")
    assert set(rows) == {digest_parts([b"web", b"text", key, rank.to_bytes(8, "little")]) for rank in range(3)}


def test_one_and_the_string_one_are_the_same_id(tmp_path: Path) -> None:
    for kind in ("int", "str"):
        write(tmp_path / kind / "a.jsonl", [{"text": "one", "uid": 1 if kind == "int" else "1"}])
    ids = [core(take(tmp_path / kind, columns={"id": "uid"}))["doc_id"].to_list() for kind in ("int", "str")]
    assert ids[0] == ids[1]


def test_the_same_text_in_two_sources_is_two_documents(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": "one"}])
    workspace = Workspace(tmp_path / "ws")
    ids = [
        core(take_in(jsonl.Config(name=name, path="a.jsonl"), jsonl, tmp_path, workspace, 1))["doc_id"].item()
        for name in ("web", "books")
    ]
    assert ids[0] != ids[1]


def test_columns_of_the_source_that_nobody_reads_may_hold_any_bytes(tmp_path: Path) -> None:
    offsets = pa.py_buffer(np.array([0, 1, 2], np.int32))
    junk = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    pq.write_table(pa.table({"text": ["same", "same"], "junk": junk}), tmp_path / "a.parquet")
    assert take(tmp_path, "parquet").num_documents == 2


# Shards of one source


def test_all_shards_have_the_columns_of_the_whole_source(tmp_path: Path) -> None:
    rows = [
        {"text": "a" * 300, "v": 1},
        {"text": "b" * 300, "v": 2.5},
        {"text": "c" * 300, "w": [1]},
        {"text": "d" * 300},
    ]
    write(tmp_path / "a.jsonl", rows)
    source = take(tmp_path, cut=1)
    assert len(source.shards) == 4
    frame = pl.concat([pl.read_parquet(shard.text_path) for shard in source.shards])
    assert frame.drop("text").to_dict(as_series=False) == {"v": [1.0, 2.5, None, None], "w": [None, None, "[1]", None]}


def test_sources_of_no_own_columns_and_only_nulls_are_fine(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": None, "n": None}, {"text": None, "n": None}])
    source = take(tmp_path)
    assert texts(source) == [None, None]
    assert len(by_id(source)) == 2


# Bad input


def test_rows_that_cannot_be_read_stay_with_their_problem(tmp_path: Path) -> None:
    lines = [b'{"text": "one", "uid": 1}', b'{"text": "tw', b"[1]", b'{"text": "\xff"}', b'{"text": "tw']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    source = take(tmp_path, on_bad_row="drop", columns={"id": "uid"})
    assert core(source)["read_problem"].to_list() == [
        None,
        "broken_json",
        "not_an_object",
        "invalid_utf8",
        "broken_json",
    ]
    assert texts(source) == ["one", None, None, None, None]
    assert len(by_id(source)) == 5
    receipt = read_receipt(source.folder)
    assert receipt is not None
    assert receipt.details["read_problems"] == {"broken_json": 2, "invalid_utf8": 1, "not_an_object": 1}


def test_parquet_with_damaged_strings_names_the_row_or_drops_it(tmp_path: Path) -> None:
    offsets = pa.py_buffer(np.array([0, 1, 2, 3], np.int32))
    damaged = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffc")])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": damaged, "n": [1, 2, 3]}), path, row_group_size=1)
    write(tmp_path / "b.parquet", [{"text": "fine", "n": 4}])
    with pytest.raises(InputError, match=f"{path}, row 1: .*not UTF-8.*on_bad_row: drop"):
        take(tmp_path, "parquet")
    source = take(tmp_path, "parquet", on_bad_row="drop", cut=1)
    assert texts(source) == ["a", None, "c", "fine"]
    assert core(source)["read_problem"].to_list() == [None, "invalid_utf8", None, None]
    # All shards of the damaged file are copies, the other file stays where it is.
    assert [shard.text_path.parent == source.folder for shard in source.shards] == [True, True, True, False]


def test_repeated_ids_name_three(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "uid": n // 2} for n in range(10)] + [{"text": "x", "uid": "0"}]
    write(tmp_path / "a.jsonl", rows[:5])
    write(tmp_path / "b.jsonl", rows[5:])
    with pytest.raises(InputError) as caught:
        take(tmp_path, columns={"id": "uid"}, cut=1)
    message = str(caught.value)
    assert "source web, column 'uid': 5 ids belong to more than one document: '0', '1', '2' and 2 more" in message
    assert "take id out of columns" in message


def test_missing_ids_name_three_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": f"text {n}", "uid": n if n < 2 else None} for n in range(6)])
    with pytest.raises(InputError) as caught:
        take(tmp_path, columns={"id": "uid"}, cut=1)
    assert "no id in 4 rows: row 3 ('text 2'), row 4 ('text 3'), row 5 ('text 4') and 1 more" in str(caught.value)


def test_a_mapped_column_that_is_nowhere_lists_the_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": "one", "link": "x"}])
    with pytest.raises(InputError, match=r"no row has a column 'lnk' \(have: text, link\)"):
        take(tmp_path, columns={"url": "lnk"})


@pytest.mark.parametrize("reader", ["jsonl", "parquet"])
def test_no_rows_are_an_error(tmp_path: Path, reader: str) -> None:
    write(tmp_path / f"a.{reader}", [])
    with pytest.raises(InputError, match="source web: its files hold no rows"):
        take(tmp_path, reader)


def test_an_empty_file_beside_others_is_fine(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [])
    write(tmp_path / "b.parquet", [{"text": "one"}])
    assert texts(take(tmp_path, "parquet")) == ["one"]


def test_a_failed_intake_leaves_nothing_that_counts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n' * 50 + "broken\n")
    with pytest.raises(InputError, match="line 51"):
        take(tmp_path, cut=1)
    assert [path.name for path in (tmp_path / "ws" / "documents" / "web").iterdir()] == []
    assert current(jsonl.Config(name="web", path="*.jsonl"), jsonl, tmp_path, Workspace(tmp_path / "ws")) is None


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "one"}])
    original = jsonl.read

    def read_and_append(*arguments: Any) -> Any:
        yield from original(*arguments)
        with path.open("a") as file:
            file.write('{"text": "late"}\n')

    monkeypatch.setattr(jsonl, "read", read_and_append)
    with pytest.raises(InputError, match="changed while it was read"):
        take(tmp_path)


# What is read again


def test_taken_in_once_it_is_current_until_the_content_changes(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": "one"}])
    config, workspace = jsonl.Config(name="web", path="*.jsonl"), Workspace(tmp_path / "ws")
    assert current(config, jsonl, tmp_path, workspace) is None
    source = take_in(config, jsonl, tmp_path, workspace, 1)
    assert current(config, jsonl, tmp_path, workspace) == source == take_in(config, jsonl, tmp_path, workspace, 1)
    os.utime(tmp_path / "a.jsonl")
    assert current(config, jsonl, tmp_path, workspace) == source
    write(tmp_path / "a.jsonl", [{"text": "two"}])
    assert current(config, jsonl, tmp_path, workspace) is None
    assert take_in(config, jsonl, tmp_path, workspace, 1).folder != source.folder


def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.jsonl", [{"text": "one"}])
    monkeypatch.setattr(watch, "SETTLED_NANOSECONDS", 0)
    config, workspace = jsonl.Config(name="web", path="*.jsonl"), Workspace(tmp_path / "ws")
    source = take_in(config, jsonl, tmp_path, workspace, 1)
    digested: list[Path] = []
    original = watch._digest
    monkeypatch.setattr(watch, "_digest", lambda path: digested.append(path) or original(path))
    assert current(config, jsonl, tmp_path, workspace) == source
    assert digested == []
    os.utime(tmp_path / "a.jsonl", ns=(0, 10**18))
    assert current(config, jsonl, tmp_path, workspace) == source
    assert digested == [tmp_path / "a.jsonl"]
    assert current(config, jsonl, tmp_path, workspace) == source
    assert len(digested) == 1


def test_remembered_digests_of_another_hash_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.jsonl", [{"text": "one"}])
    monkeypatch.setattr(watch, "SETTLED_NANOSECONDS", 0)
    source = take(tmp_path)
    state_path = tmp_path / "ws" / "documents" / "web" / "watch.json"
    state = read_json(state_path)
    files = {name: [*entry[:2], "0" * 32] for name, entry in state["files"].items()}
    for older in ({"files": files}, {"files": files, "hash": "blake2b"}):
        write_json(state_path, older)
        assert take(tmp_path).folder == source.folder
        assert read_json(state_path) == state


def test_a_change_within_the_same_moment_is_not_missed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "one"}])
    config, workspace = jsonl.Config(name="web", path="*.jsonl"), Workspace(tmp_path / "ws")
    take_in(config, jsonl, tmp_path, workspace, 1)
    moment = path.stat().st_mtime_ns
    write(path, [{"text": "two"}])
    os.utime(path, ns=(moment, moment))
    assert current(config, jsonl, tmp_path, workspace) is None


@pytest.mark.parametrize(
    ("change", "is_current"),
    [
        ({"priority": 3}, True),
        ({"protected": True}, True),
        ({"path": "a.jsonl"}, True),
        ({"license": "MIT"}, False),
        ({"on_bad_row": "drop"}, False),
        ({"columns": {"id": "uid"}}, False),
    ],
)
def test_only_what_changes_documents_makes_a_source_stale(
    tmp_path: Path, change: dict[str, Any], is_current: bool
) -> None:
    write(tmp_path / "a.jsonl", [{"text": "one", "uid": 1}])
    take(tmp_path)
    config = jsonl.Config(**({"name": "web", "path": "*.jsonl"} | change))
    found = current(config, jsonl, tmp_path, Workspace(tmp_path / "ws"))
    assert (found is not None) == is_current
    if found is not None:
        assert found.config == config.model_dump(mode="json")


def test_parquet_that_moved_is_taken_in_where_it_is_now(tmp_path: Path) -> None:
    write(tmp_path / "old" / "a.parquet", [{"text": "one"}])
    workspace = Workspace(tmp_path / "ws")
    config = parquet.Config(name="web", path="*.parquet")
    before = take_in(config, parquet, tmp_path / "old", workspace, 1)
    (tmp_path / "old").rename(tmp_path / "new")
    assert current(config, parquet, tmp_path / "new", workspace) is None
    after = take_in(config, parquet, tmp_path / "new", workspace, 1)
    assert after.digest == before.digest
    assert texts(after) == ["one"]


def test_a_moved_workspace_still_finds_its_converted_texts(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": "one"}])
    take(tmp_path)
    (tmp_path / "ws").rename(tmp_path / "elsewhere")
    found = current(jsonl.Config(name="web", path="*.jsonl"), jsonl, tmp_path, Workspace(tmp_path / "elsewhere"))
    assert found is not None
    assert texts(found) == ["one"]


KILLED = """
import sys
from pathlib import Path
from engine.formats.workspace import Workspace
from engine.run.intake import take_in
from engine.sources import jsonl
print("started", flush=True)
folder = Path(sys.argv[1])
take_in(jsonl.Config(name="web", path="*.jsonl.gz"), jsonl, folder, Workspace(folder / "ws"), 2, 400_000)
"""


def test_killed_in_the_middle_it_leaves_nothing_that_counts_and_ends_the_same(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": f"text {n} " * 40}) + "\n" for n in range(20_000))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows.encode(), 1))
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    documents = tmp_path / "ws" / "documents" / "web"
    deadline = time.monotonic() + 60
    while not list(documents.glob(".tmp-*/*.ids.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(documents.glob("[!.]*/receipt.json")) == []
    config = jsonl.Config(name="web", path="*.jsonl.gz")
    assert current(config, jsonl, tmp_path, Workspace(tmp_path / "ws")) is None
    again = take_in(config, jsonl, tmp_path, Workspace(tmp_path / "ws"), 2, 400_000)
    whole = take_in(config, jsonl, tmp_path, Workspace(tmp_path / "whole"), 1, 400_000)
    assert again.digest == whole.digest
    assert [shard.key for shard in again.shards] == [shard.key for shard in whole.shards]


def test_text_files_keep_their_id_when_another_file_is_added(tmp_path: Path) -> None:
    for name in ("b", "c"):
        (tmp_path / f"{name}.text").write_text(f"text of {name}")
    before = by_id(take(tmp_path, "text"))
    (tmp_path / "a.text").write_text("text of a")
    after = by_id(take(tmp_path, "text"))
    assert before.items() < after.items()
    assert digest_parts([b"web", b"id", b"a.text"]) in after
