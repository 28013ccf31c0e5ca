"""One-shot deduplication: files in; survivors, removals with proof, and verified pairs out.

The same rules as the stages exact_dup and near_dup of a recipe, in one pass over all texts and a second one over those
that have to be compared, without a workspace in between.

    search         from files to decisions:
        signing        the pass over all texts: digests, equal texts, bands
        ranking        who stays before whom
        decisions      what goes, and for which document
    removals       which went for which, and the verified pairs
    report         what it says about itself

Inputs, names of documents, survivors and the folder they go to are those of all one-shot verbs (engine.run.oneshot).

OUT/
    survivors/<input>-<part>-<name>.parquet   the kept rows with all their columns
    removed.parquet    id, kept_id, reason (exact_dup, near_dup), similarity
    pairs.parquet      id, other_id, similarity: every verified pair of unlike texts at or above the threshold
    report.json        counts, measured recall, seconds by phase, throughput, memory, the recipe this amounts to
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.annotate.near_dup import Config
from engine.base.atomic import write_json
from engine.base.errors import RecipeError, problem
from engine.base.recipe_errors import check
from engine.run.dedup.decisions import KEPT
from engine.run.dedup.ranking import Keep
from engine.run.dedup.removals import write_pairs, write_removed
from engine.run.dedup.report import recipe_of, report_of
from engine.run.dedup.search import Resources, find_duplicates
from engine.run.memory import memory_ceiling
from engine.run.oneshot.inputs import Input, read_inputs, unchanged
from engine.run.oneshot.out_folder import out_folder, require_empty
from engine.run.oneshot.own_ids import own_ids
from engine.run.oneshot.phases import Phases
from engine.run.oneshot.survivors import only, write_survivors
from engine.run.oneshot.threads import BASE_BYTES, threads_within
from engine.run.workers import number_of_jobs

DOCUMENT_BYTES = 150
"""What is kept for every document: digest, sizes, equal texts, order."""


def dedup(
    inputs: Sequence[Path | str],
    out: Path | str,
    id_column: str | None = None,
    text_column: str = "text",
    threshold: float = 0.8,
    ngram_words: int = 5,
    keep: str = "longest",
    against: Sequence[Path | str] = (),
    decisions_only: bool = False,
    jobs: int | None = None,
    memory: str | None = None,
) -> dict[str, Any]:
    """Remove exact and near duplicates from files and return the counts; every removal is verified exactly.

    Args:
        inputs: Parquet, JSONL or CSV files, folders of them, or earlier results.
        out: Folder to write; it must not hold anything yet.
        id_column: Column of the documents' own ids; without it they are called `file#row`, rows from 0.
        text_column: Column of the text.
        threshold: Jaccard similarity of word n-gram sets from which two documents are near-duplicates.
        ngram_words: Words per shingle.
        keep: Which of several like documents stays: `longest` (characters), `first` as given, or `best:COLUMN`
            (highest score, null and NaN last, then the longest).
        against: Files, folders or earlier results whose documents all stay; new ones that resemble them go.
        decisions_only: Write no survivors.
        jobs: Threads; changes no byte of the decisions.
        memory: Ceiling such as "4GB"; changes no byte of the decisions.

    Raises:
        RecipeError, InputError: a file, column or setting is not what it has to be, or a file changes meanwhile;
            nothing is left behind.
    """
    folder = Path(out)
    policy = Keep.parse(keep)
    config = _checked(threshold, ngram_words)
    require_empty(folder)
    columns = {"text": text_column} | ({"id": id_column} if id_column is not None else {})
    columns |= {"score": policy.score} if policy.score is not None else {}
    ceiling, most_workers, phases = memory_ceiling(memory), number_of_jobs(jobs), Phases()
    with out_folder(folder, "dedup") as (scratch, temporary):
        files = read_inputs(inputs, against, columns, scratch)
        with unchanged(files):
            workers = _threads(files, ceiling, most_workers, memory)
            doc_ids = own_ids(files, id_column) if id_column is not None else None
            phases.end("inputs")
            resources = Resources(scratch, ceiling, workers)
            found = find_duplicates(files, columns, policy, doc_ids, config, resources, phases)
            removed = write_removed(temporary / "removed.parquet", files, found.decisions, id_column)
            num_pairs = write_pairs(temporary / "pairs.parquet", files, found, threshold, id_column)
            phases.end("decide_and_write")
            if not decisions_only:
                stays = found.decisions.kept_by == KEPT
                write_survivors(temporary / "survivors", files, only(stays), workers)
                phases.end("survivors")
            report = report_of(files, found, removed, num_pairs, config, phases)
            report |= {"jobs": workers, "keep": keep, "recipe": recipe_of(files, columns, config)}
            write_json(temporary / "report.json", report)
    return {"out": str(folder), **report}


def _checked(threshold: float, ngram_words: int) -> Config:
    """Return the configuration; raises RecipeError that names the option as the command line calls it."""
    if not 0 < threshold <= 1 or round(threshold, 4) != threshold:
        needed = "above 0, at most 1, with at most 4 digits after the point"
        raise RecipeError(problem("--threshold", f"got {threshold:.15g}", needed))
    if not 1 <= ngram_words <= 100:
        raise RecipeError(problem("--ngram-words", f"got {ngram_words}", "1 to 100 words"))
    return check("dedup", {"threshold": threshold, "ngram_words": ngram_words}, Config)


def _threads(files: Sequence[Input], ceiling: int, jobs: int, asked: str | None) -> int:
    num_documents = sum(one.num_rows for one in files)
    fixed = BASE_BYTES + num_documents * DOCUMENT_BYTES
    return threads_within(ceiling, jobs, asked, fixed, f"{num_documents:,} documents")
