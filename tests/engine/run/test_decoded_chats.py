"""The audit of decoded chats reads over what a template writes between messages, and over nothing else."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pytest

from engine.base.hashing import digest_bytes
from engine.catalog import sql
from engine.formats.mixture import open_mixture
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.token_store import DOCUMENTS_SCHEMA, StoreMeta, TokenStore
from engine.formats.tokenizer import Tokenizer, load_tokenizer
from engine.formats.workspace import Workspace
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer
from engine.run.decoded_search import _decoded, chat_sources, without_frames
from engine.run.pipeline import run
from tests.engine.run.chat_corpus import recipe, write
from tests.engine.run.searched import prose, write_lines


@pytest.mark.parametrize(
    ("decoded", "lines"),
    [
        ("\nuser\nWhat is asked?\n\n\nassistant\nThat.\n\n", ["What is asked?", "That."]),
        ("\n\nuser\n\n\nWhat is asked?\n\nassistant\n\n\nThat.\n", ["What is asked?", "That."]),
        ("### Instruction:\nWhat?\n\n### Response:That.\n", ["What?", "That."]),
        ("the user\nasks a user of #1\n#### 4\n### Note:", ["the user", "asks a user of #1", "#### 4", "### Note:"]),
    ],
)
def test_frames_of_templates_become_line_breaks(decoded: str, lines: list[str]) -> None:
    assert [line for line in without_frames(decoded).split("\n") if line] == lines


def write_store(folder: Path, tokenizer: Tokenizer, texts: dict[str, str], render: dict[str, Any]) -> TokenStore:
    """A token store with one document per source."""
    ids = [np.append(found, tokenizer.meta.eos_id) for found in tokenizer.encode(list(texts.values()))]
    lengths = [len(one) for one in ids]
    columns = {
        "doc_id": [digest_bytes(name.encode()) for name in texts],
        "source": list(texts),
        "offset": (np.cumsum(lengths) - lengths).tolist(),
        "num_tokens": lengths,
        "supervised_tokens": [length - 1 for length in lengths],
        "num_bytes": [len(text) for text in texts.values()],
        "text_digest": [digest_bytes(text.encode()) for text in texts.values()],
    }
    write_parquet(folder / "documents.parquet", pl.DataFrame(columns, schema=DOCUMENTS_SCHEMA))
    np.concatenate(ids).astype(np.uint16).tofile(folder / "ids.bin")
    meta = StoreMeta(
        digest="0" * 32,
        tokenizer=tokenizer.meta.digest,
        eos_id=tokenizer.meta.eos_id,
        dtype="uint16",
        num_documents=len(texts),
        num_tokens=sum(lengths),
        render=render,
    )
    return TokenStore(folder, meta)


def test_only_sources_of_chats_are_read_without_frames(tmp_path: Path) -> None:
    text = "user\nto be or not to be"
    train_tokenizer([text] * 30, TokenizerTraining(sources=["web"], vocab_size=300), tmp_path / "tokenizer")
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    render = {"template": "chatml", "template_digest": "1" * 32, "objective": {"chats": "answers"}}
    store = write_store(tmp_path / "tokens", tokenizer, {"web": text, "chats": text}, render)
    ((documents, texts),) = _decoded(tokenizer, store)
    assert {name: read.strip() for name, read in zip(documents["source"], texts, strict=True)} == {
        "web": "user\nto be or not to be",
        "chats": "to be or not to be",
    }


def test_store_without_a_template_has_no_chats(tmp_path: Path) -> None:
    meta = StoreMeta(digest="0" * 32, tokenizer="1" * 32, eos_id=0, dtype="uint16", num_documents=0, num_tokens=0)
    render = {"template": "chatml", "template_digest": None, "objective": {"chats": "answers"}}
    assert chat_sources(TokenStore(tmp_path, meta)) == frozenset()
    assert chat_sources(TokenStore(tmp_path, meta.model_copy(update={"render": render}))) == frozenset()


def test_an_item_over_question_and_answer_is_found_whatever_the_template(tmp_path: Path) -> None:
    """Neither half is enough alone; roles and headings between the halves do not hide the whole."""
    item = prose(5, 12).split()
    split = [("user", " ".join(item[:6])), ("assistant", " ".join(item[6:]))]
    row = {"id": "split", "messages": [{"role": role, "content": text} for role, text in split]}
    for template in ("chatml", "llama3", "alpaca"):
        content = recipe(
            annotate=[{"stage": "contamination", "action": "tag"}],
            benchmarks=["quiz.jsonl"],
            render={"template": template},
        )
        path = write(tmp_path, content)
        with (tmp_path / "chats.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        write_lines(tmp_path / "quiz.jsonl", [{"question": " ".join(item), "answer": "latel"}])
        run(path, tmp_path / "ws")
        workspace = Workspace(tmp_path / "ws")
        found = open_mixture(workspace, "all@latest").manifest.audit
        assert found is not None
        hits = read_parquet(workspace.audit(found.digest) / "hits.parquet")
        (doc_id,) = hits["doc_id"].unique()
        shown = sql(f"SELECT text FROM documents WHERE doc_id = '{UUID(bytes=doc_id)}'", tmp_path / "ws")["rows"]
        assert shown == [["\n\n".join(text for _, text in split)]], template
