"""Documents to look at before a rule is changed for good: those nearest to its threshold, on either side.

Of a rule that compares a column with a number (engine.select.thresholds), among the documents that no earlier rule
took: those that just pass and those that just fail. Of a changed rule of another form: documents whose decision it
changed. Of a changed rule of any form: kept documents that have its tag now and had not, and the other way about. Ties,
and documents without a value to sort by, go by doc_id, so any cut into shards shows the same ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.terminal import one_line
from engine.formats.annotation import read_columns
from engine.formats.documents import Shard
from engine.formats.selection import HELD_OUT, KEPT, OVER_BUDGET
from engine.run.deciding import Decisions
from engine.run.examples import EXCERPT_CHARS
from engine.run.first_of_each import first_of_each
from engine.run.what_if.changes import SAME, RuleChange
from engine.run.workers import work
from engine.select.decide import FIRST_RULE_CODE, KEPT_CODE, Decided, Rule, rule_columns
from engine.select.thresholds import Threshold, threshold_of

PER_SIDE = 3
PASSES, FAILS, NEWLY_KEPT, NEWLY_LOST = "passes", "fails", "newly_kept", "newly_lost"
NEWLY_TAGGED, NEWLY_UNTAGGED = "newly_tagged", "newly_untagged"
CHANGED_SIDES = (NEWLY_KEPT, NEWLY_LOST, NEWLY_TAGGED, NEWLY_UNTAGGED)
EarlierDecisions = Callable[[Shard, Sequence[str]], pl.DataFrame | None]
_FOUND = {
    "entry": pl.Int64,  # position in the list of rules to look at
    "side": pl.String,
    "nearness": pl.Float64,  # smaller is nearer to the threshold; 0 without one
    "value": pl.Float64,
    "doc_id": pl.Binary,
    "shard": pl.Int64,
    "row": pl.Int64,
    "code": pl.Int64,
}
_NONE = pl.DataFrame(schema=_FOUND)


@dataclass(frozen=True)
class _Border:
    """A rule that is a threshold."""

    entry: int
    reason: str
    rule: Rule
    position: int
    threshold: Threshold

    @property
    def passing(self) -> pl.Expr:
        """Whether a document passes: Boolean, null without a value."""
        return ~self.threshold.holds if self.rule.drop is not None else self.threshold.holds

    def nearness(self, side: str) -> pl.Expr:
        """A number that is the smaller, the nearer a document of a side is to the threshold."""
        larger_passes = self.threshold.is_least != (self.rule.drop is not None)
        return pl.col("value") if larger_passes == (side == PASSES) else -pl.col("value")


def examples(decisions: Decisions, earlier: EarlierDecisions | None, rules: Sequence[RuleChange]) -> dict[str, Any]:
    """Return borders and changed_documents: a list each, one entry a rule.

    borders: reason, column, sign, threshold, and under `passes` and `fails` up to three documents each.
    changed_documents: reason, and under `newly_kept`, `newly_lost`, `newly_tagged` and `newly_untagged` up to three
    each; nothing without `earlier`. A rule that has a border stands there only where it changed tags, with these alone.
    A document: doc_id, source, value (null where there is no threshold), decision and reason as of now, num_chars, and
    excerpt: its first 300 characters.
    """
    borders = [border for entry, change in enumerate(rules) if (border := _border(decisions, entry, change))]
    own = {border.entry for border in borders}
    changes = {n: change.reason for n, change in enumerate(rules) if change.change != SAME}
    numbers, parts = list(range(len(decisions.shards))), [_NONE]
    if borders:
        parts += work("what if: borders", partial(_near, decisions, borders), numbers, decisions.context.jobs)
    if changes and earlier is not None:
        changed = partial(_changed, decisions, earlier, changes, own)
        parts += work("what if: changed documents", changed, numbers, decisions.context.jobs)
    chosen = first_of_each(pl.concat(parts), PER_SIDE, ("entry", "side"), "nearness")
    documents = _documents(decisions, chosen)
    told = [n for n in changes if n not in own or any(documents.get((n, side)) for side in CHANGED_SIDES)]

    def sides(entry: int, *names: str) -> dict[str, Any]:
        return {side: documents.get((entry, side), []) for side in names}

    return {
        "borders": [
            {"reason": one.reason, "column": one.threshold.column, "sign": one.threshold.sign}
            | {"threshold": one.threshold.number}
            | sides(one.entry, PASSES, FAILS)
            for one in borders
        ],
        "changed_documents": [
            {"reason": changes[entry]} | sides(entry, *CHANGED_SIDES) for entry in (told if earlier is not None else ())
        ],
    }


def stops_at(decided: Decided, rules: Sequence[Rule]) -> NDArray[np.int64]:
    """Return the position of the rule that took each document: -1 before all rules, len(rules) where none did."""
    split = next((position for position, rule in enumerate(rules) if rule.is_split), len(rules))
    by_code = []
    for code, (decision, _) in enumerate(decided.outcomes):
        position = code - FIRST_RULE_CODE
        if decision in (KEPT, OVER_BUDGET):
            by_code.append(len(rules))
        elif decision == HELD_OUT:
            by_code.append(split)
        else:
            by_code.append(position if 0 <= position < len(rules) else -1)
    return np.array(by_code, dtype=np.int64)[decided.codes]


def _border(decisions: Decisions, entry: int, change: RuleChange) -> _Border | None:
    if change.position is None:
        return None
    rule = decisions.rules[change.position]
    threshold = threshold_of(rule.condition) if rule.condition is not None else None
    return None if threshold is None else _Border(entry, change.reason, rule, change.position, threshold)


def _near(decisions: Decisions, borders: Sequence[_Border], number: int) -> pl.DataFrame:
    """Return the documents of a shard that are nearest to each threshold."""
    shard, decided = decisions.shards[number], decisions.decided[number]
    names = sorted({"doc_id", *(name for border in borders for name in rule_columns(border.rule))})
    frame = read_columns(shard, names, decisions.state.annotations).with_columns(
        pl.Series("(stops at)", stops_at(decided, decisions.rules))
    )
    parts = [_NONE]
    for border in borders:
        judged = frame.with_row_index("row").select(
            "row",
            "doc_id",
            pl.col(border.threshold.column).cast(pl.Float64).alias("value"),
            border.passing.alias("passes"),
            ((pl.col("(stops at)") >= border.position) & border.threshold.judges).alias("judged"),
        )
        judged = judged.filter("judged", pl.col("value").is_not_nan())
        for side, wanted in ((PASSES, pl.col("passes")), (FAILS, ~pl.col("passes"))):
            found = judged.filter(wanted).with_columns(border.nearness(side).alias("nearness"))
            parts.append(_placed(_nearest(found), decided, border.entry, side, number))
    return pl.concat(parts)


def _changed(
    decisions: Decisions, earlier: EarlierDecisions, reasons: dict[int, str], bordered: set[int], number: int
) -> pl.DataFrame:
    """Return documents of a shard that a rule changed: from kept to gone, from without its tag to with it, and back.

    bordered: rules whose border shows what they keep and let go, so only their tags are looked at.
    """
    shard, decided = decisions.shards[number], decisions.decided[number]
    before = earlier(shard, ["decision", "reason", "tags"])
    if before is None:
        return _NONE
    kept_before, kept_now = before["decision"] == KEPT, pl.Series(decided.codes == KEPT_CODE)
    reason_of_code = pl.Series([reason for _, reason in decided.outcomes], dtype=pl.String)
    reason_now = reason_of_code.gather(decided.codes)
    rows = shard.read_core(["doc_id"]).with_row_index("row")
    rows = rows.with_columns(value=pl.lit(None, pl.Float64), nearness=pl.lit(0.0))
    parts = [_NONE]
    for entry, reason in reasons.items():
        lost = kept_before & (reason_now == reason).fill_null(False)
        won = kept_now & (before["reason"] == reason).fill_null(False)
        has_tag = kept_now & decided.is_tagged(reason)
        had_tag = before["tags"].list.contains(reason).fill_null(False)
        sides = [(NEWLY_TAGGED, has_tag & ~had_tag), (NEWLY_UNTAGGED, had_tag & ~has_tag)]
        for side, chosen in [*sides, *([] if entry in bordered else [(NEWLY_LOST, lost), (NEWLY_KEPT, won)])]:
            parts.append(_placed(_nearest(rows.filter(chosen)), decided, entry, side, number))
    return pl.concat(parts)


def _nearest(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the first documents by nearness and doc_id."""
    if rows.is_empty():
        return rows
    last = rows["nearness"].bottom_k(PER_SIDE).max()
    return rows.filter(pl.col("nearness") <= last).sort("nearness", "doc_id").head(PER_SIDE)


def _placed(rows: pl.DataFrame, decided: Decided, entry: int, side: str, number: int) -> pl.DataFrame:
    codes = pl.Series("code", decided.codes[rows["row"].to_numpy()])
    place = {"entry": entry, "side": side, "shard": number}
    return rows.with_columns(codes, **{name: pl.lit(value) for name, value in place.items()}).select(
        pl.col(name).cast(dtype) for name, dtype in _FOUND.items()
    )


def _documents(decisions: Decisions, found: pl.DataFrame) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """Return (rule, side) -> its documents, nearest first; each shard with one of them is read once."""
    texts: dict[tuple[int, int], str] = {}
    for (number,), rows in found.group_by("shard"):
        wanted = rows["row"].unique().sort().to_list()
        shown = decisions.shards[int(str(number))].read_shown(wanted)
        texts |= {(int(str(number)), row): text or "" for row, text in zip(wanted, shown, strict=True)}
    documents: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in found.iter_rows(named=True):
        decision, reason = decisions.decided[row["shard"]].outcomes[row["code"]]
        text = texts[row["shard"], row["row"]]
        value = row["value"]
        document = {
            "doc_id": str(UUID(bytes=row["doc_id"])),
            "source": decisions.shards[row["shard"]].source,
            "value": int(value) if value is not None and value.is_integer() else value,
            "decision": decision,
            "reason": reason,
            "num_chars": len(text),
            "excerpt": one_line(text[:EXCERPT_CHARS]),
        }
        documents.setdefault((row["entry"], row["side"]), []).append(document)
    return documents
