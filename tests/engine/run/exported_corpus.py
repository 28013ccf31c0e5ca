"""A recipe with all that changes a text: replaced addresses, a cut question, tags, repeats, held-out texts."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from engine.run.pipeline import run
from tests.engine.run.searched import QUIZ, TRAIN, prose, write_lines

MAIL = "ada.lovelace@analytical.org"
TAGS = {"tags": [{"tag": "lang", "column": "language", "values": ["de", "en"]}], "drop_out": 0}


def recipe(**sections: Any) -> dict[str, Any]:
    columns = {"id": "uid", "language": "lang", "license": "licence", "url": "url"}
    content = {
        "name": "exported",
        "sources": [
            {"stage": "jsonl", "name": "web", "path": "web.jsonl", "columns": columns},
            {"stage": "parquet", "name": "lake", "path": "lake.parquet", "columns": {"id": "uid", "text": "body"}},
        ],
        "annotate": [
            {"stage": "exact_dup"},
            {"stage": "near_dup", "threshold": 0.8},
            {"stage": "heuristics"},
            {"stage": "contamination", "action": "cut"},
            {"stage": "pii", "action": "replace"},
        ],
        "benchmarks": ["quiz.jsonl"],
        "split": {"heldout": {"general": {"sources": ["web"], "max_bytes": 1500}}},
        "filters": [{"reason": "too_short", "keep": "heuristics__num_words >= 3"}],
        "tokenizer": {"train": {"sources": ["web"], "vocab_size": 400, "control_slots": 4}},
        "control_tokens": TAGS,
        "mixtures": {
            "all": {"sources": ["web", "lake"], "row_tokens": 64, "rows_per_step": 4},
            "often": {"sources": ["lake"], "budget_tokens": 2000, "row_tokens": 64, "rows_per_step": 4},
        },
    }
    content |= sections
    return {name: section for name, section in content.items() if section is not None}


def write_corpus(folder: Path) -> Path:
    rows = [
        {"uid": "mail", "text": f"Write to {MAIL} {prose(1)}", "lang": "en"},
        {"uid": "quiz", "text": f"{prose(2)}\n\n{TRAIN}\n\n{prose(3)}", "lang": "de"},
        *({"uid": f"d{number}", "text": f'"{prose(100 + number)}"\n\\', "lang": "fr"} for number in range(40)),
    ]
    rows[5] |= {"licence": "CC0-1.0", "url": "https://example.org/5"}
    write_lines(folder / "web.jsonl", rows)
    write_lines(folder / "quiz.jsonl", QUIZ)
    lake = {"uid": list(range(20)), "body": [prose(500 + number) for number in range(20)]}
    pl.DataFrame(lake).write_parquet(folder / "lake.parquet", row_group_size=8)
    return folder


def run_in(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    (folder / "recipe.yaml").write_text(json.dumps(content))
    return run(folder / "recipe.yaml", folder / "ws")
