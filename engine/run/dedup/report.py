"""What `dedup` says about itself: report.json, the same for a terminal, and the recipe it amounts to."""

from collections.abc import Sequence
from typing import Any

from engine.annotate.near_dup import Config, expected_recall
from engine.run.dedup.search import Found
from engine.run.memory import peak_memory_bytes
from engine.run.oneshot.inputs import Input
from engine.run.oneshot.loss import warned_of_loss
from engine.run.oneshot.own_ids import SOURCE
from engine.run.oneshot.phases import Phases
from engine.run.oneshot.recipe import recipe_sources
from engine.run.show import share_found


def report_of(
    files: Sequence[Input], found: Found, removed: dict[str, int], num_pairs: int, config: Config, phases: Phases
) -> dict[str, Any]:
    """Return the counts, the measured recall, and what it took."""
    new = [one for one in files if not one.is_old]
    num_new = sum(one.num_rows for one in new)
    return {
        "documents": num_new,
        "bytes": int(sum(found.num_bytes[one.first : one.first + one.num_rows].sum() for one in new)),
        "kept": num_new - sum(removed.values()),
        "removed": removed,
        "warnings": warned_of_loss(sum(removed.values()), num_new, "removed.parquet"),
        "against_documents": sum(one.num_rows for one in files) - num_new,
        "pairs": {
            "proposed": found.pairs.num_candidates,
            "verified": num_pairs,
            "hot_buckets": found.pairs.num_hot_buckets,
            "skipped": found.pairs.num_skipped_comparisons,
        },
        "recall": {
            "expected_at_threshold": expected_recall(config, config.threshold),
            **found.planted.as_json(),
            "brute_force_sample": found.brute_force.as_json(),
        },
        "seconds": phases.seconds(),
        "megabytes_per_second": phases.rate(int(found.num_bytes.sum())),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def recipe_of(files: Sequence[Input], columns: dict[str, str], config: Config) -> dict[str, Any]:
    """Return a recipe with the same documents, ids and stages; it keeps the longest, whatever `--keep` said."""
    mapped = {core: column for core, column in columns.items() if core != "score"}
    sources = recipe_sources(SOURCE, [one for one in files if not one.is_old], mapped)
    old = recipe_sources("old", [one for one in files if one.is_old], {"text": mapped["text"]})
    near_dup = {"stage": "near_dup", "threshold": config.threshold, "ngram_words": config.ngram_words}
    sources += [source | {"protected": True} for source in old]
    return {"name": "dedup", "sources": sources, "annotate": [{"stage": "exact_dup"}, near_dup]}


def show_dedup(result: dict[str, Any]) -> str:
    """Return the counts, the measured recall and where the time went, for a terminal."""
    import yaml

    reasons = ", ".join(f"{count:,} {reason}" for reason, count in result["removed"].items())
    pairs, recall, seconds = result["pairs"], result["recall"], result["seconds"]
    lines = [
        f"{result['documents']:,} documents, {result['kept']:,} kept; removed: {reasons}",
        f"{pairs['verified']:,} verified pairs of {pairs['proposed']:,} proposed",
    ]
    if pairs["skipped"]:
        lines.append(
            f"{pairs['skipped']:,} comparisons left out in buckets that are too large ({pairs['hot_buckets']:,})"
        )
    if recall["planted"]:
        found = share_found(recall, "planted")
        lines.append(f"recall at the threshold: {found} of planted near-duplicates found")
    sample = recall["brute_force_sample"]
    if sample["pairs"]:
        lines.append(f"recall of a brute-force sample: {share_found(sample, 'pairs')} of its pairs")
    phases = ", ".join(f"{name.replace('_', ' ')} {spent:.1f}" for name, spent in seconds.items() if name != "total")
    lines += [
        f"{result['megabytes_per_second']:.0f} MB/s: {seconds['total']:.1f} s ({phases})",
        f"{result['peak_memory_bytes'] / 1e6:,.0f} MB of memory at most; written to {result['out']}",
        "",
        "the recipe this amounts to:" if result["keep"] == "longest" else "the recipe this amounts to, but for --keep:",
        yaml.safe_dump(result["recipe"], sort_keys=False, default_flow_style=None, width=100).rstrip(),
    ]
    return "\n".join(lines)
