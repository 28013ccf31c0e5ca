"""Work comes back in the order of the tasks, for any number of workers; the first failure is raised."""

import pytest

from engine.base.errors import RecipeError
from engine.run.workers import number_of_jobs, work


def double(task: int) -> int:
    return 2 * task


@pytest.mark.parametrize(("jobs", "in_processes"), [(1, False), (3, False), (2, True)])
def test_results_stand_in_the_order_of_the_tasks(jobs: int, in_processes: bool) -> None:
    assert work("double", double, range(5), jobs, in_processes) == [0, 2, 4, 6, 8]


def test_a_failure_is_raised() -> None:
    def fail(task: int) -> int:
        raise ValueError(f"task {task}")

    with pytest.raises(ValueError, match="task"):
        work("fail", fail, [1, 2, 3], 2)


def test_no_worker_is_an_error() -> None:
    with pytest.raises(RecipeError, match="at least 1 worker"):
        number_of_jobs(0)
