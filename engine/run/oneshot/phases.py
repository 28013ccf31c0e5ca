"""Where the time of a run went: seconds by phase."""

import time


class Phases:
    """Wall-clock seconds of one phase after the other."""

    def __init__(self) -> None:
        """The first phase begins now."""
        self._seconds: dict[str, float] = {}
        self._started = self._last = time.monotonic()

    def end(self, name: str) -> None:
        """End the phase that is under way."""
        now = time.monotonic()
        self._seconds[name] = now - self._last
        self._last = now

    def take(self, seconds: dict[str, float]) -> None:
        """Take over phases somebody else has timed; they end now."""
        self._seconds |= seconds
        self._last = time.monotonic()

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each phase and their total so far."""
        total = time.monotonic() - self._started
        return {name: round(spent, 3) for name, spent in self._seconds.items()} | {"total": round(total, 3)}

    def rate(self, num_bytes: int) -> float:
        """Return megabytes per second so far."""
        return round(num_bytes / 1e6 / max(time.monotonic() - self._started, 1e-3), 2)
