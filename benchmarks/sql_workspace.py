"""A workspace with the metadata of made-up documents, as a finished recipe leaves it: what benchmarks.sql asks."""

import multiprocessing
from pathlib import Path
from typing import Any

SHARD_ROWS = 50_000
TEXT = "Every row of this benchmark has this text."
SOURCES = ("web_a", "web_b", "forum", "code", "books", "golden")
LANGUAGES = ("en", "de", "fr", "es", "it", "ja", "zh", "ru", "pl", "nl")
LICENSES = ("CC0-1.0", "CC-BY-4.0", "MIT", None)


def make_workspace(folder: Path, count: int) -> None:
    """Write a workspace of `count` documents as a finished recipe leaves it."""
    import numpy as np

    from engine.base.atomic import write_json
    from engine.formats.documents import Shard, SourceDocuments, write_source
    from engine.formats.state import AnnotationState, RecipeState, write_state
    from engine.formats.workspace import Workspace

    sizes = [min(SHARD_ROWS, count - start) for start in range(0, count, SHARD_ROWS)]
    jobs = [(folder, number, SOURCES[number % len(SOURCES)], size) for number, size in enumerate(sizes)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        made = pool.map(_make_shard, jobs, chunksize=8)
    sums = np.zeros((len(SOURCES), 2), np.int64)
    for name in SOURCES:
        own = [
            (number, size, num_bytes)
            for (_, number, source, size), num_bytes in zip(jobs, made, strict=True)
            if source == name
        ]
        place = folder / "documents" / name / "aaaa"
        place.mkdir(parents=True, exist_ok=True)
        shards = tuple(
            Shard(
                name,
                f"{n:05}",
                f"{n:05}",
                size,
                b,
                place / f"{n:05}.ids.parquet",
                place / f"{n:05}.parquet",
                "text",
                (0,),
            )
            for n, size, b in own
        )
        write_source(SourceDocuments(name, "d" * 32, place, shards, {}))
        sums[SOURCES.index(name)] = sum(size for _, size, _ in own), sum(b for _, _, b in own)
    _write_ledger(folder, sums)
    _make_mixture(folder, jobs)
    stages = {"quality": ["quality__score"], "language": ["language__top", "language__score", "language__share"]}
    annotations = [
        AnnotationState(prefix=stage, stage=stage, digest="1" * 32, folder=f"annotations/{stage}/1111", columns=columns)
        for stage, columns in stages.items()
    ]
    state = RecipeState(
        recipe="made_up",
        finished="2026-05-01T10:00:00+00:00",
        sources={name: f"documents/{name}/aaaa" for name in SOURCES if (folder / "documents" / name).is_dir()},
        annotations=annotations,
        selection="selections/6666",
        mixtures={"demo": "demo@v1"},
    )
    write_state(Workspace(folder), state)
    write_json(folder / "selections/6666/selection.json", {})


def _write_ledger(folder: Path, sums: Any) -> None:
    """Write the ledger of a selection that keeps everything; sums: int64[sources, 2], documents and bytes."""
    import pyarrow as pa

    from engine.formats.parquet import write_parquet

    outcomes = [
        {
            "step": "selection",
            "source": name,
            "outcome": outcome,
            "reason": reason,
            "documents": int(n),
            "bytes": int(b),
        }
        for name, (n, b) in zip(SOURCES, sums, strict=True)
        for outcome, reason in (("in", None), ("kept", None))
    ]
    ledger = pa.Table.from_pylist([one | {"tokens": one["bytes"] // 4} for one in outcomes])
    write_parquet(folder / "selections/6666/ledger.parquet", ledger)


def _make_shard(job: tuple[Path, int, str, int]) -> int:
    """Write the files of one shard; return the bytes its documents are said to have."""
    import numpy as np
    import pyarrow as pa

    folder, number, source, size = job
    numbers = np.random.default_rng(number)
    ids = pa.ExtensionArray.from_storage(pa.uuid(), _ids(number, size))

    def coded(codes: Any, values: tuple[str | None, ...]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(values, pa.string())).cast(pa.string())

    def chosen(values: tuple[str | None, ...]) -> pa.Array:
        return coded(numbers.integers(0, len(values), size, dtype=np.int8), values)

    def same(value: str | bytes) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int8)), pa.array([value]))

    num_bytes = np.minimum(numbers.lognormal(7, 1.1, size), 1_000_000).astype(np.int64)
    stated = {name: pa.nulls(size, pa.string()) for name in ("url", "date", "language", "domain", "read_problem")}
    core = {"doc_id": ids, "source": same(source), "text_digest": same(b"0" * 16), "num_bytes": num_bytes}
    core |= {"num_chars": num_bytes, "license": chosen(LICENSES), **stated}
    documents = folder / "documents" / source / "aaaa"
    scores = [numbers.integers(0, 10_001, size) / 10_000 for _ in range(3)]
    language = {"language__top": chosen(LANGUAGES), "language__score": scores[0], "language__share": scores[1]}
    is_kept = numbers.random(size) < 0.6
    reasons = np.where(is_kept, 0, numbers.integers(1, 4, size)).astype(np.int8)
    decisions = {
        "decision": coded((~is_kept).astype(np.int8), ("kept", "dropped")),
        "reason": coded(reasons, (None, "near_duplicate", "low_quality", "too_short")),
        "tags": pa.nulls(size, pa.list_(pa.string())),
    }
    files = {
        documents / f"{number:05}.ids.parquet": core,
        documents / f"{number:05}.parquet": {"text": same(TEXT)},
        folder / "annotations/quality/1111" / source / f"{number:05}.parquet": {"quality__score": scores[2]},
        folder / "annotations/language/1111" / source / f"{number:05}.parquet": language,
        folder / "selections/6666" / source / f"{number:05}.parquet": decisions,
    }
    for path, columns in files.items():
        _write(path, columns)
    return int(num_bytes.sum())


def _ids(number: int, size: int) -> Any:
    import numpy as np
    import pyarrow as pa

    drawn = np.random.default_rng([number, 1]).bytes(16 * size)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), size, [None, pa.py_buffer(drawn)])


def _write(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from engine.formats.parquet import ROW_GROUP_ROWS

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=ROW_GROUP_ROWS, store_schema=False)


def _make_mixture(folder: Path, jobs: list[tuple[Path, int, str, int]]) -> None:
    """Write version 1 of a mixture that takes the first tenth of every shard."""
    import numpy as np
    import pyarrow as pa

    from engine.base.atomic import write_json
    from engine.formats.manifest import Manifest, MixtureSource, Phase
    from engine.formats.parquet import write_parquet
    from engine.formats.receipt import Receipt, write_receipt

    taken = {number: size // 10 for _, number, _, size in jobs}
    total = sum(taken.values())
    ids = pa.chunked_array([_ids(number, size)[: taken[number]].cast(pa.binary()) for _, number, _, size in jobs])
    codes = np.repeat([SOURCES.index(source) for _, _, source, _ in jobs], list(taken.values())).astype(np.int8)
    documents = {
        "document": np.arange(total, dtype=np.uint32),
        "doc_id": ids,
        "source": pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(SOURCES)).cast(pa.string()),
        "is_replay": np.zeros(total, bool),
        "phase": np.zeros(total, np.uint8),
        "store_row": np.arange(total, dtype=np.uint32),
        "num_tokens": np.full(total, 300, np.int32),
        "supervised_tokens": np.full(total, 299, np.int32),
        "repeats": np.ones(total, np.uint16),
    }
    place = folder / "mixtures/demo/v1"
    write_parquet(place / "documents.parquet", pa.table(documents))
    kept = pa.table(
        {"step": ["mixture:demo"], "source": ["books"], "outcome": ["kept"], "reason": pa.nulls(1, pa.string())}
    )
    for name in ("documents", "bytes", "tokens"):
        kept = kept.append_column(name, pa.array([1]))
    write_parquet(place / "ledger.parquet", kept)
    shares = [
        MixtureSource(
            source=source, is_replay=False, phase=0, objective="text", first_documents=own, first_tokens=300 * own,
            input_digest="d" * 32, budget_tokens=300 * own, available_documents=own,
            available_tokens=300 * own, documents=own, unique_tokens=300 * own, tokens=300 * own,
            supervised_tokens=299 * own, max_repeats=1,
        )
        for code, source in enumerate(SOURCES)
        if (own := int((codes == code).sum()))
    ]  # fmt: skip
    whole = Phase(
        name="all", curriculum="shuffled", budget_tokens=299 * total, documents=total, tokens=300 * total,
        supervised_tokens=299 * total,
    )  # fmt: skip
    manifest = Manifest(
        name="demo", version=1, digest="f" * 32, recipe="made_up", recipe_digest="e" * 32, tokenizer="a" * 32,
        token_store="b" * 32,
        selection="c" * 32, seed=1, curriculum="shuffled", phases=[whole], replay_share=None, sources=shares,
        documents=total,
        tokens=300 * total, supervised_tokens=299 * total, n_eff_before=1.0, n_eff_after=1.0,
        n_eff_documents_before=1.0, n_eff_documents_after=1.0, schedule="1" * 32,
        row_tokens=1024, rows_per_step=8, num_steps=1,
    )  # fmt: skip
    write_json(place / "manifest.json", manifest.model_dump(mode="json"))
    write_receipt(place, Receipt(made_by="mixture/1", digest="f" * 32, rows=total, seconds=0.0))
