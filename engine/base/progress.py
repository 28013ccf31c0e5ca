"""Progress on stderr: bars in a terminal, plain lines elsewhere, nothing for work of under two seconds.

Nothing of this goes to stdout, so `--json` stays one object. Bars may nest and may be advanced from several threads.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_SECONDS = 2.0
LINE_EVERY_SECONDS = 10.0


class Bar:
    """One piece of work under way."""

    def __init__(self, what: str, total: int | None, unit: str) -> None:
        """`total` in `unit`; None where it is not known."""
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.note = ""
        self._lock = threading.Lock()
        self._started = self._last_line = time.monotonic()
        self._announcement = threading.Timer(QUIET_SECONDS, self._announce)
        self._announcement.daemon = True
        if not _display.shows_bars:
            self._announcement.start()

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Report `amount` more units done; `note` is shown beside the bar (a loss, a count)."""
        with self._lock:
            self.done += amount
            self.note = note or self.note
            now = time.monotonic()
            if not _display.shows_bars and now - self._last_line >= LINE_EVERY_SECONDS:
                self._last_line = now
                print(self._line(now), file=sys.stderr, flush=True)
        _display.update(self)

    def _line(self, now: float) -> str:
        of = f" of {self.total:,}" if self.total else ""
        left = ""
        if self.total and 0 < self.done < self.total:
            left = f", about {(now - self._started) / self.done * (self.total - self.done):,.0f} s left"
        note = f", {self.note}" if self.note else ""
        return f"{self.what}: {self.done:,}{of} {self.unit}, {now - self._started:,.0f} s{left}{note}"

    def _announce(self) -> None:
        if not self.done:
            print(f"{self.what} ...", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Stop saying anything; whoever did the work says what came of it."""
        self._announcement.cancel()


class _Display:
    """The one live display of the process: rich allows no second."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._live: object | None = None
        self._tasks: dict[int, object] = {}

    @property
    def shows_bars(self) -> bool:
        return sys.stderr.isatty()

    def open(self, bar: Bar) -> None:
        if not self.shows_bars:
            return
        with self._lock:
            if self._live is None:
                self._live = _rich_progress()
                self._live.start()  # type: ignore[attr-defined]
            self._tasks[id(bar)] = self._live.add_task(bar.what, total=bar.total, note="")  # type: ignore[attr-defined]

    def update(self, bar: Bar) -> None:
        with self._lock:
            if self._live is not None and id(bar) in self._tasks:
                self._live.update(self._tasks[id(bar)], completed=bar.done, note=bar.note)  # type: ignore[attr-defined]

    def close(self, bar: Bar) -> None:
        with self._lock:
            task = self._tasks.pop(id(bar), None)
            if self._live is None or task is None:
                return
            self._live.remove_task(task)  # type: ignore[attr-defined]
            if not self._tasks:
                self._live.stop()  # type: ignore[attr-defined]
                self._live = None


def _rich_progress() -> object:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )


_display = _Display()


@contextmanager
def progress(what: str, total: int | None = None, unit: str = "") -> Iterator[Bar]:
    """Show `what` while the block runs; call `advance` on the yielded bar as units get done."""
    bar = Bar(what, total, unit)
    _display.open(bar)
    try:
        yield bar
    finally:
        bar.close()
        _display.close(bar)


def say(line: str) -> None:
    """Print one line on stderr: a step that begins, a decision the user should see."""
    print(line, file=sys.stderr, flush=True)
