"""The tokenizer's own template gives what transformers gives, taken apart into contents and what stands around them."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.base.errors import InputError
from engine.formats.tokenizer import Tokenizer, decode_batch, special_pieces
from engine.pack.chat_template import ChatTemplate, chat_template_of
from engine.pack.render_chats import ChatRenderer
from engine.pack.templates import TEMPLATES, TEXT, TemplateError
from tests.engine.pack.chat_tokenizers import make
from tests.engine.pack.test_render_chats import render_one

# Written for these tests, each with a habit of published ones.
WITH_DEFAULT_SYSTEM = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}
{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
TRIMS = """{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}"""
MARKS_ANSWERS = """{%- set found = namespace(system='') -%}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}
        {%- set found.system = message.content + '\\n\\n' -%}{%- continue -%}
    {%- endif -%}
    {%- if message.role == 'user' -%}
        {{ '[INST] ' + found.system + message.content + ' [/INST]' }}{%- set found.system = '' -%}
    {%- else -%}{% generation %}{{ ' ' + message.content + eos_token }}{% endgeneration %}{%- endif -%}
{%- endfor -%}"""
STYLES = {"default": WITH_DEFAULT_SYSTEM, "trims": TRIMS, "marks": MARKS_ANSWERS}
SAMPLE = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Capital of France? \n"},
    {"role": "assistant", "content": "Paris.\n"},
    {"role": "user", "content": "And of Spain?"},
    {"role": "assistant", "content": "Madrid."},
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return make("byte_level", tmp_path_factory.mktemp("byte_level"))


def beside(folder: Path, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    said = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module")
def oracle(tokenizer: Tokenizer) -> Any:
    from transformers import PreTrainedTokenizerFast

    file = str(tokenizer.folder / "tokenizer.json")
    return PreTrainedTokenizerFast(tokenizer_file=file, bos_token="<s>", eos_token="</s>")


CONTENTS = st.text(alphabet="ab .\n{%|é", min_size=1, max_size=10) | st.just("{{ messages }}")


@pytest.mark.parametrize("style", STYLES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(CONTENTS, min_size=2, max_size=5))
def test_segments_joined_are_what_transformers_renders(
    tmp_path: Path, tokenizer: Tokenizer, oracle: Any, style: str, contents: list[str]
) -> None:
    roles = ["system", "user", "assistant", "user", "assistant"][len(contents) % 2 == 0 :]
    chat = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    template = chat_template_of(tokenizer, beside(tmp_path / "beside", chat_template=STYLES[style]))
    expected = oracle.apply_chat_template(chat, chat_template=STYLES[style], tokenize=False)
    assert "".join(one.text for one in template.segments(chat)) == expected


@pytest.mark.parametrize(
    ("style", "answers"),
    [
        ("default", ["Paris.\n<|im_end|>", "Madrid.<|im_end|>"]),
        ("trims", ["Paris.<|eot_id|>", "Madrid.<|eot_id|>"]),
        ("marks", [" Paris.\n</s>", " Madrid.</s>"]),
    ],
)
def test_ids_are_those_of_transformers_and_labels_the_answers_with_their_ends(
    tmp_path: Path, tokenizer: Tokenizer, oracle: Any, style: str, answers: list[str]
) -> None:
    template = chat_template_of(tokenizer, beside(tmp_path / "beside", chat_template=STYLES[style]))
    token_ids = {piece: number for number, piece in special_pieces(tokenizer).items()}
    renderer = ChatRenderer(template, tokenizer.meta, token_ids, tokenizer.encode, tokenizer.encode, None)
    ids, labels = render_one(renderer, SAMPLE, "answers")
    runs: list[list[int]] = []
    for place, (number, label) in enumerate(zip(ids, labels, strict=True)):
        if label:
            runs += [[]] if not labels[place - 1] else []
            runs[-1].append(number)
    assert decode_batch(tokenizer, runs) == answers
    theirs = oracle.apply_chat_template(SAMPLE, chat_template=STYLES[style], return_dict=False)
    ends = theirs[-1:] == [tokenizer.meta.eos_id]
    # A border at an answer is all that may differ: the same text in other pieces.
    assert decode_batch(tokenizer, [ids])[0] == decode_batch(tokenizer, [theirs])[0] + "</s>" * (not ends)
    if style == "trims":
        assert ids == [*theirs, tokenizer.meta.eos_id]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for m in messages %}<|im_start|>{{ m.content | upper }}{% endfor %}", "changes what the messages say"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "does not write each message once"),
        ("{% for m in messages[1:] %}{{ m.content }}{% endfor %}", "does not write each message once"),
        ("{{ raise_exception('no ' + messages[0].role) }}", r"refuses it \(no system\)"),
        ("{{ strftime_now('%Y') }}", r"asks for the day: name one with render: \{date"),
        ("{{ messages.__class__.__mro__ }}", "refuses it"),
        (
            "{% for m in messages %}{{ m.content.split('</think>')[-1] }}<|im_end|>{% endfor %}",
            "changes what the messages say",
        ),
    ],
)
def test_a_template_that_does_not_agree_with_the_messages_is_refused(source: str, message: str) -> None:
    chat = [*SAMPLE[:2], {"role": "assistant", "content": "<think>x</think>Paris"}]
    with pytest.raises(TemplateError, match=message):
        ChatTemplate(source, ("<|im_start|>", "<|im_end|>")).segments(chat)


def test_the_day_is_the_recipes_and_part_of_the_digest() -> None:
    source = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    days = [datetime.date(2024, 7, 26), datetime.date(2024, 7, 27)]
    one, other = [ChatTemplate(source, ("<|im_end|>",), date=day) for day in days]
    assert one.segments(SAMPLE)[0].text == "26 Jul 2024"
    assert one.digest != other.digest


def test_what_a_content_spells_is_no_token_and_what_the_template_spells_is_one() -> None:
    source = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    chat = [{"role": "user", "content": "<|im_end|>"}]
    segments = ChatTemplate(source, ("<|im_start|>", "<|im_end|>")).segments(chat)
    assert [(one.text, one.kind == TEXT) for one in segments] == [
        ("<|im_start|>", False),
        ("<|im_end|>", True),
        ("<|im_end|>", False),
    ]


def test_control_tokens_never_stand_in_a_header_whatever_the_tokenizer_calls_its_bos(tokenizer: Tokenizer) -> None:
    """SmolLM2 calls `<|im_start|>` its BOS: tags stand in front of the message, not behind what opens it."""
    token_ids = {piece: number for number, piece in special_pieces(tokenizer).items()}
    opens = token_ids["<|im_start|>"]
    meta = tokenizer.meta.model_copy(update={"bos_id": opens})
    own = ChatTemplate(WITH_DEFAULT_SYSTEM, tuple(token_ids), {"bos_token": "<|im_start|>", "eos_token": "</s>"})
    for template in (own, TEMPLATES["chatml"]):
        for bos_id in (None, opens):
            renderer = ChatRenderer(template, meta, token_ids, tokenizer.encode, tokenizer.encode, bos_id)
            ids, labels = render_one(renderer, SAMPLE, "answers", tags=[7, 8])
            assert ids[:3] == [7, 8, opens]
            assert ids.count(opens) == len(SAMPLE)
            assert not any(labels[:3])
    told = ChatTemplate(TRIMS, tuple(token_ids), {"bos_token": "<s>"})
    renderer = ChatRenderer(told, tokenizer.meta, token_ids, tokenizer.encode, tokenizer.encode, tokenizer.meta.bos_id)
    ids, _ = render_one(renderer, SAMPLE, "answers", tags=[7, 8])
    assert ids[:4] == [tokenizer.meta.bos_id, 7, 8, token_ids["<|start_header_id|>"]]
    assert ids.count(tokenizer.meta.bos_id) == 1


def test_an_answer_in_the_middle_that_nothing_ends_is_refused(tokenizer: Tokenizer) -> None:
    template = ChatTemplate("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", ("</s>",))
    renderer = ChatRenderer(template, tokenizer.meta, {}, tokenizer.encode, tokenizer.encode, None)
    with pytest.raises(TemplateError, match="no special token ends message 3"):
        renderer.runs(SAMPLE)
    ids, labels = render_one(renderer, SAMPLE[1:3], "answers")
    assert decode_batch(tokenizer, [[number for number, label in zip(ids, labels, strict=True) if label]]) == [
        "Paris.\n\n</s>"
    ]


@pytest.mark.parametrize(
    ("config", "file", "found"),
    [
        ({"chat_template": "A"}, None, "A"),
        ({"chat_template": [{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}]}, None, "D"),
        ({"chat_template": "A"}, "F", "F"),
    ],
)
def test_the_template_is_where_transformers_looks(
    tmp_path: Path, tokenizer: Tokenizer, config: dict[str, Any], file: str | None, found: str
) -> None:
    folder = beside(tmp_path / "beside", **config)
    if file is not None:
        (folder / "chat_template.jinja").write_text(file)
    assert chat_template_of(tokenizer, folder).source == found


def test_no_template_and_a_broken_one_are_told(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"no chat template.*chatml, llama3, mistral, alpaca"):
        chat_template_of(tokenizer, beside(tmp_path / "one"))
    with pytest.raises(InputError, match=r"no Jinja \(line 1"):
        chat_template_of(tokenizer, beside(tmp_path / "two", chat_template="{% for %}"))
