"""Working on many shards at once: threads for kernels that release the GIL, processes for stages that hold it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker
from typing import TypeVar

from engine.base.errors import RecipeError, problem
from engine.base.progress import progress

Task = TypeVar("Task")
Result = TypeVar("Result")


def number_of_jobs(asked: int | None) -> int:
    """Return the number of workers for `--jobs`: what was asked for, or one per processor this process may use."""
    if asked is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if asked < 1:
        raise RecipeError(problem("--jobs", f"{asked}", "at least 1 worker"))
    return asked


def work(
    what: str, function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int, in_processes: bool = False
) -> list[Result]:
    """Return [function(task) for task in tasks], worked on by `jobs` workers, with a progress bar called `what`.

    `function` and the tasks must be picklable where `in_processes`. The first failure, and Ctrl-C, stop the rest.
    """
    with progress(what, total=len(tasks), unit="shards") as bar:
        if jobs == 1 or len(tasks) <= 1:
            results = []
            for task in tasks:
                results.append(function(task))
                bar.advance()
            return results
        executor = _executor(min(jobs, len(tasks)), in_processes)
        try:
            with _interrupts_held_back() if in_processes else nullcontext():
                futures = [executor.submit(function, task) for task in tasks]
            for future in futures:
                future.add_done_callback(lambda _: bar.advance())
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
            return [future.result() for future in futures]
        finally:
            executor.shutdown(cancel_futures=True)


def _executor(jobs: int, in_processes: bool) -> Executor:
    if in_processes:
        # Spawned, not forked: Polars and numba hold threads that do not survive a fork.
        return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    return ThreadPoolExecutor(jobs)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back while processes are started: they never see it, the caller gets it at the end.

    It is the parent's to answer: it stops the pool and says so once. Processes inherit the signal mask; an initializer
    that ignores the signal would come too late, after the child's imports. The mask does not cover the parent's other
    threads, so its handler is replaced too: broken off between spawn and hand-over, a child would be left without
    its task.
    """
    resource_tracker.ensure_running()  # its start ends with the mask lifted, so it must come first
    came: list[int] = []
    answers = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if answers else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if answers:
            signal.signal(signal.SIGINT, previous)
    if came:
        raise KeyboardInterrupt
