"""Runs the selection: one decision per document, the ledger, the guard.

The order of reasons: the row could not be read, it has no text, it is an exact or near duplicate, other drops of stages
that do not need the split, it is held out, drops of stages that do (contaminated), then the recipe's filters.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from engine.base.atomic import atomic_folder, write_json
from engine.base.hashing import digest_json
from engine.formats.annotation import part_path, read_columns, write_part
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.ledger import SCHEMA as LEDGER
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.selection import KEPT, Selection
from engine.run.guard import require_sane_removal
from engine.run.ledger import require_balance
from engine.run.stage_run import Annotated
from engine.run.steps import RunContext, Stopwatch
from engine.run.workers import work
from engine.select.decide import CORE_READS, HELD_OUT_COLUMN, Rule, decide, ledger_rows, rule_columns

VERSION = 2
EXAMPLES = 3
CLUSTER_COLUMNS = {"near_dup": "cluster_documents", "exact_dup": "group_documents"}
"""Stage -> its column of how many documents resemble each other."""


def select(context: RunContext, state: Annotated) -> Selection:
    """Make or re-use the selection; raises AuditError where the ledger does not balance. The guard comes after it."""
    rules = selection_rules(context, state)
    reads = sorted({*(name for rule in rules for name in rule_columns(rule)), *state.edit_columns} & state.columns())
    identity = {
        "version": VERSION,
        "rules": [rule.model_dump(mode="json") for rule in rules],
        "documents": state.documents_digest(),
        "inputs": state.input_digests(reads),
        "split": state.digests.get("split"),
    }
    digest = digest_json(identity)
    folder = context.workspace.selection(digest)
    shards = [shard for source in state.sources for shard in source.shards]
    whole = all(part_path(folder, shard).is_file() for shard in shards)
    context.ensure("selection", folder, digest, lambda: _make(context, state, rules, identity, digest), whole)
    return Selection(folder, digest)


def guard(context: RunContext, state: Annotated, selection: Selection) -> None:
    """Raise AuditError, with examples, where more would go than the recipe allows."""
    receipt = read_receipt(selection.folder)
    assert receipt is not None
    largest = receipt.details["largest_cluster_documents"]
    shards = [shard for source in state.sources for shard in source.shards]
    require_sane_removal(selection.ledger(), largest, context.recipe.guard, lambda: _examples(selection, shards))


def selection_rules(context: RunContext, state: Annotated) -> list[Rule]:
    """Return the rules in their order; the first that applies is a document's reason."""
    before: list[Rule] = []
    after: list[Rule] = []
    for stage in context.recipe.annotate:
        prefix, module = stage.config.column_prefix, stage.module
        drops = getattr(module, "DROPS", {})
        group = after if "split" in getattr(module, "NEEDS", ()) else before
        for reason, condition in drops.items():
            name = reason if prefix == stage.config.stage else f"{prefix}_{reason}"
            group.append(Rule(reason=name, drop=condition.replace(f"{stage.config.stage}__", f"{prefix}__")))
    held_out = [Rule(reason="held_out")] if state.split is not None else []
    filters = [Rule(reason=rule.reason, keep=rule.keep, action=rule.action) for rule in context.recipe.filters]
    return [*before, *held_out, *after, *filters]


def _make(
    context: RunContext, state: Annotated, rules: Sequence[Rule], identity: dict[str, object], digest: str
) -> None:
    watch = Stopwatch()
    folder = context.workspace.selection(digest)
    shards = [shard for source in state.sources for shard in source.shards]
    with atomic_folder(folder) as temporary:
        parts = work("selection", lambda shard: _decide(state, rules, shard, temporary), shards, context.jobs)
        outcomes = [rows.filter(pl.col("outcome") != "in") for rows, _ in parts]
        ledger = require_balance([*outcomes, *(_came_in(source) for source in state.sources)], "selection")
        write_parquet(temporary / "ledger.parquet", ledger)
        write_json(temporary / "selection.json", identity)
        receipt = Receipt(
            made_by=f"selection/{VERSION}",
            digest=digest,
            config=identity,
            rows=sum(shard.num_rows for shard in shards),
            seconds=watch.seconds,
            details={"largest_cluster_documents": max((largest for _, largest in parts), default=0)},
        )
        write_receipt(temporary, receipt)


def _came_in(source: SourceDocuments) -> pl.DataFrame:
    """What the intake counted: the other side of the balance, which no later step can change."""
    num_bytes = sum(shard.num_bytes for shard in source.shards)
    row = ("selection", source.name, "in", None, source.num_documents, num_bytes, None)
    return pl.DataFrame([row], schema=LEDGER, orient="row")


def _decide(state: Annotated, rules: Sequence[Rule], shard: Shard, folder: Path) -> tuple[pl.DataFrame, int]:
    """Write the decisions of one shard; return its ledger rows and the size of the largest cluster it is part of."""
    clusters = [f"{a.prefix}__{CLUSTER_COLUMNS[a.stage]}" for a in state.annotations if a.stage in CLUSTER_COLUMNS]
    reads = {"doc_id", "num_bytes", *CORE_READS, *clusters, *(name for rule in rules for name in rule_columns(rule))}
    frame = read_columns(shard, sorted(reads), state.annotations)
    if state.split is not None:
        held_out = state.split.groups().select("doc_id", pl.col("set").alias(HELD_OUT_COLUMN))
        frame = frame.join(held_out, on="doc_id", how="left", maintain_order="left")
    protected = {source.name for source in state.sources if source.config.get("protected", False)}
    decisions = decide(frame, rules, shard.source in protected)
    write_part(folder, shard, decisions)
    largest = frame.select(pl.max_horizontal(pl.lit(0, pl.UInt32), *(pl.col(name).max() for name in clusters))).item()
    cut = _cut_bytes(state, shard, decisions)
    return ledger_rows(decisions, frame["num_bytes"], shard.source, cut, _cut_by(state, shard)), int(largest)


def _cut_by(state: Annotated, shard: Shard) -> str:
    """Return the prefixes of the stages that cut something out of texts of the shard."""
    columns = [name for name, kind in state.edit_columns.items() if kind == "cut"]
    spans = read_columns(shard, columns, state.annotations)
    return ", ".join(sorted(name.rpartition("__")[0] for name in columns if spans[name].list.len().sum()))


def _cut_bytes(state: Annotated, shard: Shard, decisions: pl.DataFrame) -> pl.Series:
    """Return how many bytes are cut out of the text of each document that is kept: Int64."""
    kept = (decisions["decision"] == KEPT).to_list()
    edited = {row: edits for row, edits in state.edits_of(shard).items() if kept[row] and edits.cuts}
    found = [0] * len(kept)
    if edited:
        texts = shard.read_text().take(pa.array(edited)).to_pylist()
        for (row, edits), text in zip(edited.items(), texts, strict=True):
            found[row] = edits.cut_bytes(text)
    return pl.Series("cut", found, dtype=pl.Int64)


def _examples(selection: Selection, shards: Sequence[Shard]) -> list[str]:
    """A few dropped documents, one per reason: what somebody needs to judge whether the guard is right."""
    lines: dict[str, str] = {}
    for shard in shards:
        decisions = selection.decisions(shard).with_row_index("row").filter(pl.col("decision") == "dropped")
        for row in decisions.unique("reason", keep="first", maintain_order=True).iter_rows(named=True):
            if row["reason"] not in lines and row["reason"] != "no_text" and len(lines) < EXAMPLES:
                text = shard.read_text()[int(row["row"])].as_py() or ""
                lines[row["reason"]] = (
                    f"{row['reason']}, {shard.source} row {row['row']}: {' '.join(text[:400].split())[:120]!r}"
                )
    return list(lines.values())
