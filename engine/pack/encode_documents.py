"""Documents to tokens, a few megabytes at a time: texts and chats encoded, with their tags, BOS and EOS.

Chunks are encoded in threads (both tokenizer libraries release the GIL) and come back in their order, so neither the
number of threads nor the cut into batches changes a token.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from engine.base.errors import InputError, RecipeError, problem
from engine.base.hashing import digest_bytes
from engine.formats.continuation import continuation_encoder
from engine.formats.doc_ids import id_text
from engine.formats.messages import MESSAGES, Message, chat_digests
from engine.formats.segments import segment_encoder
from engine.formats.tokenizer import Encoder, Tokenizer, TokenizerMeta, special_pieces
from engine.pack.look_alikes import LookAlikes, SpecialIds
from engine.pack.render import OF_CHATS, Fronts, RenderConfig, Rendered, bos_of, render
from engine.pack.render_chats import ChatRenderer, Run
from engine.pack.store_writer import cut_where
from engine.pack.templates import TEXT, Template, TemplateError

_CHUNK_BYTES = 4 << 20
_CHUNK_DOCUMENTS = 4096
CONTROL_IDS = pl.List(pl.Int32)


class Batch(NamedTuple):
    """Some documents, all texts or all chats: three to five sequences of one length."""

    doc_ids: Sequence[bytes]
    sources: Sequence[str]
    texts: Sequence[str]
    control_ids: pl.Series | None = None
    """List(Int32): ids of the control tokens of each document, null for none."""
    messages: pa.Array | None = None
    """Of chats their messages (engine.formats.messages), of which `texts` are the texts; of texts None."""


@dataclass(frozen=True)
class Encoded:
    """Documents of one chunk: their columns and their tokens."""

    table: pl.DataFrame
    """DOCUMENTS_SCHEMA without `offset`, and control_ids, has_bos: does it begin with the tokenizer's BOS?"""
    look_alikes: pl.DataFrame
    rendered: Rendered


@dataclass(frozen=True)
class DocumentEncoder:
    """Turns a chunk of documents into tokens; called from several threads."""

    encode: Encoder
    special_ids: SpecialIds
    look_alikes: LookAlikes
    meta: TokenizerMeta
    bos_id: int | None
    """What the recipe puts in front of every document."""
    chats: ChatRenderer | None
    objective: Mapping[str, str]
    """Source of chats -> what is supervised."""

    def __call__(self, chunk: pl.DataFrame) -> Encoded:
        """Return a chunk's documents as tokens; raises InputError where one cannot be rendered."""
        texts = chunk["text"].to_list()
        if chunk["messages"].null_count():
            encoded = self.encode(texts)
            self.special_ids.require_none(encoded, chunk)
            rendered = render(encoded, _fronts(chunk["control_ids"]), self.meta.eos_id, self.bos_id)
            digests = [digest_bytes(text.encode()) for text in texts]
        else:
            rendered = self._rendered_chats(chunk)
            digests = chat_digests(chunk["messages"].to_arrow().cast(MESSAGES))
        firsts = rendered.ids[np.cumsum(rendered.num_tokens) - rendered.num_tokens]
        table = chunk.select(
            "doc_id",
            "source",
            "control_ids",
            pl.Series("text_digest", digests, dtype=pl.Binary),
            pl.Series("num_tokens", rendered.num_tokens, dtype=pl.Int32),
            pl.Series("supervised_tokens", rendered.supervised_tokens, dtype=pl.Int32),
            pl.col("text").str.len_bytes().cast(pl.Int64).alias("num_bytes"),
            pl.Series("has_bos", firsts == self.meta.bos_id, dtype=pl.Boolean),
        )
        return Encoded(table, self.look_alikes.count(chunk), rendered)

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


def document_encoder(tokenizer: Tokenizer, config: RenderConfig, template: Template | None) -> DocumentEncoder:
    """Return what encodes documents; raises RecipeError where the tokenizer lacks a token that is asked for.

    template: needed where there are chats.
    """
    bos_id, encode = bos_of(tokenizer.meta, config), segment_encoder(tokenizer)
    chats = _chat_renderer(tokenizer, template, encode, bos_id)
    special_ids, look_alikes = SpecialIds(tokenizer), LookAlikes(tokenizer)
    return DocumentEncoder(encode, special_ids, look_alikes, tokenizer.meta, bos_id, chats, config.objective)


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
        without = pl.Series([None] * frame.height, dtype=CONTROL_IDS)
        frame = frame.with_columns((without if control_ids is None else control_ids).alias("control_ids"))
        chats = pa.nulls(frame.height, MESSAGES) if messages is None else messages
        frame = frame.with_columns(pl.Series("messages", pl.from_arrow(chats)))
        size = frame["text"].str.len_bytes().cast(pl.Int64)
        chunk = (size.cum_sum() - size) // _CHUNK_BYTES + pl.int_range(frame.height, eager=True) // _CHUNK_DOCUMENTS
        yield from cut_where(frame, chunk)


def encoded_chunks(encoder: DocumentEncoder, documents: Iterable[Batch], jobs: int) -> Iterator[Encoded]:
    """Yield the encoded chunks in their order; at most two per thread are under way."""
    with ThreadPoolExecutor(jobs) as pool:
        under_way: deque[Future[Encoded]] = deque()
        for chunk in _chunks(documents):
            under_way.append(pool.submit(encoder, chunk))
            if len(under_way) > 2 * jobs:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
