"""pii as a stage: columns, kinds, keys, and what does not change them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from engine.annotate import pii
from engine.annotate.pii import ALL_KINDS, Config
from engine.base.errors import RecipeError
from engine.base.stage import stage_adds, with_files
from engine.recipe import check_recipe
from engine.text.spans import with_replacements

World = Callable[..., Any]
TEXT = "Gr\u00fc\u00dfe an anna@acme.com und ANNA@acme.com, (212) 736-5000."


def columns(world: World, config: Config, *texts: str | None, shard_rows: int = 3) -> dict[str, list[Any]]:
    documents = {"web": {f"d{number:03}": text for number, text in enumerate(texts)}}
    done = world(documents, shard_rows=shard_rows).run(pii, config)
    return done.columns(*stage_adds(pii, config))


def test_columns_of_texts_small_enough_to_count_by_hand(world: World) -> None:
    found = columns(world, Config(), TEXT, "nothing here", None, "   ")
    first, second, *without = found["pii__spans"]
    assert [(one["start"], one["end"], one["kind"]) for one in first] == [
        (11, 24, "email"),
        (29, 42, "email"),
        (44, 58, "phone"),
    ]
    assert second == []
    assert without[0] is None
    assert found["pii__num_spans"][:3] == [3, 0, None]
    assert found["pii__num_email"][:3] == [2, 0, None]
    assert found["pii__num_phone"][:3] == [1, 0, None]
    assert found["pii__num_iban"][:3] == [0, 0, None]
    assert found["pii__share"][:3] == [round(40 / 59, 4), 0.0, None]


def test_replacement_is_the_same_for_a_value_in_any_writing_order_and_shard(world: World) -> None:
    texts = ["anna@acme.com +1 212 736 5000", "212-736-5000, Anna@ACME.com", None, "x", "ben@acme.com"]
    one = columns(world, Config(), *texts, shard_rows=1)["pii__spans"]
    other = columns(world, Config(), *texts[::-1], shard_rows=4)["pii__spans"][::-1]
    assert one == other
    (email, phone), (phone_again, email_again) = one[0], one[1]
    assert email["replacement"] == email_again["replacement"]
    assert phone["replacement"] == phone_again["replacement"]
    assert re.fullmatch(r"<EMAIL-[0-9a-f]{8}>", email["replacement"])
    assert one[4][0]["replacement"] != email["replacement"]


def test_text_with_the_replacements_is_what_the_spans_say(world: World) -> None:
    spans = columns(world, Config(replacement="surrogate"), TEXT)["pii__spans"][0]
    text = with_replacements(TEXT, [(one["start"], one["end"], one["replacement"]) for one in spans])
    address, number = spans[0]["replacement"], spans[2]["replacement"]
    assert text == f"Gr\u00fc\u00dfe an {address} und {address}, {number}."
    assert columns(world, Config(), text)["pii__num_spans"] == [0]


def test_content_of_the_key_file_decides_and_not_where_it_lies(world: World, tmp_path: Path) -> None:
    contents = {"here": b"secret", "there": b"secret", "other": b"another"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    here, there, other = (
        columns(world, Config(key_file=str(tmp_path / name)), TEXT)["pii__spans"][0][0]["replacement"]
        for name in contents
    )
    assert here == there
    assert len({here, other, columns(world, Config(), TEXT)["pii__spans"][0][0]["replacement"]}) == 3
    assert with_files(pii, Config(key_file="k"), str.upper).key_file == "K"  # type: ignore[attr-defined]


def test_changed_key_file_is_read_again(world: World, tmp_path: Path) -> None:
    made = []
    for content in (b"one", b"two"):
        (tmp_path / "key").write_bytes(content)
        made.append(columns(world, Config(key_file=str(tmp_path / "key")), TEXT)["pii__spans"][0][0]["replacement"])
    assert made[0] != made[1]


def test_kinds_decide_what_is_found_and_which_counts_there_are(world: World) -> None:
    config = Config(kinds=("phone",))
    assert list(stage_adds(pii, config)) == ["pii__spans", "pii__num_spans", "pii__num_phone", "pii__share"]
    assert [one["kind"] for one in columns(world, config, TEXT)["pii__spans"][0]] == ["phone"]
    every = [name for name in stage_adds(pii, Config()) if name.startswith("pii__num_")]
    assert every == ["pii__num_spans", *(f"pii__num_{kind}" for kind in ALL_KINDS)]
    assert all(column.meaning for column in stage_adds(pii, Config()).values())


def test_types_are_those_of_adds_even_without_any_text(world: World) -> None:
    frame = world({"web": {"a": None}}).run(pii, Config()).corpus().all_columns(["pii__spans", "pii__share"])
    assert dict(frame.schema)["pii__spans"] == pl.List(pii.REPLACED_SPAN)
    assert frame["pii__share"].to_list() == [None]


def test_unknown_region_and_nothing_to_look_for_are_refused() -> None:
    with pytest.raises(ValidationError, match="XX: no region of libphonenumber"):
        Config(regions=("US", "XX"))
    with pytest.raises(ValidationError, match="nothing to look for"):
        Config(kinds=())


def recipe_with(**settings: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "sources": [{"stage": "jsonl", "name": "web", "path": "web.jsonl"}],
        "annotate": [{"stage": "pii", **settings}],
        "tokenizer": {"train": {"sources": ["web"], "vocab_size": 1000}},
        "mixtures": {"mix": {"sources": ["web"]}},
    }


@pytest.mark.parametrize(
    ("content", "found"),
    [(None, r"it cannot be read \(Is a directory\)"), (b"", "it has 0 bytes"), (b"x" * 15, "it has 15 bytes")],
)
def test_key_file_that_holds_no_secret_is_said_when_the_recipe_is_read(
    tmp_path: Path, content: bytes | None, found: str
) -> None:
    key = tmp_path / "key"
    if content is None:
        key.mkdir()
    else:
        key.write_bytes(content)
    needed = r"\. Needed: a file with a secret of at least 16 bytes\. Fix: head -c 32 /dev/urandom > .*key\.$"
    with pytest.raises(RecipeError, match=rf"^web\.yaml: people: key_file: .*key: {found}{needed}"):
        check_recipe(recipe_with(key_file="key", **{"as": "people"}), tmp_path / "web.yaml")


def test_key_file_of_sixteen_bytes_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"x" * 16)
    assert check_recipe(recipe_with(key_file="key"), tmp_path / "web.yaml").annotate[0].config.key_file == "key"


def test_presidio_without_its_package_or_model_is_said_when_the_recipe_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_recipe(recipe_with(), Path("web.yaml")).annotate[0].config.presidio == ()
    monkeypatch.setattr("engine.annotate.pii.presidio.find_spec", lambda _: None)
    with pytest.raises(RecipeError, match=r"presidio-analyzer is not installed.*pip install 'provender\[presidio\]'"):
        check_recipe(recipe_with(presidio=["PERSON"]), Path("web.yaml"))
    monkeypatch.setattr("engine.annotate.pii.presidio.find_spec", lambda name: name == "presidio_analyzer" or None)
    with pytest.raises(RecipeError, match=r"en_core_web_sm is not installed.*python -m spacy download en_core_web_sm"):
        check_recipe(recipe_with(presidio=["PERSON"]), Path("web.yaml"))
