"""Contamination: recall on planted items, precision against hard negatives, and speed, beside a plain 13-gram rule.

Three results: `contamination` (recall by variant), `contamination_negatives` (flags by group), `contamination_speed`.
Everything flagged falsely or missed lies in build/bench/contamination/*.jsonl, to be read by hand.
"""

from pathlib import Path

QUICK_PART = 50
"""One item in so many is planted by --quick."""
CORPUS_BYTES = 1_400_000_000


def main(quick: bool = False, corpus: Path | None = None) -> None:
    """Measure and record; quick results go to build/bench/quick and are no figures."""
    from benchmarks.contamination.any_hit import AnyHit
    from benchmarks.contamination.planted import plant_all, recall_rows
    from benchmarks.contamination.precision import flag_all, negative_rows, whole_items
    from benchmarks.contamination.speed import speed_rows
    from benchmarks.contamination.world import all_items, corpus_of, index_of, search_all, shared_corpora, written
    from benchmarks.harness import FOLDER, RESULTS, record
    from benchmarks.near_dup.corpora import system_corpus

    build = FOLDER.parent / "build" / "bench"
    results, to_read = build / "quick" if quick else RESULTS, build / "contamination"
    index, any_hit = index_of(), AnyHit(whole_items(all_items()))
    texts = [text for documents in shared_corpora().values() for _, text in documents]
    around = corpus_of(search_all(texts, index), index, len(texts))

    planted = plant_all(index, around, any_hit, QUICK_PART if quick else 1)
    record("contamination", *recall_rows(planted, around.num_documents), results)
    written(to_read / "missed.jsonl", planted.remove("is_found"))

    flagged = flag_all(index, around, any_hit)
    record("contamination_negatives", *negative_rows(flagged, planted), results)
    for number, one in enumerate(flagged):
        written(to_read / f"flagged-{number:02}.jsonl", one.hits)

    whole = system_corpus(
        corpus or build / ("quick-corpus" if quick else "corpus"), 5_000_000 if quick else CORPUS_BYTES
    )
    about, rows, hits = speed_rows(whole, any_hit, 1 if quick else 3)
    record("contamination_speed", about, rows, results)
    written(to_read / "hits-in-the-corpus.jsonl", hits)
