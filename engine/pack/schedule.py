"""The order of training as a table: which span of which document goes where.

A document is cut only where it is longer than a row, into pieces of a row's length; the last piece is packed like any
document. Every use of a document is placed whole, each of its tokens once. Phases follow one another, row by row: no
row holds documents of two, a step may. Within a phase the sources keep their shares at the end of every step
(engine.pack.packing). Documents come about in the order of the curriculum: first every document of a source once, then
the second use of those that are repeated, and so on; best fit moves a piece within its source's look-ahead only.

Rows come out of the packing in their order, so nothing is sorted, and the table is written as it is made.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from engine.base.atomic import atomic_folder, write_json
from engine.base.hashing import digest_file, digest_json
from engine.base.stage import StrictModel
from engine.formats.parquet import ROW_GROUP_ROWS, write_parquet_parts
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.schedule import SCHEMA, Schedule, ScheduleMeta, open_schedule
from engine.formats.token_store import TokenStore
from engine.pack.packing import Packing, Pieces, pack
from engine.pack.pieces import Places, Stored, Used, cut

VERSION = 6
MADE_BY = f"schedule/{VERSION}"
FILES = ("schedule.parquet", "schedule.json")


class ScheduleConfig(StrictModel):
    """The shape of a step; the keys stand in the mixture's part of the recipe."""

    row_tokens: int = Field(ge=8, le=1 << 20, description="tokens of a training row")
    rows_per_step: int = Field(ge=1, le=(1 << 16) - 1, description="training rows of an optimizer step")
    ordered_phases: list[int] = Field(
        default_factory=list, description="phases whose documents have an order that counts, with a short look-ahead"
    )


@dataclass(frozen=True)
class PackedPhase:
    """The documents of one phase, in rows of their own."""

    phase: int
    sources: list[tuple[str, bool]]
    """(source, is_replay): domain text first, then by name."""
    first_document: int
    first_row: int
    pieces: Pieces
    places: Places
    packing: Packing

    def spans(self, rows_per_step: int) -> Iterator[pl.DataFrame]:
        """Yield the spans (SCHEMA) in their order, a row group at a time."""
        for begin in range(0, self.packing.piece.size, ROW_GROUP_ROWS):
            part = slice(begin, begin + ROW_GROUP_ROWS)
            piece, row = self.packing.piece[part], self.packing.row[part].astype(np.int64) + self.first_row
            columns = {
                "step": row // rows_per_step,
                "row": row % rows_per_step,
                "start": self.packing.start[part],
                "length": self.pieces.length[piece],
                "document": self.places.document[piece] + np.uint32(self.first_document),
                "document_start": self.places.document_start[piece],
                "repeat": self.places.repeat[piece],
                "supervised_tokens": self.pieces.labels[piece],
            }
            yield pl.DataFrame(columns).cast(pl.Schema(SCHEMA))


def schedule_digest(mixture: str, token_store: str, config: ScheduleConfig) -> str:
    """Return the digest of a schedule; known before it is made."""
    inputs = {"mixture": mixture, "token_store": token_store}
    return digest_json({"made_by": MADE_BY, "inputs": inputs, "config": config.model_dump(mode="json")})


def write_schedule(
    folder: Path, documents: pl.DataFrame, store: TokenStore, config: ScheduleConfig, mixture: str
) -> Schedule:
    """Make the schedule and write it to `folder` (schedules/<digest>/ of the workspace), which is replaced as a whole.

    `documents`: a mixture's documents (engine.formats.manifest.DOCUMENTS_SCHEMA), sorted by phase, then in the order of
    the curriculum. `mixture`: digest of both. The receipt's details say how full the rows are, which bound
    the shares keep and how far each source ever was off its share, phase by phase.
    """
    started = time.monotonic()
    phases: list[dict[str, Any]] = []
    labelled_steps, last_labelled = 0, -1

    def spans() -> Iterator[pl.DataFrame]:
        nonlocal labelled_steps, last_labelled
        for phase in packed_phases(documents, store, config):
            phases.append(_details(phase, config))
            for part in phase.spans(config.rows_per_step):
                steps = part.filter(pl.col("supervised_tokens") > 0)["step"].unique().sort()
                if steps.len():
                    labelled_steps += steps.len() - (steps[0] == last_labelled)
                    last_labelled = steps[-1]
                yield part

    with atomic_folder(folder) as temporary:
        num_spans = write_parquet_parts(temporary / "schedule.parquet", spans(), SCHEMA)
        details = _whole(phases, config)
        num_steps = -(-details["rows"] // config.rows_per_step)
        details["steps_without_labels"] = num_steps - labelled_steps
        meta = ScheduleMeta(
            digest=schedule_digest(mixture, store.meta.digest, config),
            mixture=mixture,
            token_store=store.meta.digest,
            row_tokens=config.row_tokens,
            rows_per_step=config.rows_per_step,
            num_steps=num_steps,
            steps_without_labels=num_steps - labelled_steps,
            num_tokens=details["tokens"],
            supervised_tokens=sum(source["supervised_tokens"] for source in details["sources"]),
            first_steps={str(phase["phase"]): phase["first_step"] for phase in phases},
        )
        write_json(temporary / "schedule.json", meta.model_dump(mode="json"))
        receipt = Receipt(
            made_by=MADE_BY,
            digest=meta.digest,
            inputs={"mixture": mixture, "token_store": store.meta.digest},
            config=config.model_dump(mode="json"),
            rows=num_spans,
            seconds=round(time.monotonic() - started, 3),
            details=details | {"files": {name: digest_file(temporary / name) for name in FILES}},
        )
        write_receipt(temporary, receipt)
    return open_schedule(folder)


def packed_phases(documents: pl.DataFrame, store: TokenStore, config: ScheduleConfig) -> Iterator[PackedPhase]:
    """Pack phase by phase; a phase without documents is left out."""
    assert documents["phase"].is_sorted(), "documents are sorted by phase"
    sizes = documents.group_by("phase").len().sort("phase")
    first_document, first_row = 0, 0
    for phase, size in sizes.iter_rows():
        mine = documents[first_document : first_document + size]
        packed = _packed(mine, store, config, first_row, phase in config.ordered_phases)
        sources, pieces, places, packing = packed
        yield PackedPhase(phase, sources, first_document, first_row, pieces, places, packing)
        first_document, first_row = first_document + size, first_row + packing.num_rows


def _packed(
    documents: pl.DataFrame, store: TokenStore, config: ScheduleConfig, first_row: int, is_ordered: bool
) -> tuple[list[tuple[str, bool]], Pieces, Places, Packing]:
    sources, number = _numbered(documents)
    columns = ("num_tokens", "supervised_tokens", "repeats", "store_row")
    used = Used(number, *(documents[name].to_numpy() for name in columns))
    stored = Stored(np.zeros(0, np.int64), np.zeros(0, np.uint8))
    if used.num_tokens.max(initial=0) > config.row_tokens:
        offsets = store.documents(["offset"])["offset"].to_numpy()
        stored = Stored(offsets, np.memmap(store.folder / "supervised.bin", dtype=np.uint8, mode="r"))
    pieces, places = cut(used, [source for source, _ in sources], stored, config.row_tokens)
    return sources, pieces, places, pack(pieces, config.row_tokens, config.rows_per_step, first_row, is_ordered)


def _numbered(documents: pl.DataFrame) -> tuple[list[tuple[str, bool]], NDArray[np.uint16]]:
    """Return the (source, is_replay) there are, in their order, and for each document the position of its own."""
    names = documents["source"].unique().sort()
    position = pl.col("source").replace_strict(names, pl.Series(range(names.len())), return_dtype=pl.UInt16)
    is_replay = pl.col("is_replay").cast(pl.UInt16)
    codes = documents.select(position + is_replay * pl.lit(names.len(), pl.UInt16))["source"].to_numpy()
    there = np.flatnonzero(np.bincount(codes))
    numbers = np.zeros(2 * names.len(), np.uint16)
    numbers[there] = np.arange(there.size)
    return [(str(names[code % names.len()]), code >= names.len()) for code in there.tolist()], numbers[codes]


def _details(phase: PackedPhase, config: ScheduleConfig) -> dict[str, Any]:
    """What one phase came to, for the receipt; labels of sources, rows and tokens of the phase."""
    packing, pieces, places = phase.packing, phase.pieces, phase.places
    # Of a document that is cut there is one second piece per use.
    is_cut = (places.document_start > 0) & (places.document_start <= config.row_tokens) & (places.repeat == 0)
    sources = [
        {
            "source": source,
            "is_replay": is_replay,
            "supervised_tokens": int(pieces.labels[begin:end].sum(dtype=np.int64)),
            "longest_document": int(pieces.longest[number]),
            "cut_documents": int(is_cut[begin:end].sum()),
            "longest_piece": int(pieces.labels[begin:end].max(initial=0)),
            "largest_deviation": int(packing.deviation[number]),
            "bound": int(packing.limits[number]),
        }
        for number, ((source, is_replay), begin, end) in enumerate(
            zip(phase.sources, pieces.first[:-1].tolist(), pieces.first[1:].tolist(), strict=True)
        )
    ]
    return {
        "phase": phase.phase,
        "first_step": phase.first_row // config.rows_per_step,
        "rows": packing.num_rows,
        "best_fit_rows": packing.best_fit_rows,
        "tokens": int(pieces.length.sum(dtype=np.int64)),
        "share_bound": packing.bound,
        "is_share_bound_kept": packing.is_kept,
        "is_source_bound_out_of_reach": packing.is_out_of_reach,
        "sources": sources,
    }


def _whole(phases: list[dict[str, Any]], config: ScheduleConfig) -> dict[str, Any]:
    rows = sum(phase["rows"] for phase in phases)
    return {
        "rows": rows,
        "tokens": sum(phase["tokens"] for phase in phases),
        "room_tokens": rows * config.row_tokens,
        "best_fit_rows": sum(phase["best_fit_rows"] for phase in phases),
        "share_bound": "source" if all(phase["share_bound"] == "source" for phase in phases) else "mixture",
        "is_share_bound_kept": all(phase["is_share_bound_kept"] for phase in phases),
        "sources": [{"phase": phase["phase"]} | source for phase in phases for source in phase["sources"]],
        "phases": [{key: value for key, value in phase.items() if key != "sources"} for phase in phases],
    }
