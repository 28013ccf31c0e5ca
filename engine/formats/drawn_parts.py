"""Parts of a span (engine.formats.token_parts) drawn for a terminal: labels in colour, or what is none in brackets.

Stands in `formats` because `provender show` and the preview of a training run draw the same.
"""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from engine.base.terminal import one_line, wrapped

if TYPE_CHECKING:
    from rich.text import Text

LABEL, NO_LABEL, TOKEN = "green", "dim", "magenta"
NO_LABEL_BRACKETS = ("\u27e6", "\u27e7")
TOKEN_BRACKETS = ("\u2039", "\u203a")


def legend(width: int, is_coloured: bool) -> str:
    """Return what the colours or the brackets mean, for a terminal of `width` columns."""
    if not is_coloured:
        no_label, token = (" ".join(pair) for pair in (NO_LABEL_BRACKETS, TOKEN_BRACKETS))
        return wrapped(f"{no_label} no label, {token} a token that is no text; all else is labels", width)
    return _drawn(_styled([("a label", LABEL), ("  no label", NO_LABEL), ("  a token", TOKEN)]), width, True)


def drawn_parts(
    parts: Sequence[Mapping[str, Any]], width: int, is_coloured: bool, limit: int | None = None
) -> list[str]:
    """Return the lines of a span's text, its line breaks kept, behind four spaces.

    parts: of engine.formats.token_parts; limit: characters shown, None for all.
    """
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
