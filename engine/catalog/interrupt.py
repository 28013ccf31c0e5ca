"""Ctrl-C of a running query: DuckDB works in a thread while this one waits for it or for the user."""

import threading
from collections.abc import Callable
from typing import TypeVar

import duckdb

_WAIT_SECONDS = 0.05
T = TypeVar("T")


def interruptible(connection: duckdb.DuckDBPyConnection, work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises; KeyboardInterrupt once the query was stopped by Ctrl-C.

    connection: the one `work` asks, with nothing else at work on it.
    """
    # Within a query of the main thread Python sees the signal late and as another error.
    results: list[T] = []
    errors: list[BaseException] = []
    # Not `Thread.join`: one that Ctrl-C interrupts takes the thread for ended (Python 3.11).
    is_done = threading.Event()

    def answer() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            errors.append(error)
        finally:
            is_done.set()

    thread = threading.Thread(target=answer, name="query", daemon=True)
    thread.start()
    is_stopped = False
    while not is_done.is_set():
        try:
            if is_stopped:
                # Said again until it is heard: between two statements there is nothing to stop.
                connection.interrupt()
            is_done.wait(_WAIT_SECONDS)
        except KeyboardInterrupt:
            is_stopped = True
    if is_stopped:
        raise KeyboardInterrupt
    if errors:
        raise errors[0]
    return results[0]
