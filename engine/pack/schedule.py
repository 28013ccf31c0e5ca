"""The order of training as a table: which span of which document goes where.

A document is cut only where it is longer than a row, into pieces of a row's length; the last piece is packed like any
document. Every use of a document is placed whole, each of its tokens once. The sources keep their shares at every step
(engine.pack.packing). Documents come about in the order of the curriculum: first every document of a source once, then
the second use of those that are repeated, and so on; best fit moves a piece within its source's look-ahead only.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from engine.base.atomic import atomic_folder, write_json
from engine.base.hashing import digest_file, digest_json
from engine.base.stage import StrictModel
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.schedule import SCHEMA, Schedule, ScheduleMeta, open_schedule
from engine.formats.token_store import TokenStore
from engine.pack.best_fit import Integers
from engine.pack.packing import Packing, Pieces, pack
from engine.pack.render import positions
from engine.text.kernels import kernel

VERSION = 1
MADE_BY = f"schedule/{VERSION}"
FILES = ("schedule.parquet", "schedule.json")


class ScheduleConfig(StrictModel):
    """The shape of a step; the keys stand in the mixture's part of the recipe."""

    row_tokens: int = Field(ge=8, le=1 << 20, description="tokens of a training row")
    rows_per_step: int = Field(ge=1, le=(1 << 16) - 1, description="training rows of an optimizer step")


def schedule_digest(mixture: str, token_store: str, config: ScheduleConfig) -> str:
    """Return the digest of a schedule; known before it is made."""
    inputs = {"mixture": mixture, "token_store": token_store}
    return digest_json({"made_by": MADE_BY, "inputs": inputs, "config": config.model_dump(mode="json")})


def make_schedule(documents: pl.DataFrame, store: TokenStore, config: ScheduleConfig) -> pl.DataFrame:
    """Return where every span goes (engine.formats.schedule.SCHEMA), sorted by step, row, start.

    `documents`: a mixture's documents (engine.formats.manifest.DOCUMENTS_SCHEMA), in the order of the curriculum.
    """
    return _scheduled(documents, store, config)[0]


def write_schedule(
    folder: Path, documents: pl.DataFrame, store: TokenStore, config: ScheduleConfig, mixture: str
) -> Schedule:
    """Make the schedule and write it to `folder` (schedules/<digest>/ of the workspace), which is replaced as a whole.

    `mixture`: digest of the mixture's documents and order. The receipt's details say how full the rows are, which bound
    the shares keep and how far each source ever was off its share.
    """
    started = time.monotonic()
    spans, details = _scheduled(documents, store, config)
    meta = ScheduleMeta(
        digest=schedule_digest(mixture, store.meta.digest, config),
        mixture=mixture,
        token_store=store.meta.digest,
        row_tokens=config.row_tokens,
        rows_per_step=config.rows_per_step,
        num_steps=-(-details["rows"] // config.rows_per_step),
        num_tokens=int(spans["length"].cast(pl.Int64).sum()),
        supervised_tokens=int(spans["supervised_tokens"].cast(pl.Int64).sum()),
    )
    with atomic_folder(folder) as temporary:
        write_parquet(temporary / "schedule.parquet", spans)
        write_json(temporary / "schedule.json", meta.model_dump(mode="json"))
        receipt = Receipt(
            made_by=MADE_BY,
            digest=meta.digest,
            inputs={"mixture": mixture, "token_store": store.meta.digest},
            config=config.model_dump(mode="json"),
            rows=spans.height,
            seconds=round(time.monotonic() - started, 3),
            details=details | {"files": {name: digest_file(temporary / name) for name in FILES}},
        )
        write_receipt(temporary, receipt)
    return open_schedule(folder)


def _scheduled(
    documents: pl.DataFrame, store: TokenStore, config: ScheduleConfig
) -> tuple[pl.DataFrame, dict[str, Any]]:
    sources = documents.select("source", "is_replay").unique().sort("is_replay", "source").with_row_index("number")
    number = documents.join(sources, on=["source", "is_replay"], how="left", maintain_order="left")["number"].to_numpy()
    pieces, columns = _pieces(documents, number, sources.height, store, config.row_tokens)
    packing = pack(pieces, config.row_tokens, config.rows_per_step)
    spans = pl.DataFrame(
        {
            "step": packing.row // config.rows_per_step,
            "row": packing.row % config.rows_per_step,
            "start": packing.start,
            "length": pieces.length,
            **columns,
            "supervised_tokens": pieces.labels,
        }
    )
    schema = pl.Schema(SCHEMA)
    return spans.cast(schema).sort("step", "row", "start"), _details(sources, pieces, packing, config)


def _pieces(
    documents: pl.DataFrame, source: NDArray[Any], num_sources: int, store: TokenStore, row_tokens: int
) -> tuple[Pieces, dict[str, Integers]]:
    """Return the pieces of all uses of all documents, and their columns document, document_start and repeat."""
    tokens, labels, repeats = (
        documents[name].to_numpy().astype(np.int64) for name in ("num_tokens", "supervised_tokens", "repeats")
    )
    use = np.repeat(np.arange(documents.height), repeats)
    repeat = positions(np.zeros_like(repeats), repeats)
    in_order = np.lexsort((use, repeat, source[use]))
    use, repeat = use[in_order], repeat[in_order]
    cuts = -(-tokens // row_tokens)
    piece_of = np.repeat(np.arange(use.size), cuts[use])
    document = use[piece_of]
    start = positions(np.zeros_like(use), cuts[use]) * row_tokens
    length = np.minimum(row_tokens, tokens[document] - start)
    piece_labels = labels[document]
    is_cut = np.flatnonzero(cuts[document] > 1)
    if is_cut.size:
        offsets = store.documents()["offset"].to_numpy()[documents["store_row"].to_numpy()]
        bits = np.memmap(store.folder / "supervised.bin", dtype=np.uint8, mode="r")
        piece_labels[is_cut] = _labels(bits, offsets[document[is_cut]] + start[is_cut], length[is_cut])
    first = np.searchsorted(source[document], np.arange(num_sources + 1)).astype(np.int64)
    once = np.zeros(num_sources, dtype=np.int64)
    np.add.at(once, source, cuts)
    columns = {"document": document, "document_start": start, "repeat": repeat[piece_of]}
    return Pieces(length, piece_labels, first, once), columns


@kernel
def _labels(bits: NDArray[np.uint8], starts: Integers, lengths: Integers) -> Integers:
    """Return the set bits of each run of tokens but its first: int64[num_runs]; bits in little order."""
    found = np.zeros(starts.size, np.int64)
    for run in range(starts.size):
        for token in range(starts[run] + 1, starts[run] + lengths[run]):
            found[run] += (bits[token >> 3] >> (token & 7)) & 1
    return found


def _details(sources: pl.DataFrame, pieces: Pieces, packing: Packing, config: ScheduleConfig) -> dict[str, Any]:
    bounds = zip(pieces.first[:-1].tolist(), pieces.first[1:].tolist(), strict=True)
    rows = [
        {
            "source": source,
            "is_replay": is_replay,
            "supervised_tokens": int(pieces.labels[begin:end].sum()),
            "longest_piece": int(pieces.labels[begin:end].max(initial=0)),
            "largest_deviation": int(deviation),
        }
        for (begin, end), (_, source, is_replay), deviation in zip(
            bounds, sources.iter_rows(), packing.deviation.tolist(), strict=True
        )
    ]
    return {
        "rows": packing.num_rows,
        "tokens": int(pieces.length.sum()),
        "room_tokens": packing.num_rows * config.row_tokens,
        "share_bound": packing.bound,
        "is_share_bound_kept": packing.is_kept,
        "sources": rows,
    }
