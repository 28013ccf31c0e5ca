"""Every document rendered and encoded once: the token store.

Batches are encoded in threads (both tokenizer libraries release the GIL) and appended to temporary files as they come;
at the end they are gathered into the order of doc_id. Neither the number of threads nor the cut into batches changes a
byte. Memory: the batches under way, and a table of all documents.
"""

import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.atomic import TEMPORARY_PREFIX, atomic_folder, write_json
from engine.base.errors import InputError, problem
from engine.base.hashing import digest_bytes, digest_file, digest_json, digest_parts
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.segments import segment_encoder
from engine.formats.token_store import DOCUMENTS_SCHEMA, StoreMeta, TokenStore, open_token_store
from engine.formats.tokenizer import Encoder, Tokenizer
from engine.pack.render import RenderConfig, Rendered, positions, prefixes, render

VERSION = 1
MADE_BY = f"token_store/{VERSION}"
FILES = ("documents.parquet", "ids.bin", "supervised.bin", "store.json")
_CHUNK_BYTES = 4 << 20
_CHUNK_DOCUMENTS = 4096
_GATHERED_TOKENS = 1 << 23

Batch = tuple[Sequence[bytes], Sequence[str], Sequence[str]]
"""doc_ids, sources and texts of some documents, three sequences of one length."""


def documents_digest(doc_digests: Iterable[tuple[bytes, bytes]]) -> str:
    """Digest of documents and their texts: (doc_id, text_digest) in ascending order of doc_id, each once."""

    def parts() -> Iterator[bytes]:
        last = b""
        for doc_id, text_digest in doc_digests:
            assert doc_id > last, "documents in ascending order of doc_id, each once"
            last = doc_id
            yield doc_id
            yield text_digest

    return digest_parts(parts()).hex()


def token_store_digest(tokenizer_digest: str, config: RenderConfig, doc_digests: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the digest of the token store these documents make; known before any text is read.

    `doc_digests`: (doc_id, text_digest) in ascending order of doc_id, each once.
    """
    return _store_digest(tokenizer_digest, config, documents_digest(doc_digests))


def build_token_store(
    documents: Iterable[Batch], tokenizer: Tokenizer, config: RenderConfig, folder: Path, digest: str, jobs: int
) -> TokenStore:
    """Encode every document once and write the token store to `folder`, which is replaced as a whole.

    Args:
        documents: Batches in any order and of any size; each document once, no null text.
        tokenizer: Encodes; its digest is part of the store's.
        config: What goes in front of the text.
        folder: tokens/<digest>/ of the workspace.
        digest: What `token_store_digest` said of these documents.
        jobs: Threads.

    Raises InputError where the texts are not those the digest was made of (a file changed since it was read in), and
    RecipeError where the tokenizer lacks a token the config asks for.
    """
    started = time.monotonic()
    in_front = prefixes(tokenizer.meta, config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder.parent) as parts:
        encoder = _Encoder(segment_encoder(tokenizer), tokenizer.meta.eos_id, in_front)
        table = _write_parts(_in_threads(encoder, _chunks(documents), jobs), Path(parts), tokenizer.id_dtype)
        texts = documents_digest(table.select("doc_id", "text_digest").iter_rows())
        if digest != _store_digest(tokenizer.meta.digest, config, texts):
            found = "the texts changed since they were read in"
            raise InputError(problem(folder, found, "the same documents throughout a run", "run the recipe again"))
        with atomic_folder(folder) as temporary:
            _gather(table, Path(parts), temporary, tokenizer.id_dtype)
            meta = _describe(table, tokenizer, config, temporary, digest)
            _sign(temporary, meta, texts, int(table["supervised_tokens"].cast(pl.Int64).sum()), started)
    return open_token_store(folder)


@dataclass(frozen=True)
class _Encoded:
    """Documents of one chunk: their columns and their tokens."""

    table: pl.DataFrame
    rendered: Rendered


@dataclass(frozen=True)
class _Encoder:
    """Turns a chunk of documents into tokens; called from several threads."""

    encode: Encoder
    eos_id: int
    in_front: dict[str | None, list[int]]

    def __call__(self, chunk: pl.DataFrame) -> _Encoded:
        texts = chunk["text"].to_list()
        rendered = render(self.encode(texts), chunk["source"].to_list(), self.eos_id, self.in_front)
        table = chunk.select(
            "doc_id",
            "source",
            pl.Series("text_digest", [digest_bytes(text.encode()) for text in texts], dtype=pl.Binary),
            pl.Series("num_tokens", rendered.num_tokens, dtype=pl.Int32),
            pl.Series("supervised_tokens", rendered.supervised_tokens, dtype=pl.Int32),
            pl.col("text").str.len_bytes().cast(pl.Int64).alias("num_bytes"),
        )
        return _Encoded(table, rendered)


def _chunks(documents: Iterable[Batch]) -> Iterator[pl.DataFrame]:
    """Yield the documents in frames of a few megabytes, so that threads share a large batch."""
    schema = {"doc_id": pl.Binary, "source": pl.String, "text": pl.String}
    for doc_ids, sources, texts in documents:
        frame = pl.DataFrame({"doc_id": doc_ids, "source": sources, "text": texts}, schema=schema)
        assert not frame.null_count().sum_horizontal().item(), (
            "a document of a token store has an id, a source and a text"
        )
        size = frame["text"].str.len_bytes().cast(pl.Int64)
        chunk = (size.cum_sum() - size) // _CHUNK_BYTES + pl.int_range(frame.height, eager=True) // _CHUNK_DOCUMENTS
        yield from _cut(frame, chunk)


def _cut(frame: pl.DataFrame, chunk: pl.Series) -> Iterator[pl.DataFrame]:
    bounds = [0, *(np.flatnonzero(np.diff(chunk.to_numpy())) + 1).tolist(), frame.height]
    for start, end in pairwise(bounds):
        if end > start:
            yield frame.slice(start, end - start)


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


def _write_parts(chunks: Iterable[_Encoded], folder: Path, dtype: np.dtype[Any]) -> pl.DataFrame:
    """Append the tokens to temporary files; return the documents in the order of doc_id, `start` being their place."""
    tables = []
    with (folder / "ids").open("wb") as ids, (folder / "supervised").open("wb") as supervised:
        for chunk in chunks:
            chunk.rendered.ids.astype(dtype).tofile(ids)
            chunk.rendered.is_supervised.tofile(supervised)
            tables.append(chunk.table)
    schema = {name: dtype for name, dtype in DOCUMENTS_SCHEMA.items() if name != "offset"} | {"text_digest": pl.Binary}
    table = pl.concat(tables) if tables else pl.DataFrame(schema=schema)
    num_tokens = pl.col("num_tokens").cast(pl.Int64)
    return (
        table.with_columns((num_tokens.cum_sum() - num_tokens).alias("start"))
        .sort("doc_id")
        .with_columns((num_tokens.cum_sum() - num_tokens).alias("offset"))
    )


def _gather(table: pl.DataFrame, parts: Path, folder: Path, dtype: np.dtype[Any]) -> None:
    """Write ids.bin and supervised.bin in the order of the table, a few million tokens at a time."""
    total = int(table["num_tokens"].cast(pl.Int64).sum())
    ids = np.memmap(parts / "ids", dtype=dtype, mode="r") if total else np.zeros(0, dtype)
    supervised = np.memmap(parts / "supervised", dtype=np.bool_, mode="r") if total else np.zeros(0, np.bool_)
    part = (table["offset"] // _GATHERED_TOKENS).rename("part")
    with (folder / "ids.bin").open("wb") as ids_file, (folder / "supervised.bin").open("wb") as bits_file:
        bits = _BitWriter(bits_file)
        for group in _cut(table, part):
            places = positions(group["start"].to_numpy(), group["num_tokens"].to_numpy().astype(np.int64))
            ids[places].tofile(ids_file)
            bits.write(supervised[places])
        bits.finish()


class _BitWriter:
    """Writes booleans as bits, little bit order, across the borders of bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rest = np.zeros(0, dtype=np.bool_)

    def write(self, values: NDArray[np.bool_]) -> None:
        """Append values; up to seven wait for the next call."""
        values = np.concatenate([self._rest, values])
        whole = values.size // 8 * 8
        np.packbits(values[:whole], bitorder="little").tofile(self._file)
        self._rest = values[whole:]

    def finish(self) -> None:
        """Write what waits, filled up with zeros."""
        np.packbits(self._rest, bitorder="little").tofile(self._file)


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


def _sign(folder: Path, meta: StoreMeta, texts: str, supervised_tokens: int, started: float) -> None:
    files = {name: digest_file(folder / name) for name in FILES}
    receipt = Receipt(
        made_by=MADE_BY,
        digest=meta.digest,
        inputs={"tokenizer": meta.tokenizer, "documents": texts},
        config=meta.render,
        rows=meta.num_documents,
        seconds=round(time.monotonic() - started, 3),
        details={"tokens": meta.num_tokens, "supervised_tokens": supervised_tokens, "files": files},
    )
    write_receipt(folder, receipt)


def _store_digest(tokenizer_digest: str, config: RenderConfig, texts: str) -> str:
    # An artifact's digest is that of its receipt's made_by, inputs and config, so that anybody can check it later.
    inputs = {"tokenizer": tokenizer_digest, "documents": texts}
    return digest_json({"made_by": MADE_BY, "inputs": inputs, "config": config.model_dump(mode="json")})
