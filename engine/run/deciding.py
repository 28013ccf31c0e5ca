"""Decides over a whole corpus in memory, without writing anything: rules shard by shard, then balance over all of them.

Between the two a document is a code of two bytes (engine.select.decide), and everything is aligned by shard and row:
nothing is joined by doc_id.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from engine.annotate.tokens import count_tokens
from engine.base.paths import written_path
from engine.formats.annotation import part_path, read_columns
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.encoder import open_encoder
from engine.formats.ledger import SCHEMA as LEDGER
from engine.formats.parquet import read_parquet
from engine.formats.selection import DROPPED
from engine.recipe import DataRecipe, Stage
from engine.recipe.stages import stage_drops, tokens_column, tokens_stage
from engine.run.balancing import Balance, Corpus, balance, is_protected
from engine.run.cheap_reads import doc_id_words, largest_value, null_count
from engine.run.extension import NOT_IN_VERSION, Extension
from engine.run.ledger import require_balance
from engine.run.stage_run import Annotated
from engine.run.steps import RunContext
from engine.run.taken_down import taken_down
from engine.run.workers import work
from engine.select.balance import balance_columns
from engine.select.decide import (
    CORE_READS,
    HELD_OUT_COLUMN,
    KEPT_CODE,
    TAKEDOWN_COLUMN,
    Decided,
    Rule,
    decide,
    rule_columns,
)
from engine.select.ledger import Cut, ledger_rows
from engine.text.edits import Edits

CLUSTER_COLUMNS = {"near_dup": "cluster_documents", "exact_dup": "group_documents"}
"""Stage -> its column of how many documents resemble each other."""
DECIDING, SUMMING = "selection", "selection: ledger"


@dataclass
class Decisions:
    """What becomes of every document of a corpus."""

    context: RunContext
    state: Annotated
    rules: list[Rule]
    shards: list[Shard]
    decided: list[Decided]
    """One for each shard, in their order."""
    largest_cluster: int
    """Documents of the largest cluster of duplicates."""
    balance: Balance
    """What the rules of balance asked for and what became of it."""

    def frames(self) -> Iterator[tuple[Shard, pl.DataFrame]]:
        """Yield decision, reason and tags of every document (engine.formats.selection), one shard after the other."""
        for shard, decided in zip(self.shards, self.decided, strict=True):
            yield shard, decided.frame()

    def tagged(self) -> list[dict[str, str | int]]:
        """Return source, reason and documents of the tags of kept documents, by source and reason."""
        found: Counter[tuple[str, str]] = Counter()
        for shard, decided in zip(self.shards, self.decided, strict=True):
            found.update({(shard.source, reason): n for reason, n in decided.tag_counts().items()})
        return [{"source": source, "reason": reason, "documents": n} for (source, reason), n in sorted(found.items())]

    def ledger(self) -> pl.DataFrame:
        """Return the ledger (engine.formats.ledger); raises AuditError where it does not balance."""
        stage = tokens_stage(self.context.recipe.annotate)
        sums = partial(_sums, self.context, self.state, stage)
        parts = work(SUMMING, sums, list(zip(self.shards, self.decided, strict=True)), self.context.jobs)
        outcomes = [rows.filter(pl.col("outcome") != "in") for rows in parts]
        tokens = _counted_tokens(self.state, stage) if stage is not None else {}
        came_in = [_came_in(source, tokens.get(source.name, 0) if stage else None) for source in self.state.sources]
        return require_balance([*outcomes, *came_in], "selection")


def decisions_in_memory(context: RunContext, state: Annotated) -> Decisions:
    """Return what the rules of `context.recipe` (filters, drops of stages, split, balance) say of every document.

    state: what was annotated; its columns are read, of every shard once for the rules and once for what they sum up to.
    Nothing is written, so `context` may hold a changed recipe (dataclasses.replace) to see what would become of all.
    """
    rules = selection_rules(context.recipe, state)
    shards = [shard for source in state.sources for shard in source.shards]
    held_out, gone = _held_out(state), taken_down(context.workspace, state)
    reasons = [rule.reason for rule in context.recipe.balance]
    parts = work(DECIDING, partial(_decide, state, rules, held_out, reasons, gone), shards, context.jobs)
    decided = [one for one, _ in parts]
    stage = tokens_stage(context.recipe.annotate)
    tokens = tokens_column(stage) if stage is not None else None
    done = balance(Corpus(context, state, shards, tokens, len(rules)), decided)
    return Decisions(context, state, rules, shards, decided, max((largest for _, largest in parts), default=0), done)


def selection_rules(recipe: DataRecipe, state: Annotated) -> list[Rule]:
    """Return the rules in their order; the first that applies is a document's reason."""
    before: list[Rule] = []
    after: list[Rule] = []
    for stage in recipe.annotate:
        group = after if "split" in getattr(stage.module, "NEEDS", ()) else before
        group += [Rule(reason=reason, drop=condition) for reason, condition in stage_drops(stage).items()]
    held_out = [Rule(reason="held_out")] if state.split is not None else []
    filters = [Rule(reason=rule.reason, keep=rule.keep, action=rule.action) for rule in recipe.filters]
    return [*before, *held_out, *after, *filters]


def selection_reads(recipe: DataRecipe, state: Annotated) -> list[str]:
    """Return the columns that the selection of a recipe depends on."""
    stage = tokens_stage(recipe.annotate)
    reads = {name for rule in selection_rules(recipe, state) for name in rule_columns(rule)}
    reads |= {name for rule in recipe.balance for name in balance_columns(rule)} | set(state.edit_columns)
    return sorted((reads | ({tokens_column(stage)} if stage is not None else set())) & state.columns())


def _decide(
    state: Annotated,
    rules: Sequence[Rule],
    held_out: pl.DataFrame | None,
    balance: Sequence[str],
    gone: pl.Series,
    shard: Shard,
) -> tuple[Decided, int]:
    """Return the decisions of one shard, and the size of the largest cluster that is in it."""
    reads = {*CORE_READS, *(name for rule in rules for name in rule_columns(rule))}
    # Two bytes in three of what is read would be digests; mostly the file says that none is missing.
    knows = shard.num_rows and not any("text_digest" in rule_columns(rule) for rule in rules)
    has_all = bool(knows) and null_count(shard.ids_path, "text_digest") == 0
    frame = read_columns(shard, sorted(reads - {"text_digest"} if has_all else reads), state.annotations)
    if has_all:
        frame = frame.with_columns(pl.lit(b"").alias("text_digest"))
    if held_out is not None:
        frame = frame.with_columns(_held_out_of(shard, held_out))
    if len(gone):
        is_gone = shard.read_core(["doc_id"])["doc_id"].is_in(gone.implode())
        frame = frame.with_columns(is_gone.alias(TAKEDOWN_COLUMN))
    decided = decide(frame, rules, is_protected(state, shard), balance)
    if state.extends is not None and shard.source != state.extends.source:
        decided = _of_version(state.extends, shard, decided)
    return decided, _largest_cluster(state, shard)


def _of_version(extends: Extension, shard: Shard, decided: Decided) -> Decided:
    """Return the decisions where of the old documents only those of the extended version are kept."""
    is_in = shard.read_core(["doc_id"])["doc_id"].is_in(extends.doc_ids.implode()).to_numpy()
    code = len(decided.outcomes)
    codes = np.where((decided.codes == KEPT_CODE) & ~is_in, np.uint16(code), decided.codes)
    return replace(decided, outcomes=(*decided.outcomes, (DROPPED, NOT_IN_VERSION)), codes=codes)


def _held_out(state: Annotated) -> pl.DataFrame | None:
    """Return who is in a held-out group: doc_id, held_out (the set), and the first half of the id as a number."""
    if state.split is None:
        return None
    high = pl.col("doc_id").bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big").alias("high")
    return state.split.groups().select("doc_id", pl.col("set").alias(HELD_OUT_COLUMN), high)


def _held_out_of(shard: Shard, held_out: pl.DataFrame) -> pl.Series:
    """Return the held-out set of each document of a shard, null where there is none."""
    none = pl.Series(HELD_OUT_COLUMN, [None], dtype=pl.String).new_from_index(0, shard.num_rows)
    if not held_out.height or not shard.num_rows:
        return none
    # Half an id against a set of numbers rules out nearly all; only the others are joined by the whole id.
    rows = pl.Series(doc_id_words(shard)[:, 0]).is_in(held_out["high"].implode()).arg_true()
    if not len(rows):
        return none
    ids = shard.read_core(["doc_id"])[rows].with_columns(row=rows)
    found = ids.join(held_out, on="doc_id", how="inner", maintain_order="left")
    return none.scatter(found["row"], found[HELD_OUT_COLUMN])


def _largest_cluster(state: Annotated, shard: Shard) -> int:
    largest = 0
    for one in state.annotations:
        if one.stage in CLUSTER_COLUMNS and shard.num_rows:
            column = f"{one.prefix}__{CLUSTER_COLUMNS[one.stage]}"
            found = largest_value(part_path(one.folder, shard), column)
            if found is None:
                found = read_columns(shard, [column], state.annotations)[column].max() or 0  # type: ignore[assignment]
            largest = max(largest, int(found or 0))
    return largest


def _counted_tokens(state: Annotated, stage: Stage) -> dict[str, int]:
    """Return source -> tokens as the stage itself summed them up, none for a source without text."""
    folder = next(one.folder for one in state.annotations if one.prefix == stage.config.column_prefix)
    counted = read_parquet(folder / "fit.parquet", ["source", "tokens"])
    return dict(counted.group_by("source").agg(pl.col("tokens").sum()).iter_rows())


def _came_in(source: SourceDocuments, tokens: int | None) -> pl.DataFrame:
    """What the intake counted, and the stage tokens: the other side of the balance, which no later step can change."""
    num_bytes = sum(shard.num_bytes for shard in source.shards)
    row = ("selection", source.name, "in", None, source.num_documents, num_bytes, tokens)
    return pl.DataFrame([row], schema=LEDGER, orient="row")


def _sums(context: RunContext, state: Annotated, stage: Stage | None, task: tuple[Shard, Decided]) -> pl.DataFrame:
    """Return the ledger rows of one shard."""
    shard, decided = task
    columns = ["num_bytes", *([tokens_column(stage)] if stage is not None else [])]
    sizes = read_columns(shard, columns, state.annotations)
    tokens = sizes[columns[1]] if stage is not None else None
    return ledger_rows(decided, sizes["num_bytes"], tokens, shard.source, _cut(context, state, stage, shard, decided))


def _cut(context: RunContext, state: Annotated, stage: Stage | None, shard: Shard, decided: Decided) -> Cut:
    """Return what is cut out of the kept documents of a shard, in bytes and in tokens of the stage."""
    columns = [name for name, kind in state.edit_columns.items() if kind == "cut"]
    if not columns:
        return Cut()
    edited = {
        row: edits for row, edits in state.edits_of(shard).items() if decided.codes[row] == KEPT_CODE and edits.cuts
    }
    if not edited:
        return Cut()
    texts = shard.read_text().take(pa.array(edited)).to_pylist()
    spans = read_columns(shard, columns, state.annotations)[list(edited)]
    by = ", ".join(sorted(name.rpartition("__")[0] for name in columns if spans[name].list.len().sum()))
    num_bytes = sum(edits.cut_bytes(text) for edits, text in zip(edited.values(), texts, strict=True))
    return Cut(by, num_bytes, _cut_tokens(context.recipe, stage, edited, texts) if stage is not None else 0)


def _cut_tokens(recipe: DataRecipe, stage: Stage, edited: Mapping[int, Edits], texts: Sequence[str]) -> int:
    """Return the tokens of some texts, less those of the same texts without what is cut out of them."""
    encode = open_encoder(Path(recipe.base.absolute() / written_path(stage.config.tokenizer)))
    without = [Edits(cuts=edits.cuts).applied(text) for edits, text in zip(edited.values(), texts, strict=True)]
    before, after = (count_tokens(encode, pl.Series(some, dtype=pl.String)).sum() for some in (texts, without))
    return int(before) - int(after)
