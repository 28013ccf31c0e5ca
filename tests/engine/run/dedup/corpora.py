"""Corpora of the dedup tests: texts of known similarity, files made of them, and results read back."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from engine.run.dedup import dedup


class Removal(NamedTuple):
    """A row of removed.parquet but for its id."""

    kept_id: str
    reason: str
    similarity: float


def span(start: int, end: int, stem: str = "w") -> str:
    """The words start..end-1. Two such spans share the 5-grams of their overlap: span(0, 100) has 96."""
    return " ".join(f"{stem}{number}" for number in range(start, end))


def write(
    path: Path, texts: Sequence[str | None], first_id: int = 0, rows_per_group: int | None = None, **columns: Any
) -> Path:
    """Write uid (d0, d1, ... from `first_id`), text and other columns as Parquet."""
    ids = [f"d{first_id + row}" for row in range(len(texts))]
    table = pa.table({"uid": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string()), **columns})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


def run(inputs: Sequence[Path | str], out: Path, **options: Any) -> dict[str, Any]:
    """Call dedup and check what holds for every result: it balances, and nobody falls for one that fell."""
    report = dedup(inputs, out, **options)
    rows = pq.read_table(out / "removed.parquet").to_pylist()
    gone = {row["id"] for row in rows}
    assert len(gone) == len(rows)
    # An old document may have the id of a new one.
    assert "against" in options or gone.isdisjoint(row["kept_id"] for row in rows)
    by_reason = Counter(row["reason"] for row in rows)
    assert report["removed"] == {"exact_dup": by_reason["exact_dup"], "near_dup": by_reason["near_dup"]}
    assert report["documents"] == report["kept"] + len(rows)
    assert (out / "survivors").exists() == (not options.get("decisions_only", False))
    if (out / "survivors").exists():
        assert report["kept"] == len(survivors(out))
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".tmp-")] == []
    return report


def removed(out: Path) -> dict[str, Removal]:
    """removed.parquet as id -> (kept_id, reason, similarity)."""
    rows = pq.read_table(out / "removed.parquet").to_pylist()
    return {row["id"]: Removal(row["kept_id"], row["reason"], round(row["similarity"], 6)) for row in rows}


def pairs(out: Path) -> dict[frozenset[str], float]:
    """pairs.parquet as {id, other_id} -> similarity; no pair stands there twice."""
    rows = pq.read_table(out / "pairs.parquet").to_pylist()
    found = {frozenset((row["id"], row["other_id"])): round(row["similarity"], 6) for row in rows}
    assert len(found) == len(rows)
    assert all(len(pair) == 2 for pair in found)
    return found


def survivors(out: Path) -> list[dict[str, Any]]:
    """All rows of survivors/, files in the order of their names."""
    files = sorted((out / "survivors").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def kept_ids(out: Path) -> set[str]:
    return {row["uid"] for row in survivors(out)}


def decisions(out: Path) -> tuple[bytes, bytes]:
    """The bytes of removed.parquet and of pairs.parquet."""
    return (out / "removed.parquet").read_bytes(), (out / "pairs.parquet").read_bytes()


def edited_copies(seed: int, num_bases: int = 12, num_copies: int = 6) -> dict[str, str]:
    """Texts of 80-300 words, each with copies of up to eight edits, and some exact ones; id -> text, shuffled.

    No two different texts are equally long, so that their order never hangs on a doc_id.
    """
    draw = random.Random(seed)
    texts: list[str] = []
    lengths: set[int] = set()
    for base in range(num_bases):
        original = [f"b{draw.randrange(3000)}" for _ in range(draw.randrange(80, 300))]
        for _ in range(num_copies):
            words = list(original)
            for _ in range(draw.choice((0, 1, 1, 2, 3, 5, 8))):
                place = draw.randrange(len(words))
                words[place : place + draw.randrange(2)] = [f"e{base}x{draw.randrange(10**6)}"] * draw.randrange(2)
            text = " ".join(words)
            while len(text) in lengths:
                text += draw.choice(".,!")
            lengths.add(len(text))
            texts += [text] * draw.choice((1, 1, 1, 2))
    draw.shuffle(texts)
    return {f"d{number}": text for number, text in enumerate(texts)}
