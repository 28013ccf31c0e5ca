"""Users find every stage, its options and its columns without reading the source."""

import importlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import polars as pl
import pytest
import yaml
from pydantic import BaseModel, Field, create_model

from engine.base.errors import RecipeError
from engine.base.stage import ANNOTATOR_GROUP, StageConfig, StrictModel, stage_names
from engine.catalog.show_stages import show_stages
from engine.catalog.stage_options import options_of
from engine.catalog.stages import stages
from engine.cli import main
from engine.select.presets import PRESETS

ANNOTATORS = stage_names("engine.annotate", ANNOTATOR_GROUP)
READERS = stage_names("engine.sources")
MODULES = ANNOTATORS | READERS


def below(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [one for child in model.__subclasses__() for one in (child, *below(child))]


def models_of(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and those inside it, by the names in its JSON schema: another way than the one that is tested."""
    inner = model.model_json_schema().get("$defs", {})
    found = [one for one in below(StrictModel) if one.__name__ in inner and one.__module__.startswith(model.__module__)]
    assert len(found) == len(inner)
    return [model, *found]


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_every_stage_and_reader_is_listed_with_a_sentence() -> None:
    listed = {one["stage"]: one for one in stages()["stages"]}
    assert {name: one["module"] for name, one in listed.items()} == MODULES
    assert {name for name, one in listed.items() if one["kind"] == "source"} == set(READERS)
    assert all(one["what"].endswith(".") and one["problem"] is None for one in listed.values())


def test_needs_of_a_stage_are_listed() -> None:
    listed = {one["stage"]: one for one in stages()["stages"]}
    assert listed["contamination"]["needs"] == ["split", "benchmarks"]
    assert listed["exact_dup"]["needs"] == []
    assert {name: one["extra"] for name, one in listed.items() if one["extra"]} == {"perplexity": "train"}


def test_presets_are_listed_with_their_number_of_rules() -> None:
    assert {one["preset"]: one["rules"] for one in stages()["presets"]} == {
        name: len(rules) for name, rules in PRESETS.items()
    }


@pytest.mark.parametrize("width", [50, 100])
def test_preset_shows_its_rules_with_condition_and_source(width: int) -> None:
    result = stages("gopher_quality")
    assert (result["preset"], len(result["filters"])) == ("gopher_quality", 10)
    assert result["filters"][0] == {
        "reason": "gopher_too_few_words",
        "keep": "COALESCE(heuristics__num_words >= 50, FALSE)",
        "source": "Rae et al. 2021, arXiv:2112.11446, A.1.1, quality filtering",
    }
    shown = show_stages(result, width)
    assert shown.count("COALESCE(heuristics__") == 10
    assert squeezed("gopher_too_few_words: kept where COALESCE(heuristics__num_words >= 50, FALSE)") in squeezed(shown)
    assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_shown_and_its_example_passes(name: str) -> None:
    result = stages(name)
    assert [rule["reason"] for rule in result["filters"]] == [rule.reason for rule in PRESETS[name]]
    assert yaml.safe_load(result["example"]) == [{"preset": name}]


def test_preset_that_is_misspelt_is_guessed() -> None:
    with pytest.raises(
        RecipeError, match=r"no stage, source reader, preset or section 'gopher_qualty'.*did you mean 'gopher_quality'"
    ):
        stages("gopher_qualty")


@pytest.mark.parametrize("name", sorted(MODULES))
@pytest.mark.parametrize("width", [50, 100])
def test_every_option_is_shown_with_its_description(name: str, width: int) -> None:
    config = importlib.import_module(MODULES[name]).Config
    shown = squeezed(show_stages(stages(name), width))
    for model in models_of(config):
        for key, field in model.model_fields.items():
            if key != "stage":
                assert f"{field.alias or key}:" in shown
                assert field.description
                assert squeezed(field.description) in shown


@pytest.mark.parametrize("name", sorted(MODULES))
def test_types_are_readable(name: str) -> None:
    for option in stages(name)["options"]:
        assert not re.search(r"typing|Optional|Union|Literal|None|<class|\bstr\b|\bdict\b|\btuple\b", option["type"])


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"perplexity"}))
def test_example_passes_the_check_of_a_recipe(name: str) -> None:
    [given] = yaml.safe_load(stages(name)["example"])
    assert importlib.import_module(MODULES[name]).Config.model_validate(given).stage == name


@pytest.mark.parametrize("name", sorted(ANNOTATORS))
def test_every_column_is_shown_with_its_meaning(name: str) -> None:
    adds = importlib.import_module(ANNOTATORS[name]).ADDS
    result = stages(name)
    assert result["columns"]
    assert result["columns_depend_on_options"] == callable(adds)
    shown = squeezed(show_stages(result, 50))
    for column in result["columns"]:
        assert f"{column['name']}:" in shown
        assert squeezed(column["meaning"]) in shown
    if not callable(adds):
        assert {c["name"]: c["meaning"] for c in result["columns"]} == {n: c.meaning for n, c in adds.items()}


def test_columns_are_typed_in_words() -> None:
    types = {column["name"]: column["type"] for column in stages("pii")["columns"]}
    assert types["pii__spans"] == "list of {start: integer, end: integer, kind: text, replacement: text}"
    assert types["pii__num_spans"] == "integer"
    assert types["pii__share"] == "number"


def test_drop_reasons_are_shown_with_their_condition() -> None:
    assert stages("near_dup")["drops"] == {"near_duplicate": "near_dup__kept_id IS NOT NULL"}
    assert "near_duplicate: dropped where\n      near_dup__kept_id IS NOT NULL" in show_stages(stages("near_dup"))


class Inner(BaseModel):
    sources: tuple[str, ...] = Field(min_length=1, description="inner")


@pytest.mark.parametrize(
    ("annotation", "field", "words"),
    [
        (str, {}, "text"),
        (Optional[int], {"default": None, "ge": 1}, "integer, at least 1"),  # noqa: UP045 - old code of others
        (float, {"gt": 0, "le": 1}, "number, above 0, at most 1"),
        (int, {"ge": 0, "lt": 1 << 63}, "integer, at least 0, below 2^63"),
        (bool, {"default": False}, "true or false"),
        (Literal["a", "b", "c"], {}, "a, b or c"),
        (Literal["error"] | None, {"default": "error"}, "error or null"),
        (tuple[str, ...] | None, {"default": None, "min_length": 1}, "list of texts, length at least 1"),
        (tuple[int, int, int], {"default": (1, 1, 1)}, "list of 3 integers"),
        (str | list[str], {}, "text or list of texts"),
        (dict[str, Literal["int", "bool"]], {}, "mapping text -> int or bool"),
        (dict[str, list[float]], {}, "mapping text -> list of numbers"),
        (list[Annotated[str, Field(min_length=2)]], {}, "list of texts"),
        (list[Inner], {}, "list of mappings"),
        (Path, {}, "path"),
        (list[Any], {}, "list of anything"),
    ],
)
def test_type_in_words(annotation: Any, field: dict[str, Any], words: str) -> None:
    model = create_model("Model", option=(annotation, Field(**field)))
    assert options_of(model)[0]["type"] == words


def test_paths_are_called_paths() -> None:
    model = create_model("Model", lists=(str | dict[str, str], ...), other=(str, ...))
    assert [one["type"] for one in options_of(model, ("lists",))] == ["path or mapping path -> path", "text"]


def test_keys_of_a_mapping_inside_follow_it() -> None:
    model = create_model("Model", one=(Inner | None, None), many=(list[Inner], ...), named=(dict[str, Inner], {}))
    names = ["many", "many[].sources", "one", "one.sources", "named", "named.*.sources"]
    assert [option["name"] for option in options_of(model)] == names


def test_own_options_come_first_and_shared_ones_last() -> None:
    class Mixed(BaseModel):
        epochs: int = 5

    class Config(Mixed, StageConfig):
        threshold: float = 0.5
        path: str

    assert [option["name"] for option in options_of(Config)] == ["path", "threshold", "epochs", "as", "field"]


def test_unknown_name_guesses_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stages", "near_dupe"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("provender stages: no stage, source reader, preset or section 'near_dupe' (have: ")
    assert said.endswith("Fix: did you mean 'near_dup'?\n")


@pytest.mark.parametrize("arguments", [[], ["quality"], ["scores"], ["parquet"]])
def test_json_is_what_the_function_returns(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stages", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == stages(*arguments)


@pytest.mark.parametrize("width", [40, 50, 80, 120])
def test_no_line_is_wider_than_the_terminal_but_those_to_copy(width: int) -> None:
    for result in (stages(), *(stages(name) for name in MODULES)):
        lines = show_stages(result, width).splitlines()
        to_copy = (f"  {result.get('example')}", f"more: python -m pydoc {result.get('module')}")
        assert [line for line in lines if len(line) > width and line not in to_copy] == []


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that announces the stage `loud`, and one whose stage `broken` cannot be imported."""
    metadata = tmp_path / "loud_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: loud_package\nVersion: 1.0\n")
    points = "loud = loud_stage_for_a_test\nbroken = broken_stage_for_a_test\n"
    (metadata / "entry_points.txt").write_text(f"[{ANNOTATOR_GROUP}]\n{points}")
    (tmp_path / "broken_stage_for_a_test.py").write_text("import a_module_nobody_has\n")
    (tmp_path / "loud_stage_for_a_test.py").write_text(
        '"""How loud a text is.\n\n{stage: loud,\n at_least: 2}\n"""\n'
        "from typing import Literal\n"
        "from engine.base.stage import Column, StageConfig\n"
        "import polars as pl\n"
        "SCOPE, VERSION, READS = 'shard', 1, ('text',)\n"
        "def ADDS(config): return {f'loud__{config.at_least}': Column(pl.Boolean, 'whether it is')}\n"
        "class Config(StageConfig):\n"
        "    stage: Literal['loud'] = 'loud'\n"
        "    at_least: int\n"
        "def annotate(view, config): return pl.DataFrame()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_stages_of_other_packages_are_listed_with_their_module(other_package: Path) -> None:
    listed = {one["stage"]: one for one in stages()["stages"]}
    assert listed["loud"]["what"] == "How loud a text is."
    assert listed["loud"]["kind"] == "annotate"
    assert "How loud a text is. (loud_stage_for_a_test)" in " ".join(show_stages(stages(), 100).split())
    [column] = stages("loud")["columns"]
    assert column == {"name": "loud__1", "type": "true or false", "meaning": "whether it is"}
    assert stages("loud")["example"] == "- {stage: loud, at_least: 1}"


def test_package_that_cannot_be_used_says_so_and_hides_no_other(other_package: Path) -> None:
    listed = {one["stage"]: one for one in stages()["stages"]}
    assert set(listed) == {*MODULES, "loud", "broken"}
    assert "broken_stage_for_a_test cannot be imported" in listed["broken"]["problem"]
    assert "cannot be imported" in " ".join(show_stages(stages(), 100).split())
    with pytest.raises(RecipeError, match="broken_stage_for_a_test cannot be imported"):
        stages("broken")


def test_columns_that_depend_on_options_nobody_gave_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.annotate import scores

    class Refusing(scores.Config):
        def model_post_init(self, context: Any) -> None:
            raise ValueError("never enough")

    monkeypatch.setattr(scores, "Config", Refusing)
    result = stages("scores")
    assert result["columns"] is None
    assert "columns: they depend on the options" in show_stages(result, 100)


def test_types_of_other_columns_have_a_name_too() -> None:
    from engine.catalog.stages import _dtype_in_words

    assert _dtype_in_words(pl.Boolean) == "true or false"
    assert _dtype_in_words(pl.Array(pl.Float32, 3)) == "list of number"
    assert _dtype_in_words(pl.Date) == "date"
