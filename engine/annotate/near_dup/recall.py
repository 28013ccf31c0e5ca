"""A measured share with its interval: so many of so many pairs were found."""

from dataclasses import dataclass
from math import sqrt

_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Recall:
    """found of `pairs`."""

    pairs: int
    found: int

    @property
    def share(self) -> float | None:
        """Share of the pairs that is found; None without pairs."""
        return self.found / self.pairs if self.pairs else None

    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the share (Wilson 1927); None without pairs."""
        if not self.pairs:
            return None
        n, z = self.pairs, _NORMAL_95
        share = self.found / n
        middle, half = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))

    def as_json(self, name: str = "pairs") -> dict[str, object]:
        """Return the figures for reports, `name` for the number of pairs; shares in 1e-4."""
        interval = self.interval()
        return {
            name: self.pairs,
            "found": self.found,
            "share": None if self.share is None else round(self.share, 4),
            "interval_95": None if interval is None else [round(bound, 4) for bound in interval],
        }
