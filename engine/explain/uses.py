"""Where a document is used: mixture versions with their steps, training runs with their losses, takedowns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from engine.base.errors import InputError
from engine.explain.training import TrainingRun
from engine.formats.manifest import role_label
from engine.formats.mixture import Mixture, readable_versions
from engine.formats.run import open_run, run_names
from engine.formats.schedule import open_schedule
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace

MOST_LISTED = 20
"""Pairs, members of a group, schedule spans and steps beyond this many are counted, not listed."""


@dataclass(frozen=True)
class Uses:
    """What versions, schedules and runs say of one document."""

    workspace: Workspace
    state: RecipeState
    doc_id: bytes

    def mixtures(self) -> tuple[list[dict[str, Any]], list[str], list[str]]:
        """Return every mixture version that uses the document, the current ones that do not, what is damaged."""
        used, not_in, damaged = [], [], self.damage.splitlines() if self.damage is not None else []
        current = set(self.state.mixtures.values())
        for mixture in self.versions:
            try:
                uses = self._uses(mixture)
            except InputError as error:
                damaged.append(str(error))
                continue
            used += [use | {"is_current": mixture.reference in current} for use in uses]
            if not uses and mixture.reference in current:
                not_in.append(mixture.reference)
        return used, not_in, damaged

    @property
    def versions(self) -> list[Mixture]:
        """All versions of all mixtures of the workspace that are as they were written."""
        return self._readable[0]

    @property
    def damage(self) -> str | None:
        """What is wrong with the others."""
        return self._readable[1]

    @cached_property
    def _readable(self) -> tuple[list[Mixture], str | None]:
        return readable_versions(self.workspace)

    @cached_property
    def models(self) -> dict[str, str]:
        """Column prefix -> digest of the files of its model, as the current mixtures say."""
        current = set(self.state.mixtures.values())
        found: dict[str, str] = {}
        for mixture in self.versions:
            found |= mixture.manifest.models if mixture.reference in current else {}
        return found

    def trained(self, uses: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return run and role -> the steps of it that held the document and were made, with the losses they had."""
        found = []
        for name in run_names(self.workspace):
            run = TrainingRun(open_run(self.workspace, name))
            reference, digest = run.mixture
            for use in uses:
                if (use["reference"], use["digest"]) == (reference, digest):
                    steps = [step for step in use["steps"] if step <= run.made_steps]
                    found.append(_trained(run, use, steps))
        return found

    def taken_down(self) -> list[dict[str, Any]]:
        """Return the versions that were made without the document because it, or what it resembles, was taken down."""
        return [
            {"reference": mixture.reference, "from": derived.reference, "how": derived.how, "reason": derived.reason}
            for mixture in self.versions
            if (derived := mixture.manifest.derived_from) is not None and self.doc_id.hex() in derived.removed
        ]

    def _uses(self, mixture: Mixture) -> list[dict[str, Any]]:
        rows = mixture.documents_where(pl.col("doc_id") == self.doc_id).drop("doc_id", "store_row")
        uses = []
        for row in rows.to_dicts():
            spans = self._spans(mixture, row["document"]).with_columns(pl.col("step") + 1)
            steps = sorted(set(spans["step"]))
            listed = {"spans": spans.head(MOST_LISTED).to_dicts(), "num_spans": spans.height, "steps": steps}
            phase = mixture.manifest.phases[row["phase"]].name
            digest = {"digest": mixture.manifest.digest, "documents": mixture.manifest.documents}
            uses.append({"reference": mixture.reference, **digest, **row, "phase_name": phase, **listed})
        return uses

    def _spans(self, mixture: Mixture, document: int) -> pl.DataFrame:
        folder = self.workspace.schedule(mixture.manifest.schedule)
        columns: Sequence[str] = ("step", "row", "start", "length", "document_start", "repeat", "supervised_tokens")
        if not (folder / "receipt.json").is_file():  # `gc` collects schedules
            return pl.DataFrame(schema=dict.fromkeys(columns, pl.Int64))
        return open_schedule(folder).spans_where(pl.col("document") == document).select(columns)


def _trained(run: TrainingRun, use: dict[str, Any], steps: Sequence[int]) -> dict[str, Any]:
    """Return the steps of a run with a document: step, loss, source_loss; those listed first, all counted."""
    metrics = run.run.metrics(steps[:MOST_LISTED])
    loss = {(row["step"], row["source"]): row["loss"] for row in metrics.to_dicts()}
    label = role_label(use["source"], use["is_replay"])
    listed = [
        {"step": step, "loss": loss.get((step, None)), "source_loss": loss.get((step, label))}
        for step in steps[:MOST_LISTED]
    ]
    about = {"run": run.run.name, "is_finished": run.run.is_finished, "reference": use["reference"]}
    return about | {"made_steps": run.made_steps, "num_steps_with_it": len(steps), "steps": listed}
