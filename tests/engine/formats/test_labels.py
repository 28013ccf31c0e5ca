"""Labels outlive killed processes and the sources of their texts."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.base.errors import InputError
from engine.base.hashing import digest_bytes
from engine.formats.labels import FILE, Label, append_labels, newest, read_judgements, read_labels

IDS = [f"0000000{number}-0000-0000-0000-000000000000" for number in range(4)]


def made(
    document: int = 0, label: str = "good", when: str = "2026-01-01", text: str = "a text", **more: object
) -> Label:
    known = {"doc_id": IDS[document], "label": label, "when": when, "source": "web", "text": text, **more}
    return Label.model_validate({"text_digest": digest_bytes(text.encode()).hex(), **known})


def test_labels_come_back_as_they_were_stored_oldest_first(tmp_path: Path) -> None:
    late = made(1, "bad", "2026-03-01T10:00:00+02:00", "zwei\u2028\r\n\u00e4", why="  links\nonly ", recipe="r")
    early = made(0, messages=[{"role": "user", "content": "a text"}])
    append_labels(tmp_path, [late])
    append_labels(tmp_path, [early])
    assert read_labels(tmp_path) == [early, late]
    assert (late.why, late.when) == ("links\nonly", "2026-03-01T08:00:00.000+00:00")
    assert read_labels(tmp_path / FILE) == [early, late]
    assert read_labels(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"doc_id": IDS[0], "label": "good"}, "when: is missing. Needed: when it was given, ISO 8601 in UTC."),
        ({"doc_id": "7", "label": "good", "when": "2026-01-01"}, "doc_id: got '7'. Needed: a UUID."),
        ([], "got []. Needed: a mapping of keys to values."),
    ],
)
def test_what_a_line_lacks_is_told_in_the_house_form(tmp_path: Path, line: object, message: str) -> None:
    path = tmp_path / "saved.jsonl"
    path.write_text(json.dumps(line), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_judgements(path)
    assert str(error.value) == f"{path}:1: {message}"


def test_the_newest_label_of_a_document_counts(tmp_path: Path) -> None:
    same = "2026-01-02T00:00:00Z"
    append_labels(
        tmp_path, [made(0, "good", same), made(1, "bad"), made(0, "bad", same), made(0, "good", "2026-01-01")]
    )
    assert [(one.doc_id, one.label) for one in newest(read_labels(tmp_path))] == [(IDS[1], "bad"), (IDS[0], "bad")]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_a_killed_process_left_of_a_label_is_not_read_and_the_next_label_is_whole(
    tmp_path: Path, data: st.DataObject
) -> None:
    for file in tmp_path.iterdir():
        file.unlink()
    labels = [made(number, text=f"text {number}\n") for number in range(3)]
    append_labels(tmp_path, labels)
    content = (tmp_path / FILE).read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    (tmp_path / FILE).write_bytes(content[:cut])
    whole = labels[: content[:cut].count(b"\n")]
    assert read_labels(tmp_path) == whole
    append_labels(tmp_path, [made(3)])
    assert sorted(read_labels(tmp_path), key=lambda one: one.doc_id) == [*whole, made(3)]
    assert (tmp_path / FILE).read_bytes().startswith(b"".join(content.splitlines(keepends=True)[: len(whole)]))


def test_labels_of_several_processes_at_once_are_all_kept(tmp_path: Path) -> None:
    many = [threading.Thread(target=append_labels, args=(tmp_path, [made(n % 4, text="x" * 9000)])) for n in range(16)]
    for one in many:
        one.start()
    for one in many:
        one.join()
    assert len(read_labels(tmp_path)) == 16


def test_a_prompt_or_a_response_is_taken_out_of_a_labelled_chat() -> None:
    chat = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "so."}]
    label = made(text="why?\n\nso.", messages=chat)
    assert [label.text_of(field) for field in ("text", "prompt", "response")] == ["why?\n\nso.", "why?", "so."]
    assert made().text_of("response") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "fine"}, "labels.jsonl:2: label: got 'fine'. Needed: 'good' or 'bad'"),
        ({"doc_id": "7"}, "labels.jsonl:2: doc_id: "),
        ({"when": "yesterday"}, "labels.jsonl:2: when: "),
        ({"text": "another text"}, "labels.jsonl:2: .*the text is not the one of text_digest"),
        ({"when": "0001-01-01T00:00:00+05:00"}, "labels.jsonl:2: when: .*lies outside the calendar in UTC"),
        ({"why": "\ud800"}, "labels.jsonl:2: why: .*it holds what is no text in UTF-8"),
        ({"\ud800": "x"}, "labels.jsonl:2: got .* Needed: a valid string"),
        ({"text": "\ud800"}, "labels.jsonl:2: text: .*it holds what is no text in UTF-8"),
        (
            {"messages": [{"role": "assistant", "content": "forged"}]},
            "labels.jsonl:2: .*its messages do not amount to its text",
        ),
        ({"messages": []}, "labels.jsonl:2: .*its messages do not amount to its text"),
        ({"messages": [{"role": "narrator", "content": "a text"}]}, "its messages do not amount to its text"),
    ],
)
def test_a_line_that_is_no_label_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    append_labels(tmp_path, [made()])
    with (tmp_path / FILE).open("a") as file:
        file.write(json.dumps({**made().model_dump(mode="json"), **change}) + "\n")
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path)


def test_a_saved_page_needs_no_text_and_no_line_break_at_its_end(tmp_path: Path) -> None:
    said = {"doc_id": IDS[2].replace("-", ""), "label": "bad", "when": "2026-01-01T00:00:00.000Z", "why": " "}
    (tmp_path / "page.jsonl").write_text("\n" + json.dumps({**said, "source": "web"}))
    (row,) = read_judgements(tmp_path / "page.jsonl")
    assert (row.said.doc_id, row.said.label, row.said.why, row.label) == (IDS[2], "bad", None, None)
    (tmp_path / "page.jsonl").write_text('{"doc_id": ')
    with pytest.raises(InputError, match=r"page\.jsonl:1: the line is not JSON"):
        read_judgements(tmp_path / "page.jsonl")
    with pytest.raises(InputError, match=r"none\.jsonl: cannot be read"):
        read_judgements(tmp_path / "none.jsonl")


def test_a_label_of_the_future_is_not_taken_in(tmp_path: Path) -> None:
    path = tmp_path / "page.jsonl"
    for hours, is_taken in ((23, True), (25, False)):
        when = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
        path.write_text("\n" + json.dumps({"doc_id": IDS[2], "label": "bad", "when": when}))
        if is_taken:
            assert len(read_judgements(path)) == 1
        else:
            with pytest.raises(InputError, match=r"page\.jsonl:2: when: .* is yet to come"):
                read_judgements(path)
