"""`provender label` stores what somebody said of a document, with the text it was said of."""

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.base.errors import InputError, RecipeError
from engine.base.hashing import digest_bytes
from engine.catalog import sql
from engine.cli import main
from engine.explain import explain, show_explain
from engine.formats.labels import Label, append_labels, read_labels
from engine.run.label.show import show_label
from engine.run.sample.show import show_sample
from engine.verbs import label, sample

small_workspace = runpy.run_path(str(Path(__file__).parents[1] / "small_workspace.py"))["small_workspace"]
WHEN = "2026-05-02T10:00:00.000Z"


def judgement(here: SimpleNamespace, name: str, **more: Any) -> dict[str, Any]:
    return {"doc_id": here.id[name], "label": "bad", "why": None, "when": WHEN, **more}


def page(here: SimpleNamespace, *rows: dict[str, Any]) -> Path:
    path = Path(here.root) / "page.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_label_keeps_the_text_and_shows_in_list_view_and_explain(small_workspace: SimpleNamespace) -> None:
    here = small_workspace
    result = label(here.root, here.id["b2"][:8], "bad", why=" a first line ")
    assert (result["stored"], result["good"], result["bad"]) == (1, 0, 1)
    (stored,) = read_labels(Path(here.root) / "labels")
    assert (stored.text, stored.source, stored.recipe) == ("Call me\nIshmael.", "books", "small")
    label(here.root, here.id["w1"].upper(), "good")
    listed = label(here.root, list_labels=True)
    assert [(one["doc_id"], one["label"], one["text_changed"]) for one in listed["labels"]] == [
        (here.id["b2"], "bad", False), (here.id["w1"], "good", False),
    ]  # fmt: skip
    query = "SELECT doc_id, source, label, why, is_newest, text_changed, text FROM labels WHERE label = 'bad'"
    rows = sql(query, here.root)["rows"]
    assert rows == [[here.id["b2"], "books", "bad", "a first line", True, False, "Call me\nIshmael."]]
    found = explain(here.id["b2"], here.root)
    assert found["label"] == {"label": "bad", "why": "a first line", "when": stored.when, "text_changed": False}
    assert f"label\n  labelled bad on {stored.when[:10]}: a first line\n" in show_explain(found, 100)
    assert explain(here.id["b1"], here.root)["label"] is None


def test_a_label_of_another_text_says_that_the_text_changed(small_workspace: SimpleNamespace) -> None:
    here = small_workspace
    old = {**judgement(here, "b1"), "source": "books", "text": "before", "text_digest": digest_bytes(b"before").hex()}
    gone = {**old, "doc_id": "00000000-0000-0000-0000-000000000007", "source": "gone"}
    append_labels(Path(here.root) / "labels", [Label.model_validate(one) for one in (old, gone)])
    listed = label(here.root, list_labels=True)
    assert [one["text_changed"] for one in listed["labels"]] == [True, None]
    shown = show_label(listed, 80)
    assert "(text changed)" in shown
    assert "(not in the recipe)" in shown
    assert [row[0] for row in sql("SELECT text_changed FROM labels", here.root)["rows"]] == [True, None]
    assert "labelled bad on 2026-05-02 (the text changed since)" in show_explain(explain(here.id["b1"], here.root), 100)


def test_a_saved_page_is_taken_in_once_and_what_cannot_be_is_left_out(small_workspace: SimpleNamespace) -> None:
    here = small_workspace
    digest = digest_bytes(b"short").hex()
    file = page(
        here,
        judgement(here, "b3", why="too little", text_digest=digest, source="books", recipe="small"),
        judgement(here, "b4", text_digest=digest),
        judgement(here, "w3"),
        {**judgement(here, "w1"), "doc_id": "00000000-0000-0000-0000-000000000007"},
    )
    result = label(here.root, from_file=file)
    assert (result["stored"], result["known"], result["bad"]) == (1, 0, 1)
    assert [(one["doc_id"][:2], one["why"]) for one in result["left_out"]] == [
        ("62", "the text changed since it was read"),
        ("77", "the document has no text"),
        ("00", "no document of the recipe has this id"),
    ]
    assert "1 label stored, 3 left out" in show_label(result, 80)
    again = label(here.root, from_file=file)
    assert (again["stored"], again["known"]) == (0, 1)
    (stored,) = read_labels(Path(here.root) / "labels")
    assert (stored.text, stored.why, stored.when) == ("short", "too little", "2026-05-02T10:00:00.000+00:00")


def test_labels_of_another_workspace_bring_their_text(small_workspace: SimpleNamespace, tmp_path: Path) -> None:
    here = small_workspace
    text = {"source": "elsewhere", "text": "theirs", "text_digest": digest_bytes(b"theirs").hex()}
    other = {**judgement(here, "w1"), "doc_id": "00000000-0000-0000-0000-000000000007", **text}
    assert label(here.root, from_file=page(here, other))["stored"] == 1
    assert [(one.text, one.source) for one in read_labels(Path(here.root) / "labels")] == [("theirs", "elsewhere")]


def test_a_label_whose_messages_are_not_its_text_is_left_out_and_named(small_workspace: SimpleNamespace) -> None:
    here = small_workspace
    text = {"source": "books", "text": "why?\n\nso.", "text_digest": digest_bytes(b"why?\n\nso.").hex()}
    asked, said = {"role": "user", "content": "why?"}, {"role": "assistant", "content": "so."}
    forged = {**judgement(here, "b1"), **text, "messages": [asked, {**said, "content": "forged"}]}
    file = page(here, {**judgement(here, "b2"), **text, "messages": [asked, said]}, forged)
    result = label(here.root, from_file=file)
    assert result["left_out"] == [{"doc_id": here.id["b1"], "why": f"{file}:2: its messages do not amount to its text"}]
    (stored,) = read_labels(Path(here.root) / "labels")
    assert (stored.doc_id, stored.text_of("response")) == (here.id["b2"], "so.")


def test_a_damaged_line_fails_only_what_reads_labels(small_workspace: SimpleNamespace) -> None:
    here = small_workspace
    label(here.root, here.id["b1"], "bad")
    with (Path(here.root) / "labels" / "labels.jsonl").open("a") as file:
        file.write("{}\n")
    damage = r"labels\.jsonl:2: doc_id: is missing"
    assert sql("SELECT count(*) FROM documents", here.root)["rows"] == [[9]]
    assert "labels" in {view["name"] for view in sql(None, here.root, list_queries=True)["views"]}
    for query in ("FROM labels", "SELECT count(*) FROM labels"):
        with pytest.raises(InputError, match=damage):
            sql(query, here.root)
    drawn = sample(here.root)
    assert len(drawn["documents"]) == 8
    assert re.search(damage, drawn["labels_problem"])
    assert "labels are not shown: " in show_sample(drawn, 10_000)
    assert re.search(damage, show_explain(explain(here.id["b1"], here.root), 10_000))
    page_of = Path(here.root) / "page.html"
    sample(here.root, html=page_of)
    assert "Labels of the workspace are not shown: " in page_of.read_text()
    for call in (lambda: sample(here.root, label=True), lambda: label(here.root, list_labels=True)):
        with pytest.raises(InputError, match=damage):
            call()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, RecipeError, "label: nothing says what to do. Needed: DOC_ID good"),
        ({"doc_id": "62", "list_labels": True}, RecipeError, "two things are asked for"),
        ({"doc_id": "6231"}, RecipeError, "nothing is said of 6231. Needed: good or bad"),
        ({"doc_id": "6231", "verdict": "goood"}, RecipeError, "no label 'goood' .*did you mean 'good'"),
        ({"why": "x", "list_labels": True}, RecipeError, "no document it is about"),
        ({"doc_id": "ffff", "verdict": "good"}, InputError, "no document of the recipe has this id"),
        ({"doc_id": "7733", "verdict": "good"}, InputError, "the document has no text"),
        ({"doc_id": "6231", "verdict": "good", "why": "x\udcff"}, InputError, "why: .*it holds what is no text"),
        ({"list_labels": True, "recipe": "none"}, InputError, "no finished recipe 'none'"),
    ],
)
def test_wrong_arguments_are_named_and_store_nothing(
    small_workspace: SimpleNamespace, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        label(small_workspace.root, **arguments)
    assert not (Path(small_workspace.root) / "labels").exists()


def test_a_file_without_a_label_that_fits_is_an_error(small_workspace: SimpleNamespace) -> None:
    here = small_workspace
    with pytest.raises(InputError, match=r"none of its 1 labels can be stored .*has no text"):
        label(here.root, from_file=page(here, judgement(here, "w3")))
    with pytest.raises(InputError, match="no label in it"):
        label(here.root, from_file=page(here))
    with pytest.raises(InputError, match=r"page\.jsonl:1: label"):
        label(here.root, from_file=page(here, judgement(here, "b1", label="meh"), judgement(here, "b2")))


def test_command_line_labels_and_lists(small_workspace: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    here = small_workspace
    where = ["--workspace", str(here.root)]
    assert main(["label", here.id["b1"], "good", *where]) == 0
    assert capsys.readouterr().out == "1 label stored\nin the workspace: 1 good, 0 bad\n"
    assert main(["label", "--list", "--json", *where]) == 0
    assert [one["source"] for one in json.loads(capsys.readouterr().out)["labels"]] == ["books"]
    assert main(["label", "--list", *where]) == 0
    assert "6231eeee" in capsys.readouterr().out
