"""The audit of decoded chats reads over what a template writes between messages, and over nothing else."""

from pathlib import Path

import pytest

from engine.base.hashing import digest_bytes
from engine.formats.token_store import TokenStore
from engine.formats.tokenizer import load_tokenizer
from engine.pack.render import RenderConfig
from engine.pack.tokenise import Batch, build_token_store
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer
from engine.run.audit import _decoded, chat_sources, without_frames


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


def test_only_sources_of_chats_are_read_without_frames(tmp_path: Path) -> None:
    text = "user\nto be or not to be"
    meta = train_tokenizer([text] * 30, TokenizerTraining(sources=["web"], vocab_size=300), tmp_path / "tokenizer")
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    assert meta.digest == tokenizer.meta.digest
    ids = [digest_bytes(name) for name in (b"a", b"b")]
    batch = Batch(ids, ["web", "chats"], [text, text])
    store = build_token_store([batch], tokenizer, RenderConfig(), tmp_path / "tokens", "0" * 32, 1)
    render = {"template": "chatml", "template_digest": "1" * 32, "objective": {"chats": "answers"}}
    chats = TokenStore(store.folder, store.meta.model_copy(update={"render": render}))
    ((documents, texts),) = _decoded(tokenizer, chats)
    assert {name: read.strip() for name, read in zip(documents["source"], texts, strict=True)} == {
        "web": "user\nto be or not to be",
        "chats": "to be or not to be",
    }
    assert chat_sources(store) == frozenset()
