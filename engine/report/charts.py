"""Charts as inline SVG: horizontal bars, histograms, and lines with bands.

Every chart is drawn twice, for a wide column and for a phone, so letters keep their size instead of shrinking with the
picture. Colours are classes of the style sheet (`s0`..`s7` for series, named tones for meanings), so dark mode and
printing need no second drawing; series also differ by dash. Every mark carries its value as an SVG title, which
browsers show on hover without any script. All words are escaped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from engine.report.axis import Axis, axis, bounded_axis, whole_axis
from engine.report.svg import (
    Point,
    area,
    box,
    box_sample,
    dot,
    figure,
    fitted_text,
    frame,
    line_sample,
    path,
    place,
    text,
)  # fmt: skip

NUM_SERIES = 8
_LABELS_BESIDE = 600  # units of width from which a bar's label stands left of it, not above


@dataclass(frozen=True)
class Segment:
    """One coloured piece of a bar, in the unit of the chart; `lane` counts the lines of the bar from above."""

    start: float
    length: float
    tone: str
    hint: str
    lane: int = 0


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart: its name, its value in words, its pieces in the order they are painted."""

    label: str
    value: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Group:
    """One group of a histogram: a height per bin, in the unit of the y axis; `is_outline` draws steps, not columns."""

    name: str
    tone: str
    heights: tuple[float, ...]
    is_outline: bool = False


@dataclass(frozen=True)
class Line:
    """One series: x and y of equal length, and where known a band around y; points that are not finite leave a gap."""

    name: str
    tone: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Mark:
    """A reference line at one value of an axis, with its words."""

    value: float
    label: str


def series(position: int) -> str:
    """Return the tone of the series at `position`; beyond the palette the colours come again."""
    return f"s{position % NUM_SERIES}"


def bars(
    title: str, rows: Sequence[Bar], legend: Mapping[str, str] | None = None, top: float = 0.0, half: bool = False
) -> Markup:
    """Return horizontal bars; the longest, or `top` where that is more, fills the width. `legend`: tone -> meaning."""
    end = max([top, *(s.start + s.length for row in rows for s in row.segments)]) or 1.0
    lanes = 1 + max((s.lane for row in rows for s in row.segments), default=0)

    def draw(width: int) -> tuple[int, Markup]:
        beside = width >= _LABELS_BESIDE
        left, right = (200.0, width - 150.0) if beside else (0.0, float(width))
        thick = 14 if lanes == 1 and beside else 11
        step = thick * lanes + (14 if beside else 28)
        parts = []
        for number, row in enumerate(rows):
            y = number * step + (7 if beside else 20)
            words = y + thick * lanes / 2 + 4.5 if beside else y - 6
            parts.append(fitted_text(0, words, row.label, "label", 190 if beside else width - 130))
            parts.append(text(width, words, row.value, "value", "end"))
            for s in row.segments:
                # Something that is not nothing stays visible, however small its share is.
                length = max(s.length / end * (right - left), 1.5) if s.length or s.tone == "median" else 0
                corner = (left + s.start / end * (right - left), y + s.lane * thick)
                parts.append(box(s.tone, corner, (length, thick), s.hint))
        return len(rows) * step + 6, Markup("").join(parts)

    return figure(title, [(box_sample(tone), meaning) for tone, meaning in (legend or {}).items()], draw, half)


def histogram(
    title: str,
    edges: Sequence[float],
    groups: Sequence[Group],
    labels: tuple[str, str],
    mark: Mark | None = None,
    half: bool = False,
) -> Markup:
    """Return a histogram: `edges` are the n + 1 bounds of n bins, `labels` the words (with unit) of x and y axis."""
    tallest = max((height for group in groups for height in group.heights), default=0) or 1

    def draw(width: int) -> tuple[int, Markup]:
        height = 250 if width >= _LABELS_BESIDE else 230
        x, y = bounded_axis(edges[0], edges[-1], 46, width - 16), axis(0, tallest, height - 42, 24, 4)
        parts = [frame(x, y, labels)]
        for group in groups:
            parts.append(_steps(x, y, edges, group) if group.is_outline else Markup(""))
            parts += [_column(x, y, edges[i : i + 2], height, group) for i, height in enumerate(group.heights)]
        parts += [_vertical(x, y, mark)] if mark else []
        return height, Markup("").join(parts)

    samples = [((line_sample if group.is_outline else box_sample)(group.tone), group.name) for group in groups]
    return figure(title, samples if len(groups) > 1 else [], draw, half)


def lines(
    title: str,
    drawn: Sequence[Line],
    labels: tuple[str, str],
    marks: Sequence[Mark] = (),
    dots: bool = False,
    half: bool = False,
    note: str = "",
) -> Markup:
    """Return line charts over steps; `labels` are the words (with unit) of x and y axis, `dots` marks the points."""
    values = [v for line in drawn for v in (*line.y, *line.low, *line.high) if math.isfinite(v)]
    values += [mark.value for mark in marks]
    steps = [step for line in drawn for step in line.x]

    def draw(width: int) -> tuple[int, Markup]:
        height, num_ticks = (300, 6) if width >= _LABELS_BESIDE else (260, 4)
        y = axis(min(values, default=0), max(values, default=1), height - 42, 24, 5)
        x = whole_axis(min(steps, default=0), max(steps, default=1), 56, width - 16, num_ticks)
        parts = [frame(x, y, labels), *(_band(x, y, line) for line in drawn if line.low)]
        parts += [_curve(x, y, line) for line in drawn]
        parts += [point for line in drawn for point in _points(x, y, line, labels[0], dots)]
        parts += [_horizontal(x, y, mark) for mark in marks]
        return height, Markup("").join(parts)

    return figure(title, [(line_sample(line.tone), line.name) for line in drawn], draw, half, note)


def _column(x: Axis, y: Axis, bounds: Sequence[float], height: float, group: Group) -> Markup:
    corner = (x.at(bounds[0]) + 0.5, y.at(height))
    size = (max(x.at(bounds[1]) - x.at(bounds[0]) - 1, 0.5), max(y.start - y.at(height), 0.0))
    hint = f"{group.name}: {bounds[0]:g} to {bounds[1]:g}: {height:,.6g}"
    return box("hover" if group.is_outline else group.tone, corner, size, hint)


def _steps(x: Axis, y: Axis, edges: Sequence[float], group: Group) -> Markup:
    moves = [f"M{place(x.at(edges[0]))} {place(y.start)}"]
    moves += [f"V{place(y.at(height))}H{place(x.at(edges[i + 1]))}" for i, height in enumerate(group.heights)]
    return path(f"line {group.tone}", f"{''.join(moves)}V{place(y.start)}")


def _curve(x: Axis, y: Axis, line: Line) -> Markup:
    moves, pen_is_up = [], True
    for step, value in zip(line.x, line.y, strict=True):
        if math.isfinite(value):
            moves.append(f"{'M' if pen_is_up else 'L'}{place(x.at(step))} {place(y.at(value))}")
        pen_is_up = not math.isfinite(value)
    return path(f"line {line.tone}", "".join(moves))


def _band(x: Axis, y: Axis, line: Line) -> Markup:
    edges = zip(line.x, line.low, line.high, strict=True)
    known = [(step, low, high) for step, low, high in edges if math.isfinite(low) and math.isfinite(high)]
    upper: list[Point] = [(x.at(step), y.at(high)) for step, _, high in known]
    lower: list[Point] = [(x.at(step), y.at(low)) for step, low, _ in reversed(known)]
    return area(f"band {line.tone}", upper + lower)


def _points(x: Axis, y: Axis, line: Line, unit: str, dots: bool) -> list[Markup]:
    points = []
    for position, (step, value) in enumerate(zip(line.x, line.y, strict=True)):
        if math.isfinite(value):
            around = f" ({line.low[position]:.4f} to {line.high[position]:.4f})" if line.low else ""
            hint = f"{line.name}, {unit} {step:g}: {value:.4f}{around}"
            points.append(dot(line.tone if dots else "hover", (x.at(step), y.at(value)), 3 if dots else 6, hint))
    return points


def _horizontal(x: Axis, y: Axis, mark: Mark) -> Markup:
    line = path("mark", f"M{place(x.start)} {place(y.at(mark.value))}H{place(x.end)}")
    return line + text(x.start + 6, y.at(mark.value) - 5, mark.label, "marked")


def _vertical(x: Axis, y: Axis, mark: Mark) -> Markup:
    at = x.at(mark.value)
    is_right = at > (x.start + x.end) / 2
    line = path("mark", f"M{place(at)} {place(y.start)}V{place(y.end - 4)}")
    return line + text(at + (-5 if is_right else 5), y.end + 4, mark.label, "marked", "end" if is_right else "start")
