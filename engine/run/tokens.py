"""Runs the tokenizer and the token store: every kept document rendered and encoded once."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl

from engine.base.atomic import write_json
from engine.base.errors import RecipeError, problem
from engine.base.hashing import digest_bytes, digest_json, short
from engine.base.progress import progress
from engine.formats.base_model import find_model
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.messages import chat_digests, texts_of
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.selection import KEPT, Selection
from engine.formats.token_store import TokenStore, open_token_store
from engine.formats.tokenizer import Tokenizer, load_tokenizer, pointed_at
from engine.pack.encode_documents import Batch
from engine.pack.extend_tokenizer import TokenizerExtension
from engine.pack.tokenise import build_token_store, token_store_digest
from engine.pack.tokenizer import TokenizerTraining, sample_texts, train_tokenizer
from engine.run.control_tokens import ControlIdsOf, control_ids_of, with_control_tokens
from engine.run.edited import edited_messages, edited_texts
from engine.run.extended_tokenizer import extended
from engine.run.rendering import rendering_of
from engine.run.scheduling import is_whole_store
from engine.run.stage_run import Annotated
from engine.run.steps import FRESH, MADE, STALE, TOKEN_STORE, PlanEndsError, RunContext, Stopwatch
from engine.run.stored_tokenizer import store_tokenizer
from engine.text.edits import Edits

VERSION = 1
EditsOf = Callable[[Shard], Mapping[int, Edits]]
"""Shard -> row -> what is changed in its text before it is rendered."""


def tokenizer_of(context: RunContext, state: Annotated, selection: Selection) -> Tokenizer:
    """Return the tokenizer the recipe names, or the copy of it that has the recipe's control tokens."""
    return with_control_tokens(context, named_tokenizer(context, state, selection))


def named_tokenizer(context: RunContext, state: Annotated, selection: Selection) -> Tokenizer:
    """Train, find or load the tokenizer the recipe names, and extend it where the recipe says so."""
    found = _base_tokenizer(context, state, selection)
    config = context.recipe.tokenizer
    if config is None or config.extend is None:
        return found
    extension = config.extend
    chosen = [s for s in state.sources if s.name in extension.sources]
    documents = kept_digest(chosen, selection, state.edits_of)
    return extended(
        context, found, extension, documents, lambda: training_texts(chosen, selection, state.edits_of, extension)
    )


def _base_tokenizer(context: RunContext, state: Annotated, selection: Selection) -> Tokenizer:
    config = context.recipe.tokenizer
    if config is None:
        raise RecipeError(
            problem(context.recipe.path.name, "no tokenizer", fix="add tokenizer: {train: {sources: [...]}}")
        )
    if config.train is not None:
        return _trained(context, state, selection)
    if config.model is not None:
        model = find_model(context.workspace, config.model)
        return load_tokenizer(context.workspace.tokenizer(model.tokenizer))
    assert config.path is not None
    found = load_tokenizer(context.recipe.base / config.path)
    if not context.dry_run:
        store_tokenizer(context.workspace, found.folder, found.meta)
    return found


def _trained(context: RunContext, state: Annotated, selection: Selection) -> Tokenizer:
    config = context.recipe.tokenizer
    assert config is not None
    assert config.train is not None
    chosen = [s for s in state.sources if s.name in config.train.sources]
    identity = {
        "version": VERSION,
        "config": config.model_dump(mode="json", exclude={"extend"}),
        "documents": kept_digest(chosen, selection, state.edits_of),
    }
    digest = digest_json(identity)
    # A tokenizer is named by its content, so what it was trained on leads to it through a small file beside it.
    pointer = context.workspace.root / "tokenizers" / f"trained-{short(digest)}.json"
    folder = pointed_at(pointer)
    if folder is not None:
        context.note("tokenizer", FRESH, receipt=read_receipt(folder))
        return load_tokenizer(folder)
    if context.dry_run:
        context.note("tokenizer", STALE, "not trained on these documents yet")
        raise PlanEndsError("tokenizer")
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as scratch, progress("tokenizer"):
        texts = training_texts(chosen, selection, state.edits_of, config.train)
        meta = train_tokenizer(texts, config.train, Path(scratch))
        folder = store_tokenizer(context.workspace, Path(scratch), meta)
    receipt = Receipt(
        made_by=f"tokenizer/{VERSION}", digest=digest, config=identity, rows=len(texts), seconds=watch.seconds
    )
    write_receipt(folder, receipt)
    write_json(pointer, {"tokenizer": meta.digest, "trained_on": identity})
    context.note("tokenizer", MADE, receipt=receipt)
    return load_tokenizer(folder)


def token_store_of(context: RunContext, state: Annotated, selection: Selection, tokenizer: Tokenizer) -> TokenStore:
    """Make or re-use the token store of the kept documents of every source that a mixture of the recipe names."""
    named = {name for mixture in context.recipe.mixtures.values() for name in mixture.source_names()}
    sources = [source for source in state.sources if source.name in named]
    rendering = rendering_of(context, tokenizer)
    controls_of = control_ids_of(context, state, selection, tokenizer)
    kept = kept_documents(sources, selection, state.edits_of, controls_of)
    parts = ["doc_id", "text_digest", *(["control_ids"] if controls_of is not None else [])]
    digest = token_store_digest(tokenizer.meta.digest, rendering.options, kept.select(parts).iter_rows())
    folder = context.workspace.tokens(digest)

    def make() -> None:
        batches = kept_batches(sources, selection, state.edits_of, controls_of)
        build_token_store(batches, tokenizer, rendering.options, folder, digest, context.jobs, rendering.template)

    context.ensure(TOKEN_STORE, folder, digest, make, whole=is_whole_store(folder))
    return open_token_store(folder)


def kept_documents(
    sources: list[SourceDocuments], selection: Selection, edits_of: EditsOf, controls_of: ControlIdsOf | None = None
) -> pl.DataFrame:
    """Return doc_id, text_digest, source and license of the kept documents, in the order of doc_id.

    With `controls_of` control_ids besides. A document with edits has the digest of its text with them; a chat has the
    digest of its messages (engine.formats.messages.chat_digests), with them.
    """
    columns = ["doc_id", "text_digest", "source", "license"]
    frames = [
        _with_edited_digests(shard, _kept(shard, selection, columns, controls_of), edits_of(shard))
        for s in sources
        for shard in s.shards
    ]
    return pl.concat(frames).sort("doc_id") if frames else pl.DataFrame()


def kept_digest(sources: list[SourceDocuments], selection: Selection, edits_of: EditsOf) -> str:
    """Digest of the kept documents, the same for any cut into shards and for any rule that keeps the same."""
    kept = kept_documents(sources, selection, edits_of)
    return digest_json(
        [(doc_id.hex(), text.hex()) for doc_id, text in kept.select("doc_id", "text_digest").iter_rows()]
    )


def training_texts(
    sources: list[SourceDocuments],
    selection: Selection,
    edits_of: EditsOf,
    training: TokenizerTraining | TokenizerExtension,
) -> list[str]:
    """Return the sample of kept texts a tokenizer is made or extended on, in an order no cut into shards changes."""
    stream = (text for batch in kept_batches(sources, selection, edits_of) for text in batch.texts)
    return sorted(sample_texts(stream, training.max_bytes, training.seed), key=lambda text: digest_bytes(text.encode()))


def kept_batches(
    sources: list[SourceDocuments], selection: Selection, edits_of: EditsOf, controls_of: ControlIdsOf | None = None
) -> Iterator[Batch]:
    """Yield the kept documents, their texts with their edits, one shard after the other."""
    for source in sources:
        for shard in source.shards:
            kept = _kept(shard, selection, ["doc_id", "source"], controls_of)
            if kept.height:
                controls = kept["control_ids"] if controls_of is not None else None
                rows, edits = kept["row"].to_list(), edits_of(shard)
                messages = edited_messages(shard, rows, edits) if shard.has_messages else None
                texts = edited_texts(shard, rows, edits) if messages is None else texts_of(messages, "text")
                yield Batch(kept["doc_id"].to_list(), kept["source"].to_list(), texts.to_pylist(), controls, messages)


def _with_edited_digests(shard: Shard, kept: pl.DataFrame, edits: Mapping[int, Edits]) -> pl.DataFrame:
    if shard.has_messages:
        digests = chat_digests(edited_messages(shard, kept["row"].to_list(), edits))
        return kept.with_columns(text_digest=pl.Series(digests, dtype=pl.Binary)).drop("row")
    changed = kept.filter(pl.col("row").is_in(list(edits))) if edits else kept.clear()
    if not changed.height:
        return kept.drop("row")
    texts = edited_texts(shard, changed["row"].to_list(), edits).to_pylist()
    digests = [digest_bytes(text.encode()) for text in texts]
    return kept.update(changed.select("doc_id", text_digest=pl.Series(digests, dtype=pl.Binary)), on="doc_id").drop(
        "row"
    )


def _kept(
    shard: Shard, selection: Selection, columns: list[str], controls_of: ControlIdsOf | None = None
) -> pl.DataFrame:
    frame = shard.read_core(columns).with_row_index("row")
    if controls_of is not None:
        frame = frame.with_columns(controls_of(shard).alias("control_ids"))
    return frame.filter(selection.decisions(shard)["decision"] == KEPT)
