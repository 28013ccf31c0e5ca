"""The state of a recipe: which artifacts its last finished run ended with.

recipes/<recipe name>.json, written by `provender run` after everything else; the views of `provender sql`, `explain`,
`sample` and the report read it. All folders are relative to the workspace, so that a workspace can be moved.
"""

from datetime import UTC, datetime

from pydantic import Field, field_validator

from engine.base.atomic import write_json
from engine.base.errors import InputError, problem, unknown
from engine.base.stage import StrictModel
from engine.formats.annotation import Annotation
from engine.formats.documents import SourceDocuments, read_source
from engine.formats.json_model import read_model
from engine.formats.selection import Selection
from engine.formats.split import Split
from engine.formats.workspace import Workspace


class AnnotationState(StrictModel):
    """One finished annotation (engine.formats.annotation.Annotation)."""

    prefix: str
    stage: str
    digest: str
    folder: str = Field(description="folder that holds <source>/<shard key>.parquet")
    columns: list[str]


class RecipeState(StrictModel):
    """What the last finished run of a recipe ended with; null where the recipe has no such step."""

    recipe: str = Field(description="name of the recipe")
    finished: str = Field(description="when it ended, ISO 8601; a time without a zone is UTC")
    path: str = Field(default="", description="the recipe's file, absolute; outside all digests")
    sources: dict[str, str] = Field(description="source -> documents folder, in the order of the recipe")
    annotations: list[AnnotationState] = Field(default_factory=list)
    artifacts: dict[str, str] = Field(default_factory=dict, description="column prefix -> folder of corpus artifacts")
    edit_columns: dict[str, str] = Field(default_factory=dict, description="column of spans -> cut or replace")
    models: dict[str, str] = Field(default_factory=dict, description="column prefix -> folder of what its stage learnt")
    benchmarks: dict[str, str] = Field(default_factory=dict, description="benchmark -> folder of its items")
    split: str | None = None
    selection: str | None = None
    tokenizer: str | None = Field(default=None, description="digest of the tokenizer")
    token_store: str | None = None
    mixtures: dict[str, str] = Field(default_factory=dict, description="mixture -> name@v<version>")

    @field_validator("finished")
    @classmethod
    def _is_iso(cls, value: str) -> str:
        _moment(value)
        return value

    def source_documents(self, workspace: Workspace) -> tuple[SourceDocuments, ...]:
        """Open the documents of every source; raises InputError where a folder is gone."""
        return tuple(_open_source(workspace, folder) for folder in self.sources.values())

    def open_annotations(self, workspace: Workspace) -> tuple[Annotation, ...]:
        """Return the annotations with their folders resolved in this workspace."""
        return tuple(
            Annotation(a.prefix, a.stage, a.digest, workspace.root / a.folder, tuple(a.columns))
            for a in self.annotations
        )

    def open_selection(self, workspace: Workspace) -> Selection | None:
        """Return the selection, or None where the recipe stopped before it."""
        return (
            None
            if self.selection is None
            else Selection(workspace.root / self.selection, self.selection.rpartition("/")[2])
        )

    def open_split(self, workspace: Workspace) -> Split | None:
        """Return the split, or None where the recipe has none."""
        return None if self.split is None else Split(workspace.root / self.split, self.split.rpartition("/")[2])


def write_state(workspace: Workspace, state: RecipeState) -> None:
    """Declare these artifacts the current ones of the recipe."""
    write_json(workspace.state(state.recipe), state.model_dump(mode="json"))


def recipe_names(workspace: Workspace) -> list[str]:
    """Return the names of all recipes that finished in this workspace."""
    return sorted(path.stem for path in workspace.root.glob("recipes/*.json") if not path.name.startswith("."))


def read_state(workspace: Workspace, recipe: str | None = None) -> RecipeState | None:
    """Return the state of `recipe`, by default of the one that finished last; None where no recipe ever finished.

    Raises InputError for a recipe that never finished here, and for a damaged file.
    """
    names = recipe_names(workspace)
    if recipe is not None:
        if recipe not in names:
            raise InputError(unknown(workspace.root, "finished recipe", recipe, names))
        return _read(workspace, recipe)
    states = [_read(workspace, name) for name in names]
    return max(states, key=lambda state: (_moment(state.finished), state.recipe), default=None)


def require_state(workspace: Workspace, recipe: str | None = None) -> RecipeState:
    """Return the state as `read_state`; raises InputError where no recipe ever finished."""
    state = read_state(workspace, recipe)
    if state is None:
        raise InputError(problem(workspace.root, "no recipe has finished here", fix="run `provender run RECIPE` first"))
    return state


def _read(workspace: Workspace, recipe: str) -> RecipeState:
    return read_model(workspace.state(recipe), RecipeState, "run the recipe again")


def _moment(finished: str) -> datetime:
    moment = datetime.fromisoformat(finished)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _open_source(workspace: Workspace, folder: str) -> SourceDocuments:
    path = workspace.root / folder
    if not (path / "source.json").is_file():
        raise InputError(problem(path, "the documents are gone", fix="run the recipe again"))
    return read_source(path)
