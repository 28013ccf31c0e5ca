"""Schedules of mixture versions: made once, found again, and made anew where one is gone or was cut short.

A version keeps the token store and the schedule it was written with. Both can be deleted, as anything that a run makes;
a version that is built again gets them back where they can be made.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.errors import InputError, problem
from engine.formats.manifest import Phase
from engine.formats.mixture import Mixture
from engine.formats.receipt import read_receipt
from engine.formats.schedule import Schedule, open_schedule
from engine.formats.token_store import TokenStore, open_token_store
from engine.formats.workspace import Workspace
from engine.mixture.build import order_digest
from engine.pack.schedule import ScheduleConfig, schedule_digest, write_schedule


def schedule_of(
    workspace: Workspace, documents: pl.DataFrame, order: str, store: TokenStore, shape: ScheduleConfig
) -> Schedule:
    """Return the schedule of these documents, made where there is none that is whole.

    order: engine.mixture.build.order_digest of the documents.
    """
    digest = schedule_digest(order, store.meta.digest, shape)
    folder = workspace.schedule(digest)
    return open_schedule(folder) if is_whole(folder) else write_schedule(folder, documents, store, shape, order)


def shape_of(row_tokens: int, rows_per_step: int, phases: Sequence[Phase]) -> ScheduleConfig:
    """Return the shape of a schedule of these phases."""
    ordered = [number for number, phase in enumerate(phases) if phase.is_ordered]
    return ScheduleConfig(row_tokens=row_tokens, rows_per_step=rows_per_step, ordered_phases=ordered)


def is_whole(folder: Path) -> bool:
    """Whether a schedule is there and has all its rows; of the table only the end is read, which says how many."""
    receipt = read_receipt(folder)
    if receipt is None or not (folder / "schedule.json").is_file():
        return False
    try:
        return bool(pq.read_metadata(folder / "schedule.parquet").num_rows == receipt.rows)
    except (OSError, pa.ArrowException):  # gone, or cut short: a Parquet file ends with what it holds
        return False


def is_ready(workspace: Workspace, version: Mixture) -> bool:
    """Whether a version can be trained on: its schedule and its token store are whole."""
    manifest = version.manifest
    return is_whole_store(workspace.tokens(manifest.token_store)) and is_whole(workspace.schedule(manifest.schedule))


def is_whole_store(folder: Path) -> bool:
    """Whether a token store is there with all its files, each of the size it was written with."""
    try:
        open_token_store(folder)
    except InputError:
        return False
    return True


def make_ready(workspace: Workspace, version: Mixture) -> None:
    """Make the schedule of a version anew where it is not whole; raises InputError where its token store is not."""
    manifest = version.manifest
    try:
        store = open_token_store(workspace.tokens(manifest.token_store))
    except InputError as damage:
        found = f"it has the content that is asked for, and its token store is not whole ({damage})"
        fix = f"restore the token store; or delete {version.folder} and run the recipe, which makes a new version"
        raise InputError(problem(version.reference, found, fix=fix)) from damage
    documents = version.documents()
    shape = shape_of(manifest.row_tokens, manifest.rows_per_step, manifest.phases)
    schedule_of(workspace, documents, order_digest(documents), store, shape)
