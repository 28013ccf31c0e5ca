"""A training run as `explain` and `show` read it: its mixture, the steps it made, their losses.

Steps are counted from 1, as in metrics, checkpoints, charts and SQL: step 1 is what the first optimizer step was made
of. In the file schedule.parquet the same step has the number 0.
"""

from dataclasses import dataclass
from functools import cached_property

from engine.base.errors import InputError, problem
from engine.formats.mixture import Mixture, open_mixture
from engine.formats.run import Run
from engine.formats.workspace import Workspace


@dataclass(frozen=True)
class TrainingRun:
    """A training run, finished or not."""

    run: Run

    @property
    def mixture(self) -> tuple[str, str]:
        """Reference and digest of the mixture it trains on."""
        named = self.run.content["mixture"]
        return named["reference"], named["digest"]

    def open_mixture(self, workspace: Workspace) -> Mixture:
        """Open its mixture; raises InputError where the version is gone, or is another one than it was trained on."""
        reference, digest = self.mixture
        mixture = open_mixture(workspace, reference)
        if mixture.manifest.digest != digest:
            found = f"{reference} is not the version it was trained on ({mixture.manifest.digest[:12]})"
            raise InputError(problem(self.run.folder, found, f"the version {digest[:12]}"))
        return mixture

    def planned_steps(self, mixture: Mixture) -> int:
        """Return how many steps of the schedule it makes in the end."""
        recipe = self.run.content.get("recipe") or {}
        return int(recipe.get("max_steps") or mixture.manifest.num_steps)

    @cached_property
    def made_steps(self) -> int:
        """The last step that is in its metrics, 0 for none."""
        return self.run.made_steps()
