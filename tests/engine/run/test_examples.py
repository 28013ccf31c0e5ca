"""Examples of every reason: the same for any cut into shards, read from few row groups, shown by the guard."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.base.errors import InputError
from engine.base.hashing import digest_bytes
from engine.base.seeded import seeded_keys
from engine.formats.annotation import Annotation, write_part
from engine.formats.documents import Shard
from engine.formats.ledger import SCHEMA as LEDGER
from engine.formats.parquet import write_parquet
from engine.formats.selection import EXAMPLES_SCHEMA, Selection
from engine.recipe import GuardConfig
from engine.run import examples
from engine.run.examples import NUM_EXAMPLES, guard_examples, write_examples

Row = tuple[str, str | None, str, str | None]
"""name, text, decision, reason"""


def id_of(name: str) -> bytes:
    return digest_bytes(name.encode())


def write_shards(folder: Path, rows: list[Row], shard_rows: int) -> list[Shard]:
    """Write documents of the source `web` and their decisions; two rows to a row group."""
    shards = []
    for number, start in enumerate(range(0, len(rows), shard_rows)):
        part = rows[start : start + shard_rows]
        texts = [text for _, text, _, _ in part]
        sizes = [len(text or "") for text in texts]
        paths = folder / f"{number}.ids.parquet", folder / f"{number}.parquet"
        write_parquet(paths[0], pl.DataFrame({"doc_id": [id_of(row[0]) for row in part], "num_chars": sizes}))
        write_parquet(paths[1], pl.DataFrame({"text": texts}, schema={"text": pl.String}), 2)
        groups = tuple(range((len(part) + 1) // 2))
        shards.append(Shard("web", str(number), str(number), len(part), sum(sizes), *paths, "text", groups))
        decided = pl.DataFrame([row[2:] for row in part], schema=dict.fromkeys(("decision", "reason"), pl.String),
                               orient="row")  # fmt: skip
        write_part(folder / "selection", shards[-1], decided)
    return shards


def chosen(folder: Path, rows: list[Row], shard_rows: int, jobs: int = 1) -> list[dict[str, Any]]:
    shards = write_shards(folder, rows, shard_rows)
    write_examples(folder / "selection", shards, [], [], jobs)
    found = pl.read_parquet(folder / "selection/examples.parquet")
    assert found.schema == pl.Schema(EXAMPLES_SCHEMA)
    return found.to_dicts()


def naive(rows: list[Row]) -> list[dict[str, Any]]:
    """Sort all documents of a reason by hash and id, take the first."""
    found = []
    for decision, reason in sorted({row[2:] for row in rows if row[2] in ("dropped", "over_budget")}, key=str):
        keyed = [
            (int(seeded_keys(pl.Series([id_of(name)]), examples.SEED)[0]), id_of(name), text)
            for name, text, *decided in rows
            if tuple(decided) == (decision, reason)
        ]
        for _, doc_id, text in sorted(keyed)[:NUM_EXAMPLES]:
            found.append({"source": "web", "decision": decision, "reason": reason, "doc_id": doc_id,
                          "num_chars": len(text or ""), "excerpt": text or None})  # fmt: skip
    return found


OUTCOMES = [("kept", None), ("held_out", "general"), ("dropped", "short"), ("dropped", "toxic"), ("over_budget", "cap")]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(OUTCOMES), max_size=25), st.integers(1, 9), st.integers(1, 2))
def test_examples_are_the_smallest_hashes_of_every_reason_for_any_cut_into_shards(
    tmp_path_factory: pytest.TempPathFactory, outcomes: list[tuple[str, str | None]], shard_rows: int, jobs: int
) -> None:
    rows = [(f"d{n}", None if n % 7 == 3 else f"text {n}", *outcome) for n, outcome in enumerate(outcomes)]
    assert chosen(tmp_path_factory.mktemp("examples"), rows, shard_rows, jobs) == naive(rows)


def test_only_row_groups_that_hold_an_example_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [(f"d{n}", f"text {n}", "kept", None) for n in range(40)]
    rows[31] = ("d31", "a" * 500, "dropped", "short")
    read: list[list[int]] = []
    whole = pq.ParquetFile.read_row_groups

    def counted(file: pq.ParquetFile, groups: list[int], **options: Any) -> pa.Table:
        read.append(list(groups))
        return whole(file, groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    (found,) = chosen(tmp_path, rows, 10)
    assert read == [[0]]  # row 31 is row 1 of shard 3
    assert (found["num_chars"], found["excerpt"]) == (500, "a" * examples.EXCERPT_CHARS)


def test_text_that_is_gone_is_an_input_error(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [("a", "text", "dropped", "short")], 3)
    shards[0].text_path.unlink()
    with pytest.raises(InputError, match=r"0\.parquet: cannot be read"):
        write_examples(tmp_path / "selection", shards, [], [])


def test_kept_document_shows_what_is_cut_out_of_it(tmp_path: Path) -> None:
    text = "Über dies: the passage, and on"
    shards = write_shards(tmp_path, [("a", text, "kept", None), ("b", text, "dropped", "short")], 2)
    start = len("Über dies: ".encode())
    spans = [[{"start": start, "end": start + 11}], [{"start": 0, "end": 3}]]
    write_part(tmp_path / "cuts", shards[0], pl.DataFrame({"contamination__cut": spans}))
    cuts = Annotation("contamination", "contamination", "d", tmp_path / "cuts", ("contamination__cut",))
    write_examples(tmp_path / "selection", shards, [cuts], ["contamination__cut"])
    found = pl.read_parquet(tmp_path / "selection/examples.parquet").select("decision", "reason", "excerpt").rows()
    assert found == [("cut", "contamination", "the passage"), ("dropped", "short", text)]


@pytest.fixture
def selection(tmp_path: Path) -> Selection:
    """A source that loses 60 of 100 documents for two reasons, and one that loses 10 of 100."""
    values = [
        ("web", "in", None, 100), ("web", "kept", None, 40), ("web", "dropped", "toxic", 20),
        ("web", "dropped", "short", 40), ("books", "in", None, 100), ("books", "dropped", "short", 10),
        ("books", "kept", None, 90),
    ]  # fmt: skip
    ledger = pl.DataFrame([("selection", s, o, r, d, d, None) for s, o, r, d in values], schema=LEDGER, orient="row")
    write_parquet(tmp_path / "ledger.parquet", ledger)
    rows = [
        ("web", "dropped", "short", id_of("a"), 5, "a\x1b[31m b"),
        ("web", "dropped", "toxic", id_of("b"), 900, "b" * 300),
        ("books", "dropped", "short", id_of("c"), 0, None),
    ]
    write_parquet(tmp_path / "examples.parquet", pl.DataFrame(rows, schema=EXAMPLES_SCHEMA, orient="row"))
    return Selection(tmp_path, "d" * 32)


def test_guard_shows_the_reasons_of_the_source_it_stops_at_and_where_the_examples_are(selection: Selection) -> None:
    lines = guard_examples(selection, GuardConfig())
    assert lines == [
        "web, short, 40 documents:",
        f"  {id_of('a').hex()[:8]}: a [31m b",
        "web, toxic, 20 documents:",
        f"  {id_of('b').hex()[:8]}: {'b' * 100} ... (+800 characters)",
        f'all examples: provender sql "SELECT * FROM examples" ({selection.folder / "examples.parquet"})',
    ]


def test_guard_that_stops_at_a_cluster_shows_every_source(selection: Selection) -> None:
    lines = guard_examples(selection, GuardConfig(max_source_loss=1.0))
    assert "books, short, 10 documents:" in lines
    assert f"  {id_of('c').hex()[:8]}: (no text)" in lines


@pytest.mark.parametrize("rows", [[], [0], [6], [5, 0, 5], [6, 3, 1]])
def test_rows_of_a_shard_are_read_in_the_order_asked_for(tmp_path: Path, rows: list[int]) -> None:
    (shard,) = write_shards(tmp_path, [(f"d{n}", f"text {n}", "kept", None) for n in range(7)], 7)
    read: Callable[[list[int]], list[str | None]] = shard.read_shown
    assert read(rows) == [f"text {n}" for n in rows]
