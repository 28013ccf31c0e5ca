"""Whatever the chat, template and tokenizer: ids decode to the rendered chat, labels to the answers and their ends."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import InputError, RecipeError
from engine.formats.continuation import continuation_encoder
from engine.formats.messages import MESSAGES, chat_digests, texts_of
from engine.formats.segments import segment_encoder
from engine.formats.token_store import TokenStore
from engine.formats.tokenizer import Tokenizer, decode_batch, special_pieces
from engine.pack.encode_documents import Batch
from engine.pack.jinja_templates import JINJA
from engine.pack.render import Fronts, Objective, StoreRender
from engine.pack.render_chats import ChatRenderer
from engine.pack.templates import BOS, EOS, TEMPLATES
from engine.pack.tokenise import build_token_store, token_store_digest
from tests.engine.pack.chat_tokenizers import KINDS, make

Chat = list[dict[str, str]]
NO_TAGS = np.zeros(0, np.int32)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return make(request.param, tmp_path_factory.mktemp(request.param))


# Characters a model turns into others are not at issue here: U+2581 is SentencePiece's own space.
CONTENTS = st.text(alphabet="ab .\n<|[]/é😀", max_size=12) | st.sampled_from(
    ["", " ", "\n", "<|im_end|>", "[/INST]", "</s>", " <s>yes", "assistant\n", "### Response:"]
)


@st.composite
def chats(draw: st.DrawFn) -> Chat:
    roles = ["system"] * draw(st.booleans()) + ["user", "assistant"] * draw(st.integers(1, 3))
    return [{"role": role, "content": draw(CONTENTS)} for role in roles]


def renderer(tokenizer: Tokenizer, template: str) -> ChatRenderer:
    ids = {piece: number for number, piece in special_pieces(tokenizer).items()}
    return ChatRenderer(
        TEMPLATES[template], tokenizer.meta, ids, segment_encoder(tokenizer), continuation_encoder(tokenizer), None
    )


def render_one(
    made: ChatRenderer, chat: Chat, objective: str, tags: Sequence[int] = ()
) -> tuple[list[int], list[bool]]:
    runs = [made.runs(chat)]
    front = Fronts(np.array([len(tags)]), np.array(tags, np.int32))
    found = made.rendered(runs, made.encoded(runs), [objective], front)
    return found.ids.tolist(), found.is_supervised.tolist()


def spelt(tokenizer: Tokenizer, template: str, chat: Chat) -> tuple[str, list[str]]:
    """The rendered chat with special tokens spelt, and of each answer its text and its end."""
    special = special_pieces(tokenizer)
    kinds = {BOS: special[tokenizer.meta.bos_id or 0], EOS: special[tokenizer.meta.eos_id]}
    segments = TEMPLATES[template].segments(chat)
    owners = sorted({one.answer for one in segments if one.answer is not None})
    answers = ["".join(kinds.get(s.kind, s.text) for s in segments if s.answer == owner) for owner in owners]
    return "".join(kinds.get(one.kind, one.text) for one in segments), answers


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=25, deadline=None)
@given(chat=chats())
def test_ids_decode_to_the_chat_and_labels_to_the_answers(template: str, tokenizer: Tokenizer, chat: Chat) -> None:
    made = renderer(tokenizer, template)
    ids, labels = render_one(made, chat, "answers")
    whole, answers = spelt(tokenizer, template, chat)
    end = special_pieces(tokenizer)[tokenizer.meta.eos_id]
    assert decode_batch(tokenizer, [ids])[0] == (whole if whole.endswith(end) else whole + end)
    # Each answer decoded behind the text it goes on from, as a text of its own may begin with a dummy space.
    runs = np.flatnonzero(np.diff([0, *labels, 0])).reshape(-1, 2)
    shown = [decode_batch(tokenizer, [ids[:stop]])[0] for _, stop in runs]
    starts = [decode_batch(tokenizer, [ids[:start]])[0] for start, _ in runs]
    assert [text[len(before) :] for text, before in zip(shown, starts, strict=True)] == answers
    last, last_labels = render_one(made, chat, "last_answer")
    everything, all_labels = render_one(made, chat, "text")
    assert last == everything == ids
    assert last_labels == [bit and place >= runs[-1][0] for place, bit in enumerate(labels)]
    num_bos = int(ids[0] == tokenizer.meta.bos_id)
    assert all_labels == [place >= max(num_bos, 1) for place in range(len(ids))]


def test_control_tokens_stand_behind_the_one_bos_and_are_no_labels(tokenizer: Tokenizer) -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for template in TEMPLATES:
        for bos_id in (None, tokenizer.meta.bos_id):
            made = renderer(tokenizer, template)
            made = ChatRenderer(made.template, made.tokenizer, made.token_ids, made.encode, made.encode_on, bos_id)
            ids, labels = render_one(made, chat, "answers", tags=[5, 6])
            num_bos = int(bos_id is not None or template in ("llama3", "mistral"))
            assert ids[: num_bos + 2] == [tokenizer.meta.bos_id] * num_bos + [5, 6]
            assert ids.count(tokenizer.meta.bos_id) == num_bos
            assert not any(labels[: num_bos + 2])


def test_a_text_behind_a_text_is_encoded_without_the_dummy_space(tokenizer: Tokenizer) -> None:
    texts = ["word", " word", "two words", "\n", ""]
    behind = continuation_encoder(tokenizer)(texts)
    head = tokenizer.encode(["a"])[0].tolist()
    assert decode_batch(tokenizer, [head + ids.tolist() for ids in behind]) == [f"a{text}" for text in texts]


def store_of(
    tokenizer: Tokenizer,
    of: Sequence[Chat],
    folder: Path,
    jobs: int = 2,
    template: str = "chatml",
    objective: Objective = "answers",
) -> TokenStore:
    messages = pa.array(of, MESSAGES)
    doc_ids = [bytes([number]) * 16 for number in range(len(of))]
    config = StoreRender(template=template, template_digest="d", objective={"chats": objective})
    digest = token_store_digest(tokenizer.meta.digest, config, zip(doc_ids, chat_digests(messages), strict=True))
    batch = Batch(doc_ids, ["chats"] * len(of), texts_of(messages, "text").to_pylist(), None, messages)
    return build_token_store([batch], tokenizer, config, folder, digest, jobs, TEMPLATES[template])


def test_a_store_of_chats_is_the_same_for_any_number_of_threads_and_counts_what_has_no_label(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"role": "user", "content": "a"}
    of: list[Chat] = [[asked, {"role": "assistant", "content": f"b{number}"}] for number in range(9)] + [[asked]]
    one = store_of(tokenizer, of, tmp_path / "one", jobs=1)
    monkeypatch.setattr("engine.pack.encode_documents._CHUNK_DOCUMENTS", 2)
    two = store_of(tokenizer, of, tmp_path / "two", jobs=3)
    for file in ("ids.bin", "supervised.bin", "documents.parquet", "store.json"):
        assert (one.folder / file).read_bytes() == (two.folder / file).read_bytes()
    assert one.documents()["supervised_tokens"].to_list()[-1] == 0
    assert pl.read_json(one.folder / "receipt.json")["details"].struct.field("unsupervised_documents")[0] == 1


@pytest.mark.parametrize(
    ("template", "objective", "stops"),
    [
        ("chatml", "answers", ["<|im_end|>"]),
        ("chatml", "text", ["<|im_end|>"]),
        ("llama3", "last_answer", ["<|eot_id|>"]),
        ("mistral", "answers", ["</s>"]),
        ("alpaca", "text", ["</s>"]),
    ],
)
def test_the_store_names_what_ends_answers_and_how_many_documents_begin_with_bos(
    tmp_path: Path, tokenizer: Tokenizer, template: str, objective: Objective, stops: list[str]
) -> None:
    asked, said = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    store = store_of(tokenizer, [[asked, said], [asked]], tmp_path / "s", 1, template, objective)
    meta, special = store.meta, special_pieces(tokenizer)
    assert [special[number] for number in meta.stop_ids] == stops
    assert (meta.bos_id, meta.bos_documents) == (tokenizer.meta.bos_id, 2 if template in ("llama3", "mistral") else 0)
    bos, eos = (f'"{special[number or 0]}"' for number in (meta.bos_id, meta.eos_id))
    assert meta.chat_template == JINJA[template].replace("bos_token", bos).replace("eos_token", eos)
    row = store.documents().row(0, named=True)
    ids, is_label = store.spans(np.array([row["offset"]]), np.array([row["num_tokens"]]))
    assert {special[number] for number in ids[is_label].tolist() if number in meta.stop_ids} == set(stops)


def test_digests_of_chats_differ_by_roles_and_by_where_a_message_ends() -> None:
    roles = ["user", "assistant"]
    same_text: list[Chat] = [
        [{"role": "user", "content": "a\n\nb"}],
        [{"role": "assistant", "content": "a\n\nb"}],
        [{"role": role, "content": content} for role, content in zip(roles, "ab", strict=True)],
        [{"role": role, "content": content} for role, content in zip(roles[::-1], "ab", strict=True)],
        [{"role": "user", "content": content} for content in ("a", "", "")],
        [{"role": "user", "content": content} for content in ("", "a", "")],
    ]
    digests = chat_digests(pa.array(same_text, MESSAGES))
    assert len(set(digests)) == len(same_text)
    cut = pa.array([[], *same_text], MESSAGES).slice(1)
    assert chat_digests(cut) == digests


def test_a_chat_the_template_refuses_is_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    messages = pa.array([[{"role": "assistant", "content": "a"}]], MESSAGES)
    config = StoreRender(template="mistral")
    digest = token_store_digest(tokenizer.meta.digest, config, [(b"i" * 16, chat_digests(messages)[0])])
    batch = Batch([b"i" * 16], ["chats"], ["a"], None, messages)
    with pytest.raises(
        InputError,
        match=r"document 69696969-6969-6969-6969-696969696969 of source chats: message 1 is of the role assistant",
    ):
        build_token_store([batch], tokenizer, config, tmp_path / "s", digest, 1, TEMPLATES["mistral"])


def test_a_tokenizer_without_the_tokens_of_the_template_is_refused(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.pack.encode_documents.special_pieces", lambda _: {0: "<|im_start|>"})
    with pytest.raises(RecipeError, match=r"the tokenizer has no special token <\|im_end\|>"):
        store_of(tokenizer, [], tmp_path / "s")
