"""Fields of a benchmark file can be named where they are not found."""

import json
from pathlib import Path

import pytest

from engine.base.errors import InputError
from engine.verbs import decontaminate

QUESTION = "How many of the nine geese that came in spring are still there in autumn?"


def test_fields_that_are_named_are_searched_for(tmp_path: Path) -> None:
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"frage": QUESTION, "antwort": "four"}))
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in (QUESTION, "Nothing of it.")))
    named = ["quiz.question=frage", "quiz.answer=antwort"]
    spec = f"quiz={tmp_path / 'quiz.jsonl'}"
    with pytest.raises(InputError, match=r"--fields NAME\.question="):
        decontaminate([tmp_path / "in.jsonl"], [spec], tmp_path / "out")
    report = decontaminate([tmp_path / "in.jsonl"], [spec], tmp_path / "out", fields=named)
    assert report["flagged"] == 1
    assert report["recipe"]["benchmark_fields"] == {"quiz": {"question": "frage", "answer": "antwort"}}


@pytest.mark.parametrize(
    ("given", "message"), [("question=frage", "got 'question=frage'"), ("quis.question=x", "quiz")]
)
def test_fields_of_nothing_are_refused(tmp_path: Path, given: str, message: str) -> None:
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"question": QUESTION}))
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "x"}))
    with pytest.raises(InputError, match=message):
        decontaminate([tmp_path / "in.jsonl"], [f"quiz={tmp_path / 'quiz.jsonl'}"], tmp_path / "out", fields=[given])
    assert not (tmp_path / "out").exists()
