"""Which ids of a mixture's tokenizer a base has no trained row for, and which of its rows each is made from.

A mixture's tokenizer may be a copy of the base's with control tokens, or an extension of it for a domain, or copies of
copies. A piece starts as the mean of the rows its text had before; a control token, which is no text, as the mean over
the words of its name: `<quality:high>` as "quality high". One that took a free slot is new like one behind the
vocabulary: the base has a row there, but what nobody ever trained is often zero, or the same for all slots, and an
adapter would leave it so. Nothing here imports torch.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.base.errors import InputError, RecipeError, problem
from engine.formats.tokenizer import META, Tokenizer, load_tokenizer
from engine.formats.workspace import Workspace
from trainers.recipe import TrainRecipe

_WORDS = re.compile(r"[^\W_]+")
SUPPORTED = ("full", "lora", "qlora")


@dataclass(frozen=True)
class NewRow:
    """A row to be added to a base, or to be written over one that stood for nothing."""

    id: int
    token: str
    old_ids: tuple[int, ...]
    """Rows of the base it starts as the mean of, an id as often as it counts; empty: of all its rows."""
    is_control: bool


def with_parents(tokenizer: Tokenizer, workspace: Workspace) -> Iterator[Tokenizer]:
    """Yield a tokenizer and those it was made from, the youngest first: every one's ids are a part of its child's."""
    while True:
        yield tokenizer
        if tokenizer.meta.parent is None:
            return
        folder = workspace.tokenizer(tokenizer.meta.parent)
        if not (folder / META).is_file():
            fix = "run the data recipe again"
            raise InputError(problem(folder, "the tokenizer it was made from is gone", fix=fix))
        tokenizer = load_tokenizer(folder)


def new_rows(tokenizer: Tokenizer, known: str, workspace: Workspace) -> tuple[NewRow, ...]:
    """Return the rows that a model lacks whose tokenizer has the digest `known`, `tokenizer`'s or one it is made from.

    In the order of ids.
    """
    chain: list[Tokenizer] = []
    for one in with_parents(tokenizer, workspace):
        chain.append(one)
        if one.meta.digest == known:
            break
    rows: dict[int, NewRow] = {}

    def old(ids: Iterator[int]) -> tuple[int, ...]:
        # What was new one tokenizer before is no row of the base either.
        return tuple(one for number in ids for one in (rows[number].old_ids if number in rows else (number,)))

    for parent, child in zip(chain[:0:-1], chain[-2::-1], strict=True):
        for number, (piece, ids) in enumerate(child.meta.pieces.items(), parent.meta.vocab_size):
            rows[number] = NewRow(number, piece, old(iter(ids)), is_control=False)
        for token, number in child.meta.control_tokens.items():
            if child.meta.slots[token] != token:  # else the parent knows it already
                ids = parent.encode([" ".join(_WORDS.findall(token))])[0].tolist()
                rows[number] = NewRow(number, token, old(iter(ids)), is_control=True)
    return tuple(rows[number] for number in sorted(rows))


def check_new_rows(recipe: TrainRecipe, rows: tuple[NewRow, ...]) -> None:
    """Raise RecipeError where new rows are asked for and there are none, or could not be trained."""
    method = recipe.tuning.method
    if rows and method not in SUPPORTED:
        found = f"method {method} trains no row, and the mixture has {len(rows)} tokens the base never learnt"
        fix = f"use method {' or '.join(SUPPORTED)}, or a mixture with the base's tokenizer"
        raise RecipeError(problem(f"{recipe.name}: tuning", found, "a method that trains new rows", fix))
    if rows and method == "lora" and recipe.parallel == "fsdp":
        found = f"fsdp, and adapters train the rows of {len(rows)} new tokens beside them"
        fix = "set parallel: ddp, or method: full"
        raise RecipeError(problem(f"{recipe.name}: parallel", found, "new rows that are not divided", fix))
    if rows and recipe.freezing.embeddings:
        found = f"true, and {len(rows)} tokens of the mixture have rows that nobody trained yet"
        fix = "set freezing.embeddings: false, and vocabulary.new_rows_steps to train these rows alone at first"
        raise RecipeError(problem(f"{recipe.name}: freezing.embeddings", found, "new rows that train", fix))
    if recipe.vocabulary.new_rows_steps and recipe.freezing.unfreeze_every is not None:
        found = "unfreeze_every given, which frees the embeddings last, with new_rows_steps, which trains them first"
        raise RecipeError(problem(f"{recipe.name}: vocabulary", found, "one of the two", "leave out one"))
    if recipe.vocabulary.new_rows_steps and not rows:
        found = f"got {recipe.vocabulary.new_rows_steps}, and the base has a row for every token of the mixture"
        fix = "leave it out, or extend the tokenizer in the data recipe (tokenizer: {extend: ...})"
        raise RecipeError(problem(f"{recipe.name}: vocabulary.new_rows_steps", found, "0", fix))


def described(rows: tuple[NewRow, ...], folder: Path) -> dict[str, Any]:
    """Return what run.json says of the rows that were made; pieces are listed in their tokenizer's `folder`."""
    return {
        "new_rows": len(rows),
        "pieces": sum(not row.is_control for row in rows),
        "control_tokens": {row.token: {"id": row.id, "mean_of": row.old_ids} for row in rows if row.is_control},
        "tokenizer": str(folder),
    }
