from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import RecipeError
from trainers.recipe import TrainRecipe, load_train_recipe

SHIPPED = sorted(Path(str(files("trainers.recipes"))).glob("*.yaml"))


def test_every_mistake_is_told_at_once(recipe: Callable[..., Path]) -> None:
    path = recipe(
        base={"tiny": {}, "run": "x"},
        objective="grpo",
        tuning={"method": "full", "r": 8},
        optimizer={"lerning_rate": 1},
        probes={"general": ["a"], "domain": ["a"]},
        max_steps=0,
    )
    with pytest.raises(RecipeError) as error:
        load_train_recipe(path)
    assert str(error.value).splitlines() == [
        "tiny.yaml: base: names tiny and run. Needed: exactly one of tiny, model, path, run.",
        "tiny.yaml: objective: got 'grpo'. Needed: 'dapt' or 'sft'.",
        "tiny.yaml: tuning: r given with method full. Needed: method lora or qlora, or no r.",
        "tiny.yaml: optimizer.lerning_rate: unknown key. Fix: did you mean 'learning_rate'?",
        "tiny.yaml: max_steps: got 0. Needed: greater than 0.",
        "tiny.yaml: probes: a listed twice. Needed: each once, general, domain or benchmarks.",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": {}}, "names nothing. Needed: exactly one of tiny, model, path, run"),
        ({"base": {"tiny": {"hidden_size": 30, "heads": 4}}}, "4 heads in hidden_size 30"),
        ({"objective": "dpo"}, "objective: got 'dpo'. Needed: 'dapt' or 'sft'"),
        ({"name": "../x"}, "name: got '../x'. Needed: text that matches"),
        ({"tuning": {"method": "lora", "dropout": 1.0}}, "tuning.dropout: got 1.0. Needed: less than 1"),
    ],
)
def test_mistake_names_its_key(recipe: Callable[..., Path], changes: dict[str, Any], message: str) -> None:
    if "name" in changes:
        path = recipe()
        path.write_text(path.read_text().replace("name: tiny\n", f"name: {changes['name']}\n"))
    else:
        path = recipe(**changes)
    with pytest.raises(RecipeError, match=r"tiny\.yaml") as error:
        load_train_recipe(path)
    assert message in str(error.value)


def test_number_in_the_short_notation_of_science_is_a_number(recipe: Callable[..., Path]) -> None:
    # YAML 1.1 reads 3e-4 (without a point) as text.
    assert load_train_recipe(recipe(optimizer={"learning_rate": "3e-4"})).optimizer.learning_rate == 3e-4


def test_recipes_are_shipped() -> None:
    demo, medical = ["demo_base", "demo_replay_0", "demo_replay_10"], ["medical_chats", "medical_lora", "medical_qlora"]
    assert [path.stem for path in SHIPPED] == [*demo, *medical]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipe_is_right_and_called_like_its_file(path: Path) -> None:
    assert load_train_recipe(path).name == path.stem


def test_shipped_runs_with_and_without_replay_differ_in_nothing_else() -> None:
    without, with_replay = (load_train_recipe(SHIPPED[i]).resolved() for i in (1, 2))
    assert {key for key in without if without[key] != with_replay[key]} == {"name", "mixture"}


@pytest.mark.parametrize(
    "changes",
    [
        {"tuning": {"method": "qlora"}},
        {"optimizer": {"kind": "adamw_8bit"}},
        {"precision": "fp16"},
        {"packed": False},
        {"vocabulary": {"new_rows_steps": 1}},
        {"freezing": {"unfreeze_every": 1}},
    ],
)
def test_what_cannot_be_divided_over_ranks_is_refused(changes: dict[str, object]) -> None:
    recipe = {"name": "t", "mixture": "m", "base": {"tiny": {}}, "parallel": "fsdp", **changes}
    with pytest.raises(ValueError, match=r"fsdp given with .* Needed: parallel ddp, or none of these"):
        TrainRecipe.model_validate(recipe)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {"decay": "constant", "final_fraction": 0.5}}, "final_fraction given with decay constant"),
        ({"probes": {"every_steps": 5}}, "every_steps given, and no set to measure"),
        ({"budget": {"max_general_bpb_rise": 0.1}}, "budget given, and no general text to measure"),
        ({"freezing": {"blocks": 1}, "tuning": {"method": "lora"}}, "freezing given with method lora"),
        ({"gradient_checkpointing": True, "tuning": {"method": "prefix"}}, "gradient_checkpointing with method prefix"),
    ],
)
def test_key_that_nothing_would_read_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainRecipe.model_validate({"name": "t", "mixture": "m", "base": {"tiny": {}}, **changes})
