import os
import resource
from typing import Any

import pytest
import torch

from engine.base.errors import ResourceError
from trainers.out_of_memory import told_what_would_fit, what_would_fit
from trainers.recipe import TrainRecipe


def recipe(**changes: Any) -> TrainRecipe:
    return TrainRecipe.model_validate({"name": "t", "mixture": "m", "base": {"tiny": {}}} | changes)


def test_allocation_that_fails_says_what_would_fit() -> None:
    with pytest.raises(ResourceError) as raised, told_what_would_fit(recipe(), 8, is_checkpointing=False):
        torch.empty(1 << 58, dtype=torch.uint8)
    assert "t: out of memory (" in str(raised.value)
    assert "set micro_batch_rows: 4 (it is 8); or set gradient_checkpointing: true; or " in str(raised.value)


def test_limit_of_the_process_is_told_too() -> None:
    child = os.fork()
    if child == 0:
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: PTH123, SIM115
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 26), used + (1 << 26)))
        try:
            with told_what_would_fit(recipe(), 8, is_checkpointing=False):
                torch.ones(1 << 28)
        except ResourceError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_every_kind_of_it_is_known(error: Exception) -> None:
    with pytest.raises(ResourceError, match="out of memory"), told_what_would_fit(recipe(), 8, is_checkpointing=True):
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), told_what_would_fit(recipe(), 8, is_checkpointing=True):
        raise RuntimeError("shapes cannot be multiplied")


@pytest.mark.parametrize(
    ("changes", "is_checkpointing", "expected"),
    [
        ({"micro_batch_rows": 3, "tuning": {"method": "qlora"}}, True, ["set micro_batch_rows: 1 (it is 3)"]),
        (
            {"micro_batch_rows": 1, "tuning": {"method": "lora"}},
            False,
            ["set gradient_checkpointing: true", "set tuning.method: qlora"],
        ),
        ({"micro_batch_rows": 1, "optimizer": {"kind": "adamw_8bit"}}, True, ["set tuning.method: qlora"]),
    ],
)
def test_only_what_is_not_done_yet_is_proposed(
    changes: dict[str, Any], is_checkpointing: bool, expected: list[str]
) -> None:
    assert what_would_fit(recipe(**changes), 8, is_checkpointing) == expected
