"""Texts and chats in one mixture: rendered with one template, labels as the objective of each source says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import InputError, RecipeError
from engine.formats.mixture import open_mixture
from engine.formats.tokenizer import special_pieces
from engine.formats.workspace import Workspace
from engine.pack.templates import TEMPLATES
from engine.recipe import load_recipe
from engine.run.pipeline import run
from engine.run.show import show_run
from tests.engine.run.chat_corpus import MAIL, NUM_CHATS, chats, labels_of, recipe, store_of, write


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("talk")
    return folder, run(write(folder, recipe()), folder / "ws")


def test_labels_of_chats_are_their_answers_with_edits_and_those_of_texts_are_all(
    ran: tuple[Path, dict[str, Any]],
) -> None:
    folder, _ = ran
    store, tokenizer = store_of(folder / "ws")
    found = labels_of(store, tokenizer, "chats")
    assert not any(MAIL in whole for whole, _ in found)
    shown = sorted(re.sub(r"<EMAIL-[0-9a-f]{8}>", MAIL, repr(one)) for one in found)
    expected = []
    for row in chats():
        messages = row["messages"]
        whole = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages) + "</s>"
        answers = [f"{m['content']}<|im_end|>" for m in messages if m["role"] == "assistant"]
        expected.append(repr((whole, answers)))
    assert shown == sorted(expected)
    texts = store.documents().filter(source="plain")
    assert texts["supervised_tokens"].to_list() == (texts["num_tokens"] - 1).to_list()
    assert all(len(labels) == 1 and whole.endswith(labels[0]) for whole, labels in labels_of(store, tokenizer, "plain"))
    assert {"<|im_start|>", "<|im_end|>"} <= set(special_pieces(tokenizer).values())


def test_the_manifest_says_template_objectives_and_render(ran: tuple[Path, dict[str, Any]]) -> None:
    folder, result = ran
    manifest = open_mixture(Workspace(folder / "ws"), "all").manifest
    assert manifest.template == "chatml"
    assert {row.source: row.objective for row in manifest.sources} == {"chats": "answers", "plain": "text"}
    assert manifest.render["template_digest"] == TEMPLATES["chatml"].digest
    assert manifest.control_tokens == {"<|im_start|>": 4, "<|im_end|>": 5}
    details = next(step["details"] for step in result["steps"] if step["name"] == "token store")
    assert (details["unsupervised_documents"], details["control_tokens"]) == (1, {})
    assert details["look_alikes"] == {"<|im_end|>": 1}
    assert {row.source: row.documents for row in manifest.sources}["chats"] == NUM_CHATS


def test_documents_without_a_label_are_told(ran: tuple[Path, dict[str, Any]]) -> None:
    assert "without a label, in no mixture: 1 document" in show_run(ran[1])


def test_chats_longer_than_a_row_and_steps_without_labels_are_told(tmp_path: Path) -> None:
    path = write(
        tmp_path, recipe(annotate=[], mixtures={"all": {"sources": ["chats"], "row_tokens": 64, "rows_per_step": 1}})
    )
    long = [{"role": "user", "content": "why " * 200}, {"role": "assistant", "content": "because"}]
    with (tmp_path / "chats.jsonl").open("a") as file:
        file.write(json.dumps({"id": "long", "messages": long}) + "\n")
    shown = " ".join(show_run(run(path, tmp_path / "ws")).split())
    assert re.search(r"longer than a row, so later pieces are trained on without what stands before: chats \d", shown)
    assert re.search(r"mixture all: \d+ steps have no label, and no training takes them", shown)


def test_a_second_run_makes_nothing_and_other_objectives_make_other_labels(tmp_path: Path) -> None:
    run(write(tmp_path, recipe()), tmp_path / "ws")
    one, tokenizer = store_of(tmp_path / "ws")
    again = run(write(tmp_path, recipe()), tmp_path / "ws")
    assert all(step["state"] == "fresh" for step in again["steps"])
    run(write(tmp_path, recipe(render={"template": "chatml", "objective": {"chats": "last_answer"}})), tmp_path / "ws")
    last, _ = store_of(tmp_path / "ws")
    assert last.ids.tolist() == one.ids.tolist()
    counts = [len(labels) for _, labels in labels_of(last, tokenizer, "chats")]
    assert sorted(counts) == [0] + [1] * NUM_CHATS
    run(write(tmp_path, recipe(render={"template": "chatml", "objective": {"chats": "text"}})), tmp_path / "ws")
    everything, _ = store_of(tmp_path / "ws")
    unlabelled = everything.documents()["num_tokens"] - everything.documents()["supervised_tokens"]
    assert unlabelled.unique().to_list() == [1]
    assert len({one.meta.digest, last.meta.digest, everything.meta.digest}) == 3


def test_other_roles_for_the_same_text_make_another_store(tmp_path: Path) -> None:
    path = write(tmp_path, recipe(annotate=[]))
    run(path, tmp_path / "ws")
    one, _ = store_of(tmp_path / "ws")
    text = (tmp_path / "chats.jsonl").read_text()
    (tmp_path / "chats.jsonl").write_text(text.replace('"role": "user"', '"role": "system"'))
    run(path, tmp_path / "ws")
    other, _ = store_of(tmp_path / "ws")
    assert one.meta.digest != other.meta.digest


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"render": None}, r"mixtures\.all\.sources: 'chats' holds chat records, and no template is named.*chatml"),
        ({"render": {"template": ["chatml", "alpaca"]}}, r"2 templates: chatml, alpaca\. Needed: one template"),
        ({"render": {"template": "chatlm"}}, r"did you mean 'chatml'\?"),
        ({"render": {"template": "chatml", "objective": {"plain": "answers"}}}, "'plain', which holds texts without"),
        ({"render": {"template": "chatml", "objective": {"chat": "text"}}}, r"did you mean 'chats'\?"),
        ({"render": {"template": "chatml", "objective": {"chats": "answer"}}}, r"render\.objective\.chats"),
        (
            {"mixtures": {"all": {"sources": ["chats"], "template": "alpaca"}}},
            r"mixtures\.all\.template: a mixture has no template of its own.*one template per mixture",
        ),
        (
            {
                "render": {"template": "llama3", "grow": False},
                "tokenizer": {"train": {"sources": ["plain"], "vocab_size": 400, "control_slots": 2}},
            },
            "3 tokens and 2 free slots",
        ),
    ],
)
def test_a_section_that_cannot_be_is_refused_before_any_work(
    tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(write(tmp_path, recipe(**sections)))
    assert len(str(caught.value).splitlines()) == 1


def test_a_chat_the_template_cannot_express_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, recipe(render={"template": "mistral"}))
    odd = {"id": "odd", "messages": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]}
    with (tmp_path / "chats.jsonl").open("a") as file:
        file.write(json.dumps(odd) + "\n")
    with pytest.raises(InputError, match=r"document [0-9a-f-]{36} of source chats: two messages of the user in a row"):
        run(path, tmp_path / "ws")
