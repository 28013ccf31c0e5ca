"""The rows of a step as text for a terminal: labels in colour, or all that is no label in brackets."""

import sys
from collections.abc import Mapping
from typing import Any

from engine.base.terminal import has_colours, terminal_width, wrapped
from engine.formats.drawn_parts import drawn_parts, legend
from engine.formats.manifest import role_label

SHOWN_CHARS = 240
"""Characters of a span's text where the whole step is shown; a row that is asked for is shown whole."""


def show_step(result: Mapping[str, Any], width: int | None = None, is_coloured: bool | None = None) -> str:
    """Return what `show` returned as text of `width` columns (default: this terminal's), in colour where there is."""
    width = width or terminal_width()
    is_coloured = has_colours(sys.stdout) if is_coloured is None else is_coloured
    lines = [wrapped(line, width) for line in _head(result)]
    lines += [wrapped(f"{_source(one)}: {_amounts(one)}", width, 2) for one in result["sources"]]
    lines += [legend(width, is_coloured)]
    limit = SHOWN_CHARS if result["row"] is None else None
    for row in result["rows"]:
        lines.append(f"row {row['row']}: {row['tokens']:,} of {result['row_tokens']:,} tokens")
        for span in row["spans"]:
            lines.append(wrapped(_span(span), width, 2))
            lines += drawn_parts(span["parts"], width, is_coloured, limit)
    return "\n".join(line for line in lines if line)


def _head(result: Mapping[str, Any]) -> list[str]:
    of_run = f"{result['run']}, " if result["run"] is not None else ""
    steps = f"step {result['step']:,} of {result['num_steps']:,}"
    place = f"mixture {result['mixture']}"
    told = f"{result['tokens']:,} tokens, {result['supervised_tokens']:,} of them labels"
    if result["loss"] is not None:
        told += f", loss {result['loss']:.4f}"
        told += f", learning rate {result['learning_rate']:.3g}" if result["learning_rate"] is not None else ""
    elif result["run"] is not None:
        told += "; the run has no metrics of this step"
    lines = [f"{of_run}{steps}, {place}", told]
    if result["is_also_a_mixture"]:
        name = result["run"]
        lines.append(f"{name} is a run and a mixture: this is the run, {name}@latest the mixture")
    return lines


def _source(one: Mapping[str, Any]) -> str:
    return role_label(one["source"], one["is_replay"])


def _amounts(one: Mapping[str, Any]) -> str:
    loss = f", loss {one['loss']:.4f}" if one["loss"] is not None else ""
    return f"{one['tokens']:,} tokens, {one['supervised_tokens']:,} labels{loss}"


def _span(span: Mapping[str, Any]) -> str:
    end, last = span["start"] + span["length"], span["document_start"] + span["length"]
    is_whole = span["length"] == span["num_tokens"]
    what = "whole" if is_whole else f"its tokens {span['document_start']:,} to {last - 1:,} of {span['num_tokens']:,}"
    use = f", use {span['repeat'] + 1} of {span['repeats']}" if span["repeats"] > 1 else ""
    where = f"tokens {span['start']:,} to {end - 1:,}"
    return f"{where}: {span['doc_id']} of {_source(span)}, {what}{use}, {span['supervised_tokens']:,} labels"
