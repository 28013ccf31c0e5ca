"""The Jinja of a template renders its segments, with the same answers, and refuses the same chats."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.pack.chat_template import ChatTemplate, _environment
from engine.pack.jinja_templates import JINJA
from engine.pack.templates import BOS, EOS, TEMPLATES, Segment, TemplateError

SPELT = {BOS: "<s>", EOS: "</s>"}
PIECES = ("<s>", "</s>", *(token for template in TEMPLATES.values() for token in template.tokens))
ROLES = st.lists(st.sampled_from(["user", "assistant", "tool"]), max_size=5) | st.sampled_from(
    [["user", "assistant"] * 2, ["user", "user", "assistant", "user"], ["user", "user", "user", "assistant"]]
)
CONTENTS = st.text(alphabet="ab .\n{%|'é", max_size=8) | st.sampled_from(["[/INST]", "</s>", "{{ messages }}", " x  "])


@st.composite
def chats(draw: st.DrawFn) -> list[dict[str, str]]:
    roles = ["system"] * draw(st.booleans()) + ["user"] + draw(ROLES)
    return [{"role": role, "content": draw(CONTENTS)} for role in roles]


def spelt(segments: list[Segment]) -> tuple[str, dict[int, str]]:
    """All of the text, and that of each answer with its end."""
    texts = [(one.answer, one.text or SPELT.get(one.kind, "")) for one in segments]
    owners = sorted({answer for answer, _ in texts if answer is not None})
    return "".join(text for _, text in texts), {
        owner: "".join(text for answer, text in texts if answer == owner) for owner in owners
    }


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=60)
@given(chat=chats())
def test_jinja_renders_the_segments_with_their_answers(name: str, chat: list[dict[str, str]]) -> None:
    jinja = ChatTemplate(JINJA[name], PIECES, {"bos_token": "<s>", "eos_token": "</s>"})
    try:
        expected = spelt(TEMPLATES[name].segments(chat))
    except TemplateError:
        with pytest.raises(TemplateError, match="refuses it"):
            jinja.segments(chat)
        return
    assert spelt(jinja.segments(chat)) == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_ends_where_an_answer_begins(name: str) -> None:
    template = _environment(None).from_string(JINJA[name])
    asked, said = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    told = {"bos_token": "<s>", "eos_token": "</s>"}
    prompt = template.render(messages=[asked], add_generation_prompt=True, **told)
    assert template.render(messages=[asked, said], **told).startswith(f"{prompt}b")
    assert "PUT" not in prompt


def test_every_template_has_its_jinja() -> None:
    assert JINJA.keys() == TEMPLATES.keys()
