"""One-shot decontamination: files and benchmarks in; survivors, hits with their evidence, and proof of the search out.

The same rules as the stage contamination of a recipe, in one pass over all texts, without a workspace in between.

    search       what every document holds of the benchmarks, and the decisions
    changes      what becomes of the rows: dropped, cut or tagged
    hits         hits.parquet, and the best hit of each document
    report       what it says about itself

Inputs, names of documents, survivors and the folder they go to are those of all one-shot verbs (engine.run.oneshot).

OUT/
    survivors/<input>-<part>-<name>.parquet   the rows that stay with all their columns
    hits.parquet          id, benchmark, item, kind, score, evidence: by id, best first
    coverage.parquet      per benchmark: items, matchable items, recall on planted copies, flagged documents, control
    unmatchable.parquet   benchmark, item, why: what no search can find
    report.json           counts, seconds by phase, throughput, memory, the recipe this amounts to
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from engine.annotate.contamination.coverage import coverage, unmatchable
from engine.annotate.contamination.index import Index, make_index
from engine.annotate.contamination.items import searched_items
from engine.annotate.contamination.judge import MIN_PASSAGE
from engine.base.atomic import write_json
from engine.base.errors import RecipeError, problem
from engine.formats.parquet import write_parquet
from engine.run.decontaminate.changes import ACTIONS, TAG, require_no_tags, write_changed
from engine.run.decontaminate.hits import write_hits
from engine.run.decontaminate.report import recipe_of, report_of
from engine.run.decontaminate.search import Searched, hits_of, search_all
from engine.run.memory import memory_ceiling
from engine.run.oneshot.inputs import Input, read_inputs, unchanged
from engine.run.oneshot.loss import warned_of_loss
from engine.run.oneshot.out_folder import out_folder, require_empty
from engine.run.oneshot.own_ids import own_ids
from engine.run.oneshot.phases import Phases
from engine.run.oneshot.threads import BASE_BYTES, threads_within
from engine.run.workers import number_of_jobs
from engine.sources._benchmarks import FoundBenchmarks, find_benchmarks, parsed_fields


def decontaminate(
    inputs: Sequence[Path | str],
    benchmarks: Sequence[Path | str],
    out: Path | str,
    id_column: str | None = None,
    text_column: str = "text",
    action: str = "drop",
    fields: Sequence[str] = (),
    jobs: int | None = None,
    memory: str | None = None,
) -> dict[str, Any]:
    """Search files for items of benchmarks, act on what is found, and return the counts.

    Args:
        inputs: Parquet, JSONL or CSV files, folders of them, or earlier results.
        benchmarks: `[NAME=]PATH` of benchmark files as their authors publish them, or of folders of such.
        out: Folder to write; it must not hold anything yet.
        id_column: Column of the documents' own ids; without it they are called `file#row`, rows from 0.
        text_column: Column of the text.
        action: What happens to a document with a hit: `drop` it; `cut` what was found out of its text (a document with
            nothing left goes); `tag` it, and all others, in columns contamination__*.
        fields: `NAME.question=FIELD` (or choices, answer, passage) for benchmark files whose fields are not found.
        jobs: Threads; changes no byte of the hits.
        memory: Ceiling such as "2GB"; changes no byte of the hits.

    Raises:
        RecipeError, InputError: a file, column or setting is not what it has to be, or a file changes meanwhile;
            nothing is left behind.
    """
    folder, specs = Path(out), [str(spec) for spec in benchmarks]
    _require(action, specs)
    named = parsed_fields(fields)
    require_empty(folder)
    columns = {"text": text_column} | ({"id": id_column} if id_column is not None else {})
    ceiling, most_threads, phases = memory_ceiling(memory), number_of_jobs(jobs), Phases()
    with out_folder(folder, "decontaminate") as (scratch, temporary):
        files = read_inputs(inputs, (), columns, scratch)
        with unchanged(files):
            found = find_benchmarks(specs, named)
            _require_columns(files, action, id_column)
            phases.end("inputs")
            index = make_index(_items(found))
            phases.end("index")
            fixed = BASE_BYTES + index.num_bytes
            threads = threads_within(ceiling, most_threads, memory, fixed, f"{index.items.height:,} items")
            searched = search_all(files, text_column, index, threads)
            phases.end("search")
            hits = hits_of(searched, index)
            write_hits(temporary / "hits.parquet", files, hits, id_column)
            phases.end("decide")
            sheet = _written_sheet(temporary, index, searched, hits)
            phases.end("coverage")
            outcome = write_changed(temporary / "survivors", files, text_column, hits, action, threads)
            phases.end("survivors")
            warnings = warned_of_loss(outcome.num_gone, searched.num_with_text, "hits.parquet")
            report = report_of(found, searched, hits, sheet, outcome, index, phases)
            recipe = recipe_of(files, columns, specs, named, action)
            report |= {"action": action, "jobs": threads, "warnings": warnings, "recipe": recipe}
            write_json(temporary / "report.json", report)
    return {"out": str(folder), **report}


def _require(action: str, benchmarks: Sequence[str]) -> None:
    if action not in ACTIONS:
        raise RecipeError(problem("--action", f"'{action}'", "drop, cut or tag"))
    if not benchmarks:
        raise RecipeError(problem("--benchmarks", "no file is named", "[NAME=]PATH of one benchmark at least"))


def _require_columns(files: Sequence[Input], action: str, id_column: str | None) -> None:
    """Raise InputError for ids that are null or stand twice, and for columns that tags would be called."""
    if id_column is not None:
        own_ids(files, id_column)
    if action == TAG:
        require_no_tags(files)


def _items(found: FoundBenchmarks) -> pl.DataFrame:
    return pl.concat([searched_items(one.name, one.items) for one in found.benchmarks])


def _written_sheet(folder: Path, index: Index, searched: Searched, hits: pl.DataFrame) -> pl.DataFrame:
    """Write coverage.parquet and unmatchable.parquet; return the first."""
    flagged = hits.group_by("benchmark").agg(pl.col("document").n_unique().alias("documents"))
    counts, num_documents = searched.counts, searched.num_with_text
    sheet = coverage(index, searched.hosts, counts, num_documents, flagged, min_passage=MIN_PASSAGE)
    write_parquet(folder / "coverage.parquet", sheet)
    write_parquet(folder / "unmatchable.parquet", unmatchable(index))
    return sheet
