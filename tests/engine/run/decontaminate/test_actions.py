"""What becomes of the rows: dropped, cut or tagged, with all their other columns."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .corpora import (
    CAPITAL,
    CLIPS,
    FILLER,
    GSM,
    ORCHARD,
    QUIZ,
    SOLUTION,
    benchmark,
    found,
    hits,
    kept_ids,
    run,
    survivors,
    write,
)

AROUND = f"{FILLER[0]}\n\nQuestion: {CLIPS}\nAnswer: {SOLUTION}\n\n{FILLER[1]}\n"
WHOLE = [FILLER[0], AROUND, None, f"  {ORCHARD}\n", FILLER[2], " "]


def test_drop_leaves_the_documents_without_a_hit_and_all_their_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", WHOLE, votes=[1, None, 3, 4, 5, 6])
    report = run([path], [benchmark(tmp_path / "gsm.jsonl")], tmp_path / "out", id_column="uid")
    assert (report["documents"], report["with_text"], report["flagged"], report["dropped"]) == (6, 4, 2, 2)
    assert survivors(tmp_path / "out") == [
        {"uid": "d0", "text": FILLER[0], "votes": 1},
        {"uid": "d2", "text": None, "votes": 3},
        {"uid": "d4", "text": FILLER[2], "votes": 5},
        {"uid": "d5", "text": " ", "votes": 6},
    ]
    assert pq.read_schema(tmp_path / "out" / "survivors" / "00000-000-in.parquet").equals(pq.read_schema(path))


def test_cut_leaves_the_text_around_and_drops_what_is_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", WHOLE, votes=[1, None, 3, 4, 5, 6])
    report = run([path], [benchmark(tmp_path / "gsm.jsonl")], tmp_path / "out", id_column="uid", action="cut")
    assert (report["flagged"], report["cut"], report["dropped"], report["kept"]) == (2, 1, 1, 5)
    rows = survivors(tmp_path / "out")
    assert [row["uid"] for row in rows] == ["d0", "d1", "d2", "d4", "d5"]
    assert rows[1] == {"uid": "d1", "text": f"{FILLER[0]}\n\nQuestion:\n\n{FILLER[1]}\n", "votes": None}
    assert [row["text"] for row in rows if row["uid"] != "d1"] == [FILLER[0], None, FILLER[2], " "]


def test_what_was_cut_is_clean(tmp_path: Path) -> None:
    twice = f"{FILLER[0]} {CLIPS} {FILLER[1]} {ORCHARD.upper()} {FILLER[2]} {CLIPS}"
    path = write(tmp_path / "in.parquet", [*WHOLE, twice, f"{FILLER[1]}\n\n{CAPITAL} the Bode"])
    benchmarks = [benchmark(tmp_path / "gsm.jsonl"), benchmark(tmp_path / "quiz.jsonl", QUIZ)]
    report = run([path], benchmarks, tmp_path / "out", action="cut")
    assert report["flagged"] == 4
    again = run([tmp_path / "out"], benchmarks, tmp_path / "again", id_column="uid")
    assert again["flagged"] == 0
    assert kept_ids(tmp_path / "again") == kept_ids(tmp_path / "out")


def test_tag_leaves_all_rows_and_names_the_best_hit(tmp_path: Path) -> None:
    almost = CLIPS.replace("and May?", "and June?")
    path = write(tmp_path / "in.parquet", [FILLER[0], f"{almost} {ORCHARD}", None, f"{CLIPS} {SOLUTION}"])
    report = run([path], [benchmark(tmp_path / "gsm.jsonl")], tmp_path / "out", id_column="uid", action="tag")
    assert (report["flagged"], report["kept"], report["dropped"]) == (2, 4, 0)
    rows = survivors(tmp_path / "out")
    names = ["contamination__benchmark", "contamination__item", "contamination__kind", "contamination__score"]
    assert [[row[name] for name in names] for row in rows] == [
        [None] * 4,
        ["gsm", "1", "question", 1.0],
        [None] * 4,
        ["gsm", "0", "question+answer", 1.0],
    ]
    assert [(row["uid"], row["text"]) for row in rows] == [
        (f"d{number}", text) for number, text in enumerate(pq.read_table(path)["text"].to_pylist())
    ]


def test_without_any_hit_all_rows_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", FILLER)
    for action in ("drop", "cut", "tag"):
        report = run([path], [benchmark(tmp_path / "gsm.jsonl")], tmp_path / action, action=action)
        assert (report["flagged"], report["kept"]) == (0, 3)
        assert found(tmp_path / action) == []
        assert [row["text"] for row in survivors(tmp_path / action)] == FILLER


STRING_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", STRING_TYPES, ids=str)
@pytest.mark.parametrize("action", ["drop", "cut", "tag"])
def test_text_may_be_of_any_string_type(tmp_path: Path, kind: pa.DataType, action: str) -> None:
    texts = pa.array([*WHOLE, AROUND], pa.string()).cast(kind)
    pq.write_table(pa.table({"uid": [f"d{row}" for row in range(7)], "text": texts}), tmp_path / "in.parquet")
    run([tmp_path / "in.parquet"], [benchmark(tmp_path / "gsm.jsonl")], tmp_path / "out", action=action)
    kept = {"drop": "d0 d2 d4 d5", "cut": "d0 d1 d2 d4 d5 d6", "tag": "d0 d1 d2 d3 d4 d5 d6"}
    assert kept_ids(tmp_path / "out") == kept[action].split()
    if action == "cut":
        assert survivors(tmp_path / "out")[-1]["text"] == f"{FILLER[0]}\n\nQuestion:\n\n{FILLER[1]}\n"


def as_jsonl(folder: Path) -> Path:
    return benchmark(folder / "in.jsonl", [{"uid": "a", "body": FILLER[0]}, {"uid": "b", "body": AROUND}])


def as_csv(folder: Path) -> Path:
    (folder / "in.csv").write_text(f'uid,body\na,"{FILLER[0]}"\nb,"{AROUND}"\n')
    return folder / "in.csv"


@pytest.mark.parametrize("form", [as_jsonl, as_csv])
def test_json_lines_and_csv_are_read_too(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    path = form(tmp_path)
    run([path], [benchmark(tmp_path / "gsm.jsonl")], tmp_path / "out", text_column="body")
    assert survivors(tmp_path / "out") == [{"uid": "a", "body": FILLER[0]}]
    assert [row["id"] for row in hits(tmp_path / "out")] == [f"{path}#1"]


def test_result_of_dedup_or_of_this_verb_is_an_input(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", WHOLE)
    run([path], [benchmark(tmp_path / "gsm.jsonl", GSM[:1])], tmp_path / "one")
    run([tmp_path / "one"], [benchmark(tmp_path / "gsm.jsonl")], tmp_path / "two")
    assert kept_ids(tmp_path / "two") == ["d0", "d2", "d4", "d5"]


def test_loss_of_more_than_half_is_a_warning_and_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "in.parquet", [CLIPS, ORCHARD, f"{ORCHARD} 364", FILLER[0]])
    report = run([path], [benchmark(tmp_path / "gsm.jsonl")], tmp_path / "out")
    assert "3 of 4 documents go" in report["warnings"][0]
    assert "3 of 4 documents go" in capsys.readouterr().err
    report = run([path], [benchmark(tmp_path / "gsm.jsonl")], tmp_path / "tagged", action="tag")
    assert report["warnings"] == []
