"""From files to decisions: sign all texts, find and verify pairs, decide who stays, and measure what was missed."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.annotate.near_dup import Config
from engine.annotate.near_dup.brute_force import BruteForce
from engine.annotate.near_dup.pairs import Verification, VerifiedPairs, verified_pairs
from engine.annotate.near_dup.planted import Planted, measured_recall
from engine.annotate.near_dup.recall import Recall
from engine.formats.doc_ids import Digests
from engine.run.dedup.decisions import Decisions, best_of_equals, decide
from engine.run.dedup.ranking import Keep, ranked, with_made_ids
from engine.run.dedup.signing import sign
from engine.run.oneshot.inputs import Input
from engine.run.oneshot.phases import Phases
from engine.run.oneshot.texts import text_runs


@dataclass(frozen=True)
class Resources:
    """What the search may use: a folder for scratch files, bytes of memory, threads."""

    scratch: Path
    memory_bytes: int
    jobs: int


@dataclass(frozen=True, eq=False)
class Found:
    """Pairs of texts (by the documents that came first with them), decisions about documents, and measured recall.

    best: int64[num_documents], the document that stands for a text, known where it came first; pinned:
    bool[num_documents]; num_bytes: int64[num_documents], of their texts.
    """

    pairs: VerifiedPairs
    decisions: Decisions
    best: NDArray[np.int64]
    pinned: NDArray[np.bool_]
    num_bytes: NDArray[np.int64]
    planted: Planted
    brute_force: Recall


def find_duplicates(
    files: Sequence[Input],
    columns: dict[str, str],
    keep: Keep,
    own_ids: Digests | None,
    config: Config,
    resources: Resources,
    phases: Phases,
) -> Found:
    """Return all decisions about the documents of `files`; own_ids: uint8[num_documents, 16], zeros where unknown."""
    num_documents = sum(one.num_rows for one in files)
    runs = text_runs(files, columns["text"])
    brute_force = BruteForce.of_runs(runs, config.ngram_words, config.verified_floor)

    def place_of(document: int) -> str:
        return next(one for one in files if document < one.first + one.num_rows).place_of(document)

    jobs = resources.jobs
    signed = sign(runs, num_documents, config, brute_force, resources.scratch, resources.memory_bytes, jobs, place_of)
    phases.end("read_and_sign")
    first_of = signed.equal.first_of
    doc_ids = with_made_ids(files, own_ids, signed.equal, columns["text"])
    rank, pinned = ranked(files, keep, doc_ids, signed.num_chars)
    best, text_rank, text_pinned = best_of_equals(first_of, rank, pinned)
    phases.end("rank")
    how = Verification(config.verified_floor, config.ngram_words, config.max_bucket_documents, resources.scratch, jobs)
    with ThreadPoolExecutor(1) as aside:
        # Planting is many small steps, which go between those of the threads that verify.
        planting = aside.submit(measured_recall, signed.table, signed.originals, text_rank, config)
        if jobs == 1:
            planting.result()  # one worker is one worker
        pairs = verified_pairs(signed.table, runs, text_rank, how)
        phases.take(pairs.seconds)
        planted = planting.result()
    sampled = brute_force.recall(first_of, pairs.pairs)
    phases.end("recall")
    decisions = decide(first_of, best, text_rank, text_pinned, pinned, pairs, config.threshold)
    return Found(pairs, decisions, best, pinned, signed.num_bytes, planted, sampled)
