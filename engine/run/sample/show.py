"""The documents of a sample on a terminal: who they are, what became of them, and the beginning of their text."""

import sys
from typing import Any

from engine.base.terminal import has_colours, one_line, styled, terminal_width, wrapped, wrapped_lines
from engine.formats.labels import in_words
from engine.formats.selection import DROPPED, HELD_OUT, KEPT, OVER_BUDGET

BEGINNING_CHARS = 500
WIDEST = 100
"""Columns a text takes at most: longer lines are hard to read."""
AS_READ = "Texts are shown as they were read; what stages cut or replace is changed only where a text is rendered."
_STYLES = {KEPT: "green", DROPPED: "red", OVER_BUDGET: "yellow", HELD_OUT: "magenta"}


def show_sample(result: dict[str, Any], width: int | None = None) -> str:
    """Return what `sample` returned as text for a terminal of `width` columns (default: this one's)."""
    width, is_coloured = width or terminal_width(), has_colours(sys.stdout)
    if result.get("labelled") is not None:
        return wrapped(_labelled(result["labelled"]), width)
    if result.get("html") is not None:
        return f"{_count(len(result['documents']))}: {result['html']}"
    lines = [line for document in result["documents"] for line in document_lines(document, result, width, is_coloured)]
    spread = f" spread over {result['by']}" if result["by"] else ""
    count = _count(len(result["documents"]))
    lines += [wrapped(f"({count}{spread}; `provender explain DOC_ID` tells more)", width), wrapped(AS_READ, width)]
    if result["labels_problem"] is not None:
        lines.append(wrapped(f"labels are not shown: {result['labels_problem']}", width))
    return "\n".join(lines)


def document_lines(
    document: dict[str, Any], result: dict[str, Any], width: int, is_coloured: bool, chars: int = BEGINNING_CHARS
) -> list[str]:
    """Return the lines of one document of what `sample` returned, with the first `chars` characters of its text."""
    reason = "" if document["reason"] is None else f": {document['reason']}"
    decision = styled(one_line(f"{document['decision']}{reason}"), _STYLES[document["decision"]], is_coloured)
    source = styled(f"--- {one_line(document['source'])}", "bold", is_coloured)
    lines = [f"{source}  {decision}", wrapped(_facts(document, result["by"]), width)]
    if document["label"] is not None:
        lines.append(wrapped(in_words(document["label"]), width))
    shown = (document["text"] or "")[:chars]
    lines += wrapped_lines(shown, min(width, WIDEST), 2) or ["  (no text)"]
    if document["num_chars"] > chars:
        lines.append(wrapped(f"... (+{document['num_chars'] - chars:,} characters)", width, 2))
    return [*lines, ""]


def _facts(document: dict[str, Any], by: str | None) -> str:
    facts = [document["doc_id"], f"{document['num_chars']:,} characters"]
    facts += [f"{by} {document['score']}"] if by else []
    facts += [f"tagged {', '.join(document['tags'])}"] if document["tags"] else []
    facts += [f"{name} {value}" for name, value in document["columns"].items()]
    return one_line(", ".join([*facts, *([document["url"]] if document["url"] else [])]))


def _labelled(counts: dict[str, int]) -> str:
    known = f"; {counts['known']:,} had one already" if counts["known"] else ""
    left = f"; {counts['left']:,} not asked about" if counts["left"] else ""
    return f"{counts['good']:,} labelled good, {counts['bad']:,} bad, {counts['skipped']:,} skipped{known}{left}"


def _count(number: int) -> str:
    return f"{number:,} document{'' if number == 1 else 's'}"
