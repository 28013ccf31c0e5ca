"""Every document rendered and encoded once: the token store.

Documents come encoded (engine.pack.encode_documents) and are appended to temporary files; at the end they are gathered
into the order of doc_id, so how they came changes no byte. Memory: the batches under way, and a table of all documents.
"""

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from engine.base.atomic import TEMPORARY_PREFIX, atomic_folder, write_json
from engine.base.errors import InputError, problem
from engine.base.hashing import digest_file, digest_json, digest_parts
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.token_store import (
    CONTROL_TOKENS_FILE,
    CONTROL_TOKENS_SCHEMA,
    DOCUMENTS_SCHEMA,
    LOOK_ALIKES_FILE,
    LOOK_ALIKES_SCHEMA,
    StoreMeta,
    TokenStore,
    open_token_store,
)
from engine.formats.tokenizer import Tokenizer
from engine.pack.encode_documents import CONTROL_IDS, Batch, Encoded, document_encoder, encoded_chunks
from engine.pack.jinja_templates import jinja_of
from engine.pack.render import RenderConfig
from engine.pack.store_writer import gather
from engine.pack.templates import Template

VERSION = 6
MADE_BY = f"token_store/{VERSION}"
FILES = ("documents.parquet", CONTROL_TOKENS_FILE, LOOK_ALIKES_FILE, "ids.bin", "supervised.bin", "store.json")


def documents_digest(doc_digests: Iterable[tuple[Any, ...]]) -> str:
    """Digest of documents, their texts and control tokens: rows in ascending order of doc_id, each once.

    A row is (doc_id, text_digest) or (doc_id, text_digest, ids of control tokens or None). Without any control token
    both give the same.
    """

    def parts() -> Iterator[bytes]:
        last = b""
        for doc_id, text_digest, *control_ids in doc_digests:
            assert doc_id > last, "documents in ascending order of doc_id, each once"
            last = doc_id
            yield doc_id
            # A text's digest has 16 bytes; behind them nothing but control tokens can stand.
            yield text_digest + np.asarray(control_ids[0], "<i4").tobytes() if any(control_ids) else text_digest

    return digest_parts(parts()).hex()


def token_store_digest(tokenizer_digest: str, config: RenderConfig, doc_digests: Iterable[tuple[Any, ...]]) -> str:
    """Return the digest of the token store these documents make; known before any text is read.

    `doc_digests`: as for `documents_digest`.
    """
    return _store_digest(tokenizer_digest, config, documents_digest(doc_digests))


def build_token_store(
    documents: Iterable[Batch],
    tokenizer: Tokenizer,
    config: RenderConfig,
    folder: Path,
    digest: str,
    jobs: int,
    template: Template | None = None,
) -> TokenStore:
    """Encode every document once and write the token store to `folder`, which is replaced as a whole.

    Args:
        documents: Batches in any order and of any size; each document once, no null text.
        tokenizer: Encodes; its digest is part of the store's.
        config: Whether BOS goes in front, what is supervised, and where the control tokens come from.
        folder: tokens/<digest>/ of the workspace.
        digest: What `token_store_digest` said of these documents.
        jobs: Threads.
        template: What chats are rendered with; needed where there are any.

    Raises InputError where the texts are not those the digest was made of (a file changed since it was read in) or
    become special tokens, where the template cannot express a chat, and RecipeError where the tokenizer lacks a token
    the config or the template asks for.
    """
    started = time.monotonic()
    encoder = document_encoder(tokenizer, config, template)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder.parent) as parts:
        made = _write_parts(encoded_chunks(encoder, documents, jobs), Path(parts), tokenizer.id_dtype)
        texts = documents_digest(made.table.select("doc_id", "text_digest", "control_ids").iter_rows())
        if digest != _store_digest(tokenizer.meta.digest, config, texts):
            found = "the texts changed since they were read in"
            raise InputError(problem(folder, found, "the same documents throughout a run", "run the recipe again"))
        with atomic_folder(folder) as temporary:
            gather(made.table, Path(parts), temporary, tokenizer.id_dtype)
            _write_tables(made, tokenizer, temporary)
            meta = _describe(made, tokenizer, config, template, digest)
            write_json(temporary / "store.json", meta.model_dump(mode="json"))
            of_template = template.tokens if template is not None else ()
            tags = {token: n for token, n in tokenizer.meta.control_tokens.items() if token not in of_template}
            _sign(temporary, meta, texts, _counts(made.table, made.look_alikes, tags), started)
    return open_token_store(folder)


class _Parts(NamedTuple):
    """What was appended to the temporary files."""

    table: pl.DataFrame
    """By doc_id; `start`: place in the temporary files, `offset`: in the store."""
    look_alikes: pl.DataFrame
    stop_ids: list[int]


def _write_parts(chunks: Iterable[Encoded], folder: Path, dtype: np.dtype[Any]) -> _Parts:
    """Append the tokens to temporary files."""
    schema: dict[str, Any] = {name: dtype for name, dtype in DOCUMENTS_SCHEMA.items() if name != "offset"}
    tables = [pl.DataFrame(schema=schema | {"control_ids": CONTROL_IDS, "has_bos": pl.Boolean})]
    look_alikes, stop_ids = [pl.DataFrame(schema=LOOK_ALIKES_SCHEMA)], set[int]()
    with (folder / "ids").open("wb") as ids, (folder / "supervised").open("wb") as supervised:
        for chunk in chunks:
            chunk.rendered.ids.astype(dtype).tofile(ids)
            chunk.rendered.is_supervised.tofile(supervised)
            tables.append(chunk.table)
            look_alikes.append(chunk.look_alikes)
            stop_ids |= chunk.rendered.stop_ids
    num_tokens = pl.col("num_tokens").cast(pl.Int64)
    before = num_tokens.cum_sum() - num_tokens
    table = pl.concat(tables, how="diagonal").with_columns(start=before).sort("doc_id").with_columns(offset=before)
    return _Parts(table, pl.concat(look_alikes).sort("doc_id", "token"), sorted(stop_ids))


def _control_tokens(table: pl.DataFrame, ids: Mapping[str, int]) -> pl.DataFrame:
    """Return the control tokens of the documents that have any (CONTROL_TOKENS_SCHEMA), by doc_id and position."""
    tagged = table.filter(pl.col("control_ids").list.len() > 0).select("doc_id", "control_ids")
    positions = tagged.select("doc_id", position=pl.int_ranges(pl.col("control_ids").list.len())).explode("position")
    tokens = (
        tagged["control_ids"]
        .explode()
        .replace_strict(list(ids.values()), list(ids), default=None, return_dtype=pl.String)
    )
    return positions.with_columns(token=tokens).cast(pl.Schema(CONTROL_TOKENS_SCHEMA))


def _counts(table: pl.DataFrame, look_alikes: pl.DataFrame, ids: Mapping[str, int]) -> dict[str, Any]:
    """Return what the receipt counts: labels, documents by control token, look-alikes by token."""
    in_front = dict(table["control_ids"].explode().drop_nulls().value_counts().iter_rows())
    by_token = look_alikes.group_by("token").agg(pl.col("occurrences").sum()).sort("token")
    return {
        "supervised_tokens": int(table["supervised_tokens"].cast(pl.Int64).sum()),
        "unsupervised_documents": int((table["supervised_tokens"] == 0).sum()),
        "tagged_documents": int((table["control_ids"].list.len() > 0).sum()),
        "control_tokens": {token: in_front.get(number, 0) for token, number in ids.items()},
        "look_alikes": dict(by_token.iter_rows()),
        "look_alike_documents": look_alikes["doc_id"].n_unique(),
    }


def _write_tables(made: _Parts, tokenizer: Tokenizer, folder: Path) -> None:
    schema = pl.Schema(DOCUMENTS_SCHEMA)
    write_parquet(folder / "documents.parquet", made.table.select(schema.names()).cast(schema))
    write_parquet(folder / LOOK_ALIKES_FILE, made.look_alikes)
    write_parquet(folder / CONTROL_TOKENS_FILE, _control_tokens(made.table, tokenizer.meta.control_tokens))


def _describe(
    made: _Parts, tokenizer: Tokenizer, config: RenderConfig, template: Template | None, digest: str
) -> StoreMeta:
    return StoreMeta(
        digest=digest,
        tokenizer=tokenizer.meta.digest,
        eos_id=tokenizer.meta.eos_id,
        bos_id=tokenizer.meta.bos_id,
        bos_documents=int(made.table["has_bos"].sum()),
        stop_ids=made.stop_ids,
        chat_template=jinja_of(template, tokenizer, config.bos) if template is not None else None,
        dtype=tokenizer.id_dtype.name,
        num_documents=made.table.height,
        num_tokens=int(made.table["num_tokens"].cast(pl.Int64).sum()),
        render=config.model_dump(mode="json"),
    )


def _sign(folder: Path, meta: StoreMeta, texts: str, counts: dict[str, Any], started: float) -> None:
    files = {name: digest_file(folder / name) for name in FILES}
    sizes = {name: (folder / name).stat().st_size for name in FILES}
    receipt = Receipt(
        made_by=MADE_BY,
        digest=meta.digest,
        inputs={"tokenizer": meta.tokenizer, "documents": texts},
        config=meta.render,
        rows=meta.num_documents,
        seconds=round(time.monotonic() - started, 3),
        details={"tokens": meta.num_tokens, **counts, "files": files, "bytes": sizes},
    )
    write_receipt(folder, receipt)


def _store_digest(tokenizer_digest: str, config: RenderConfig, texts: str) -> str:
    # An artifact's digest is that of its receipt's made_by, inputs and config, so that anybody can check it later.
    inputs = {"tokenizer": tokenizer_digest, "documents": texts}
    return digest_json({"made_by": MADE_BY, "inputs": inputs, "config": config.model_dump(mode="json")})
