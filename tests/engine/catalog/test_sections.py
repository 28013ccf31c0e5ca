"""Users find every key of every section of a recipe without reading the source."""

import json

import pytest
import yaml
from pydantic import BaseModel

from engine.base.stage import StrictModel
from engine.catalog.sections import EXAMPLES, section_names
from engine.catalog.show_stages import show_stages
from engine.catalog.stages import stages
from engine.cli import main
from engine.mixture.config import PhaseConfig, ReplayConfig
from engine.recipe.frame import Frame
from engine.select.balance import Rule as BalanceRule
from engine.select.filters import Preset

OWNERS = ("engine.mixture", "engine.pack", "engine.recipe", "engine.select")


def below(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [one for child in model.__subclasses__() for one in (child, *below(child))]


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_every_key_of_a_recipe_is_a_section_or_told_elsewhere() -> None:
    assert set(section_names()) | {"name", "seed", "sources", "annotate"} == set(Frame.model_fields)
    assert [one["section"] for one in stages()["sections"]] == section_names()
    assert set(EXAMPLES) == set(section_names())


@pytest.mark.parametrize("key", section_names())
def test_example_of_a_section_passes_its_check(key: str) -> None:
    content = {"name": "recipe", "sources": [{}]} | yaml.safe_load(stages(key)["example"])
    assert list(content) == ["name", "sources", key]
    assert getattr(Frame.model_validate(content), key)


def test_every_model_of_the_frame_is_told_with_all_its_keys() -> None:
    told = squeezed("\n".join(show_stages(stages(key), 80) for key in section_names()))
    inside = set(Frame.model_json_schema()["$defs"])
    # Models of one name have their module in front of it.
    named = {f"{one.__module__.replace('.', '__')}__{one.__name__}": one for one in below(StrictModel)}
    plain = {one.__name__: one for one in below(StrictModel) if one.__module__.startswith(OWNERS)}
    plain["Rule"] = BalanceRule  # the only one of that name in a recipe
    models = [named.get(name) or plain[name] for name in sorted(inside)]
    assert {PhaseConfig, ReplayConfig} <= set(models)
    for model in models:
        for name, field in model.model_fields.items():
            assert field.description, (model, name)
            assert f"{field.alias or name}:" in told
            # A key of both forms of a filter is told once, in the words of the first.
            assert squeezed(field.description) in told or (model is Preset and name == "action")


def test_mixture_tells_keys_of_phases_and_replay() -> None:
    options = {one["name"]: one for one in stages("mixture")["options"]}
    assert stages("mixture") == stages("mixtures")
    assert options["row_tokens"]["default"] == 1024
    assert options["phases[].replay.share"]["type"] == "integer or number, at least 0, below 1"
    assert options["phases[].name"]["required"]
    assert list(options).index("budget_tokens") < list(options).index("phases")


def test_keys_of_one_form_of_a_filter_say_what_they_stand_beside() -> None:
    told = {one["name"]: one["description"] for one in stages("filters")["options"]}
    assert told["keep"].startswith("beside reason: SQL expression")
    assert told["where"].startswith("beside preset: ")
    assert not told["action"].startswith("beside")


@pytest.mark.parametrize("key", section_names())
def test_no_line_of_a_section_is_wider_than_the_terminal_but_those_to_copy(key: str) -> None:
    result = stages(key)
    lines = set(show_stages(result, 60).splitlines()) - {f"  {line}" for line in result["example"].split("\n")}
    assert max(map(len, lines)) <= 60


def test_sections_are_listed_and_shown_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stages"]) == 0
    assert "control_tokens" in capsys.readouterr().out
    assert main(["stages", "render", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == stages("render")
