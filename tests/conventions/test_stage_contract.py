"""Every annotate stage keeps the contract of engine/base/stage.py."""

import importlib
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from engine.base.stage import ANNOTATOR_GROUP, Column, StageConfig, stage_names

ROOT = Path(__file__).parents[2]
TRAINERS_STAGES = stage_names("trainers.annotators")
STAGES = stage_names("engine.annotate") | TRAINERS_STAGES


@pytest.fixture(params=sorted(STAGES))
def stage(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(STAGES[request.param])


def name_of(stage: ModuleType) -> str:
    return stage.__name__.rsplit(".", 1)[-1]


def test_docstring_begins_with_a_sentence(stage: ModuleType) -> None:
    assert stage.__doc__ is not None
    assert stage.__doc__.splitlines()[0].endswith(".")


def test_scope_and_functions_agree(stage: ModuleType) -> None:
    assert stage.SCOPE in ("shard", "corpus")
    assert callable(stage.annotate)
    assert hasattr(stage, "combine") == (stage.SCOPE == "corpus")


def test_version_is_a_positive_integer(stage: ModuleType) -> None:
    assert isinstance(stage.VERSION, int)
    assert stage.VERSION >= 1


def test_columns_carry_the_stage_name_and_a_meaning(stage: ModuleType) -> None:
    assert stage.ADDS
    # Of a stage whose columns depend on its config, its own test looks at them.
    for name, column in ({} if callable(stage.ADDS) else stage.ADDS).items():
        assert name.startswith(f"{name_of(stage)}__")
        assert isinstance(column, Column)
        assert column.meaning


def test_config_names_the_stage_and_describes_every_field(stage: ModuleType) -> None:
    assert issubclass(stage.Config, StageConfig)
    assert stage.Config.model_fields["stage"].annotation.__args__ == (name_of(stage),)
    for field_name, field in stage.Config.model_fields.items():
        assert field_name == "stage" or field.description, f"{field_name} has no description"


def test_drop_reasons_read_only_own_columns(stage: ModuleType) -> None:
    for condition in getattr(stage, "DROPS", {}).values():
        assert f"{name_of(stage)}__" in condition


def test_stage_has_a_test(stage: ModuleType) -> None:
    name = name_of(stage)
    folder = ROOT.joinpath("tests", *stage.__name__.split(".")[:-1])
    assert (folder / f"test_{name}.py").is_file() or any((folder / name).glob("test_*.py"))


def test_annotators_of_the_trainers_are_announced() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][ANNOTATOR_GROUP] == TRAINERS_STAGES
