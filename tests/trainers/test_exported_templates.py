"""The Jinja templates beside a trained model: the same bytes as the engine's segments, the same refusals."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import TemplateError as TemplateRefused
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from engine.formats.messages import Message
from engine.formats.tokenizer import Tokenizer, special_pieces
from engine.pack.chat_template import ChatTemplate
from engine.pack.jinja_templates import JINJA, jinja_of
from engine.pack.templates import BOS, EOS, TEMPLATES, TemplateError
from tests.engine.pack.chat_tokenizers import make
from tests.engine.pack.test_render_chats import render_one

ROLES = ("system", "user", "assistant", "tool")
CHATS: list[list[Message]] = [
    [{"role": "user", "content": "Capital of France?"}, {"role": "assistant", "content": "Paris."}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Capital\nof 'France'? "},
        {"role": "assistant", "content": " Paris. \n "},
        {"role": "user", "content": "{{ of Spain }}"},
        {"role": "assistant", "content": "Madrid <b>&amp;</b>\\n."},
    ],
    [
        {"role": "user", "content": "Translate."},
        {"role": "user", "content": "Guten Tag"},
        {"role": "user", "content": "und Nacht"},
        {"role": "assistant", "content": "Good day and night"},
        {"role": "user", "content": "Thanks"},
    ],
    [{"role": "system", "content": ""}, {"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
    [{"role": "user", "content": "x"}, {"role": "tool", "content": " 3 "}, {"role": "assistant", "content": "three"}],
    [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "So?"}],
    [{"role": "user", "content": "a"}, {"role": "system", "content": "late"}, {"role": "assistant", "content": "b"}],
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return make("byte_level", tmp_path_factory.mktemp("tokenizer"))


def by_segments(name: str, tokenizer: Tokenizer, messages: Sequence[Message]) -> str | None:
    """The text of the engine's segments; None where the template refuses the chat."""
    pieces = special_pieces(tokenizer)
    spelt = {BOS: pieces[tokenizer.meta.bos_id or 0], EOS: pieces[tokenizer.meta.eos_id]}
    try:
        return "".join(one.text or spelt.get(one.kind, "") for one in TEMPLATES[name].segments(messages))
    except TemplateError:
        return None


def by_transformers(source: str, messages: Sequence[Message], prompt: bool = False) -> str | None:
    try:
        chats = [[dict(message) for message in messages]]
        rendered, _ = render_jinja_template(chats, chat_template=source, add_generation_prompt=prompt)
    except TemplateRefused:
        return None
    return str(rendered[0])


@pytest.mark.parametrize("name", JINJA)
@pytest.mark.parametrize("messages", CHATS)
def test_template_makes_the_bytes_of_the_segments(name: str, messages: list[Message], tokenizer: Tokenizer) -> None:
    source = jinja_of(TEMPLATES[name], tokenizer, bos_in_front=False)
    assert by_transformers(source, messages) == by_segments(name, tokenizer, messages)


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(ROLES), "content": st.text("a '\"\n\\{%}<>&\u00a0\u4f60", max_size=6)}
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("name", JINJA)
@settings(max_examples=40, deadline=None)
@given(messages=MESSAGES)
def test_template_agrees_with_the_segments_on_any_chat(
    name: str, messages: list[Message], tokenizer: Tokenizer
) -> None:
    source = jinja_of(TEMPLATES[name], tokenizer, bos_in_front=False)
    assert by_transformers(source, messages) == by_segments(name, tokenizer, messages)


@pytest.mark.parametrize("name", JINJA)
def test_prompt_is_what_stands_before_the_answer_in_training(name: str, tokenizer: Tokenizer) -> None:
    source = jinja_of(TEMPLATES[name], tokenizer, bos_in_front=False)
    messages = CHATS[1]
    for place in (2, 4):
        prompt, whole = by_transformers(source, messages[:place], prompt=True), by_transformers(source, messages)
        assert prompt
        assert whole
        answer = messages[place]["content"]
        expected = {"llama3": answer.strip(), "mistral": answer.rstrip(" ")}.get(name, answer)
        assert whole.startswith(prompt + expected)


@pytest.mark.parametrize("name", JINJA)
def test_prompt_gets_the_ids_of_training(name: str, tokenizer: Tokenizer) -> None:
    from engine.pack.render_chats import ChatRenderer

    pieces = {piece: number for number, piece in special_pieces(tokenizer).items()}
    encode = tokenizer.encode
    renderer = ChatRenderer(TEMPLATES[name], tokenizer.meta, pieces, encode, encode, tokenizer.meta.bos_id)
    ids, labels = render_one(renderer, CHATS[0], "answers")
    loaded = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer.folder / "tokenizer.json"))
    loaded.chat_template = jinja_of(TEMPLATES[name], tokenizer, bos_in_front=True)
    prompt = loaded.apply_chat_template(CHATS[0][:1], add_generation_prompt=True, tokenize=True, return_dict=False)
    assert prompt == ids[: labels.index(True)]


def test_bos_of_the_recipe_stands_in_front_once(tokenizer: Tokenizer) -> None:
    for name in JINJA:
        text = by_transformers(jinja_of(TEMPLATES[name], tokenizer, bos_in_front=True), CHATS[0])
        assert text is not None
        assert text.startswith("<s>")
        assert text.count("<s>") == 1


def test_own_template_gets_bos_only_where_it_writes_none(tokenizer: Tokenizer) -> None:
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    own = ChatTemplate(plain, (), {})
    assert by_transformers(jinja_of(own, tokenizer, bos_in_front=True), CHATS[0]) == "<s>Capital of France?Paris."
    assert jinja_of(own, tokenizer, bos_in_front=False) == plain
    with_bos = ChatTemplate("{{ bos_token }}" + plain, (), {})
    assert jinja_of(with_bos, tokenizer, bos_in_front=True) == with_bos.source
