"""Edits of a text: spans that stages cut out of it and spans they replace, all as bytes of the text as it was read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine.text.spans import merged_spans, moved_spans, with_replacements, without_spans


@dataclass
class Edits:
    """What stages want changed in one text."""

    cuts: list[tuple[int, int]] = field(default_factory=list)
    """(start, end)"""
    replacements: list[tuple[int, int, str]] = field(default_factory=list)
    """(start, end, what stands there instead)"""

    def applied(self, text: str) -> str:
        """Return the text as it is rendered; "" where no word is left of it.

        What lies in a cut is not replaced. Of replacements that overlap the one that begins first stands, of those
        that begin together the longest.
        """
        chosen = list(self._chosen())
        replaced = with_replacements(text, chosen) if chosen else text
        return without_spans(replaced, moved_spans(self.cuts, chosen)) if self.cuts else replaced

    def of_parts(self, sizes: Sequence[int], gap: int) -> "list[Edits]":
        """Return the edits of each part of a text that is parts of these sizes with `gap` bytes between them.

        A cut over several parts is one in each; what replaces a span over several stands in the first of them.
        """
        found: list[Edits] = []
        chosen, start = list(self._chosen()), 0
        for size in sizes:
            end = start + size
            part = Edits([(max(a, start) - start, min(b, end) - start) for a, b in self.cuts if a < end and start < b])
            part.replacements = [
                (max(a, start) - start, min(b, end) - start, instead if a >= start else "")
                for a, b, instead in chosen
                if a < end and start < b
            ]
            found.append(part)
            start = end + gap
        return found

    def cut_bytes(self, text: str) -> int:
        """Return the bytes of the text that cutting takes away."""
        return len(text.encode()) - len(without_spans(text, self.cuts).encode()) if self.cuts else 0

    def _chosen(self) -> Iterator[tuple[int, int, str]]:
        cuts, place = merged_spans(self.cuts), 0
        for start, end, replacement in sorted(self.replacements, key=lambda one: (one[0], -one[1], one[2])):
            if start >= place and not any(first < end and start < last for first, last in cuts):
                yield start, end, replacement
                place = end
