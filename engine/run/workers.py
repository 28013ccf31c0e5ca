"""Working on many shards at once: threads for kernels that release the GIL, processes for stages that hold it."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait
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

    `function` and the tasks must be picklable where `in_processes`. The first failure stops the rest and is raised.
    """
    with progress(what, total=len(tasks), unit="shards") as bar:
        if jobs == 1 or len(tasks) <= 1:
            results = []
            for task in tasks:
                results.append(function(task))
                bar.advance()
            return results
        with _executor(min(jobs, len(tasks)), in_processes) as executor:
            futures = [executor.submit(function, task) for task in tasks]
            for future in futures:
                future.add_done_callback(lambda _: bar.advance())
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                for future in futures:
                    future.cancel()
            failed = [f for f in futures if f.done() and not f.cancelled() and f.exception() is not None]
            if failed:
                failed[0].result()
            return [future.result() for future in futures]


def _executor(jobs: int, in_processes: bool) -> Executor:
    if in_processes:
        # Spawned, not forked: Polars and numba hold threads that do not survive a fork.
        # Ctrl-C is for the parent to answer: it stops the pool, and says so once.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(jobs, context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    return ThreadPoolExecutor(jobs)
