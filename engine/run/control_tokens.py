"""Gives a recipe's control tokens their ids, and every document its own: from columns to what stands before a text."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from engine.base.atomic import write_json
from engine.base.hashing import digest_json, short
from engine.formats.annotation import read_columns
from engine.formats.base_model import find_model
from engine.formats.documents import Shard
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.selection import Selection
from engine.formats.tokenizer import Tokenizer, load_tokenizer, pointed_at
from engine.pack.control_slots import add_control_tokens, require_slots
from engine.pack.named_tokens import naming_digest
from engine.run.rendering import beside_tokenizer, template_tokens
from engine.run.stage_run import Annotated
from engine.run.steps import CONTROL_TOKENS, FRESH, MADE, STALE, PlanEndsError, RunContext, Stopwatch
from engine.run.stored_tokenizer import store_tokenizer
from engine.select.control_tokens import all_tokens, assign, control_token_columns
from engine.select.filters import TAG_PREFIX

VERSION = 2
ControlIdsOf = Callable[[Shard], pl.Series]
"""Shard -> List(Int32), one row per document: ids of its control tokens in their order, null for none."""


def with_control_tokens(context: RunContext, tokenizer: Tokenizer) -> Tokenizer:
    """Make or re-use the copy of `tokenizer` in which the recipe's control tokens and its template's tokens have ids.

    The tokenizer itself where it lacks none of them.

    Raises RecipeError where it lacks free slots and may not grow.
    """
    tokens, grow = _wanted(context, tokenizer)
    if set(tokens) <= tokenizer.meta.control_tokens.keys():
        return tokenizer
    beside = beside_tokenizer(context, tokenizer)
    identity = {"version": VERSION, "parent": tokenizer.meta.digest, "tokens": list(tokens), "grow": grow}
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
        meta = add_control_tokens(tokenizer, tokens, grow, Path(scratch), beside)
        folder = store_tokenizer(context.workspace, Path(scratch), meta)
    receipt = Receipt(
        made_by=f"control_tokens/{VERSION}", digest=digest, config=identity, rows=len(tokens), seconds=watch.seconds
    )
    write_receipt(folder, receipt)
    write_json(pointer, {"tokenizer": meta.digest, "made_of": identity})
    context.note(CONTROL_TOKENS, MADE, receipt=receipt)
    return load_tokenizer(folder)


def _wanted(context: RunContext, tokenizer: Tokenizer) -> tuple[tuple[str, ...], bool]:
    """Return the tokens that need ids, those of the template last, and whether new ids may be made for them."""
    config, render = context.recipe.control_tokens, context.recipe.render
    of_template = template_tokens(context, tokenizer)
    tags = all_tokens(config) if config is not None else ()
    grow = (config is None or config.grow) and (render.grow or not of_template)
    return tuple(dict.fromkeys([*tags, *of_template])), grow


def check_slots(context: RunContext) -> None:
    """Raise RecipeError where the recipe's tokenizer is there, may not grow and has too few free slots for its tokens.

    Before anything is read in. A tokenizer yet to be trained is checked with the recipe.
    """
    config, named = context.recipe.control_tokens, context.recipe.tokenizer
    may_grow = (config is None or config.grow) and context.recipe.render.grow
    if may_grow or named is None or named.train is not None:
        return
    if named.model is not None:
        folder = context.workspace.tokenizer(find_model(context.workspace, named.model).tokenizer)
    else:
        folder = context.recipe.base / str(named.path)
    tokenizer = load_tokenizer(folder)
    tokens, grow = _wanted(context, tokenizer)
    if not grow:
        require_slots(tokenizer, tokens, beside_tokenizer(context, tokenizer))


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
