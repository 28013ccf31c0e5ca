"""Runs the selection: one decision per document, the ledger, the guard.

The order of reasons: it was taken down, the row could not be read, it has no text, it is an exact or near duplicate,
other drops of stages that do not need the split, it is held out, drops of stages that do (contaminated), then the
recipe's filters, and of what all these kept, balance.
"""

from functools import partial
from pathlib import Path

from engine.base.atomic import atomic_folder, write_json
from engine.base.hashing import digest_file, digest_json
from engine.formats.annotation import part_path
from engine.formats.documents import Shard
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.selection import Selection
from engine.run.deciding import decisions_in_memory, selection_reads, selection_rules
from engine.run.examples import guard_examples, write_examples
from engine.run.guard import require_sane_removal
from engine.run.stage_run import Annotated
from engine.run.steps import RunContext, Stopwatch
from engine.run.taken_down import taken_down
from engine.run.workers import work
from engine.select.decide import Decided

VERSION = 4


def select(context: RunContext, state: Annotated) -> Selection:
    """Make or re-use the selection; raises AuditError where the ledger does not balance. The guard comes after it."""
    identity: dict[str, object] = {
        "version": VERSION,
        "rules": [rule.model_dump(mode="json") for rule in selection_rules(context.recipe, state)],
        "balance": [rule.model_dump(mode="json") for rule in context.recipe.balance],
        "documents": state.documents_digest(),
        "inputs": state.input_digests(selection_reads(context.recipe, state)),
        "split": state.digests.get("split"),
    }
    gone = taken_down(context.workspace, state)
    if len(gone):
        identity["takedown"] = [doc_id.hex() for doc_id in gone]
    digest = digest_json(identity)
    folder = context.workspace.selection(digest)
    shards = [shard for source in state.sources for shard in source.shards]
    whole = all(part_path(folder, shard).is_file() for shard in shards)
    context.ensure("selection", folder, digest, lambda: _make(context, state, identity, digest), whole)
    return Selection(folder, digest)


def guard(context: RunContext, selection: Selection) -> None:
    """Raise AuditError, with examples, where more would go than the recipe allows."""
    receipt = read_receipt(selection.folder)
    assert receipt is not None
    largest = receipt.details["largest_cluster_documents"]
    limits = context.recipe.guard
    require_sane_removal(selection.ledger(), largest, limits, lambda: guard_examples(selection, limits))


def _make(context: RunContext, state: Annotated, identity: dict[str, object], digest: str) -> None:
    watch = Stopwatch()
    folder = context.workspace.selection(digest)
    decisions = decisions_in_memory(context, state)
    with atomic_folder(folder) as temporary:
        write_parquet(temporary / "ledger.parquet", decisions.ledger())
        parts = list(zip(decisions.shards, decisions.decided, strict=True))
        work("selection: writing", partial(_write, temporary), parts, context.jobs)
        write_parquet(temporary / "balance.parquet", decisions.balance.table)
        cuts = [name for name, kind in state.edit_columns.items() if kind == "cut"]
        write_examples(temporary, decisions.shards, state.annotations, cuts, context.jobs)
        write_json(temporary / "selection.json", identity)
        receipt = Receipt(
            made_by=f"selection/{VERSION}",
            digest=digest,
            config=identity,
            rows=sum(shard.num_rows for shard in decisions.shards),
            seconds=watch.seconds,
            details={
                "largest_cluster_documents": decisions.largest_cluster,
                "balance": decisions.balance.details,
                "tagged": decisions.tagged(),
                "files": _digests(temporary),
            },
        )
        write_receipt(temporary, receipt)


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in paths}


def _write(folder: Path, task: tuple[Shard, Decided]) -> None:
    shard, decided = task
    if len(decided.codes) != shard.num_rows:
        raise ValueError(f"{len(decided.codes)} decisions for shard {shard.source}/{shard.name} of {shard.num_rows}")
    write_parquet(part_path(folder, shard), decided.table())
