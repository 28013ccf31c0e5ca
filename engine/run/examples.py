"""Examples: a few documents of every source and reason, chosen with the selection and saved beside it.

1. Of every source, decision and reason the documents with the smallest seeded hash of their id are taken, so any cut
   into shards gives the same ones.
2. Only their texts are read, and of the text files only the row groups they lie in.

A document that is over budget or dropped is shown by the beginning of its text; a kept one that something is cut out of
by what is cut.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl

from engine.base.seeded import seeded_keys
from engine.base.terminal import one_line
from engine.formats.annotation import Annotation, read_columns, read_part
from engine.formats.documents import Shard
from engine.formats.parquet import write_parquet
from engine.formats.selection import CUT, DROPPED, EXAMPLES_SCHEMA, KEPT, OVER_BUDGET, Selection
from engine.recipe import GuardConfig
from engine.run.first_of_each import STRATUM, first_of_each
from engine.run.guard import sources_over_limit
from engine.run.workers import work

NUM_EXAMPLES = 3
EXCERPT_CHARS = 300
"""Characters of an excerpt, of examples and of what a plan shows."""
SHOWN_CHARS = 100
"""Characters of it on a terminal."""
SHOWN_REASONS = 4
SEED = 1
_CHOSEN: dict[str, Any] = {name: EXAMPLES_SCHEMA[name] for name in (*STRATUM, "doc_id", "num_chars")} | {
    "key": pl.UInt64,
    "shard": pl.UInt32,
    "row": pl.UInt32,
}


def write_examples(
    folder: Path, shards: Sequence[Shard], annotations: Sequence[Annotation], cuts: Sequence[str], jobs: int = 1
) -> None:
    """Write examples.parquet (EXAMPLES_SCHEMA) into the folder of a selection whose decisions are all there.

    cuts: columns of `annotations` with the spans to cut out of texts. Raises InputError where a text cannot be read.
    """

    def chosen(task: tuple[int, Shard]) -> pl.DataFrame:
        return _candidates(folder, *task, annotations, cuts)

    parts = work("examples", chosen, list(enumerate(shards)), jobs)
    found = first_of_each(pl.concat([pl.DataFrame(schema=_CHOSEN), *parts]), NUM_EXAMPLES).to_dicts()
    for number in sorted({row["shard"] for row in found}):
        here = [row for row in found if row["shard"] == number]
        for row, excerpt in zip(here, _excerpts(shards[number], here, annotations, cuts), strict=True):
            row["excerpt"] = excerpt
    rows = [{name: row[name] for name in EXAMPLES_SCHEMA} for row in found]
    write_parquet(folder / "examples.parquet", pl.DataFrame(rows, schema=EXAMPLES_SCHEMA))


def guard_examples(selection: Selection, guard: GuardConfig) -> list[str]:
    """Return lines that show, per source the guard stops at, its reasons with examples, and where all are saved.

    Where only a cluster is too large, those of every source.
    """
    ledger, examples = selection.ledger(), selection.examples()
    lines = []
    for source in sources_over_limit(ledger, guard) or ledger["source"].unique(maintain_order=True).to_list():
        lost = ledger.filter((pl.col("source") == source) & (pl.col("outcome") == DROPPED))
        largest = lost.sort(["documents", "reason"], descending=[True, False]).head(SHOWN_REASONS)
        for reason, documents in largest.select("reason", "documents").iter_rows():
            is_one = (pl.col("source") == source) & (pl.col("decision") == DROPPED) & (pl.col("reason") == reason)
            lines.append(f"{source}, {reason}, {documents:,} documents:")
            lines += [f"  {_line(row)}" for row in examples.filter(is_one).iter_rows(named=True)]
    lines.append(f'all examples: provender sql "SELECT * FROM examples" ({selection.folder / "examples.parquet"})')
    return lines


def _line(row: dict[str, Any]) -> str:
    shown = "(no text)" if row["excerpt"] is None else one_line(row["excerpt"], SHOWN_CHARS, row["num_chars"])
    return f"{str(UUID(bytes=row['doc_id']))[:8]}: {shown}"


def _candidates(
    folder: Path, number: int, shard: Shard, annotations: Sequence[Annotation], cuts: Sequence[str]
) -> pl.DataFrame:
    """Return the first documents of every decision and reason of a shard."""
    core = shard.read_core(["doc_id", "num_chars"])
    keys = pl.Series("key", seeded_keys(core["doc_id"], SEED), dtype=pl.UInt64)
    decisions = read_part(folder, shard, ["decision", "reason"]).with_columns(keys).with_row_index("row")
    parts = [decisions.filter(pl.col("decision").is_in([DROPPED, OVER_BUDGET]))]
    if cuts:
        spans = read_columns(shard, list(cuts), annotations)
        for prefix, columns in _by_prefix(cuts).items():
            has_spans = spans.select(pl.any_horizontal(pl.col(columns).list.len() > 0).fill_null(False)).to_series()
            cut = decisions.filter(has_spans & (decisions["decision"] == KEPT))
            parts.append(cut.with_columns(decision=pl.lit(CUT), reason=pl.lit(prefix)))
    # Few pass, however many there are; ties of the key are all among them.
    most = pl.col("key").bottom_k(NUM_EXAMPLES).max().over("decision", "reason")
    few = pl.concat(parts).filter(pl.col("key") <= most)
    placed = few.with_columns(source=pl.lit(shard.source), shard=pl.lit(number, dtype=pl.UInt32))
    chosen = pl.concat([placed, core[few["row"]]], how="horizontal").select(list(_CHOSEN))
    return first_of_each(chosen, NUM_EXAMPLES)


def _excerpts(
    shard: Shard, rows: Sequence[dict[str, Any]], annotations: Sequence[Annotation], cuts: Sequence[str]
) -> Iterator[str | None]:
    """Yield the excerpt of each document of a shard."""
    texts = shard.read_shown([row["row"] for row in rows])
    by_prefix = _by_prefix(cuts)
    columns = [column for row in rows if row["decision"] == CUT for column in by_prefix[row["reason"]]]
    spans = read_columns(shard, sorted(set(columns)), annotations) if columns else pl.DataFrame()
    for row, text in zip(rows, texts, strict=True):
        if row["decision"] == CUT:
            # Spans are bytes of the text itself, which of a chat is not what people are shown.
            whole = (shard.read_text([row["row"]])[0].as_py() or "").encode()
            of_row = [span for column in by_prefix[row["reason"]] for span in spans[column][row["row"]]]
            start, end = min((span["start"], span["end"]) for span in of_row)
            yield whole[start:end].decode(errors="replace")[:EXCERPT_CHARS]
        else:
            yield text[:EXCERPT_CHARS] if text else None


def _by_prefix(columns: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column in columns:
        found.setdefault(column.rpartition("__")[0], []).append(column)
    return found
