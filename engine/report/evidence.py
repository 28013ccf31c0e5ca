"""What a report is made from: the artifacts the last run of a recipe ended with, and the training runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.formats.annotation import Annotation, read_columns
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.mixture import Mixture, open_mixture, readable_versions
from engine.formats.receipt import Receipt, read_receipt
from engine.formats.run import Run, open_run, run_names
from engine.formats.selection import Selection
from engine.formats.split import Split
from engine.formats.state import RecipeState, require_state
from engine.formats.token_store import TokenStore, open_token_store
from engine.formats.workspace import Workspace


@dataclass(frozen=True)
class Evidence:
    """Everything the sections read; what a recipe did not make is None or empty."""

    workspace: Workspace
    state: RecipeState
    sources: tuple[SourceDocuments, ...]
    annotations: tuple[Annotation, ...]
    selection: Selection | None
    split: Split | None
    store: TokenStore | None
    mixtures: tuple[Mixture, ...]
    runs: tuple[Run, ...]

    def frames(self, names: Sequence[str]) -> Iterator[tuple[Shard, pl.DataFrame]]:
        """Yield every shard with the named core and annotation columns, and decision and reason where selected."""
        for source in self.sources:
            for shard in source.shards:
                frame = read_columns(shard, names, self.annotations)
                if self.selection is not None:
                    frame = pl.concat([frame, self.selection.decisions(shard)], how="horizontal")
                yield shard, frame

    def instances(self, stage: str) -> list[Annotation]:
        """Return the annotations of a stage, in the recipe's order; it may stand there more than once."""
        return [annotation for annotation in self.annotations if annotation.stage == stage]

    def artifact(self, prefix: str) -> Path | None:
        """Return the folder of the corpus artifacts (pairs, coverage) of a column prefix, or None."""
        folder = self.state.artifacts.get(prefix)
        return None if folder is None else self.workspace.root / folder

    def receipt(self, prefix: str) -> Receipt | None:
        """Return the receipt of the corpus artifacts of a column prefix, or None."""
        folder = self.artifact(prefix)
        return None if folder is None else read_receipt(folder)

    def all_mixtures(self) -> list[Mixture]:
        """Return every undamaged mixture version of the workspace: runs may have been made on older ones."""
        return readable_versions(self.workspace)[0]


def open_evidence(workspace: Path | str, recipe: str | None = None, runs: Sequence[str] | None = None) -> Evidence:
    """Open the artifacts of `recipe` (None: the one that finished last) and the named runs (None: all there are).

    Raises InputError where the workspace, the recipe or a run is not there, or an artifact is damaged.
    """
    place = Workspace.open(workspace)
    state = require_state(place, recipe)
    return Evidence(
        workspace=place,
        state=state,
        sources=state.source_documents(place),
        annotations=state.open_annotations(place),
        selection=state.open_selection(place),
        split=state.open_split(place),
        store=None if state.token_store is None else open_token_store(place.root / state.token_store),
        mixtures=tuple(open_mixture(place, reference) for reference in state.mixtures.values()),
        runs=tuple(open_run(place, name) for name in (runs if runs is not None else run_names(place))),
    )
