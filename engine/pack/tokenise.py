"""Every document rendered and encoded once: the token store.

Batches are encoded in threads (both tokenizer libraries release the GIL) and appended to temporary files as they come;
at the end they are gathered into the order of doc_id. Neither the number of threads nor the cut into batches changes a
byte. Memory: the batches under way, and a table of all documents.
"""

import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from engine.base.atomic import TEMPORARY_PREFIX, atomic_folder, write_json
from engine.base.errors import InputError, RecipeError, problem
from engine.base.hashing import digest_bytes, digest_file, digest_json, digest_parts
from engine.formats.continuation import continuation_encoder
from engine.formats.doc_ids import id_text
from engine.formats.messages import MESSAGES, Message, chat_digests
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.segments import segment_encoder
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
from engine.formats.tokenizer import Encoder, Tokenizer, special_pieces
from engine.pack.look_alikes import LookAlikes, SpecialIds
from engine.pack.render import OF_CHATS, Fronts, RenderConfig, Rendered, bos_of, render
from engine.pack.render_chats import ChatRenderer, Run
from engine.pack.store_writer import cut_where, gather
from engine.pack.templates import TEXT, Template, TemplateError

VERSION = 4
MADE_BY = f"token_store/{VERSION}"
FILES = ("documents.parquet", CONTROL_TOKENS_FILE, LOOK_ALIKES_FILE, "ids.bin", "supervised.bin", "store.json")
_CHUNK_BYTES = 4 << 20
_CHUNK_DOCUMENTS = 4096

_CONTROL_IDS = pl.List(pl.Int32)


class Batch(NamedTuple):
    """Some documents, all texts or all chats: three to five sequences of one length."""

    doc_ids: Sequence[bytes]
    sources: Sequence[str]
    texts: Sequence[str]
    control_ids: pl.Series | None = None
    """List(Int32): ids of the control tokens of each document, null for none."""
    messages: pa.Array | None = None
    """Of chats their messages (engine.formats.messages), of which `texts` are the texts; of texts None."""


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
    bos_id = bos_of(tokenizer.meta, config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder.parent) as parts:
        encode = segment_encoder(tokenizer)
        chats = _chat_renderer(tokenizer, template, encode, bos_id)
        encoder = _Encoder(
            encode, SpecialIds(tokenizer), LookAlikes(tokenizer), tokenizer.meta.eos_id, bos_id, chats, config.objective
        )
        table, look_alikes = _write_parts(
            _in_threads(encoder, _chunks(documents), jobs), Path(parts), tokenizer.id_dtype
        )
        texts = documents_digest(table.select("doc_id", "text_digest", "control_ids").iter_rows())
        if digest != _store_digest(tokenizer.meta.digest, config, texts):
            found = "the texts changed since they were read in"
            raise InputError(problem(folder, found, "the same documents throughout a run", "run the recipe again"))
        with atomic_folder(folder) as temporary:
            gather(table, Path(parts), temporary, tokenizer.id_dtype)
            write_parquet(temporary / LOOK_ALIKES_FILE, look_alikes)
            write_parquet(temporary / CONTROL_TOKENS_FILE, _control_tokens(table, tokenizer.meta.control_tokens))
            meta = _describe(table, tokenizer, config, temporary, digest)
            of_template = template.tokens if template is not None else ()
            tags = {token: n for token, n in tokenizer.meta.control_tokens.items() if token not in of_template}
            counts = _counts(table, look_alikes, tags)
            _sign(temporary, meta, texts, counts, started)
    return open_token_store(folder)


@dataclass(frozen=True)
class _Encoded:
    """Documents of one chunk: their columns and their tokens."""

    table: pl.DataFrame
    look_alikes: pl.DataFrame
    rendered: Rendered


@dataclass(frozen=True)
class _Encoder:
    """Turns a chunk of documents into tokens; called from several threads."""

    encode: Encoder
    special_ids: SpecialIds
    look_alikes: LookAlikes
    eos_id: int
    bos_id: int | None
    chats: ChatRenderer | None
    objective: Mapping[str, str]
    """Source of chats -> what is supervised."""

    def __call__(self, chunk: pl.DataFrame) -> _Encoded:
        texts = chunk["text"].to_list()
        if chunk["messages"].null_count():
            encoded = self.encode(texts)
            self.special_ids.require_none(encoded, chunk)
            rendered = render(encoded, _fronts(chunk["control_ids"]), self.eos_id, self.bos_id)
            digests = [digest_bytes(text.encode()) for text in texts]
        else:
            rendered = self._rendered_chats(chunk)
            digests = chat_digests(chunk["messages"].to_arrow().cast(MESSAGES))
        table = chunk.select(
            "doc_id",
            "source",
            "control_ids",
            pl.Series("text_digest", digests, dtype=pl.Binary),
            pl.Series("num_tokens", rendered.num_tokens, dtype=pl.Int32),
            pl.Series("supervised_tokens", rendered.supervised_tokens, dtype=pl.Int32),
            pl.col("text").str.len_bytes().cast(pl.Int64).alias("num_bytes"),
        )
        return _Encoded(table, self.look_alikes.count(chunk), rendered)

    def _rendered_chats(self, chunk: pl.DataFrame) -> Rendered:
        assert self.chats is not None, "a template for the chats"
        chats = [self._runs(chunk, row, messages) for row, messages in enumerate(chunk["messages"].to_list())]
        encoded = self.chats.encoded(chats)
        texts = [(row, ids) for row, of_one in enumerate(encoded) for ids in self._texts(chats[row], of_one)]
        self.special_ids.require_none([ids for _, ids in texts], chunk[[row for row, _ in texts]])
        objectives = [self.objective.get(source, OF_CHATS) for source in chunk["source"]]
        return self.chats.rendered(chats, encoded, objectives, _fronts(chunk["control_ids"]))

    def _texts(self, runs: Sequence[Run], encoded: Sequence[Any]) -> list[Any]:
        return [ids for run, ids in zip(runs, encoded, strict=True) if run.kind == TEXT]

    def _runs(self, chunk: pl.DataFrame, row: int, messages: Sequence[Message]) -> list[Run]:
        assert self.chats is not None
        try:
            return self.chats.runs(messages)
        except TemplateError as error:
            place = f"document {id_text(chunk['doc_id'][row])} of source {chunk['source'][row]}"
            fix = "take another template, or drop such documents with a filter"
            raise InputError(
                problem(place, str(error), f"a chat for render.template: {self.chats.template.name}", fix)
            ) from error


def _chat_renderer(
    tokenizer: Tokenizer, template: Template | None, encode: Encoder, bos_id: int | None
) -> ChatRenderer | None:
    if template is None:
        return None
    ids = {piece: number for number, piece in special_pieces(tokenizer).items()}
    missing = [token for token in template.tokens if token not in ids]
    if missing:
        found = f"the tokenizer has no special token {', '.join(missing)}"
        raise RecipeError(problem(f"render.template: {template.name}", found, "a tokenizer with the template's tokens"))
    return ChatRenderer(template, tokenizer.meta, ids, encode, continuation_encoder(tokenizer), bos_id)


def _fronts(control_ids: pl.Series) -> Fronts:
    counts = control_ids.list.len().fill_null(0).cast(pl.Int64).to_numpy()
    ids = control_ids.filter(counts > 0).explode().cast(pl.Int32).to_numpy()
    return Fronts(counts, ids)


def _chunks(documents: Iterable[Batch]) -> Iterator[pl.DataFrame]:
    """Yield the documents in frames of a few megabytes, so that threads share a large batch."""
    schema = {"doc_id": pl.Binary, "source": pl.String, "text": pl.String}
    for doc_ids, sources, texts, control_ids, messages in documents:
        frame = pl.DataFrame({"doc_id": doc_ids, "source": sources, "text": texts}, schema=schema)
        assert not frame.null_count().sum_horizontal().item(), (
            "a document of a token store has an id, a source and a text"
        )
        without = pl.Series([None] * frame.height, dtype=_CONTROL_IDS)
        frame = frame.with_columns((without if control_ids is None else control_ids).alias("control_ids"))
        chats = pa.nulls(frame.height, MESSAGES) if messages is None else messages
        frame = frame.with_columns(pl.Series("messages", pl.from_arrow(chats)))
        size = frame["text"].str.len_bytes().cast(pl.Int64)
        chunk = (size.cum_sum() - size) // _CHUNK_BYTES + pl.int_range(frame.height, eager=True) // _CHUNK_DOCUMENTS
        yield from cut_where(frame, chunk)


def _in_threads(encoder: _Encoder, chunks: Iterable[pl.DataFrame], jobs: int) -> Iterator[_Encoded]:
    """Yield the encoded chunks in their order; at most two per thread are under way."""
    with ThreadPoolExecutor(jobs) as pool:
        under_way: deque[Future[_Encoded]] = deque()
        for chunk in chunks:
            under_way.append(pool.submit(encoder, chunk))
            if len(under_way) > 2 * jobs:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _write_parts(chunks: Iterable[_Encoded], folder: Path, dtype: np.dtype[Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Append the tokens to temporary files; return documents, `start` being their place, and look-alikes, by doc_id."""
    tables, look_alikes = [], [pl.DataFrame(schema=LOOK_ALIKES_SCHEMA)]
    with (folder / "ids").open("wb") as ids, (folder / "supervised").open("wb") as supervised:
        for chunk in chunks:
            chunk.rendered.ids.astype(dtype).tofile(ids)
            chunk.rendered.is_supervised.tofile(supervised)
            tables.append(chunk.table)
            look_alikes.append(chunk.look_alikes)
    schema: dict[str, Any] = {name: dtype for name, dtype in DOCUMENTS_SCHEMA.items() if name != "offset"}
    schema |= {"control_ids": _CONTROL_IDS}
    table = pl.concat(tables) if tables else pl.DataFrame(schema=schema)
    num_tokens = pl.col("num_tokens").cast(pl.Int64)
    table = (
        table.with_columns((num_tokens.cum_sum() - num_tokens).alias("start"))
        .sort("doc_id")
        .with_columns((num_tokens.cum_sum() - num_tokens).alias("offset"))
    )
    return table, pl.concat(look_alikes).sort("doc_id", "token")


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


def _describe(table: pl.DataFrame, tokenizer: Tokenizer, config: RenderConfig, folder: Path, digest: str) -> StoreMeta:
    schema = pl.Schema(DOCUMENTS_SCHEMA)
    write_parquet(folder / "documents.parquet", table.select(schema.names()).cast(schema))
    meta = StoreMeta(
        digest=digest,
        tokenizer=tokenizer.meta.digest,
        eos_id=tokenizer.meta.eos_id,
        dtype=tokenizer.id_dtype.name,
        num_documents=table.height,
        num_tokens=int(table["num_tokens"].cast(pl.Int64).sum()),
        render=config.model_dump(mode="json"),
    )
    write_json(folder / "store.json", meta.model_dump(mode="json"))
    return meta


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
