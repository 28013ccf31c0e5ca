"""The rows both sides train on: real chats, as a mixture made by the engine, and the same batches for TRL."""

import json
from pathlib import Path
from typing import Any

import yaml

from benchmarks.near_dup.corpora import DATA
from benchmarks.near_dup.tools import ROOT
from engine.formats.mixture import open_mixture
from engine.formats.training_rows import StepRows, TrainingRows, open_training_rows
from engine.formats.workspace import Workspace
from engine.recipe import check_recipe
from engine.run.pipeline import run
from trainers.base_models import models_add

WORKSPACE = ROOT / "build" / "bench" / "train_step"
CHATS = {
    "roleplay": "GPTeacher/roleplay-simple-deduped-roleplay-instruct.json",
    "code": "GPTeacher/codegen-instruct.json",
}
IGNORED = -100
"""What TRL takes for `no label here`."""


def data_recipe(rows_per_step: int = 2) -> dict[str, Any]:
    """Return the data recipe: two sets of chats in SmolLM2's own template, their answers supervised."""
    return {
        "name": "chats",
        "sources": [
            {"stage": "chat", "name": name, "path": str(DATA / "instructions" / path), "on_bad_row": "drop"}
            for name, path in CHATS.items()
        ],
        "annotate": [{"stage": "exact_dup"}],
        "guard": {"max_source_loss": 1.0},
        "tokenizer": {"model": "smollm2"},
        "render": {"template": "tokenizer", "objective": dict.fromkeys(CHATS, "answers")},
        "mixtures": {"chats": {"sources": list(CHATS), "row_tokens": 1024, "rows_per_step": rows_per_step}},
    }


def chat_rows() -> TrainingRows:
    """Return the rows of the mixture `chats`; the base model and the mixture are made the first time."""
    WORKSPACE.mkdir(parents=True, exist_ok=True)
    models_add("smollm2", WORKSPACE)
    run(check_recipe(data_recipe(), WORKSPACE / "chats.yaml"), WORKSPACE)
    workspace = Workspace(WORKSPACE)
    return open_training_rows(workspace, open_mixture(workspace, "chats"))


def train_recipe(method: str, steps: int) -> Path:
    """Write the train recipe that leaves nothing to differ from TRL: its AdamW, a constant rate, no dropout."""
    tuning: dict[str, Any] = {"method": method} if method == "full" else {"method": method, "dropout": 0.0}
    content = {
        "name": f"beside_trl_{method}",
        "mixture": "chats",
        "base": {"model": "smollm2"},
        "tuning": tuning,
        "optimizer": {
            "learning_rate": LEARNING_RATE,
            "weight_decay": 0.0,
            "betas": [0.9, 0.999],
            "warmup_fraction": 0.0,
            "decay": "constant",
        },
        "max_steps": steps,
        "checkpoints": {"every_steps": None},
    }
    path = WORKSPACE / f"{method}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


LEARNING_RATE = 1.0e-4


def write_batches(rows: TrainingRows, steps: int) -> Path:
    """Write the documents of each step as TRL takes them: a list of {input_ids, labels} for each."""
    path = WORKSPACE / "batches.json"
    path.write_text(json.dumps([documents(rows.step(step)) for step in range(steps)]), encoding="utf-8")
    return path


def documents(step: StepRows) -> list[dict[str, list[int]]]:
    """Return the documents of a step, each as ids and labels of the same positions."""
    found = []
    for start, stop in zip(step.bounds[:-1], step.bounds[1:], strict=True):
        ids, is_label = step.ids[start:stop].tolist(), step.is_label[start:stop].tolist()
        labels = [number if wanted else IGNORED for number, wanted in zip(ids, is_label, strict=True)]
        found.append({"input_ids": ids, "labels": labels})
    return found


def fill(step: StepRows) -> float:
    """Return the share of real tokens among the cells of the step's documents, padded to the longest."""
    return float(step.length.sum() / (step.length.max() * step.length.size))
