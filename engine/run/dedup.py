"""One-shot deduplication: files in; survivors, removals with proof, and verified pairs out.

The same stages as in a recipe (exact_dup, near_dup) over one source per input file, in a workspace that is thrown away.

OUT/
    survivors/<source>-<input>.parquet   the kept rows with all their columns
    removed.parquet             id, file, row, kept_id, reason, similarity
    pairs.parquet               id, other_id, similarity: every verified pair at or above the threshold
    report.json                 counts, seconds, throughput, the recipe this amounts to
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.atomic import TEMPORARY_PREFIX, atomic_file, atomic_folder, write_json
from engine.base.errors import InputError, RecipeError, problem
from engine.formats.documents import SourceDocuments
from engine.formats.parquet import write_parquet
from engine.formats.workspace import Workspace
from engine.recipe import check_recipe
from engine.run.annotating import Annotated, annotate
from engine.run.memory import memory_ceiling
from engine.run.pipeline import take_in_sources
from engine.run.steps import RunContext, Stopwatch
from engine.run.workers import number_of_jobs
from engine.select.decide import final_survivors

READERS = {".parquet": "parquet", ".csv": "csv"}
DECISION_COLUMNS = ["doc_id", "num_bytes", "exact_dup__kept_id", "near_dup__kept_id", "near_dup__similarity"]


def dedup(
    inputs: Sequence[Path | str],
    out: Path | str,
    against: Sequence[Path | str] = (),
    text: str = "text",
    id: str | None = None,  # noqa: A002 - the name of the option
    threshold: float = 0.8,
    ngram_words: int = 5,
    jobs: int | None = None,
    memory: str | None = None,
) -> dict[str, Any]:
    """Remove exact and near duplicates from files and return the counts; every removal is verified exactly.

    Args:
        inputs: Parquet, JSONL or CSV files; each keeps its own rows in survivors/.
        out: Folder to write; it must not hold another result.
        against: Files whose documents all stay; documents of `inputs` that resemble them go.
        text: Column of the text.
        id: Column of the documents' own ids; without it `id` in the results is our doc_id, and file and row tell.
        threshold: Jaccard similarity of word n-gram sets from which two documents are near-duplicates.
        ngram_words: Words per shingle.
        jobs: Workers; changes no byte.
        memory: Ceiling such as "4GB"; changes no byte.

    Raises:
        RecipeError, InputError: a file, column or setting is not what it has to be.
    """
    folder = Path(out)
    if folder.exists() and any(not path.name.startswith(TEMPORARY_PREFIX) for path in folder.iterdir()):
        raise RecipeError(problem(folder, "it is not empty", "an empty or new folder", "choose another --out"))
    watch = Stopwatch()
    # By path, so that the order of the arguments decides nothing.
    files = sorted({(Path(path), False) for path in inputs} | {(Path(path), True) for path in against})
    recipe = _recipe(files, text, id, {"threshold": threshold, "ngram_words": ngram_words})
    checked = check_recipe(recipe, Path.cwd() / "dedup.yaml")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder.parent) as scratch,
        atomic_folder(folder) as temporary,
    ):
        context = RunContext(checked, Workspace(Path(scratch)), number_of_jobs(jobs), memory_ceiling(memory))
        state = annotate(context, take_in_sources(context))
        decisions = _decisions(state, [path for path, _ in files], id)
        removed = _removed(decisions)
        pairs = _pairs(state, decisions, threshold)
        for source, (path, is_old) in zip(state.sources, files, strict=True):
            if not is_old:
                name = f"{source.name}-{path.name.split('.')[0]}.parquet"
                _write_survivors(source, decisions, temporary / "survivors" / name)
        write_parquet(temporary / "removed.parquet", removed)
        write_parquet(temporary / "pairs.parquet", pairs)
        report = _report(decisions, removed, pairs, recipe, watch.seconds)
        write_json(temporary / "report.json", report)
    return {"out": str(folder), **report}


def show_dedup(result: dict[str, Any]) -> str:
    """Return the counts and the recipe for a terminal."""
    import yaml

    reasons = ", ".join(f"{count:,} {reason}" for reason, count in result["removed"].items()) or "none"
    return "\n".join(
        [
            f"{result['documents']:,} documents, {result['survivors']:,} survive; removed: {reasons}",
            f"{result['verified_pairs']:,} verified pairs; {result['megabytes_per_second']:.1f} MB/s",
            f"written to {result['out']}",
            "",
            "the recipe this amounts to:",
            yaml.safe_dump(result["recipe"], sort_keys=False, default_flow_style=None, width=100).rstrip(),
        ]
    )


def _recipe(files: list[tuple[Path, bool]], text: str, own_id: str | None, near_dup: dict[str, Any]) -> dict[str, Any]:
    sources = []
    for position, (path, is_old) in enumerate(files):
        columns = {"text": text} | ({"id": own_id} if own_id is not None else {})
        stage = READERS.get(path.suffix.lower(), "jsonl")
        source = {"stage": stage, "name": f"input_{position:04d}", "path": str(path.absolute()), "columns": columns}
        sources.append(source | ({"pinned": True} if is_old else {}))
    return {
        "name": "dedup",
        "sources": sources,
        "annotate": [{"stage": "exact_dup"}, {"stage": "near_dup", **near_dup}],
    }


def _decisions(state: Annotated, files: list[Path], own_id: str | None) -> pl.DataFrame:
    """One row per document, in the order of inputs and rows: ids, kept_id (final survivor), reason, similarity."""
    frames = []
    corpus = state.corpus(jobs=1)
    for source, path in zip(state.sources, files, strict=True):
        parts = [corpus.columns(shard, DECISION_COLUMNS) for shard in source.shards]
        frame = pl.concat(parts).with_row_index("row").with_columns(source=pl.lit(source.name), file=pl.lit(str(path)))
        label = _own_ids(source, own_id) if own_id is not None else None
        frames.append(frame.with_columns(id=label if label is not None else _uuid_text(frame["doc_id"])))
    frame = pl.concat(frames)
    if not frame["id"].is_unique().all():
        twice = ", ".join(frame.filter(pl.col("id").is_duplicated())["id"].unique(maintain_order=True).head(3))
        raise InputError(problem(f"--id {own_id}", f"ids stand twice in these files: {twice}", "ids that differ"))
    reason = (
        pl.when(pl.col("exact_dup__kept_id").is_not_null())
        .then(pl.lit("exact_duplicate"))
        .when(pl.col("near_dup__kept_id").is_not_null())
        .then(pl.lit("near_duplicate"))
    )
    # The representative of an exact duplicate may itself have gone for a near-duplicate: then that similarity is meant.
    near = frame.select("doc_id", representative_similarity="near_dup__similarity")
    frame = frame.join(near, left_on="exact_dup__kept_id", right_on="doc_id", how="left", maintain_order="left")
    of_exact = pl.col("representative_similarity").fill_null(1.0)
    similarity = pl.when(pl.col("exact_dup__kept_id").is_not_null()).then(of_exact).otherwise("near_dup__similarity")
    frame = frame.with_columns(kept_doc_id=final_survivors(frame), reason=reason, similarity=similarity)
    return frame.join(
        frame.select("doc_id", kept_id="id"),
        left_on="kept_doc_id",
        right_on="doc_id",
        how="left",
        maintain_order="left",
    )


def _own_ids(source: SourceDocuments, own_id: str) -> pl.Series:
    columns = [
        pq.ParquetFile(s.text_path).read_row_groups(list(s.row_groups), columns=[own_id]).column(0)
        for s in source.shards
    ]
    return pl.concat([pl.Series(pl.from_arrow(column)).cast(pl.String) for column in columns])


def _uuid_text(doc_ids: pl.Series) -> pl.Series:
    digits = doc_ids.bin.encode("hex")
    return pl.select(
        pl.concat_str([digits.str.slice(a, n) for a, n in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))], separator="-")
    ).to_series()


def _removed(decisions: pl.DataFrame) -> pl.DataFrame:
    removed = decisions.filter(pl.col("reason").is_not_null())
    # UUID typing is for our own ids; these are the user's, as text.
    return removed.select("id", "file", "row", "kept_id", "reason", "similarity")


def _pairs(state: Annotated, decisions: pl.DataFrame, threshold: float) -> pl.DataFrame:
    pairs = pl.read_parquet(state.artifacts["near_dup"] / "pairs.parquet").filter(pl.col("similarity") >= threshold)
    names = decisions.select("doc_id", "id")
    return (
        pairs.join(names, on="doc_id", how="left", maintain_order="left")
        .join(names.rename({"id": "other"}), left_on="other_id", right_on="doc_id", how="left", maintain_order="left")
        .select("id", other_id="other", similarity="similarity")
    )


def _write_survivors(source: SourceDocuments, decisions: pl.DataFrame, path: Path) -> None:
    kept = decisions.filter(pl.col("source") == source.name)["reason"].is_null()
    start = 0
    with atomic_file(path) as temporary:
        writer = None
        for shard in source.shards:
            table = pq.ParquetFile(shard.text_path).read_row_groups(list(shard.row_groups))
            table = table.filter(pa.array(kept.slice(start, shard.num_rows)))
            writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table)
            start += shard.num_rows
        if writer is not None:
            writer.close()


def _report(
    decisions: pl.DataFrame, removed: pl.DataFrame, pairs: pl.DataFrame, recipe: dict[str, Any], seconds: float
) -> dict[str, Any]:
    num_bytes = int(decisions["num_bytes"].sum())
    return {
        "documents": decisions.height,
        "bytes": num_bytes,
        "survivors": decisions.height - removed.height,
        "removed": dict(removed["reason"].value_counts(sort=True).iter_rows()),
        "verified_pairs": pairs.height,
        "seconds": seconds,
        "megabytes_per_second": round(num_bytes / 1e6 / max(seconds, 1e-3), 2),
        "time_includes": "reading, hashing, signing, verifying, writing survivors",
        "recipe": recipe,
    }
