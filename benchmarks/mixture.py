"""Mixtures at scale: plan and schedule of 1, 10 and 100 million made-up documents, on two cores.

Five sources with log-normal lengths, one of them with documents longer than a row, replay and two phases. What is made
up is what a run has there: the kept documents with their exact tokens, and of the token store the offsets and
supervised bits; no ids, which packing does not read. Each part works in a process of its own, so that its peak memory
is measured without the making of the documents:

    plan        engine.mixture.build.plan_mixture, from the kept documents in a file
    schedule    engine.pack.schedule.write_schedule, from a two-phase mixture's documents in a file (the columns that
                packing reads) to the schedule on disk
    again       the same with another batch size: twice as many rows per step

    python -m benchmarks.mixture --documents 1e6 --parts plan,schedule      (prints, and records nothing)
"""

import argparse
import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES, QUICK_SIZES = (1_000_000, 10_000_000, 100_000_000), (100_000, 200_000)
PARTS = ("plan", "schedule", "again")
ROW_TOKENS, ROWS_PER_STEP = 2048, 256
SOURCES = {
    # name: (share of documents, mu and sigma of ln tokens); books are longer than a row
    "web": (0.60, 6.2, 1.1),
    "code": (0.20, 6.0, 1.3),
    "papers": (0.10, 7.0, 0.6),
    "books": (0.001, 10.5, 0.7),
    "general": (0.099, 6.0, 1.2),
}
REPLAY, REPLAY_SHARE = "general", 0.05
SECOND_PHASE, REPEATED = 0.3, 0.1
"""Shares of the documents."""
BATCH = 131_072


def main(quick: bool = False, documents: int | None = None, parts: tuple[str, ...] = PARTS) -> None:
    """Measure and record; quick results and chosen sizes or parts go to build/bench/quick and are no figures."""
    from benchmarks.harness import FOLDER, RESULTS, record

    build = FOLDER.parent / "build" / "bench"
    build.mkdir(parents=True, exist_ok=True)
    sizes = (documents,) if documents else QUICK_SIZES if quick else SIZES
    found: list[dict[str, Any]] = []
    for size in sizes:
        folder = Path(tempfile.mkdtemp(prefix="mixture-", dir=build))
        try:
            started = time.perf_counter()
            _alone(make_documents, folder, size)
            print(f"mixture: {size:,} documents made in {time.perf_counter() - started:.0f} s", flush=True)
            for part in parts:
                one = _alone(measured, folder, part) | {"part": part, "documents": size}
                print(f"mixture: {one}", flush=True)
                found.append(one)
        finally:
            shutil.rmtree(folder)
    about = (
        f"{len(SOURCES)} sources with log-normal lengths (books longer than a row of {ROW_TOKENS:,}), a replayed one, "
        f"{REPEATED:.0%} of the documents used twice, two phases, {ROWS_PER_STEP} rows a step. Efficiency: rows of "
        "best-fit decreasing over the whole corpus by rows of the schedule. Deviation: the most any source was off its "
        "share at the end of a step, as a part of its longest document."
    )
    is_whole = sizes == SIZES and parts == PARTS
    record("mixture", about, _rows(found), RESULTS if is_whole else build / "quick", own_memory=False)


def _rows(found: list[dict[str, Any]]) -> list[Any]:
    from benchmarks.harness import Row

    includes = {
        "plan": "reading the kept documents, budgets, replay, order",
        "schedule": "cutting, packing, writing, digests",
        "again": "the same with twice the rows per step; the token store is only read",
    }
    rows, before = [], {}
    for one in found:
        details: dict[str, float | int | str] = {
            "seconds": round(one["seconds"], 1),
            "peak MB": round(one["peak_bytes"] / 1e6),
        }
        if one["part"] in before:
            small = before[one["part"]]
            times = one["documents"] / small["documents"]
            details[f"seconds by those of {small['documents'] // 1_000_000} million"] = (
                f"x {one['seconds'] / small['seconds']:.1f} for x {times:.0f}"
            )
        before[one["part"]] = one
        details |= one["details"]
        name = f"{one['part']}, {one['documents'] / 1e6:g} million documents"
        rate = one["documents"] / one["seconds"] / 1e6
        rows.append(Row(name, rate, "million documents/s", includes[one["part"]], one["checked"], details=details))
    return rows


def _alone(function: Any, *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def make_documents(folder: Path, count: int) -> None:
    """Write the kept documents, the documents of a two-phase mixture of them, and what packing reads of a store."""
    import numpy as np
    import polars as pl

    from engine.formats.parquet import write_parquet, write_parquet_parts

    numbers = np.random.default_rng(count)
    source = numbers.choice(len(SOURCES), count, p=[share for share, _, _ in SOURCES.values()]).astype(np.uint8)
    mu, sigma = (np.array([one[place] for one in SOURCES.values()]) for place in (1, 2))
    tokens = np.empty(count, np.int32)
    for begin in range(0, count, BATCH):
        part = source[begin : begin + BATCH]
        tokens[begin : begin + BATCH] = np.clip(numbers.lognormal(mu[part], sigma[part]), 8, 1_000_000)
    # The long documents stand first in the store, so that only their supervised bits have to be there.
    in_store = np.argsort(tokens <= ROW_TOKENS, kind="stable").astype(np.uint32)
    offsets = np.cumsum(tokens[in_store], dtype=np.int64) - tokens[in_store]
    store_row = np.empty(count, np.uint32)
    store_row[in_store] = np.arange(count, dtype=np.uint32)
    (folder / "store").mkdir()
    write_parquet(folder / "store" / "documents.parquet", pl.DataFrame({"offset": offsets}))
    num_bytes = int(tokens[tokens > ROW_TOKENS].sum(dtype=np.int64)) // 8 + 1
    with (folder / "store" / "supervised.bin").open("wb") as file:
        for begin in range(0, num_bytes, 1 << 26):
            file.write(b"\xff" * min(1 << 26, num_bytes - begin))
    del in_store, offsets
    phase = (numbers.random(count) < SECOND_PHASE).astype(np.uint8)
    repeats = np.where(numbers.random(count) < REPEATED, 2, 1).astype(np.uint16)
    order = np.argsort(phase, kind="stable")
    write_parquet_parts(
        folder / "candidates.parquet",
        (
            _candidates(source[rows], tokens[rows], store_row[rows], begin)
            for begin in range(0, count, BATCH)
            for rows in [slice(begin, begin + BATCH)]
        ),
        _candidates(source[:0], tokens[:0], store_row[:0], 0).schema,
    )
    write_parquet_parts(
        folder / "documents.parquet",
        (
            _documents(source[rows], tokens[rows], store_row[rows], phase[rows], repeats[rows])
            for begin in range(0, count, BATCH)
            for rows in [order[begin : begin + BATCH]]
        ),
        _documents(source[:0], tokens[:0], store_row[:0], phase[:0], repeats[:0]).schema,
    )


def _candidates(source: Any, tokens: Any, store_row: Any, seed: int) -> Any:
    import numpy as np
    import polars as pl
    import pyarrow as pa

    from engine.mixture.build import CANDIDATES_SCHEMA

    ids = pa.py_buffer(np.random.default_rng(seed).bytes(16 * source.size))
    columns = {
        "doc_id": pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), source.size, [None, ids]).cast(pa.binary()),
        "source": pl.Series(list(SOURCES)).gather(source),
        "license": pl.repeat("CC-BY-4.0", source.size, eager=True),
        "store_row": store_row,
        "num_tokens": tokens,
        "supervised_tokens": tokens - 1,
        "num_bytes": tokens * 4,
    }
    frame = pl.DataFrame({name: pl.Series(name, column) for name, column in columns.items()})
    return frame.cast(pl.Schema({name: CANDIDATES_SCHEMA[name] for name in columns}))


def _documents(source: Any, tokens: Any, store_row: Any, phase: Any, repeats: Any) -> Any:
    import polars as pl

    from engine.formats.manifest import DOCUMENTS_SCHEMA

    columns = {
        "source": pl.Series(list(SOURCES)).gather(source),
        "is_replay": source == list(SOURCES).index(REPLAY),
        "phase": phase,
        "store_row": store_row,
        "num_tokens": tokens,
        "supervised_tokens": tokens - 1,
        "repeats": repeats,
    }
    return pl.DataFrame(columns).cast(pl.Schema({name: DOCUMENTS_SCHEMA[name] for name in columns}))


def measured(folder: Path, part: str) -> dict[str, Any]:
    """Do one part over what lies in a folder; return seconds, peak memory, figures and what was checked."""
    from engine.run.memory import peak_memory_bytes

    started = time.perf_counter()
    found = _planned(folder) if part == "plan" else _scheduled(folder, ROWS_PER_STEP * (2 if part == "again" else 1))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak_bytes": peak_memory_bytes(), **(_checked(folder) if part != "plan" else found)}


def _planned(folder: Path) -> dict[str, Any]:
    from engine.formats.parquet import read_parquet
    from engine.mixture.build import plan_mixture
    from engine.mixture.config import Config

    config = Config(
        sources=[name for name in SOURCES if name != REPLAY],
        replay={"share": REPLAY_SHARE, "sources": [REPLAY]},
        row_tokens=ROW_TOKENS,
        rows_per_step=ROWS_PER_STEP,
    )
    plan = plan_mixture("large", config, read_parquet(folder / "candidates.parquet"), dict.fromkeys(SOURCES, "0" * 32))
    replayed = sum(source.supervised_tokens for source in plan.sources if source.is_replay)
    share = replayed / sum(source.supervised_tokens for source in plan.sources)
    digest = plan.order_digest
    return {
        "details": {"documents planned": plan.documents.height},
        "checked": f"replay is {share:.4%} of the supervised tokens; digest {digest[:6]}",
    }


def _scheduled(folder: Path, rows_per_step: int) -> None:
    from engine.base.atomic import write_json
    from engine.formats.parquet import read_parquet
    from engine.formats.token_store import StoreMeta, TokenStore
    from engine.pack.schedule import ScheduleConfig, write_schedule

    store = folder / "store"
    meta = StoreMeta(digest="0" * 32, tokenizer="0" * 32, eos_id=0, dtype="uint32", num_documents=0, num_tokens=0)
    write_json(store / "store.json", meta.model_dump())
    config = ScheduleConfig(row_tokens=ROW_TOKENS, rows_per_step=rows_per_step)
    documents = read_parquet(folder / "documents.parquet")
    write_schedule(folder / "schedule", documents, TokenStore(store, meta), config, "0" * 32)


def _checked(folder: Path) -> dict[str, Any]:
    from engine.formats.receipt import read_receipt

    receipt = read_receipt(folder / "schedule")
    assert receipt is not None
    found = receipt.details
    off = max(one["largest_deviation"] / one["longest_document"] for one in found["sources"])
    return {
        "details": {
            "million spans": round(receipt.rows / 1e6, 1),
            "efficiency": found["best_fit_rows"] / found["rows"],
            "filled": found["tokens"] / found["room_tokens"],
            "deviation": off,
            "MB written": round((folder / "schedule" / "schedule.parquet").stat().st_size / 1e6),
        },
        "checked": f"bound {found['share_bound']}, {'kept' if found['is_share_bound_kept'] else 'NOT kept'}",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=float, help="one number of documents instead of all")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    main(options.quick, int(options.documents) if options.documents else None, tuple(options.parts.split(",")))
