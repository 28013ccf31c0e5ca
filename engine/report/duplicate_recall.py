"""How many near-duplicates the search finds, as its stage measured it: planted copies, and a sample without bands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.report.evidence import Evidence
from engine.report.table import Table, table
from engine.report.wording import MISSING, count, share


@dataclass(frozen=True)
class MeasuredRecall:
    """One measurement of one instance of near_dup: `found` of `pairs`."""

    prefix: str
    measured_with: str
    floor: float
    """Similarity from which pairs are looked for."""
    pairs: int
    found: int
    interval: tuple[float, float] | None
    """Wilson's 95 % interval of the share that is found."""


def measured_recalls(evidence: Evidence) -> tuple[MeasuredRecall, ...]:
    """Return what every instance of near_dup measured."""
    found = []
    for instance in evidence.instances("near_dup"):
        receipt = evidence.receipt(instance.prefix)
        if receipt is not None:
            measured, floor = receipt.details["measured_recall"], float(receipt.details["floor"])
            sample = measured["brute_force_sample"]
            found.append(_measurement(instance.prefix, "planted copies", floor, measured["planted"], measured))
            found.append(_measurement(instance.prefix, "brute-force sample", floor, sample["pairs"], sample))
    return tuple(found)


def recall_table(recalls: Sequence[MeasuredRecall]) -> Table | None:
    """Return a row per measurement, or None where nothing was measured."""
    rows = [
        [
            recall.prefix,
            recall.measured_with,
            f"{recall.floor:g}",
            count(recall.pairs),
            count(recall.found),
            share(recall.found, recall.pairs),
            MISSING if recall.interval is None else "{:.1f} to {:.1f} %".format(*(100 * x for x in recall.interval)),
        ]
        for recall in recalls
    ]
    headings = ["stage", "measured with", "similarity from", "pairs", "found", "recall", "95 % interval"]
    return table(headings, rows, 2, "Recall of the search for near-duplicates") if rows else None


def _measurement(prefix: str, measured_with: str, floor: float, pairs: int, figures: dict[str, Any]) -> MeasuredRecall:
    bounds = figures["interval_95"]
    interval = None if bounds is None else (float(bounds[0]), float(bounds[1]))
    return MeasuredRecall(prefix, measured_with, floor, pairs, figures["found"], interval)
