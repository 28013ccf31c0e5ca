"""The pieces of a chart as SVG: text, boxes, paths, the frame around them; every word is escaped here."""

from collections.abc import Callable, Sequence

from markupsafe import Markup

from engine.report.axis import Axis

WIDE, HALF, NARROW = 840, 408, 350
"""Widths a chart is drawn in, in units of about one CSS pixel."""
_LETTER = 6.7  # mean advance of a 12.5-unit sans-serif letter

Point = tuple[float, float]


def figure(
    title: str,
    samples: Sequence[tuple[Markup, str]],
    draw: Callable[[int], tuple[int, Markup]],
    half: bool = False,
    note: str = "",
) -> Markup:
    """Return a chart with caption, legend and note, drawn once for a wide column and once for a phone.

    `draw` takes a width and returns (height, content); the style sheet shows one of the two drawings.
    """
    items = Markup("").join(
        Markup("<li>{}{}</li>").format(sample, name.replace(" %", "\u00a0%")) for sample, name in samples
    )
    legend = Markup('<ul class="legend">{}</ul>').format(items) if samples else Markup("")
    drawings = []
    for kind, width in (("wide", HALF if half else WIDE), ("narrow", NARROW)):
        height, content = draw(width)
        drawing = '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        drawings.append(Markup(drawing).format(kind, width, height, title, content))
    below = Markup('<p class="note">{}</p>').format(note) if note else Markup("")
    caption = Markup("<figcaption>{}</figcaption>").format(title)
    return Markup("<figure>{}{}{}{}</figure>").format(caption, legend, Markup("").join(drawings), below)


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> Markup:
    """Return a line of text; `kind` is its class in the style sheet."""
    line = '<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>'
    return Markup(line).format(kind, place(x), place(y), anchor, words)


def fitted_text(x: float, y: float, words: str, kind: str, width: float) -> Markup:
    """Return a line of text that loses its middle where it is longer than about `width`; the whole shows on hover."""
    limit = int(width / _LETTER)
    if len(words) <= limit:
        return text(x, y, words, kind)
    tail = (limit - 3) // 2
    line = '<text class="{}" x="{}" y="{}">{}...{}<title>{}</title></text>'
    return Markup(line).format(kind, place(x), place(y), words[: limit - 3 - tail], words[-tail:], words)


def box(tone: str, corner: Point, size: tuple[float, float], hint: str) -> Markup:
    """Return a filled box with a hint on hover; `corner` is the upper left one, `size` is (width, height)."""
    shape = '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
    return Markup(shape).format(tone, *map(place, (*corner, *size)), hint)


def dot(tone: str, centre: Point, radius: float, hint: str) -> Markup:
    """Return a disc with a hint on hover."""
    shape = '<circle class="dot {}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>'
    return Markup(shape).format(tone, *map(place, (*centre, radius)), hint)


def path(kind: str, moves: str) -> Markup:
    """Return a path; `moves` are SVG path commands."""
    return Markup('<path class="{}" d="{}"/>').format(kind, moves)


def area(kind: str, corners: Sequence[Point]) -> Markup:
    """Return a filled polygon."""
    points = " ".join(f"{place(x)},{place(y)}" for x, y in corners)
    return Markup('<polygon class="{}" points="{}"/>').format(kind, points)


def frame(x: Axis, y: Axis, labels: tuple[str, str]) -> Markup:
    """Return grid, axes, ticks and the words of the two axes; y ticks are grid lines."""
    parts = []
    for tick in y.ticks:
        parts.append(path("grid", f"M{place(x.start)} {place(y.at(tick))}H{place(x.end)}"))
        parts.append(text(x.start - 7, y.at(tick) + 4, y.label(tick), "tick", "end"))
    for tick in x.ticks:
        parts.append(path("axis", f"M{place(x.at(tick))} {place(y.start)}v5"))
        parts.append(text(x.at(tick), y.start + 18, x.label(tick), "tick", "middle"))
    parts.append(path("axis", f"M{place(x.start)} {place(y.start)}H{place(x.end)}"))
    parts.append(text((x.start + x.end) / 2, y.start + 36, labels[0], "tick", "middle"))
    parts.append(text(0, 11, labels[1], "tick"))
    return Markup("").join(parts)


def line_sample(tone: str) -> Markup:
    """Return the legend's sample of a line."""
    return Markup('<svg class="sample" viewBox="0 0 26 10"><path class="line {}" d="M1 5H25"/></svg>').format(tone)


def box_sample(tone: str) -> Markup:
    """Return the legend's sample of a box."""
    return Markup('<svg class="sample box" viewBox="0 0 12 12"><rect class="{}" width="12" height="12"/></svg>').format(
        tone
    )


def place(number: float) -> str:
    """Return a coordinate with one digit after the point, none where it is whole."""
    return f"{number:.1f}".removesuffix(".0")
