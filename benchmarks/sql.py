"""SQL at scale: a workspace with the metadata of 1, 10 and 100 million documents, and what people ask of it.

What lies on disk is what a run leaves: ids with core columns, columns of two stages, decisions, a ledger, and a mixture
of a tenth of the documents. Rows are made up; all documents have the same short text. Every question is asked by `sql`
in a process of its own, opening of the catalog included, with the files in the page cache of the system.

    python -m benchmarks.sql --rows 1000000      (prints, and records nothing)
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.sql_workspace import SHARD_ROWS, SOURCES, make_workspace

SCALES, QUICK_SCALES = (1_000_000, 10_000_000, 100_000_000), (200_000,)
REPEATS, ENOUGH_SECONDS = 3, 40
QUESTIONS = {
    "open the catalog": "SELECT 1",
    "group by source": "SELECT source, count(*), sum(num_bytes) FROM documents GROUP BY ALL ORDER BY ALL",
    "@funnel": "@funnel",
    "@source_mix": "@source_mix",
    "@languages (bytes beside a stage's columns)": "@languages",
    "@quality (bins of a score)": "@quality",
    "decisions by source and reason": (
        "SELECT source, decision, reason, count(*) FROM decisions GROUP BY ALL ORDER BY ALL"
    ),
    "group by an annotation": (
        "SELECT language__top, count(*), round(avg(quality__score), 3) FROM annotations GROUP BY ALL ORDER BY ALL"
    ),
    "kept bytes by language and licence": (
        "SELECT language__top, license, sum(num_bytes) FROM corpus WHERE decision = 'kept' GROUP BY ALL ORDER BY ALL"
    ),
    "@tokens_by_source_and_license (join by id)": "@tokens_by_source_and_license",
    "one document by its id, with text": "SELECT * FROM documents WHERE doc_id = '{doc_id}'",
    "its annotations": "SELECT * FROM annotations WHERE doc_id = '{doc_id}'",
}


def main(quick: bool = False, rows: int | None = None) -> None:
    """Measure and record; quick results and other numbers of rows go to build/bench/quick and are no figures."""
    from benchmarks.harness import FOLDER, RESULTS, Row, record

    scales = (rows,) if rows else QUICK_SCALES if quick else SCALES
    build = FOLDER.parent / "build" / "bench"
    build.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[int, dict[str, float]]] = {name: {} for name in QUESTIONS}
    load = os.getloadavg()[0]
    for count in scales:
        folder = Path(tempfile.mkdtemp(prefix="sql-", dir=build))
        try:
            make_workspace(folder, count)
            for name, query in QUESTIONS.items():
                found[name][count] = _in_own_process(folder, count, name, query)
                print(f"{count:,}: {name}: {found[name][count]}", flush=True)
        finally:
            shutil.rmtree(folder)
    about = (
        f"{', '.join(f'{count:,}' for count in scales)} documents of {len(SOURCES)} sources in shards of "
        f"{SHARD_ROWS:,}, columns of two stages, decisions, a mixture of a tenth of them. Every question by `sql` in a "
        f"process of its own, from opening to values, files in the page cache; median of {REPEATS} (fewer where that "
        f"takes longer than {ENOUGH_SECONDS} s). The load of the "
        f"machine before the start was {load:.1f}."
    )
    out = [
        Row(
            name,
            by_scale[scales[-1]]["seconds"],
            "s",
            "opening the catalog, the query, its values",
            "",
            by_scale[scales[-1]]["low"],
            by_scale[scales[-1]]["high"],
            _details(by_scale),
        )
        for name, by_scale in found.items()
    ]
    record("sql", about, out, RESULTS if scales == SCALES else build / "quick", own_memory=False)


def _details(by_scale: dict[int, dict[str, float]]) -> dict[str, float | int | str]:
    seconds: dict[str, float | int | str] = {
        f"seconds, {count / 1e6:g} M": f"{one['seconds']:.2f}" for count, one in by_scale.items()
    }
    return seconds | {f"peak MB, {count / 1e6:g} M": round(one["peak_mb"]) for count, one in by_scale.items()}


def _in_own_process(folder: Path, count: int, name: str, query: str) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, (folder, count, name, query))


def measured(folder: Path, count: int, name: str, query: str) -> dict[str, float]:
    """Ask a question REPEATS times after a warm-up, checking its answer; return seconds and peak MB."""
    import pyarrow.parquet as pq

    from benchmarks.harness import peak_memory_mb
    from engine.catalog import sql

    first = next((folder / "documents" / SOURCES[0]).glob("*/*.ids.parquet"))
    doc_id = str(pq.read_table(first, columns=["doc_id"]).column(0)[7].as_py())
    seconds = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        rows = sql(query.format(doc_id=doc_id), folder)["rows"]
        seconds.append(time.perf_counter() - started)
        if sum(seconds) > ENOUGH_SECONDS:
            break
    seconds = seconds[1:] or seconds
    if name == "group by source":
        assert sum(row[1] for row in rows) == count
    assert rows, name
    return {
        "seconds": statistics.median(seconds),
        "low": min(seconds),
        "high": max(seconds),
        "peak_mb": peak_memory_mb(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    main(options.quick, options.rows)
