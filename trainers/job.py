"""A train recipe with everything it names found and checked: what is trained, on what, from what, under which name."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.base.errors import InputError, RecipeError, problem
from engine.base.recipe_errors import check
from engine.formats.mixture import Mixture, open_mixture
from engine.formats.tokenizer import Tokenizer, load_tokenizer
from engine.formats.training_rows import TrainingRows, open_training_rows
from engine.formats.workspace import Workspace
from trainers.data import tokens_at_once
from trainers.generation import generation_facts
from trainers.label_checks import require_sound_labels
from trainers.learning_rates import default_rate
from trainers.lineage import Base, resolve_base
from trainers.new_rows import check_new_rows
from trainers.recipe import TrainRecipe, load_train_recipe
from trainers.record import RunRecord
from trainers.template_checks import require_one_template, template_of


@dataclass(frozen=True)
class Job:
    """A train recipe with everything it names found and checked."""

    recipe: TrainRecipe
    """With the objective, the learning rate and the rows at once filled in."""
    workspace: Workspace
    mixture: Mixture
    tokenizer: Tokenizer
    base: Base
    rows: TrainingRows
    record: RunRecord
    num_steps: int

    def identity(self) -> dict[str, Any]:
        """What run.json says the run is: a run of the same name with another identity is another run."""
        manifest = self.mixture.manifest
        named = {
            "digest": manifest.digest,
            "reference": self.mixture.reference,
            "schedule": manifest.schedule,
            "row_tokens": manifest.row_tokens,
            "tokenizer": manifest.tokenizer,
            "split": manifest.split,
            "template": template_of(manifest),
        }
        return {"recipe": self.recipe.resolved(), "mixture": named, "base": self.base.described()}

    def require_sound_answers(self) -> list[str]:
        """Check labels and templates (trainers.label_checks, trainers.template_checks); return what is waived."""
        other_is_meant = self.recipe.gate.other_template
        manifest = self.mixture.manifest
        _ = self.stop_ids
        return require_one_template(manifest, self.rows.store, self.base, other_is_meant)

    @cached_property
    def stop_ids(self) -> list[int]:
        """The ids that end the answers of the mixture's chats; raises AuditError where the labels are unsound."""
        return require_sound_labels(self.rows, self.tokenizer)

    def generation(self) -> dict[str, Any]:
        """What run.json says of how the model is asked and when it stops."""
        return generation_facts(self.mixture.manifest, self.tokenizer, self.base, self.stop_ids)


def resolve_job(path: Path, workspace: Workspace, name: str | None) -> Job:
    """Read the recipe and find what it names; raises RecipeError or InputError."""
    recipe = load_train_recipe(path)
    if name is not None:
        recipe = check("--name", {**recipe.model_dump(), "name": name}, TrainRecipe)
    mixture = open_mixture(workspace, recipe.mixture)
    rows = open_training_rows(workspace, mixture)
    if recipe.max_steps is not None and recipe.max_steps > rows.num_steps:
        needed = f"at most {rows.num_steps}, the steps of {mixture.reference}"
        raise RecipeError(
            problem(f"{path.name}: max_steps", f"got {recipe.max_steps}", needed, "raise budget_tokens of the mixture")
        )
    tokenizer = _open_tokenizer(mixture, workspace)
    base = resolve_base(recipe.base, workspace, path.parent, tokenizer, recipe.seed)
    record = RunRecord(workspace.run(recipe.name))
    check_new_rows(recipe, base.new_rows)
    recipe = _filled_in(recipe, mixture, base, rows.schedule.meta.row_tokens)
    return Job(recipe, workspace, mixture, tokenizer, base, rows, record, recipe.max_steps or rows.num_steps)


def _open_tokenizer(mixture: Mixture, workspace: Workspace) -> Tokenizer:
    wanted = mixture.manifest.tokenizer
    tokenizer = load_tokenizer(workspace.tokenizer(wanted))
    if tokenizer.meta.digest != wanted:
        found = f"another tokenizer ({tokenizer.meta.digest[:12]}) than the one {mixture.reference} was made with"
        fix = "restore the folder from a copy, or delete it and run the data recipe again"
        raise InputError(problem(tokenizer.folder, found, f"digest {wanted[:12]}", fix))
    return tokenizer


def _filled_in(recipe: TrainRecipe, mixture: Mixture, base: Base, row_tokens: int) -> TrainRecipe:
    """Return the recipe with its objective, its learning rate and its rows at once."""
    is_sft = any(source.objective != "text" for source in mixture.manifest.sources)
    there = "sft" if is_sft else "dapt"
    objective = recipe.objective or there
    if objective != there:
        labels = "the answers of chats" if is_sft else "every token of its documents"
        found = f"got '{objective}', and the labels of {mixture.reference} are {labels}"
        fix = f"write objective: {there}, or set render: {{objective: ...}} in the data recipe"
        raise RecipeError(problem(f"{recipe.name}: objective", found, f"'{there}'", fix))
    optimizer = recipe.optimizer
    if optimizer.learning_rate is None:
        rate = default_rate(recipe, objective, base.num_parameters)
        optimizer = optimizer.model_copy(update={"learning_rate": rate})
    rows_at_once = recipe.micro_batch_rows or max(1, tokens_at_once() // row_tokens)
    changes = {"objective": objective, "optimizer": optimizer, "micro_batch_rows": rows_at_once}
    return recipe.model_copy(update=changes)
