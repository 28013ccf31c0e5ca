"""A small corpus with planted duplicates, its recipe, and its workspace, for tests of takedowns and extensions."""

import json
import random
from pathlib import Path
from typing import Any

from engine.catalog import sql

WEB, BOOKS = range(24), range(8)


def words(seed: int, count: int = 80) -> str:
    numbers = random.Random(seed)
    return " ".join(f"w{numbers.randrange(3000)}" for _ in range(count))


def similar(seed: int, other: int, changed: int = 4, count: int = 80) -> str:
    """The text of a seed with its last words changed: 72 of 80 shingles of both together are shared, 0.9."""
    return " ".join([*words(seed, count).split()[: count - changed], *words(other, changed).split()])


def corpus() -> dict[str, list[dict[str, Any]]]:
    web = [{"uid": f"w{n}", "text": words(n), "licence": "CC0-1.0" if n % 2 else None} for n in WEB]
    web += [
        {"uid": "near", "text": similar(3, 900)},  # like w3, which is not shorter: one of them stays
        {"uid": "copy", "text": words(5)},
    ]
    books = [{"uid": f"b{n}", "text": words(100 + n), "licence": "CC-BY-4.0"} for n in BOOKS]
    return {"web": web, "books": books}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe_in(folder: Path, **sections: Any) -> Path:
    for name, rows in corpus().items():
        write_rows(folder / f"{name}.jsonl", rows)
    columns = {"id": "uid", "license": "licence"}
    content = {
        "name": "small",
        "seed": 3,
        "sources": [
            {"stage": "jsonl", "name": "web", "path": "web.jsonl", "columns": columns},
            {"stage": "jsonl", "name": "books", "path": "books.jsonl", "columns": columns, "protected": True},
        ],
        "annotate": [
            {"stage": "exact_dup"},
            {"stage": "near_dup", "threshold": 0.8, "num_permutations": 64, "recall": 0.9},
            {"stage": "heuristics"},
            {"stage": "contamination"},
        ],
        "split": {"heldout": {"general": {"sources": ["web"], "max_bytes": 1200}}, "min_similarity": 0.4},
        "filters": [{"reason": "too_short", "keep": "heuristics__num_words >= 10"}],
        "tokenizer": {"train": {"sources": ["web"], "vocab_size": 300, "control_slots": 2}},
        "mixtures": {
            "all": {
                "sources": ["web"],
                "replay": {"share": 0.2, "sources": ["books"]},
                "row_tokens": 512,
                "rows_per_step": 2,
            },
            "books_only": {"sources": ["books"], "curriculum": "by_length", "row_tokens": 512, "rows_per_step": 2},
        },
        **sections,
    }
    (folder / "recipe.yaml").write_text(json.dumps(content))
    return folder / "recipe.yaml"


def ids(workspace: Path) -> dict[str, str]:
    """Own id -> document id, as text."""
    rows = sql("SELECT uid, doc_id FROM source_web UNION ALL SELECT uid, doc_id FROM source_books", workspace)["rows"]
    return dict(rows)


def reasons(workspace: Path, recipe: str = "small") -> dict[str, str]:
    """Own id -> decision, or the reason where it was dropped."""
    became = "coalesce(nullif(decision, 'dropped'), decisions.reason)"
    both = "(SELECT uid, doc_id FROM source_web UNION ALL SELECT uid, doc_id FROM source_books)"
    return dict(
        sql(f"SELECT uid, {became} FROM {both} JOIN decisions USING (doc_id)", workspace, recipe=recipe)["rows"]
    )
