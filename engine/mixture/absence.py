"""Why a document is not in a version: what the selection that version was made from says of it.

Reasons: `dropped: <reason>`, `held_out: <set>`, `over_budget: <rule of balance>`, and besides the selection
`over_budget` (kept, but not taken by the mixture), `taken_down`, `source_not_in_mixture`, `not_in_source`, and
`unknown` where the state or the artifacts of the version are gone.
"""

import polars as pl

from engine.formats.annotation import part_path
from engine.formats.documents import read_source
from engine.formats.mixture import Mixture, read_mixture, version_folders
from engine.formats.selection import KEPT
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace

TAKEN_DOWN, NOT_IN_MIXTURE, NOT_IN_SOURCE, OVER_BUDGET, UNKNOWN = (
    "taken_down",
    "source_not_in_mixture",
    "not_in_source",
    "over_budget",
    "unknown",
)


def with_absence(workspace: Workspace, mixture: Mixture, documents: pl.DataFrame) -> pl.DataFrame:
    """Return the documents (doc_id, source, ...) with `reason`: why each of them is not in this version."""
    state = mixture.state()
    mixed = sorted({row.source for row in mixture.manifest.sources})
    taken = pl.DataFrame({"doc_id": _taken_down(workspace, mixture)}, schema={"doc_id": pl.Binary})
    asked = documents.filter(pl.col("source").is_in(mixed)).select("doc_id", "source")
    decided, read = _decisions(workspace, state, asked) if state is not None else (_no_decision(), [])
    says = (
        pl.when(pl.col("decision") == KEPT)
        .then(pl.lit(OVER_BUDGET))
        .otherwise(pl.concat_str([pl.col("decision"), pl.col("decided_by")], separator=": ", ignore_nulls=True))
    )
    return (
        documents.join(decided, on="doc_id", how="left", maintain_order="left")
        .join(taken.with_columns(is_taken=pl.lit(value=True)), on="doc_id", how="left", maintain_order="left")
        .with_columns(
            reason=pl.when(pl.col("is_taken"))
            .then(pl.lit(TAKEN_DOWN))
            .when(~pl.col("source").is_in(mixed))
            .then(pl.lit(NOT_IN_MIXTURE))
            .when(pl.col("decision").is_not_null())
            .then(says)
            .when(pl.col("source").is_in(read))
            .then(pl.lit(NOT_IN_SOURCE))
            .otherwise(pl.lit(UNKNOWN))
        )
        .drop("decision", "decided_by", "is_taken")
    )


def _taken_down(workspace: Workspace, mixture: Mixture) -> list[bytes]:
    """Return the documents that left this version or one it was made from."""
    found: set[str] = set()
    seen = {mixture.reference}
    derived = mixture.manifest.derived_from
    while derived is not None:
        found |= set(derived.removed)
        name, _, number = derived.reference.partition("@v")
        folder = version_folders(workspace, name).get(int(number)) if number.isdigit() else None
        if folder is None or derived.reference in seen:
            break
        seen.add(derived.reference)
        derived = read_mixture(folder).manifest.derived_from
    return [bytes.fromhex(doc_id) for doc_id in sorted(found)]


def _decisions(workspace: Workspace, state: RecipeState, asked: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return doc_id, decision and decided_by of the documents that are there, and the sources that could be read."""
    selection = state.open_selection(workspace)
    frames, read = [_no_decision()], []
    for source in sorted(set(asked["source"])):
        folder = workspace.root / state.sources[source] if source in state.sources else None
        if folder is None or selection is None or not (folder / "source.json").is_file():
            continue
        shards = read_source(folder).shards
        if not all(shard.ids_path.is_file() and part_path(selection.folder, shard).is_file() for shard in shards):
            continue
        read.append(source)
        for shard in shards:
            rows = pl.concat([shard.read_core(["doc_id"]), selection.decisions(shard)], how="horizontal")
            wanted = rows.join(asked, on="doc_id", how="semi")
            frames.append(wanted.select("doc_id", "decision", pl.col("reason").alias("decided_by")))
    return pl.concat(frames), read


def _no_decision() -> pl.DataFrame:
    return pl.DataFrame(schema={"doc_id": pl.Binary, "decision": pl.String, "decided_by": pl.String})
