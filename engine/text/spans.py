"""Spans of a text, the text with others in their place, and without them: as if they had never been there.

What is cut out (`without_spans`):

- Two spans of one item with less than a line (80 bytes) between them were made one (search.py): what stands between is
  the rest of that item, a word of it that was changed, a label before its answer. What stands between items stays.
- Punctuation that was put around it goes with it: quotes, brackets, emphasis, the question mark. So does what is left
  of its line where no letter or digit is left in that: a bullet, the sign of a quote.
- What stood before and behind is joined by a blank line where there was one, else by a line break, else by a space
  (where there was no white space at all, by nothing); the indentation of what follows stays. The rest is untouched.
"""

import re
from collections.abc import Iterable, Iterator

import polars as pl

SPAN = pl.Struct({"start": pl.UInt32, "end": pl.UInt32})
"""A span as a column holds it: bytes of the UTF-8 text, from `start` to before `end`, between characters."""
LINE_BYTES = 80
_WORD = re.compile(r"[^\W_]")
_BEFORE = re.compile(r"(?:(?<=\s)|^)(?:[^\w\s]|_)+$")
_BEHIND = re.compile(r"^(?:[^\w\s]|_)+")


def holds_spans(dtype: pl.DataType | type[pl.DataType]) -> bool:
    """Return whether a column of this type holds lists of spans, whatever else they carry."""
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        return False
    return {"start", "end"} <= {field.name for field in dtype.inner.fields}


def merged_spans(spans: Iterable[tuple[int, int]], gap: int = 1) -> list[tuple[int, int]]:
    """Return spans (start, end) in order, those less than `gap` bytes apart as one; by default those that touch."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1] + gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def without_spans(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return a text without some spans (bytes of its UTF-8), tidied where they were; "" where no word is left."""
    pieces = list(_between(text.encode(), spans))
    done: list[str] = []
    left = pieces[0]
    for right in pieces[1:]:
        before, behind = _seam(left, right)
        body, rest = before.rstrip(), behind.lstrip()
        white, white_behind = before[len(body) :], behind[: len(behind) - len(rest)]
        if body and rest:
            done.append(body + _joint(white, white_behind))
        # White space alone waits for what comes next.
        left = rest if rest or not body else body + white + white_behind
    if len(pieces) > 1 and not rest:
        left = left.rstrip() + ("\n" if text.endswith("\n") else "")
    result = "".join([*done, left])
    return result if _WORD.search(result) else ""


def with_replacements(text: str, replacements: Iterable[tuple[int, int, str]]) -> str:
    """Return a text with other words in place of some spans: (start, end, replacement), bytes of its UTF-8.

    Raises ValueError where two spans overlap, one is empty or one lies outside the text.
    """
    data, place = text.encode(), 0
    pieces: list[bytes] = []
    for start, end, replacement in sorted(replacements):
        if not place <= start < end <= len(data):
            raise ValueError(f"span {start}-{end} overlaps another, is empty or is not in a text of {len(data)} bytes")
        pieces += (data[place:start], replacement.encode())
        place = end
    return b"".join([*pieces, data[place:]]).decode()


def moved_spans(
    spans: Iterable[tuple[int, int]], replacements: Iterable[tuple[int, int, str]]
) -> list[tuple[int, int]]:
    """Return where spans of a text are in what `with_replacements` makes of it.

    A span that ends inside of a replaced one takes the whole replacement in.

    With it a text can have replacements and lose spans, both found in what it was:
    without_spans(with_replacements(text, r), moved_spans(spans, r)).
    """
    ordered = sorted(replacements)
    return [(_moved(start, ordered, 0), _moved(end, ordered, 1)) for start, end in spans]


def _moved(place: int, replacements: list[tuple[int, int, str]], is_end: int) -> int:
    shift = 0
    for start, end, replacement in replacements:
        length = len(replacement.encode())
        if end <= place:
            shift += length - (end - start)
        elif start < place:
            return start + shift + length * is_end
    return place + shift


def _between(text: bytes, spans: Iterable[tuple[int, int]]) -> Iterator[str]:
    """Yield what stands before, between and behind the spans; those that touch are one."""
    place = 0
    for start, end in merged_spans(spans):
        yield text[place:start].decode()
        place = end
    yield text[place:].decode()


def _seam(left: str, right: str) -> tuple[str, str]:
    """Return what stands before and behind a cut without the punctuation around it."""
    left, right = _BEFORE.sub("", left), _BEHIND.sub("", right)
    line, line_behind = left[left.rfind("\n") + 1 :], right.partition("\n")[0]
    if not _WORD.search(line) and not _WORD.search(line_behind) and (line + line_behind).strip():
        return left[: len(left) - len(line)], right[len(line_behind) :]
    return left, right


def _joint(white: str, white_behind: str) -> str:
    """Return what joins two pieces that had this white space between each of them and the cut."""
    breaks = min(max(white.count("\n"), white_behind.count("\n")), 2)
    if not breaks:
        return " " if white or white_behind else ""
    line_break = "\r\n" if "\r\n" in white + white_behind else "\n"
    indented = white_behind if "\n" in white_behind else white
    return line_break * breaks + indented[indented.rfind("\n") + 1 :]
