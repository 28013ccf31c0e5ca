"""What the rules of a changed recipe would keep, from the columns that are there: nothing is annotated or written.

The decisions are those a run would make (engine.run.deciding), compared with the selection the recipe's last run ended
with; engine.run.what_if.examples adds documents to look at.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from engine.base.errors import AuditError
from engine.formats.annotation import part_path, read_columns
from engine.formats.documents import Shard
from engine.formats.parquet import read_parquet
from engine.formats.receipt import read_receipt
from engine.formats.selection import KEPT, Selection
from engine.formats.state import read_state
from engine.recipe.stages import tokens_column, tokens_stage
from engine.run.deciding import Decisions, decisions_in_memory
from engine.run.guard import require_sane_removal
from engine.run.stage_run import Annotated
from engine.run.steps import RunContext
from engine.run.what_if.changes import RuleChange, order_changed, rule_changes
from engine.run.what_if.examples import examples
from engine.run.what_if.tags import tags
from engine.run.workers import work
from engine.select.decide import KEPT_CODE, Decided

_PARTS = ("kept_before", "kept_now", "newly_kept", "newly_lost")
_COUNTS = ("documents", "bytes", "tokens")


@dataclass(frozen=True)
class Earlier:
    """The selection a recipe's last run ended with."""

    selection: Selection
    finished: str

    def decisions(self, shard: Shard, names: Sequence[str]) -> pl.DataFrame | None:
        """Return these of decision, reason and tags of the documents of a shard, None where it was not there then."""
        path = part_path(self.selection.folder, shard)
        return read_parquet(path, list(names)) if path.is_file() else None


def what_if(context: RunContext, state: Annotated, every_border: bool = False) -> dict[str, Any]:
    """Return what the rules of the recipe would keep, against what its last run kept.

    every_border: show documents at the threshold of every rule, not only of those that changed.

    Returns:
        compared_with (selection, finished; None on a first run), rules (those that changed), order_changed, sources and
        total (documents, bytes and tokens of whole texts that are kept_before, kept_now, newly_kept, newly_lost;
        new_documents: those the earlier selection did not decide on), reasons (documents before and now), tags (source,
        reason, kept documents that have it as a tag: documents_before, documents_now), ledger, balance (what its rules
        would come to, quotas that would not be met among it), guard (what the removal guard would say, empty where it
        would let the run pass), borders and changed_documents (engine.run.what_if.examples).
    """
    earlier = _earlier(context)
    decisions = decisions_in_memory(context, state)
    ledger = decisions.ledger()
    rules = (earlier.selection.rules() if earlier else None, decisions.rules, context.recipe.balance)
    changes = rule_changes(*rules)
    sources = _sources(context, state, decisions, earlier)
    return {
        "compared_with": {"selection": earlier.selection.digest, "finished": earlier.finished} if earlier else None,
        "rules": [change.shown() for change in changes],
        "order_changed": order_changed(*rules),
        "sources": sources,
        "total": _total(sources),
        "reasons": _reasons(earlier.selection.ledger() if earlier else None, ledger),
        "tags": tags(decisions, earlier.decisions if earlier else None),
        "ledger": ledger.to_dicts(),
        "balance": decisions.balance.details,
        "guard": _guard(context, decisions, ledger),
        **examples(decisions, earlier.decisions if earlier else None, _looked_at(changes, decisions, every_border)),
    }


def is_last_selection(context: RunContext, selection: Selection) -> bool:
    """Return whether a selection is the one the recipe's last run ended with."""
    earlier = _earlier(context)
    return earlier is not None and earlier.selection.folder == selection.folder


def _earlier(context: RunContext) -> Earlier | None:
    if not context.workspace.state(context.recipe.name).is_file():
        return None
    before = read_state(context.workspace, context.recipe.name)
    selection = before.open_selection(context.workspace) if before is not None else None
    if before is None or selection is None or read_receipt(selection.folder) is None:
        return None
    return Earlier(selection, before.finished)


def _looked_at(changes: Iterable[RuleChange], decisions: Decisions, every_border: bool) -> list[RuleChange]:
    """Return the rules whose documents are shown; those that did not change only where every border is asked for."""
    changed = list(changes)
    if not every_border:
        return changed
    by_position = {change.position: change for change in changed}
    kept = [by_position.get(n, RuleChange.of(n, rule)) for n, rule in enumerate(decisions.rules) if not rule.is_split]
    return [*kept, *(change for change in changed if change.position is None)]


def _sources(
    context: RunContext, state: Annotated, decisions: Decisions, earlier: Earlier | None
) -> list[dict[str, Any]]:
    stage = tokens_stage(context.recipe.annotate)
    sums = partial(_sums, state, tokens_column(stage) if stage is not None else None, earlier)
    parts = work("what if", sums, list(zip(decisions.shards, decisions.decided, strict=True)), context.jobs)
    # A source without documents has no shards.
    found: dict[str, dict[str, Any]] = {source.name: {} for source in state.sources}
    for shard, part in zip(decisions.shards, parts, strict=True):
        found[shard.source] = _added(found[shard.source], part)
    empty = _empty(stage is not None, earlier is not None)
    return [{"source": name} | _added(empty, of_source) for name, of_source in found.items()]


def _sums(state: Annotated, tokens: str | None, earlier: Earlier | None, task: tuple[Shard, Decided]) -> dict[str, Any]:
    """Return the figures of one shard."""
    shard, decided = task
    sizes = read_columns(shard, ["num_bytes", *([tokens] if tokens else [])], state.annotations)
    frame = sizes.select(
        pl.col("num_bytes").cast(pl.Int64).alias("bytes"),
        (pl.col(tokens).cast(pl.Int64).fill_null(0) if tokens else pl.lit(None, pl.Int64)).alias("tokens"),
        kept_now=pl.Series(decided.codes == KEPT_CODE),
    )
    before = earlier.decisions(shard, ["decision"]) if earlier else None
    is_new = before is None
    if before is None:
        before = pl.DataFrame({"decision": [None]}, schema={"decision": pl.String})[[0] * shard.num_rows]
    frame = frame.with_columns(kept_before=(before["decision"] == KEPT).fill_null(False))
    frame = frame.with_columns(
        newly_kept=pl.col("kept_now") & ~pl.col("kept_before"), newly_lost=pl.col("kept_before") & ~pl.col("kept_now")
    )
    figures: dict[str, Any] = {"documents": shard.num_rows, "new_documents": shard.num_rows if is_new else 0}
    for part in _PARTS:
        rows = frame.filter(pl.col(part))
        counts = {"documents": rows.height, "bytes": int(rows["bytes"].sum())}
        figures[part] = counts | {"tokens": int(rows["tokens"].sum()) if tokens else None}
    if earlier is None:
        figures |= {part: None for part in _PARTS if part != "kept_now"} | {"new_documents": None}
    return figures


def _empty(has_tokens: bool, has_earlier: bool) -> dict[str, Any]:
    counts = {"documents": 0, "bytes": 0, "tokens": 0 if has_tokens else None}
    parts = {part: counts if has_earlier or part == "kept_now" else None for part in _PARTS}
    return {"documents": 0, "new_documents": 0 if has_earlier else None, **parts}


def _added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the sums of two of the same figures; no figures are 0, None stays None."""
    if not one or not other:
        return one or other
    found: dict[str, Any] = {}
    for name, value in one.items():
        if isinstance(value, dict):
            found[name] = _added(value, other[name])
        else:
            found[name] = None if value is None else value + other[name]
    return found


def _total(sources: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for source in sources:
        total = _added(total, {name: value for name, value in source.items() if name != "source"})
    return total


def _reasons(before: pl.DataFrame | None, now: pl.DataFrame) -> list[dict[str, Any]]:
    """Return documents_before and documents_now of all that is not kept, by source, outcome and reason."""
    keys = ["source", "outcome", "reason"]

    def counted(ledger: pl.DataFrame, name: str) -> pl.DataFrame:
        left = ledger.filter(~pl.col("outcome").is_in(["in", "kept", "cut"]))
        return left.group_by(keys).agg(pl.col("documents").sum().alias(name))

    found = counted(now, "documents_now")
    if before is None:
        found = found.with_columns(pl.lit(None, pl.Int64).alias("documents_before"))
    else:
        earlier = counted(before, "documents_before")
        found = found.join(earlier, on=keys, how="full", coalesce=True, nulls_equal=True)
        found = found.with_columns(pl.col("documents_before", "documents_now").fill_null(0))
    return found.select(*keys, "documents_before", "documents_now").sort(keys).to_dicts()


def _guard(context: RunContext, decisions: Decisions, ledger: pl.DataFrame) -> list[str]:
    """Return what the removal guard would say; nothing where it would let the run pass."""
    try:
        require_sane_removal(ledger, decisions.largest_cluster, context.recipe.guard, list)
    except AuditError as stopped:
        return str(stopped).splitlines()
    return []
