"""Corpora of the decontaminate tests: benchmarks of literal items, documents with and without, results read back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.run.decontaminate import decontaminate

CLIPS = (
    "Nadia sold 48 clips to her friends in April, and then she sold half as many clips in May. "
    "How many clips did Nadia sell altogether in April and May?"
)
ORCHARD = (
    "An orchard has 17 rows of 23 pear trees each. A storm fells 39 of the trees, and the owner plants 12 new ones "
    "in spring. How many pear trees stand in the orchard in summer?"
)
CAPITAL = "Which river runs through the old capital of the northern province?"
"""Eleven words: found whole, or not at all."""
SHORT = "What do vampires fear?"
SOLUTION = "Half of 48 is 24. Together she sold 48 + 24 = 72 clips. #### 72"
GSM = [{"question": CLIPS, "answer": SOLUTION}, {"question": ORCHARD, "answer": "#### 364"}]
QUIZ = [
    {"id": "river", "question": CAPITAL, "choices": ["the Alm", "the Bode", "the Chiers"], "answer": "the Bode"},
    {
        "id": "fear",
        "question": SHORT,
        "choices": ["garlic and bright daylight", "cold soup"],
        "answer": "garlic and bright daylight",
    },
    {"id": "one", "question": "Why?", "answer": "So"},
]
FILLER = [
    "The harbour was quiet that morning, and the boats lay deep in the fog while the crews waited for the tide.",
    "A recipe for bread asks for flour, water, salt and time; of these time is what most bakers are short of.",
    "In the third year of the survey the team counted the birds along the coast road twice each week.",
]
"""Clean documents."""


def benchmark(path: Path, items: Sequence[dict[str, Any]] = GSM) -> Path:
    """Write items as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def write(path: Path, texts: Sequence[str | None], rows_per_group: int | None = None, **columns: Any) -> Path:
    """Write uid (d0, d1, ...), text and other columns as Parquet."""
    ids = [f"d{row}" for row in range(len(texts))]
    table = pa.table({"uid": ids, "text": pa.array(texts, pa.string()), **columns})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


def run(inputs: Sequence[Path | str], benchmarks: Sequence[Path | str], out: Path, **options: Any) -> dict[str, Any]:
    """Call decontaminate and check what holds for every result: it balances, and leaves no scratch folder."""
    report = decontaminate(inputs, benchmarks, out, **options)
    rows = hits(out)
    assert report["hits"] == len(rows)
    assert report["flagged"] == len({row["id"] for row in rows})
    assert report["documents"] == report["kept"] + report["dropped"]
    assert report["kept"] == len(survivors(out))
    by_benchmark = {name: {row["id"] for row in rows if row["benchmark"] == name} for name in coverage(out)}
    flagged = {name: row["flagged_documents"] for name, row in coverage(out).items()}
    assert flagged == {name: len(ids) for name, ids in by_benchmark.items()}
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".tmp-")] == []
    return report


def hits(out: Path) -> list[dict[str, Any]]:
    """hits.parquet, in its order."""
    return pq.read_table(out / "hits.parquet").to_pylist()


def found(out: Path) -> list[tuple[str, str, str, str]]:
    """(id, benchmark, item, kind) of each hit, in the order of hits.parquet."""
    return [(row["id"], row["benchmark"], row["item"], row["kind"]) for row in hits(out)]


def coverage(out: Path) -> dict[str, dict[str, Any]]:
    """coverage.parquet by benchmark."""
    return {row["benchmark"]: row for row in pq.read_table(out / "coverage.parquet").to_pylist()}


def survivors(out: Path) -> list[dict[str, Any]]:
    """All rows of survivors/, files in the order of their names."""
    files = sorted((out / "survivors").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def kept_ids(out: Path) -> list[str]:
    return [row["uid"] for row in survivors(out)]
