"""What `quality train` looks like in a terminal; narrow ones too."""

from collections.abc import Sequence
from typing import Any

from engine.base.terminal import one_line, table, terminal_width, wrapped

FEW_OF = 20
"""Labels that are less than one in this many of the examples are said to be few."""
FEW_PASSES = 400
"""Examples times epochs below which a classifier of clearly different texts still says about 0.5 to everything."""
_Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def show_quality_train(result: dict[str, Any]) -> str:
    """Return AUC, sizes, the calibration table, the worst mistakes, and how a recipe uses the model."""
    width = terminal_width()
    lines = [wrapped(_headline(result), width), "", table(*_sizes(result)), "", table(*_calibration(result)), ""]
    if result["texts_of_both_sides"]:
        shared = f"{result['texts_of_both_sides']:,} texts stand on both sides and were left out of both."
        lines += [wrapped(shared, width), ""]
    if "labels_of_documents" in result:
        lines += [*(wrapped(line, width) for line in _labels(result)), ""]
    lines += ["the held-out documents it gets most wrong:"]
    for one in result["worst"]:
        said = f"{one['score']:.4f} for a {one['side']} one: {one_line(one['name'])} ({one['num_chars']:,} characters)"
        lines += [wrapped(said, width, 2), wrapped(one_line(one["excerpt"]), width, 6)]
    lines += ["", f"written to {one_line(result['folder'])}", f"digest {result['digest'][:12]}; in a recipe:"]
    return "\n".join([*lines, f"  - {{stage: quality, model: {one_line(result['folder'])}}}"])


def _headline(result: dict[str, Any]) -> str:
    held_out = sum(side["held_out_documents"] for side in result["classes"].values())
    if result["auc"] is None:
        return f"no AUC: of {held_out:,} held-out documents one side has none. Give more documents."
    interval = result["auc_interval_95"]
    within = f" (95 % interval {interval[0]:.4f} to {interval[1]:.4f})" if interval is not None else ""
    return f"AUC {result['auc']:.4f}{within} on {held_out:,} held-out documents"


def _labels(result: dict[str, Any]) -> list[str]:
    labels = result["labels_of_documents"]
    examples = sum(side["documents"] + side["held_out_documents"] for side in result["classes"].values())
    given = labels["good"] + labels["bad"]
    lines = [f"{given:,} of the {examples:,} examples are labels: {labels['good']:,} good, {labels['bad']:,} bad."]
    if labels["weight"] > 1:
        lines.append(f"Each of those trained on counts {labels['weight']:,} times.")
    if labels["also_in_files"]:
        lines.append(f"{labels['also_in_files']:,} of their texts stand in the files too; the label decides.")
    if given * labels["weight"] * FEW_OF < examples:
        more = "so few hardly move the model: label more, or let each count more often with --label-weight"
        lines.append(f"A label counts as one document, and {more}.")
    learnt = sum(side["documents"] for side in result["classes"].values())
    if learnt * result["options"]["epochs"] < FEW_PASSES:
        lines.append(f"{learnt:,} examples read {result['options']['epochs']} times teach little: try --epochs 50.")
    return lines


def _sizes(result: dict[str, Any]) -> _Table:
    rows = [
        (name, f"{side['documents']:,}", f"{side['held_out_documents']:,}", f"{side['bytes'] / 1e6:,.1f}")
        for name, side in reversed(result["classes"].items())
    ]
    return ("side", "trained on", "held out", "MB trained on"), rows


def _calibration(result: dict[str, Any]) -> _Table:
    rows = [
        (
            f"{row['score_from']:.1f}",
            f"{row['documents']:,}",
            f"{row['mean_score']:.2f}",
            f"{row['positive_share']:.2f}",
        )
        for row in result["calibration"]
        if row["documents"]
    ]
    return ("score from", "held out", "mean score", "share positive"), rows
