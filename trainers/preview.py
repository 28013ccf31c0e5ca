"""What is supervised, to be read before a run starts: the first documents of the schedule, with labels and tokens."""

import sys
from typing import Any

import polars as pl

from engine.base.errors import RecipeError, problem
from engine.base.terminal import has_colours, terminal_width, wrapped
from engine.formats.doc_ids import id_text
from engine.formats.drawn_parts import drawn_parts, legend
from engine.formats.manifest import role_label
from engine.formats.token_parts import parts_of
from trainers.job import Job

SHOWN_CHARS = 1_200
"""Characters of a document; `provender show` has all of them."""


def preview(job: Job, num_rows: int) -> dict[str, Any]:
    """Return the first rows of the first step as they are trained on.

    Returns mixture, objective, labels and tokens of those rows, and documents: row, doc_id, source, is_replay, tokens,
    labels, and parts (text, supervised, special, tokens). Raises RecipeError where no row is asked for.
    """
    if num_rows < 1:
        raise RecipeError(problem("--preview", f"got {num_rows}", "at least 1 row"))
    rows, store = job.rows, job.rows.store
    spans = rows.schedule.spans_where(pl.col("step") == 0)
    spans = spans.filter(pl.col("row").is_in(spans.get_column("row").unique().sort().head(num_rows).implode()))
    documents = rows.mixture.documents().select("document", "doc_id", "source", "is_replay", "store_row")
    spans = spans.join(documents, on="document", how="left", maintain_order="left")
    offsets = store.documents().get_column("offset")[spans.get_column("store_row")].to_list()
    starts = [offset + start for offset, start in zip(offsets, spans.get_column("document_start"), strict=True)]
    gathered = []
    for start, length in zip(starts, spans.get_column("length").to_list(), strict=True):
        is_label = store.supervised(start, length)
        is_label[:1] = False  # nothing in the span comes before its first token
        gathered.append((store.ids[start : start + length].astype("int64"), is_label))
    shown = [
        {
            "row": span["row"],
            "doc_id": id_text(span["doc_id"]),
            "source": role_label(span["source"], span["is_replay"]),
            "tokens": span["length"],
            "labels": span["supervised_tokens"],
            "parts": parts,
        }
        for span, parts in zip(spans.to_dicts(), parts_of(job.tokenizer, gathered), strict=True)
    ]
    return {
        "mixture": job.mixture.reference,
        "objective": job.recipe.objective,
        "tokens": sum(one["tokens"] for one in shown),
        "labels": sum(one["labels"] for one in shown),
        "documents": shown,
    }


def show_preview(result: dict[str, Any], width: int | None = None, is_coloured: bool | None = None) -> str:
    """Return the rows for a terminal: labels in colour, or all that is no label in brackets."""
    width = width or terminal_width()
    is_coloured = has_colours(sys.stdout) if is_coloured is None else is_coloured
    head = f"{result['mixture']}, {result['objective']}: {result['labels']:,} of {result['tokens']:,} tokens are labels"
    lines = [wrapped(f"{head} in the first rows", width), legend(width, is_coloured)]
    for one in result["documents"]:
        said = f"row {one['row']}: {one['doc_id']} of {one['source']}, {one['labels']:,} of {one['tokens']:,} tokens"
        lines += [wrapped(said, width), *drawn_parts(one["parts"], width, is_coloured, SHOWN_CHARS)]
    return "\n".join(lines)
