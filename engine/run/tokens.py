"""Runs the tokenizer and the token store: every kept document rendered and encoded once."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from engine.base.errors import RecipeError, problem
from engine.base.hashing import digest_json
from engine.formats.base_model import find_model
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.selection import KEPT, Selection
from engine.formats.token_store import TokenStore, open_token_store
from engine.formats.tokenizer import Tokenizer, load_tokenizer
from engine.pack.render import RenderConfig
from engine.pack.tokenise import build_token_store, token_store_digest
from engine.pack.tokenizer import train_tokenizer
from engine.run.annotating import Annotated
from engine.run.steps import FRESH, MADE, STALE, PlanEndsError, RunContext, Stopwatch

VERSION = 1


def tokenizer_of(context: RunContext, state: Annotated, selection: Selection) -> Tokenizer:
    """Train, find or load the tokenizer the recipe names."""
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
    return load_tokenizer(context.recipe.base / config.path)


def _trained(context: RunContext, state: Annotated, selection: Selection) -> Tokenizer:
    config = context.recipe.tokenizer
    assert config is not None
    assert config.train is not None
    chosen = [s for s in state.sources if s.name in config.train.sources]
    identity = {
        "version": VERSION,
        "config": config.model_dump(mode="json"),
        "documents": kept_digest(chosen, selection),
    }
    digest = digest_json(identity)
    for folder in sorted((context.workspace.root / "tokenizers").glob("*")):
        receipt = read_receipt(folder)
        if receipt is not None and receipt.digest == digest:
            context.note("tokenizer", FRESH, receipt=receipt)
            return load_tokenizer(folder)
    if context.dry_run:
        context.note("tokenizer", STALE, "not trained on these documents yet")
        raise PlanEndsError("tokenizer")
    watch = Stopwatch()
    parent = context.workspace.root / "tokenizers"
    parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=parent))
    try:
        texts = kept_texts(chosen, selection)
        meta = train_tokenizer(texts["text"].to_list(), config.train, temporary)
        receipt = Receipt(
            made_by=f"tokenizer/{VERSION}", digest=digest, config=identity, rows=texts.height, seconds=watch.seconds
        )
        write_receipt(temporary, receipt)
        folder = context.workspace.tokenizer(meta.digest)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    context.note("tokenizer", MADE, receipt=receipt)
    return load_tokenizer(folder)


def token_store_of(context: RunContext, state: Annotated, selection: Selection, tokenizer: Tokenizer) -> TokenStore:
    """Make or re-use the token store of the kept documents of every source that a mixture of the recipe names."""
    named = {name for mixture in context.recipe.mixtures.values() for name in mixture.source_names()}
    sources = [source for source in state.sources if source.name in named]
    render = RenderConfig()
    kept = kept_documents(sources, selection)
    digest = token_store_digest(tokenizer.meta.digest, render, kept.select("doc_id", "text_digest").iter_rows())
    folder = context.workspace.tokens(digest)

    def make() -> None:
        build_token_store(kept_batches(sources, selection), tokenizer, render, folder, digest, context.jobs)

    context.ensure("tokens", folder, digest, make)
    return open_token_store(folder)


def kept_documents(sources: list[SourceDocuments], selection: Selection) -> pl.DataFrame:
    """Return doc_id, text_digest, source and license of the kept documents, in the order of doc_id."""
    frames = [
        _kept(shard, selection, ["doc_id", "text_digest", "source", "license"]) for s in sources for shard in s.shards
    ]
    return pl.concat(frames).sort("doc_id") if frames else pl.DataFrame()


def kept_digest(sources: list[SourceDocuments], selection: Selection) -> str:
    """Digest of the kept documents, the same for any cut into shards and for any rule that keeps the same."""
    kept = kept_documents(sources, selection)
    return digest_json(
        [(doc_id.hex(), text.hex()) for doc_id, text in kept.select("doc_id", "text_digest").iter_rows()]
    )


def kept_texts(sources: list[SourceDocuments], selection: Selection) -> pl.DataFrame:
    """Return doc_id and text of the kept documents, in the order of doc_id."""
    frames = [
        pl.DataFrame({"doc_id": doc_ids, "text": texts}, schema={"doc_id": pl.Binary, "text": pl.String})
        for doc_ids, _, texts in kept_batches(sources, selection)
    ]
    return pl.concat(frames).sort("doc_id")


def kept_batches(
    sources: list[SourceDocuments], selection: Selection
) -> Iterator[tuple[list[bytes], list[str], list[str]]]:
    """Yield (doc_ids, sources, texts) of the kept documents, one shard after the other."""
    for source in sources:
        for shard in source.shards:
            kept = _kept(shard, selection, ["doc_id", "source"], with_row=True)
            if kept.height:
                texts = shard.read_text().take(kept["row"].to_arrow()).to_pylist()
                yield kept["doc_id"].to_list(), kept["source"].to_list(), texts


def _kept(shard: Shard, selection: Selection, columns: list[str], with_row: bool = False) -> pl.DataFrame:
    frame = shard.read_core(columns)
    if with_row:
        frame = frame.with_row_index("row")
    return frame.filter(selection.decisions(shard)["decision"] == KEPT)
