"""What `dedup` says about itself: report.json, the same for a terminal, and the recipe it amounts to."""

import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.annotate.near_dup import Config, expected_recall
from engine.run.dedup.inputs import Input, reader_of
from engine.run.dedup.phases import Phases
from engine.run.dedup.ranking import SOURCE
from engine.run.dedup.search import Found


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
        "peak_memory_bytes": _peak_memory_bytes(),
    }


def recipe_of(files: Sequence[Input], columns: dict[str, str], config: Config) -> dict[str, Any]:
    """Return a recipe with the same documents, ids and stages; it keeps the longest, whatever `--keep` said."""
    mapped = {core: column for core, column in columns.items() if core != "score"}
    sources = _sources(SOURCE, [one for one in files if not one.is_old], mapped)
    old = _sources("old", [one for one in files if one.is_old], {"text": mapped["text"]})
    near_dup = {"stage": "near_dup", "threshold": config.threshold, "ngram_words": config.ngram_words}
    sources += [source | {"pinned": True} for source in old]
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
        found = _share(recall["found"], recall["planted"], recall)
        lines.append(f"recall at the threshold: {found} of planted near-duplicates found")
    sample = recall["brute_force_sample"]
    if sample["pairs"]:
        lines.append(f"recall of a brute-force sample: {_share(sample['found'], sample['pairs'], sample)} of its pairs")
    phases = ", ".join(f"{name.replace('_', ' ')} {spent:.1f}" for name, spent in seconds.items() if name != "total")
    lines += [
        f"{result['megabytes_per_second']:.0f} MB/s: {seconds['total']:.1f} s ({phases})",
        f"{result['peak_memory_bytes'] / 1e6:,.0f} MB of memory at most; written to {result['out']}",
        "",
        "the recipe this amounts to:" if result["keep"] == "longest" else "the recipe this amounts to, but for --keep:",
        yaml.safe_dump(result["recipe"], sort_keys=False, default_flow_style=None, width=100).rstrip(),
    ]
    return "\n".join(lines)


def _share(found: int, pairs: int, recall: dict[str, Any]) -> str:
    low, high = recall["interval_95"]
    return f"{found:,} of {pairs:,} = {recall['share']:.1%} (95 % interval {low:.1%} to {high:.1%})"


def _sources(name: str, files: Sequence[Input], columns: dict[str, str]) -> list[dict[str, Any]]:
    by_reader: dict[str, list[str]] = {}
    for one in files:
        by_reader.setdefault(reader_of(Path(one.name)) or "parquet", []).append(one.name)
    return [
        {
            "stage": reader,
            "name": name if len(by_reader) == 1 else f"{name}_{reader}",
            "path": paths[0] if len(paths) == 1 else paths,
            "columns": columns,
        }
        for reader, paths in by_reader.items()
    ]


def _peak_memory_bytes() -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        # Not ru_maxrss where it can be helped: it begins with that of the process this one was started from.
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
