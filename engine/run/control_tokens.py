"""Gives a recipe's control tokens their ids, and every document its own: from columns to what stands before a text."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from engine.base.atomic import atomic_folder, write_json
from engine.base.hashing import digest_json, short
from engine.formats.annotation import read_columns
from engine.formats.base_model import find_model
from engine.formats.documents import Shard
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.selection import Selection
from engine.formats.tokenizer import META, Tokenizer, load_tokenizer, pointed_at
from engine.pack.control_slots import add_control_tokens, require_slots
from engine.pack.named_tokens import naming_digest
from engine.run.stage_run import Annotated
from engine.run.steps import CONTROL_TOKENS, FRESH, MADE, STALE, PlanEndsError, RunContext, Stopwatch
from engine.select.control_tokens import all_tokens, assign, control_token_columns
from engine.select.filters import TAG_PREFIX

VERSION = 2
ControlIdsOf = Callable[[Shard], pl.Series]
"""Shard -> List(Int32), one row per document: ids of its control tokens in their order, null for none."""


def with_control_tokens(context: RunContext, tokenizer: Tokenizer) -> Tokenizer:
    """Make or re-use the copy of `tokenizer` in which the recipe's control tokens have ids; itself where it has none.

    Raises RecipeError where it lacks free slots and may not grow.
    """
    config = context.recipe.control_tokens
    if config is None or set(all_tokens(config)) <= tokenizer.meta.control_tokens.keys():
        return tokenizer
    tokens = all_tokens(config)
    beside = _beside(context, tokenizer)
    identity = {"version": VERSION, "parent": tokenizer.meta.digest, "tokens": list(tokens), "grow": config.grow}
    identity["beside"] = naming_digest(beside)
    digest = digest_json(identity)
    pointer = context.workspace.root / "tokenizers" / f"tagged-{short(digest)}.json"
    folder = pointed_at(pointer)
    if folder is not None:
        context.note(CONTROL_TOKENS, FRESH, receipt=read_receipt(folder))
        return load_tokenizer(folder)
    if context.dry_run:
        context.note(CONTROL_TOKENS, STALE, "no copy of the tokenizer has these tokens yet")
        raise PlanEndsError(CONTROL_TOKENS)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as scratch:
        meta = add_control_tokens(tokenizer, tokens, config.grow, Path(scratch), beside)
        folder = context.workspace.tokenizer(meta.digest)
        if not (folder / META).is_file():
            with atomic_folder(folder) as temporary:
                for path in Path(scratch).iterdir():
                    (temporary / path.name).write_bytes(path.read_bytes())
    receipt = Receipt(
        made_by=f"control_tokens/{VERSION}", digest=digest, config=identity, rows=len(tokens), seconds=watch.seconds
    )
    write_receipt(folder, receipt)
    write_json(pointer, {"tokenizer": meta.digest, "made_of": identity})
    context.note(CONTROL_TOKENS, MADE, receipt=receipt)
    return load_tokenizer(folder)


def check_slots(context: RunContext) -> None:
    """Raise RecipeError where the recipe's tokenizer is there, may not grow and has too few free slots for its tags.

    Before anything is read in. A tokenizer yet to be trained is checked with the recipe.
    """
    config, named = context.recipe.control_tokens, context.recipe.tokenizer
    if config is None or config.grow or named is None or named.train is not None:
        return
    if named.model is not None:
        folder = context.workspace.tokenizer(find_model(context.workspace, named.model).tokenizer)
    else:
        folder = context.recipe.base / str(named.path)
    tokenizer = load_tokenizer(folder)
    require_slots(tokenizer, all_tokens(config), _beside(context, tokenizer))


def _beside(context: RunContext, tokenizer: Tokenizer) -> Path:
    """Return where the files of transformers that belong to the recipe's tokenizer are: of a model with the model."""
    config = context.recipe.tokenizer
    if config is not None and config.model is not None:
        return find_model(context.workspace, config.model).folder
    return tokenizer.folder


def control_ids_of(
    context: RunContext, state: Annotated, selection: Selection, tokenizer: Tokenizer
) -> ControlIdsOf | None:
    """Return what gives each document of a shard its control tokens; None where the recipe has none."""
    config = context.recipe.control_tokens
    if config is None:
        return None
    columns = control_token_columns(config)
    tagged = [name for name in columns if name.startswith(TAG_PREFIX)]
    stored = ["doc_id", *(name for name in columns if name not in tagged)]
    ids = tokenizer.meta.control_tokens

    def of(shard: Shard) -> pl.Series:
        frame = read_columns(shard, stored, state.annotations)
        if tagged:
            reasons = selection.decisions(shard)["tags"]
            has = [reasons.list.contains(name.removeprefix(TAG_PREFIX)).fill_null(False).alias(name) for name in tagged]
            frame = frame.with_columns(has)
        tokens = assign(frame, config)
        return tokens.list.eval(pl.element().replace_strict(list(ids), list(ids.values()), return_dtype=pl.Int32))

    return of
