"""The verb and the recipe it prints decide alike; inputs that few would think of are read like all others."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.base.atomic import write_json
from engine.base.errors import InputError
from engine.run.dedup import dedup
from engine.run.oneshot import texts as oneshot_texts
from engine.run.pipeline import run as run_recipe

from .corpora import edited_copies, kept_ids, removed, run, span, write


def test_recipe_that_is_printed_keeps_the_same_documents_even_where_only_ties_decide(tmp_path: Path) -> None:
    # Equal lengths everywhere: the same words in another order of case, and equal texts.
    base = [span(0, 60, f"t{number}x") for number in range(12)]
    texts = [variant for text in base for variant in (text, text.replace("t", "T", 1), text)]
    texts += list(edited_copies(5).values())
    path = write(tmp_path / "in.parquet", texts)
    report = run([path], tmp_path / "out", id_column="uid")
    recipe = tmp_path / "recipe.yaml"
    write_json(recipe, report["recipe"] | {"guard": {"max_source_loss": 1.0}})
    run_recipe(recipe, workspace=tmp_path / "ws")
    (part,) = (tmp_path / "ws" / "annotations" / "near_dup").glob("*/_corpus/*/*/*.parquet")
    near = pq.read_table(part).to_pylist()
    (part,) = (tmp_path / "ws" / "annotations" / "exact_dup").glob("*/_corpus/*/*/*.parquet")
    exact = pq.read_table(part).to_pylist()
    stays = {
        f"d{row}"
        for row, (one, other) in enumerate(zip(near, exact, strict=True))
        if one["near_dup__kept_id"] is None and other["exact_dup__kept_id"] is None
    }
    assert stays == kept_ids(tmp_path / "out")


def test_one_text_in_ten_thousand_rows_is_never_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 169 MB of rows that take 17 kB as a dictionary.
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000), pa.array([span(0, 3000)]))
    pq.write_table(pa.table({"text": texts.cast(pa.string())}), tmp_path / "in.parquet", use_dictionary=True)
    largest = 0
    plain_texts = oneshot_texts.plain_texts

    def watched(column: pa.Array) -> object:
        nonlocal largest
        for array in plain_texts(column):
            largest = max(largest, array.nbytes)
            yield array

    monkeypatch.setattr(oneshot_texts, "plain_texts", watched)
    report = run([tmp_path / "in.parquet"], tmp_path / "out", jobs=2)
    assert report["removed"] == {"exact_dup": 9_999, "near_dup": 0}
    assert report["bytes"] > 100_000_000
    assert largest < 10_000_000


def test_lines_whose_files_differ_in_what_they_leave_out_go_together(tmp_path: Path) -> None:
    rows = [
        [{"text": span(0, 40), "score": None}, {"text": span(0, 40)}],
        [{"text": span(50, 90), "score": 3}],
        [{"text": span(0, 40), "score": 2.5, "lang": "en"}],
        [],
    ]
    paths = [tmp_path / f"{number}.jsonl" for number in range(len(rows))]
    for path, lines in zip(paths, rows, strict=True):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = run(paths, tmp_path / "out")
    assert (report["documents"], report["kept"]) == (4, 2)
    schemas = {tuple(pq.read_schema(path)) for path in (tmp_path / "out" / "survivors").glob("*.parquet")}
    assert len({tuple(field.name for field in schema) for schema in schemas if schema}) == 1


def test_old_document_without_an_id_is_named_by_file_and_row(tmp_path: Path) -> None:
    old = tmp_path / "old.parquet"
    pq.write_table(pa.table({"uid": pa.array(["a", None]), "text": [span(100, 140), span(0, 60)]}), old)
    new = write(tmp_path / "new.parquet", [span(0, 60)], first_id=5)
    dedup([new], tmp_path / "out", id_column="uid", against=[old])
    assert removed(tmp_path / "out")["d5"].kept_id == f"{old}#1"


def test_damaged_text_is_named_by_file_and_row(tmp_path: Path) -> None:
    texts = pa.array([b"one", b"two", b"\xff", b"four"]).view(pa.string())
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"in\.parquet#2: text that is no UTF-8"):
        dedup([tmp_path / "in.parquet"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
