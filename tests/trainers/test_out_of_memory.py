import os
import resource
from typing import Any

import pytest
import torch

from engine.base.errors import ResourceError
from trainers.out_of_memory import changed, smaller, told, told_what_would_fit
from trainers.recipe import TrainRecipe


def recipe(**changes: Any) -> TrainRecipe:
    return TrainRecipe.model_validate({"name": "t", "mixture": "m", "base": {"tiny": {}}} | changes)


def test_allocation_that_fails_says_what_would_fit() -> None:
    with pytest.raises(ResourceError) as raised, told_what_would_fit(recipe(), 8, is_checkpointing=False):
        torch.empty(1 << 58, dtype=torch.uint8)
    assert "t: out of memory (" in str(raised.value)
    ways = (
        "micro_batch_rows: 4; or micro_batch_rows: 1; or gradient_checkpointing: true; or optimizer: {kind: adamw_8bit}"
    )
    assert f"Fix: set {ways}; or tuning: {{method: qlora}}; and train under another --name." in str(raised.value)


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
        ({"micro_batch_rows": 3, "tuning": {"method": "qlora"}}, True, ["micro_batch_rows: 1"]),
        (
            {"micro_batch_rows": 1, "tuning": {"method": "lora"}},
            False,
            ["gradient_checkpointing: true", "tuning: {method: qlora}"],
        ),
        ({"micro_batch_rows": 1, "optimizer": {"kind": "adamw_8bit"}}, True, ["tuning: {method: qlora}"]),
        ({"micro_batch_rows": 1, "parallel": "fsdp"}, True, []),
        ({"micro_batch_rows": 1, "tuning": {"method": "prefix"}}, False, []),
        ({"micro_batch_rows": 1, "freezing": {"blocks": 1}}, True, ["optimizer: {kind: adamw_8bit}"]),
    ],
)
def test_only_what_is_possible_and_not_done_yet_is_proposed(
    changes: dict[str, Any], is_checkpointing: bool, expected: list[str]
) -> None:
    given = recipe(**changes)
    assert [told(one) for one in smaller(given, 8, is_checkpointing) if changed(given, one)] == expected


def test_change_of_a_section_keeps_the_rest_of_it() -> None:
    made = changed(recipe(tuning={"method": "lora", "r": 4}), {"tuning": {"method": "qlora"}, "max_steps": 3})
    assert made == recipe(tuning={"method": "qlora", "r": 4}, max_steps=3)
