"""A version of texts and chats is exported to two folders that datasets reads, each as it was tokenised."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import InputError
from engine.run.export import mixture_export
from engine.run.export.show import show_export
from engine.run.pipeline import run
from tests.engine.run.chat_corpus import MAIL, NUM_CHATS, chats, recipe, write

TAGS = {"tags": [{"tag": "of", "column": "source", "values": ["chats", "plain"]}], "drop_out": 0}


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talk")
    run(write(folder, recipe(control_tokens=TAGS)), folder / "ws")
    return folder


def expected() -> list[list[dict[str, str]]]:
    """The chats with a label, addresses as they are."""
    return sorted((row["messages"] for row in chats() if row["id"] != "unanswered"), key=json.dumps)


def unmasked(messages: list[list[dict[str, str]]]) -> list[list[dict[str, str]]]:
    return json.loads(re.sub(r"<EMAIL-[0-9a-f]{8}>", MAIL, json.dumps(messages)))


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_datasets_reads_texts_and_chats_with_their_edits(talk: Path, tmp_path: Path, form: str) -> None:
    import datasets

    out, cache = tmp_path / "out", str(tmp_path / "cache")
    result = mixture_export("all", out, talk / "ws", format=form)
    assert result["kinds"] == {"messages": NUM_CHATS, "text": 20}
    # Without a name datasets takes the first of two kinds.
    assert all(f'"{kind}")' in show_export(result) for kind in ("messages", "text"))
    texts = datasets.load_dataset(str(out), "text", split="train", cache_dir=cache)
    messages = datasets.load_dataset(str(out), "messages", split="train", cache_dir=cache)
    plain = [json.loads(line)["text"] for line in (talk / "plain.jsonl").read_text().splitlines()]
    assert sorted(texts["text"]) == sorted(plain)
    read: list[list[dict[str, Any]]] = [list(chat) for chat in messages["messages"]]
    assert sorted(unmasked(read), key=json.dumps) == expected()
    (masked,) = [chat for chat in read if "<EMAIL-" in json.dumps(chat)]
    assert re.fullmatch(r"You are <EMAIL-[0-9a-f]{8}>, no less\.", masked[1]["content"])
    assert MAIL not in json.dumps(read)


def test_tags_stand_in_front_of_texts_and_of_first_messages(talk: Path, tmp_path: Path) -> None:
    mixture_export("all", tmp_path / "out", talk / "ws", format="jsonl", tags_as_text=True)
    rows = {
        kind: [json.loads(line) for line in (tmp_path / "out" / kind / "train-00000.jsonl").read_text().splitlines()]
        for kind in ("text", "messages")
    }
    assert all(row["text"].startswith("<|of:plain|>") for row in rows["text"])
    for row in rows["messages"]:
        first, *others = row["messages"]
        assert first["content"].startswith("<|of:chats|>")
        assert not any("<|of:" in message["content"] for message in others)
    bare = [
        [{**first, "content": first["content"].removeprefix("<|of:chats|>")}, *others]
        for first, *others in (row["messages"] for row in rows["messages"])
    ]
    assert sorted(unmasked(bare), key=json.dumps) == expected()


def test_a_chat_with_other_roles_is_not_what_was_tokenised(talk: Path, tmp_path: Path) -> None:
    """The text is the same; the messages are not."""
    (path,) = (talk / "ws" / "documents" / "chats").glob("*/00000.parquet")
    import polars as pl

    before = path.read_bytes()
    stored = pl.read_parquet(path)
    role = pl.element().struct.field("role").replace("user", "system")
    changed = pl.struct(role.alias("role"), pl.element().struct.field("content"))
    stored.with_columns(pl.col("messages").list.eval(changed)).write_parquet(path)
    try:
        with pytest.raises(InputError, match="is not the text that was tokenised"):
            mixture_export("all", tmp_path / "out", talk / "ws")
    finally:
        path.write_bytes(before)
