"""What is supervised, to be read before a run starts: the first documents of the schedule, with labels and tokens."""

import sys
from typing import Any

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
    step = job.rows.step(0)
    named = job.mixture.documents(["document", "doc_id", "source", "is_replay"]).sort("document")
    first = range(int((step.row_number < num_rows).sum()))  # spans stand row by row
    cuts = [slice(*step.bounds[span : span + 2].tolist()) for span in first]
    parts = parts_of(job.tokenizer, [(step.ids[cut], step.is_label[cut]) for cut in cuts])
    shown = []
    for span, cut in zip(first, cuts, strict=True):
        document = named.row(int(step.document[span]), named=True)
        shown.append(
            {
                "row": int(step.row[span]),
                "doc_id": id_text(document["doc_id"]),
                "source": role_label(document["source"], document["is_replay"]),
                "tokens": int(step.length[span]),
                "labels": int(step.is_label[cut].sum()),
                "parts": parts[span],
            }
        )
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
