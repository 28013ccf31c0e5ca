"""Extends the vocabulary of a recipe's tokenizer for a domain: made once, found again by what it was made of."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from engine.base.atomic import write_json
from engine.base.hashing import digest_json, short
from engine.base.progress import progress
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.tokenizer import Tokenizer, load_tokenizer, pointed_at
from engine.pack.extend_tokenizer import PIECES, TokenizerExtension, extend_tokenizer
from engine.run.steps import FRESH, MADE, NEW_PIECES, STALE, PlanEndsError, RunContext, Stopwatch
from engine.run.stored_tokenizer import store_tokenizer

VERSION = 1


def extended(
    context: RunContext,
    tokenizer: Tokenizer,
    config: TokenizerExtension,
    documents: str,
    texts_of: Callable[[], list[str]],
) -> Tokenizer:
    """Make or re-use the copy of `tokenizer` with the pieces that save most tokens on a sample of kept documents.

    documents: digest of all the documents; texts_of: what draws the sample from them.
    """
    identity = {"version": VERSION, "parent": tokenizer.meta.digest, "documents": documents}
    identity["config"] = config.model_dump(mode="json")
    digest = digest_json(identity)
    pointer = context.workspace.root / "tokenizers" / f"extended-{short(digest)}.json"
    folder = pointed_at(pointer)
    if folder is not None:
        context.note(NEW_PIECES, FRESH, receipt=read_receipt(folder))
        return load_tokenizer(folder)
    if context.dry_run:
        context.note(NEW_PIECES, STALE, "not chosen on these documents yet")
        raise PlanEndsError(NEW_PIECES)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as scratch, progress(NEW_PIECES):
        made = extend_tokenizer(tokenizer, texts_of(), config, Path(scratch))
        folder = store_tokenizer(context.workspace, Path(scratch), made.meta, beside=tokenizer.folder)
    write_parquet(folder / PIECES, made.pieces)
    receipt = Receipt(
        made_by=f"extend_tokenizer/{VERSION}",
        digest=digest,
        config=identity,
        rows=len(made.meta.pieces),
        seconds=watch.seconds,
        details=made.details,
    )
    write_receipt(folder, receipt)
    write_json(pointer, {"tokenizer": made.meta.digest, "made_of": identity})
    context.note(NEW_PIECES, MADE, receipt=receipt)
    return load_tokenizer(folder)
