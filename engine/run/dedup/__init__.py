"""One-shot deduplication: files in; survivors, removals with proof, and verified pairs out.

The same rules as the stages exact_dup and near_dup of a recipe, in one pass over all texts and a second one over those
that have to be compared, without a workspace in between.

    inputs         files, folders and earlier results, numbered through
    search         from files to decisions:
        signing        the pass over all texts: digests, equal texts, bands
        ranking        ids of the documents, and who stays before whom
        decisions      what goes, and for which document
    survivors      the files that are written
    report         what it says about itself

OUT/
    survivors/<input>-<part>-<name>.parquet   the kept rows with all their columns
    removed.parquet    id, kept_id, reason (exact_dup, near_dup), similarity
    pairs.parquet      id, other_id, similarity: every verified pair of unlike texts at or above the threshold
    report.json        counts, measured recall, seconds by phase, throughput, memory, the recipe this amounts to
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.annotate.near_dup import Config
from engine.base.atomic import TEMPORARY_PREFIX, atomic_folder, write_json
from engine.base.errors import RecipeError, problem
from engine.base.recipe_errors import check
from engine.run.dedup.inputs import read_inputs
from engine.run.dedup.phases import Phases
from engine.run.dedup.ranking import Keep, own_ids
from engine.run.dedup.report import recipe_of, report_of
from engine.run.dedup.search import Resources, find_duplicates
from engine.run.dedup.survivors import write_pairs, write_removed, write_survivors
from engine.run.memory import memory_ceiling
from engine.run.workers import number_of_jobs

BASE_BYTES = 400 << 20
"""Memory before any text is read: interpreter, libraries, compiled kernels."""
WORKER_BYTES = 100 << 20
"""What one thread needs for a batch of texts, its words and shingles, and the reader's buffers."""
DOCUMENT_BYTES = 150
"""What is kept for every document: digest, sizes, equal texts, order."""
SCRATCH_PREFIX = f"{TEMPORARY_PREFIX}dedup-"


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
        RecipeError, InputError: a file, column or setting is not what it has to be; nothing is left behind.
    """
    folder = Path(out)
    policy = Keep.parse(keep)
    config = check("dedup", {"threshold": threshold, "ngram_words": ngram_words}, Config)
    _require_empty(folder)
    columns = {"text": text_column} | ({"id": id_column} if id_column is not None else {})
    columns |= {"score": policy.score} if policy.score is not None else {}
    ceiling, phases = memory_ceiling(memory), Phases()
    with (
        tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=folder.parent) as scratch,
        atomic_folder(folder) as temporary,
    ):
        files = read_inputs(inputs, against, columns, Path(scratch))
        num_documents = sum(one.num_rows for one in files)
        workers = _workers_within(ceiling, num_documents, number_of_jobs(jobs), memory)
        doc_ids = own_ids(files, id_column) if id_column is not None else None
        phases.end("inputs")
        resources = Resources(Path(scratch), ceiling, workers)
        found = find_duplicates(files, columns, policy, doc_ids, config, resources, phases)
        removed = write_removed(temporary / "removed.parquet", files, found.decisions, id_column)
        num_pairs = write_pairs(temporary / "pairs.parquet", files, found, threshold, id_column)
        phases.end("decide_and_write")
        if not decisions_only:
            write_survivors(temporary / "survivors", files, found.decisions.kept_by, workers)
            phases.end("survivors")
        report = report_of(files, found, removed, num_pairs, config, phases)
        report |= {"jobs": workers, "keep": keep, "recipe": recipe_of(files, columns, config)}
        write_json(temporary / "report.json", report)
    return {"out": str(folder), **report}


def _require_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RecipeError(problem(folder, "it is a file", "an empty or new folder", "choose another --out"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecipeError(
            problem(folder, f"it cannot be made ({error.strerror})", "a folder", "another --out")
        ) from error
    if folder.exists() and any(not path.name.startswith(TEMPORARY_PREFIX) for path in folder.iterdir()):
        raise RecipeError(problem(folder, "it is not empty", "an empty or new folder", "choose another --out"))


def _workers_within(ceiling: int, num_documents: int, jobs: int, asked: str | None) -> int:
    """Return how many threads the ceiling allows; raises RecipeError where it allows none, naming the least."""
    fixed = BASE_BYTES + num_documents * DOCUMENT_BYTES
    if asked is not None and ceiling < fixed + WORKER_BYTES:
        least = -(-(fixed + WORKER_BYTES) // (1 << 20))
        found = f"{asked} for {num_documents:,} documents"
        raise RecipeError(problem("--memory", found, f"at least {least}MB", f"--memory {least}MB"))
    return max(1, min(jobs, (ceiling - fixed) // WORKER_BYTES))
