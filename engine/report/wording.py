"""How the page writes numbers: one form per kind of quantity, the same in sentences, tables and charts."""

import math
from collections.abc import Mapping
from typing import Any

MISSING = "-"
_BYTE_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_COUNT_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def count(number: int | None) -> str:
    """Return an integer with thousands separators: 12,345."""
    return MISSING if number is None else f"{number:,}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return an integer with its noun: 1 document, 12,345 documents."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def amount(num_bytes: int | None) -> str:
    """Return bytes in decimal units with three digits: 45.2 MB."""
    if num_bytes is None:
        return MISSING
    for size, unit in _BYTE_UNITS:
        if num_bytes >= size:
            return f"{_three_digits(num_bytes / size)} {unit}"
    return f"{num_bytes:,} B"


def brief(number: float) -> str:
    """Return a number for an axis: 0.25, 800, 12k, 3.5M."""
    for size, unit in _COUNT_UNITS:
        if abs(number) >= size:
            return f"{number / size:.4g}{unit}"
    return f"{number:.6g}"


def share(part: float, whole: float) -> str:
    """Return `part` of `whole` in percent: 12.3 %; never 0 % for something or 100 % for less than all."""
    if not whole:
        return MISSING
    percent = 100 * part / whole
    if 0 < percent < 0.05:
        return "<0.1 %"
    if percent >= 99.95 and part < whole:
        return ">99.9 %"
    return f"{percent:.1f} %"


def decimal(number: float | None, digits: int = 2) -> str:
    """Return a number with a fixed count of digits after the point, grouped by thousands; not-a-number is said."""
    if number is None:
        return MISSING
    return f"{number:,.{digits}f}" if math.isfinite(number) else "not finite"


def change(relative: float | None) -> str:
    """Return a relative change in percent with its sign: +1.23 %."""
    if relative is None:
        return MISSING
    return f"{100 * relative:+.2f} %" if math.isfinite(relative) else "not finite"


def interval(low: float | None, high: float | None) -> str:
    """Return a 95 % interval of relative changes: +0.50 to +1.90 %."""
    if low is None or high is None:
        return MISSING
    return f"{100 * low:+.2f} to {100 * high:+.2f} %"


def duration(seconds: float) -> str:
    """Return seconds as people say them: 12.3 s, 4 min 05 s, 2 h 07 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def listed(names: list[str]) -> str:
    """Return names as a phrase: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def settings(value: Any, place: str = "") -> list[tuple[str, str]]:
    """Return a nested configuration as (dotted key, value) rows, in its own order; keys without value are left out."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in settings(inner, f"{place}.{key}" if place else str(key))]
    if value is None or value == []:
        return []
    if isinstance(value, list | tuple):
        if any(isinstance(item, Mapping) for item in value):
            return [row for index, item in enumerate(value) for row in settings(item, f"{place}[{index}]")]
        return [(place, ", ".join(str(item) for item in value))]
    return [(place, str(value).lower() if isinstance(value, bool) else str(value))]


def _three_digits(number: float) -> str:
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:.0f}"
