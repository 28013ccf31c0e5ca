"""A recipe over 200 short documents, a few of which hold questions of a benchmark, for tests of what a run does."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engine.formats.mixture import Mixture, open_mixture
from engine.formats.token_store import open_token_store
from engine.formats.tokenizer import decode_batch, load_tokenizer
from engine.formats.workspace import Workspace
from engine.run.pipeline import run

EGGS = "Ada's hens lay 16 eggs a day; she eats 3 and sells the others for 2 dollars each. What does she earn a week?"
TRAIN = "A train leaves at 9 and rides 240 miles at 60 miles an hour; when does it reach the town by the sea?"
QUIZ = [
    {"question": EGGS, "answer": "16 - 3 = 13 eggs for 26 dollars a day.\n#### 182"},
    {"question": TRAIN, "answer": "240 / 60 = 4 hours.\n#### 13"},
]
POOL = [
    f"{start}{end}" for start in ("bar", "den", "fol", "gim", "lat", "mon", "pes") for end in ("a", "el", "ort", "us")
]


def prose(seed: int, num_words: int = 40) -> str:
    numbers = random.Random(seed)
    return " ".join(numbers.choice(POOL) for _ in range(num_words))


def rows(numbers: Iterable[int]) -> list[dict[str, str]]:
    """Clean documents, and three that hold a question: one with its answer, one within prose, one nothing else."""
    made = [{"uid": f"d{number:03}", "text": prose(number)} for number in numbers]
    made += [{"uid": "solved", "text": f"{prose(1001)}\n\n{EGGS}\n16 - 3 = 13 eggs a day. #### 182\n\n{prose(1002)}"}]
    made += [{"uid": "asked", "text": f"{prose(1003)}\n\n{TRAIN.upper()}\n\n{prose(1004)}"}]
    return [*made, {"uid": "bare", "text": TRAIN}]


def write_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def recipe(action: str = "drop", **sections: Any) -> dict[str, Any]:
    """A recipe that searches for quiz.jsonl; sections of None are left out, a split has the near_dup it needs."""
    near_dup = [{"stage": "near_dup", "threshold": 0.8}] if sections.get("split") else []
    content = {
        "name": "searched",
        "sources": [{"stage": "jsonl", "name": "web", "path": "web.jsonl", "columns": {"id": "uid"}}],
        "annotate": [
            {"stage": "exact_dup"},
            *near_dup,
            {"stage": "heuristics"},
            {"stage": "contamination", "action": action},
        ],
        "benchmarks": ["quiz.jsonl"],
        "filters": [{"reason": "too_short", "keep": "heuristics__num_words >= 3"}],
        "tokenizer": {"train": {"sources": ["web"], "vocab_size": 400}},
        "mixtures": {"all": {"sources": ["web"], "row_tokens": 64, "rows_per_step": 4}},
        **sections,
    }
    return {name: section for name, section in content.items() if section is not None}


def write_corpus(folder: Path) -> Path:
    """web.jsonl, quiz.jsonl and recipe.json in a folder; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "web.jsonl", rows(range(200)))
    write_lines(folder / "quiz.jsonl", QUIZ)
    return folder


def run_in(folder: Path, content: Mapping[str, Any], workspace: str = "ws", **options: Any) -> dict[str, Any]:
    (folder / "recipe.yaml").write_text(json.dumps(content))
    return run(folder / "recipe.yaml", folder / workspace, **options)


def states(result: Mapping[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in result["steps"]}


def made(result: Mapping[str, Any], state: str = "made") -> set[str]:
    """Names of the steps that were made (or are stale)."""
    return {name for name, found in states(result).items() if found == state}


def mixture_of(folder: Path, workspace: str = "ws") -> Mixture:
    return open_mixture(Workspace(folder / workspace), "all@latest")


def trained_texts(folder: Path, workspace: str = "ws") -> list[str]:
    """What is trained on: the token store of the mixture, decoded."""
    manifest = mixture_of(folder, workspace).manifest
    place = Workspace(folder / workspace)
    store = open_token_store(place.tokens(manifest.token_store))
    spans = store.documents().select("offset", "num_tokens").rows()
    return decode_batch(
        load_tokenizer(place.tokenizer(manifest.tokenizer)),
        [store.ids[offset : offset + length].tolist() for offset, length in spans],
    )
