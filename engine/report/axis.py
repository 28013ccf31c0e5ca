"""Scales and ticks: from numbers to places on a chart, with round labels."""

import math
from dataclasses import dataclass

from engine.report.wording import brief

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """A linear scale from [low, high] (data) to [start, end] (SVG units; start may be the larger)."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return the place of `value` in SVG units."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def label(self, tick: float) -> str:
        """Return the words of a tick, with as many digits as tell the ticks apart."""
        if max(abs(known) for known in self.ticks) >= 10_000:
            return brief(tick)
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else abs(tick)
        digits = 0
        while digits < 8 and abs(step * 10**digits - round(step * 10**digits)) > 1e-6:
            digits += 1
        return f"{tick + 0.0:.{digits}f}"


def axis(low: float, high: float, start: float, end: float, num_ticks: int = 5) -> Axis:
    """Return a scale that holds [low, high], widened to round numbers, with about `num_ticks` ticks.

    Raises ValueError (our bug) for bounds that are not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"an axis from {low} to {high}")
    if high <= low:
        low, high = low - (abs(low) * 0.1 or 0.5), low + (abs(low) * 0.1 or 0.5)
    step = _round_step((high - low) / num_ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(number * step, 10) for number in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], start, end, ticks)


def bounded_axis(low: float, high: float, start: float, end: float, num_ticks: int = 5) -> Axis:
    """Return a scale from exactly `low` to exactly `high`; the ticks are the round numbers between them."""
    high = high if high > low else low + 1
    ticks = axis(low, high, start, end, num_ticks).ticks
    return Axis(low, high, start, end, tuple(tick for tick in ticks if low - 1e-9 <= tick <= high + 1e-9))


def whole_axis(low: float, high: float, start: float, end: float, num_ticks: int = 5) -> Axis:
    """Return a scale from exactly `low` to exactly `high` whose ticks are whole numbers: steps, counts."""
    found = bounded_axis(low, high, start, end, num_ticks)
    return Axis(found.low, found.high, start, end, tuple(t for t in found.ticks if t == int(t)) or (found.low,))


def _round_step(rough: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(step * magnitude for step in _STEPS if step * magnitude >= rough * (1 - 1e-9))
