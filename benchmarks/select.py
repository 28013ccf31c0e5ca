"""Selection at scale: decisions, balance and ledger over 100 million rows of made-up columns, on two cores.

What lies on disk is what a run has there when it comes to the selection: core columns and the columns of stages, as
Parquet shards in a workspace. Of texts the selection reads only those it saves as examples, so all rows have the same
short one. The real step (engine.run.selecting.select) works on it in a process of its own, so that its peak memory is
measured without the making of the rows.

    python -m benchmarks.select --rows 5000000      (prints, and records nothing)
"""

import argparse
import importlib
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROWS, QUICK_ROWS, SHARD_ROWS = 100_000_000, 400_000, 1_000_000
TEXT = "Every row of this benchmark has this text."
SOURCES = ("web_a", "web_b", "web_c", "golden")
LANGUAGES = ["en", "de", "fr", "es", "it", "ja", "zh", "ru", "pl", "nl"]
DOMAINS = ["law", "medicine", "science", "code", "news", "fiction", "forum", "other"]
HOSTS = 2_000_000
BALANCE: list[dict[str, Any]] = [
    {"reason": "host_cap", "by": ["site__host"], "cap": 50_000},
    {
        "reason": "language_domain",
        "by": ["language__top", "domain__top"],
        "unit": "tokens",
        "prefer": "quality__score",
        "quotas": [
            {"group": {"language__top": language, "domain__top": domain}, "amount": 5 * ROWS}
            for language in LANGUAGES[:4]
            for domain in DOMAINS[:4]
        ],
    },
    {
        "reason": "domain_bytes",
        "by": ["domain__top"],
        "unit": "bytes",
        "cap": 40 * ROWS,
        "where": "language__top <> 'en'",
    },
]
FILTERS = [
    {"reason": "low_quality", "keep": "quality__score >= 0.2"},
    {"reason": "too_short", "keep": "tokens__count >= 20"},
    {"reason": "unsure_language", "keep": "language__score >= 0.3"},
    {"reason": "forum", "keep": "domain__top <> 'forum'", "action": "tag"},
]


def main(quick: bool = False, rows: int | None = None) -> None:
    """Measure and record; quick results and other numbers of rows go to build/bench/quick and are no figures."""
    from benchmarks.harness import FOLDER, RESULTS, Row, record

    count = rows or (QUICK_ROWS if quick else ROWS)
    build = FOLDER.parent / "build" / "bench"
    build.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="select-", dir=build))
    try:
        started = time.perf_counter()
        make_rows(folder, count)
        print(f"select: {count:,} rows made in {time.perf_counter() - started:.0f} s", flush=True)
        load = os.getloadavg()[0]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measured, (folder, count))
    finally:
        shutil.rmtree(folder)
    losses = "; ".join(
        f"{one['rule']} kept {one['kept_documents']:,} of {one['available_documents']:,}" for one in found["balance"]
    )
    about = (
        f"{count:,} rows in shards of {SHARD_ROWS:,}: {len(FILTERS)} filters, drops of duplicates, three rules of "
        f"balance ({len(BALANCE[1]['quotas'])} quotas, {HOSTS:,} possible hosts), ledger in documents, bytes and "
        "tokens; from Parquet columns to a selection on disk. The load of the machine before the start was "
        f"{load:.1f}. {losses}."
    )
    whole = found["seconds"]["whole"]
    of_processor = round(found["processor_seconds"], 1)
    details = {
        "seconds": round(whole, 1),
        "processor seconds": of_processor,
        "peak MB": round(found["peak_bytes"] / 1e6),
    }
    out = [
        Row(
            "selection",
            count / whole / 1e6,
            "million rows/s",
            "reading, deciding, balance, ledger, writing",
            "every source balances",
            details=details,
        )
    ]
    for name, seconds in found["seconds"].items():
        if name != "whole":
            out.append(
                Row(name, count / seconds / 1e6, "million rows/s", name, "", details={"seconds": round(seconds, 1)})
            )
    print(about)
    record("select", about, out, RESULTS if count == ROWS else build / "quick", own_memory=False)


def make_rows(folder: Path, count: int) -> None:
    """Write core columns and columns of stages for `count` documents, shard by shard."""
    import polars as pl

    from engine.formats.parquet import write_parquet

    counted = dict.fromkeys(SOURCES, 0)
    for number, start in enumerate(range(0, count, SHARD_ROWS)):
        # One shard in 20 is of the protected source.
        source = SOURCES[3] if number % 20 == 7 else SOURCES[number % 3]
        counted[source] += _write_shard(folder, number, source, min(SHARD_ROWS, count - start))
    sums = pl.DataFrame(list(counted.items()), schema={"source": pl.String, "tokens": pl.Int64}, orient="row")
    write_parquet(folder / "tokens" / "fit.parquet", sums)


def _write_shard(folder: Path, number: int, source: str, size: int) -> int:
    """Write one shard with the columns of every stage; return its tokens."""
    import numpy as np
    import pyarrow as pa

    from engine.formats.parquet import write_parquet

    numbers = np.random.default_rng(number)
    tokens = np.minimum(numbers.lognormal(5.5, 1.1, size), 100_000).astype(np.uint32) + 1
    here = folder / "documents" / source
    here.mkdir(parents=True, exist_ok=True)
    write_parquet(here / f"{number:05}.ids.parquet", pa.table(_core_columns(source, tokens, numbers)))
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int8)), pa.array([TEXT]))
    write_parquet(here / f"{number:05}.parquet", pa.table({"text": texts}))
    for stage, columns in _stage_columns(tokens, numbers).items():
        write_parquet(folder / stage / source / f"{number:05}.parquet", pa.table(columns))
    return int(tokens.sum())


def _ids(size: int, numbers: Any) -> Any:
    import pyarrow as pa

    ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), size, [None, pa.py_buffer(numbers.bytes(16 * size))])
    return ids.cast(pa.binary())


def _core_columns(source: str, tokens: Any, numbers: Any) -> dict[str, Any]:
    import numpy as np
    import pyarrow as pa

    size = tokens.size
    num_bytes = tokens.astype(np.int64) * 4 + numbers.integers(0, 4, size)
    stated = ("license", "url", "date", "language", "domain", "read_problem")
    return {
        "doc_id": _ids(size, numbers),
        "source": pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int8)), pa.array([source])),
        "text_digest": _ids(size, numbers),
        "num_bytes": num_bytes,
        "num_chars": num_bytes,
        **{name: pa.nulls(size, pa.large_string()) for name in stated},
    }


def _stage_columns(tokens: Any, numbers: Any) -> dict[str, dict[str, Any]]:
    import numpy as np
    import polars as pl
    import pyarrow as pa
    import pyarrow.compute as pc

    size = tokens.size
    is_copy, is_near = numbers.random(size) < 0.1, numbers.random(size) < 0.15
    ranks = numbers.zipf(1.15, size) % HOSTS

    def chosen(values: list[str]) -> Any:
        weights = 1 / np.arange(1, len(values) + 1)
        return pl.Series(values).gather(numbers.choice(len(values), size, p=weights / weights.sum())).to_arrow()

    def scores() -> Any:
        return numbers.integers(0, 10_001, size) / 10_000

    def kept_ids(goes: Any) -> Any:
        # The name of the one that stays, of every document that goes.
        return pc.if_else(pa.array(goes), _ids(size, numbers), pa.scalar(None, pa.binary()))

    return {
        "quality": {"quality__score": scores()},
        "language": {"language__top": chosen(LANGUAGES), "language__score": scores()},
        "domain": {"domain__top": chosen(DOMAINS)},
        "site": {"site__host": _hosts().gather(ranks).to_arrow()},
        "exact_dup": {
            "exact_dup__kept_id": kept_ids(is_copy),
            "exact_dup__group_documents": 1 + is_copy.astype(np.uint32),
        },
        "near_dup": {
            "near_dup__kept_id": kept_ids(is_near),
            "near_dup__cluster_documents": 1 + is_near.astype(np.uint32),
        },
        "tokens": {"tokens__count": tokens},
    }


@cache
def _hosts() -> Any:
    import polars as pl

    return pl.Series([f"www.site-{number}.example" for number in range(HOSTS)])


def measured(folder: Path, count: int) -> dict[str, Any]:
    """Run the selection over what lies in a folder; return seconds by phase, peak memory and what balance did."""
    from engine.formats.receipt import read_receipt
    from engine.run import balancing, deciding, selecting
    from engine.run.memory import peak_memory_bytes

    context, state = _recipe_over(folder, count)
    seconds: dict[str, float] = {}
    for module, name in ((deciding, "work"), (balancing, "work"), (selecting, "work"), (balancing, "take")):
        _timed(module, name, seconds)
    started, of_processor = time.perf_counter(), time.process_time()
    selection = selecting.select(context, state)
    whole, of_processor = time.perf_counter() - started, time.process_time() - of_processor
    receipt = read_receipt(selection.folder)
    assert receipt is not None
    return {
        "seconds": {"whole": whole, **seconds, "rest": whole - sum(seconds.values())},
        "processor_seconds": of_processor,
        "peak_bytes": peak_memory_bytes(),
        "balance": receipt.details["balance"],
    }


def _timed(module: Any, name: str, seconds: dict[str, float]) -> None:
    """Add up the seconds of a function, by its first argument where that is a title."""
    inner = getattr(module, name)

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return inner(*arguments)
        finally:
            title = arguments[0] if isinstance(arguments[0], str) else "take"
            seconds[title] = seconds.get(title, 0.0) + time.perf_counter() - started

    setattr(module, name, timed)


def _recipe_over(folder: Path, count: int) -> tuple[Any, Any]:
    import pyarrow.parquet as pq

    from engine.formats.annotation import Annotation
    from engine.formats.documents import Shard, SourceDocuments
    from engine.formats.workspace import Workspace
    from engine.recipe import DataRecipe, Stage
    from engine.run.stage_run import Annotated
    from engine.run.steps import RunContext
    from engine.select.balance import Rule
    from engine.select.filters import Filter

    sources = []
    for name in SOURCES:
        paths = sorted((folder / "documents" / name).glob("*.ids.parquet"))
        shards = []
        for path in paths:
            key = path.name.split(".")[0]
            table = pq.read_table(path, columns=["num_bytes"])
            num_bytes = sum(chunk.to_numpy().sum() for chunk in table.column(0).chunks)
            texts = path.with_name(f"{key}.parquet")
            groups = tuple(range(pq.ParquetFile(texts).num_row_groups))
            shards.append(Shard(name, key, key, table.num_rows, int(num_bytes), path, texts, "text", groups))
        sources.append(
            SourceDocuments(
                name, name, path.parent if paths else folder, tuple(shards), {"protected": name == SOURCES[3]}
            )
        )
    annotations = [
        Annotation(
            stage, stage, stage, folder / stage, tuple(pq.read_schema(next((folder / stage).glob("*/*.parquet"))).names)
        )
        for stage in ("quality", "language", "domain", "site", "exact_dup", "near_dup", "tokens")
    ]
    stages = tuple(
        Stage(importlib.import_module(f"engine.annotate.{name}"), SimpleNamespace(stage=name, column_prefix=name))
        for name in ("exact_dup", "near_dup", "tokens")
    )
    scale = count / ROWS
    rules = json.loads(json.dumps(BALANCE))
    for rule in rules:
        rule["cap"] = max(1, int(rule["cap"] * scale)) if "cap" in rule else None
        for quota in rule.get("quotas", ()):
            quota["amount"] = max(1, int(quota["amount"] * scale))
    recipe = DataRecipe(
        folder / "recipe.yaml", "select", 1, (), annotate=stages,
        filters=tuple(Filter(**one) for one in FILTERS), balance=tuple(Rule(**one) for one in rules),
    )  # fmt: skip
    return RunContext(recipe, Workspace(folder), 2, 4 << 30), Annotated(tuple(sources), annotations)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    main(options.quick, None if options.quick else options.rows)
