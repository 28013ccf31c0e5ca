"""Messages: the text of a chat, what prompt and response are of it, and spans carried over to the text."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.formats.messages import MESSAGES, ROLES, shown, spans_of_text, texts_of

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Grüße?"},
    {"role": "assistant", "content": "Hallo."},
    {"role": "user", "content": "Und?"},
]
chats = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(ROLES), "content": st.text("aä€ \n", max_size=5)}), max_size=5
)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("text", "Be brief.\n\nGrüße?\n\nHallo.\n\nUnd?"),
        ("all", "Be brief.\n\nGrüße?\n\nHallo.\n\nUnd?"),
        ("prompt", "Be brief.\n\nGrüße?\n\nUnd?"),
        ("response", "Hallo."),
    ],
)
def test_a_field_is_its_messages_contents_joined_by_a_blank_line(field: str, text: str) -> None:
    assert texts_of(pa.array([CHAT], MESSAGES), field).to_pylist() == [text]


def test_rows_without_a_message_of_the_field_are_null() -> None:
    rows = pa.array([None, CHAT[:1], [], CHAT[2:3], CHAT], MESSAGES)
    assert texts_of(rows, "response").to_pylist() == [None, None, None, "Hallo.", "Hallo."]
    assert texts_of(rows, "prompt").to_pylist() == [None, "Be brief.", None, None, "Be brief.\n\nGrüße?\n\nUnd?"]
    assert texts_of(rows.slice(3, 1), "text").to_pylist() == ["Hallo."]
    assert texts_of(rows.slice(0, 0), "text").to_pylist() == []


def test_a_message_without_content_is_a_text_without_characters() -> None:
    assert texts_of(pa.array([[{"role": "user", "content": ""}]], MESSAGES), "prompt").to_pylist() == [""]


@given(st.lists(st.none() | chats), st.sampled_from(["text", "prompt", "response"]))
def test_texts_are_those_of_plain_python(rows: list[list[dict[str, str]] | None], field: str) -> None:
    wanted = {"text": ROLES, "prompt": ("system", "user", "tool"), "response": ("assistant",)}[field]
    expected = []
    for row in rows:
        contents = [message["content"] for message in row or [] if message["role"] in wanted]
        expected.append("\n\n".join(contents) if contents else None)
    assert texts_of(pa.array(rows, MESSAGES), field).to_pylist() == expected


def test_a_span_over_two_messages_becomes_one_in_each_and_keeps_what_else_it_says() -> None:
    prompt, text = (texts_of(pa.array([CHAT], MESSAGES), field)[0].as_py().encode() for field in ("prompt", "text"))
    start, end = prompt.index("ße".encode()), prompt.index(b"nd?")
    found = list(spans_of_text(CHAT, "prompt", [{"start": start, "end": end, "kind": "x"}]))
    assert [text[span["start"] : span["end"]].decode() for span in found] == ["ße?", "U"]
    assert {span["kind"] for span in found} == {"x"}


@given(chats, st.sampled_from(["text", "prompt", "response"]), st.data())
def test_spans_in_the_text_hold_what_they_held_in_the_field(
    chat: list[dict[str, str]], field: str, data: st.DataObject
) -> None:
    whole, part = (texts_of(pa.array([chat], MESSAGES), name)[0].as_py() or "" for name in ("text", field))
    start = data.draw(st.integers(0, len(part)))
    end = data.draw(st.integers(start, len(part)))
    span = {"start": len(part[:start].encode()), "end": len(part[:end].encode())}
    found = "".join(whole.encode()[s["start"] : s["end"]].decode() for s in spans_of_text(chat, field, [span]))
    # Line feeds between messages belong to none of them.
    assert found.replace("\n", "") == part[start:end].replace("\n", "")


def test_messages_are_shown_with_their_roles() -> None:
    assert shown(CHAT[1:3]) == "user: Grüße?\n\nassistant: Hallo."
