from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
from pydantic import Field, model_validator

from engine.base.errors import RecipeError
from engine.base.recipe_errors import check, read_yaml
from engine.base.stage import StrictModel


class Tiny(StrictModel):
    hidden_size: int = Field(default=1, gt=0)


class Stage(StrictModel):
    kind: Literal["full", "lora"] = "full"
    prefix: int | None = Field(default=None, alias="as", ge=0)


class Recipe(StrictModel):
    name: str = Field(pattern="^[a-z]+$", description="name of the recipe")
    stages: list[Stage] = Field(default_factory=list)
    weights: dict[Annotated[str, Field(pattern="^[a-z]+$")], float] | list[str] = Field(default_factory=dict)
    base: Tiny | None = None
    betas: tuple[float, float] = (0.9, 0.95)
    by: tuple[str, ...] = Field(default=("a",), min_length=1, max_length=2)
    code: str = Field(default="a", min_length=1, max_length=2)
    among: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _good(self) -> Self:
        if self.name == "bad":
            raise ValueError("called bad. Needed: another name. Fix: call it good")
        return self


def messages(content: object) -> list[str]:
    with pytest.raises(RecipeError) as error:
        check("r.yaml", content, Recipe)
    return str(error.value).splitlines()


def test_every_mistake_is_told_at_once_with_its_key_path() -> None:
    content = {
        "name": "A b",
        "stages": [{"kind": "ful"}, {"as": -1, "kin": 2}, 3],
        "base": {"hiden_size": 1},
        "betas": [1, "x"],
    }
    assert messages(content) == [
        "r.yaml: name: got 'A b'. Needed: text that matches '^[a-z]+$'.",
        "r.yaml: stages[0].kind: got 'ful'. Needed: 'full' or 'lora'. Fix: did you mean 'full'?",
        "r.yaml: stages[1].as: got -1. Needed: greater than or equal to 0.",
        "r.yaml: stages[1].kin: unknown key. Fix: did you mean 'kind'?",
        "r.yaml: stages[2]: got 3. Needed: a mapping of keys to values.",
        "r.yaml: base.hiden_size: unknown key. Fix: did you mean 'hidden_size'?",
        "r.yaml: betas[1]: got 'x'. Needed: a number.",
    ]


def test_missing_key_is_told_with_its_meaning_and_the_misspelt_one_with_a_guess() -> None:
    assert messages({"nmae": "a"}) == [
        "r.yaml: name: is missing. Needed: name of the recipe.",
        "r.yaml: nmae: unknown key. Fix: did you mean 'name'?",
    ]


def test_unknown_key_like_no_other_lists_what_there_is() -> None:
    assert messages({"name": "a", "xyz": 1}) == [
        "r.yaml: xyz: unknown key. Needed: one of among, base, betas, by, code, name, stages, weights."
    ]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (3, ["r.yaml: weights: got 3. Needed: a mapping of keys to values or a list."]),
        (
            {"A": 1, "b": "x"},
            [
                "r.yaml: weights.A: got 'A'. Needed: text that matches '^[a-z]+$'.",
                "r.yaml: weights.b: got 'x'. Needed: a number.",
            ],
        ),
    ],
)
def test_value_of_several_types_is_told_once_and_without_names_of_types(weights: object, expected: list[str]) -> None:
    assert messages({"name": "a", "weights": weights}) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"by": []}, "by: got []. Needed: at least 1 item."),
        ({"by": ["a", "b", "c"]}, "by: got ['a', 'b', 'c']. Needed: at most 2 items."),
        ({"by": "a"}, "by: got 'a'. Needed: a list. Fix: write [a]."),
        ({"by": "a > 1"}, "by: got 'a > 1'. Needed: a list."),
        ({"code": ""}, "code: got ''. Needed: at least 1 character."),
        ({"code": "abc"}, "code: got 'abc'. Needed: at most 2 characters."),
        ({"betas": [1, 2, 3]}, "betas: got [1, 2, 3]. Needed: at most 2 items."),
        ({"among": 1}, "among: got 1. Needed: a list."),
    ],
)
def test_lengths_and_lists_are_told_without_words_of_python(content: dict[str, object], expected: str) -> None:
    assert messages({"name": "a"} | content) == [f"r.yaml: {expected}"]


def test_own_checks_keep_their_words() -> None:
    assert messages({"name": "bad"}) == ["r.yaml: called bad. Needed: another name. Fix: call it good."]


def test_key_that_is_no_string_is_told() -> None:
    assert messages({"name": "a", 5: 1}) == ["r.yaml: [5]: got 5. Needed: a string as key."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: 1\nb: {c: 1, c: 2}\na: 3\n",
            "r.yaml: a: written twice, in lines 1 and 3. Needed: each key once.\n"
            "r.yaml: c: written twice, in lines 2 and 2. Needed: each key once.",
        ),
        (
            "a: [1\nb: 2",
            "r.yaml: line 2, column 2: no YAML: expected ',' or ']', but got ':'. Needed: a recipe in YAML.",
        ),
        ("", "r.yaml: got nothing. Needed: a mapping of keys to values."),
        ("- 1", "r.yaml: got [1]. Needed: a mapping of keys to values."),
        ("a: !!python/object:os.system x", "could not determine a constructor for the tag"),
    ],
)
def test_file_that_is_no_recipe_is_told_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        read_yaml(path)
    assert expected in str(error.value)


@pytest.mark.parametrize("content", [None, b"a: \xff\xfe"])
def test_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "r.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"cannot be read .*Needed: a recipe, a YAML file in UTF-8"):
        read_yaml(path)


def test_good_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("a: {b: [1, 2.5, yes]}\n")
    assert read_yaml(path) == {"a": {"b": [1, 2.5, True]}}
