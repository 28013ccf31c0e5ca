"""The rows of a step as text for a terminal: labels in colour, or all that is no label in brackets."""

import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from engine.base.terminal import has_colours, one_line, terminal_width, wrapped
from engine.formats.manifest import role_label

if TYPE_CHECKING:
    from rich.text import Text

SHOWN_CHARS = 240
"""Characters of a span's text where the whole step is shown; a row that is asked for is shown whole."""
LABEL, NO_LABEL, TOKEN = "green", "dim", "magenta"
NO_LABEL_BRACKETS = ("\u27e6", "\u27e7")
TOKEN_BRACKETS = ("\u2039", "\u203a")


def show_step(result: Mapping[str, Any], width: int | None = None, is_coloured: bool | None = None) -> str:
    """Return what `show` returned as text of `width` columns (default: this terminal's), in colour where there is."""
    width = width or terminal_width()
    is_coloured = has_colours(sys.stdout) if is_coloured is None else is_coloured
    lines = [wrapped(line, width) for line in _head(result)]
    lines += [wrapped(f"{_source(one)}: {_amounts(one)}", width, 2) for one in result["sources"]]
    lines += [_legend(width, is_coloured)]
    limit = SHOWN_CHARS if result["row"] is None else None
    for row in result["rows"]:
        lines.append(f"row {row['row']}: {row['tokens']:,} of {result['row_tokens']:,} tokens")
        for span in row["spans"]:
            lines.append(wrapped(_span(span), width, 2))
            lines += _text(span["parts"], width, is_coloured, limit)
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


def _legend(width: int, is_coloured: bool) -> str:
    if not is_coloured:
        no_label, token = (" ".join(pair) for pair in (NO_LABEL_BRACKETS, TOKEN_BRACKETS))
        return wrapped(f"{no_label} no label, {token} a token that is no text; all else is labels", width)
    return _drawn(_styled([("a label", LABEL), ("  no label", NO_LABEL), ("  a token", TOKEN)]), width, True)


def _text(parts: Sequence[Mapping[str, Any]], width: int, is_coloured: bool, limit: int | None) -> list[str]:
    """Return the lines of a span's text, its line breaks kept, behind four spaces."""
    pieces, left = [], limit
    total = sum(len(part["text"]) for part in parts)
    for part in parts:
        shown = part["text"] if left is None else part["text"][:left]
        left = None if left is None else left - len(shown)
        if shown:
            pieces.append(_marked(_clean(shown), part, is_coloured))
    if limit is not None and total > limit:
        pieces.append((f" ... (+{total - limit:,} characters)", NO_LABEL))
    drawn = _drawn(_styled(pieces), max(width - 4, 16), is_coloured)
    return [f"    {line}" for line in drawn.split("\n") if line.strip()]


def _clean(text: str) -> str:
    return "\n".join(one_line(line) for line in text.expandtabs(4).split("\n"))


def _marked(text: str, part: Mapping[str, Any], is_coloured: bool) -> tuple[str, str]:
    """Return a part's text and its style; without colours what is no label, and tokens, stand in brackets."""
    if is_coloured:
        return text, TOKEN if part["special"] else LABEL if part["supervised"] else NO_LABEL
    for is_so, (start, end) in ((part["special"], TOKEN_BRACKETS), (not part["supervised"], NO_LABEL_BRACKETS)):
        text = f"{start}{text}{end}" if is_so else text
    return text, ""


def _styled(pieces: Sequence[tuple[str, str]]) -> "Text":
    from rich.text import Text

    text = Text()
    for shown, style in pieces:
        text.append(shown, style)
    return text


def _drawn(text: "Text", width: int, is_coloured: bool) -> str:
    from rich.console import Console

    console = Console(
        file=StringIO(),
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=is_coloured,
        color_system="standard" if is_coloured else None,
        no_color=not is_coloured,
        legacy_windows=False,
    )
    console.print(text, overflow="fold")
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in written.splitlines())
