"""Two phases of texts and chats through a recipe: the version verifies, and a step shows roles and labels."""

import re
from pathlib import Path
from typing import Any

import pytest

from engine.catalog import sql
from engine.explain.show_step import show_step
from engine.explain.step import show
from engine.formats.drawn_parts import NO_LABEL_BRACKETS as NO_LABEL
from engine.formats.drawn_parts import TOKEN_BRACKETS as TOKEN
from engine.formats.mixture import open_mixture
from engine.formats.workspace import Workspace
from engine.mixture.versions import mixture_verify
from engine.run.pipeline import run
from tests.engine.run.chat_corpus import MAIL, NUM_CHATS, chats, recipe, write

PHASES = [
    {"name": "general", "sources": {"plain": 3, "chats": 1}, "budget_tokens": 900},
    {"name": "specific", "sources": ["chats"], "budget_tokens": 500},
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phases")
    shape = {"row_tokens": 256, "rows_per_step": 2}
    mixtures = {
        "all": {"sources": ["chats", "plain"], **shape},
        "phased": {"sources": ["chats", "plain"], "phases": PHASES, "max_repeats": 8, **shape},
    }
    run(write(folder, recipe(mixtures=mixtures)), folder / "ws")
    return folder / "ws"


def steps(workspace: Path, name: str) -> list[dict[str, Any]]:
    num_steps = open_mixture(Workspace(workspace), name).manifest.num_steps
    return [show(name, step, workspace) for step in range(1, num_steps + 1)]


def test_a_version_of_texts_and_chats_in_phases_verifies(workspace: Path) -> None:
    manifest = open_mixture(Workspace(workspace), "phased").manifest
    assert [phase.name for phase in manifest.phases] == ["general", "specific"]
    assert {(row.phase, row.source) for row in manifest.sources if row.documents} == {
        (0, "plain"),
        (0, "chats"),
        (1, "chats"),
    }
    for name in ("all", "phased"):
        assert "every use of every document scheduled" in mixture_verify(name, workspace)["checked"]


def test_steps_go_through_the_phases_in_their_order(workspace: Path) -> None:
    spans = [span for step in steps(workspace, "phased") for row in step["rows"] for span in row["spans"]]
    phases = [span["phase"] for span in spans]
    assert phases[0] == 0
    assert phases[-1] == 1
    assert {span["source"] for span in spans if span["phase"] == 1} == {"chats"}


def test_a_step_shows_the_roles_of_a_chat_and_its_answers_as_labels(workspace: Path) -> None:
    spans = [span for step in steps(workspace, "all") for row in step["rows"] for span in row["spans"]]
    shown = [span for span in spans if span["source"] == "chats"]
    found = sorted(
        repr([(part["text"], part["supervised"]) for part in span["parts"] if part["text"] != "\n"]) for span in shown
    )
    expected = []
    for row in chats():
        parts: list[tuple[str, bool]] = []
        answers = [message for message in row["messages"] if message["role"] == "assistant"]
        if not answers:
            continue
        for message in row["messages"]:
            is_answer = message["role"] == "assistant"
            parts.append(("<|im_start|>", False))
            if is_answer:
                parts += [("assistant\n", False), (message["content"], True)]
            else:
                parts.append((f"user\n{message['content']}", False))
            parts.append(("<|im_end|>", is_answer))
        expected.append(repr([*parts, ("</s>", False)]))
    assert [re.sub(r"<EMAIL-[0-9a-f]{8}>", MAIL, one) for one in found] == sorted(expected)
    assert len(found) == NUM_CHATS


def test_a_terminal_marks_what_is_no_label_of_a_chat(workspace: Path) -> None:
    query = "SELECT step, row FROM schedule WHERE mixture = 'all' AND source = 'chats' LIMIT 1"
    (place,) = sql(query, workspace)["rows"]
    step, row = place
    text = show_step(show("all", step, workspace, row), width=400, is_coloured=False)
    assert f"{NO_LABEL[0]}{TOKEN[0]}<|im_start|>{TOKEN[1]}{NO_LABEL[1]}{NO_LABEL[0]}user" in text
    assert re.search(rf"{NO_LABEL[0]}assistant\s+{NO_LABEL[1]}\w+.*{TOKEN[0]}<\|im_end\|>{TOKEN[1]}", text)
