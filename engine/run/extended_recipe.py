"""The recipe of a version with new files as one more source: sources that extended it before are in it too."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.base.errors import InputError, RecipeError, problem
from engine.base.recipe_errors import read_yaml
from engine.formats.documents import SourceDocuments
from engine.formats.mixture import Mixture
from engine.formats.receipt import read_receipt
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace
from engine.mixture.config import Config as MixtureConfig
from engine.recipe import DataRecipe, Stage, check_recipe, load_recipe
from engine.run import intake
from engine.run.init.look import slug
from engine.run.oneshot.inputs import READERS, reader_of
from engine.run.steps import FRESH, MADE, RunContext
from engine.sources import text

_OWN_NAME = {"name", "priority", "protected"}
"""Keys of a source that say nothing of what its documents are."""


@dataclass(frozen=True)
class NewFiles:
    """What was given to extend a mixture with."""

    name: str
    is_named: bool
    """Whether the user chose the name."""
    config: dict[str, Any]
    """As a recipe writes it, but for the name; paths absolute."""

    @classmethod
    def of(
        cls,
        inputs: Sequence[Path | str],
        name: str | None,
        reader: str | None,
        text_column: str | None,
        id_column: str | None,
        license_of_all: str | None,
    ) -> "NewFiles":
        """Return the source; raises InputError where a file is missing or of no known kind."""
        paths = sorted({path.resolve() for given in inputs for path in _files(Path(given), reader)})
        readers = {reader or _reader(path) for path in paths}
        if len(readers) != 1:
            found = f"files of {len(readers)} kinds: {', '.join(sorted(map(str, readers))) or 'none'}"
            raise InputError(problem("INPUT", found, "one kind", "extend with one after the other"))
        config: dict[str, Any] = {"stage": readers.pop(), "path": [str(path) for path in paths]}
        columns = {core: column for core, column in (("text", text_column), ("id", id_column)) if column is not None}
        config |= {"columns": columns} if columns else {}
        config |= {"license": license_of_all} if license_of_all is not None else {}
        first = Path(inputs[0])
        return cls(name or slug(first.name.split(".")[0]), name is not None, config)


def recipe_of(mixture: Mixture, state: RecipeState, path: Path | str | None) -> Path:
    """Return the file of the recipe that made a version; raises RecipeError where it is gone or another by now."""
    recipe = Path(path) if path is not None else Path(state.path)
    fix = "name it with --recipe FILE"
    if not recipe.is_file():
        raise RecipeError(problem(recipe, "the recipe that made the version is not there", fix=fix))
    if load_recipe(recipe).digest() != mixture.manifest.recipe_digest:
        found = f"it is not the recipe that made {mixture.reference}, or was changed since"
        raise RecipeError(problem(recipe, found, f"recipe {mixture.manifest.recipe} as it was then", fix))
    return recipe


def extended_recipe(
    path: Path, mixture: Mixture, state: RecipeState, workspace: Workspace, new: NewFiles
) -> tuple[DataRecipe, str]:
    """Return the recipe with the new source, and the source's name; its mixture names all sources of the version.

    Where the version was extended with the same files before, no source is added: its name is among those of `state`.
    Raises RecipeError where the name is taken.
    """
    content = read_yaml(path)
    written = {source["name"] for source in content["sources"]}
    before = [source for source in state.source_documents(workspace) if source.name not in written]
    content["sources"] = [*content["sources"], *(_stored(source) for source in before)]
    known = [source.name for source in before if _is_same(source, new)]
    name = known[0] if known else new.name
    if not known:
        if name in state.sources:
            fix = "choose another with --source NAME"
            raise RecipeError(problem(f"--source {name}", f"{mixture.reference} has a source of this name", fix=fix))
        # Where documents compete, pinned ones come first, then new ones, then old ones that are not in the version.
        priority = 1 + max(source.get("priority", 0) for source in content["sources"])
        content["sources"].append({**new.config, "name": name, "priority": max(priority, 1)})
    recipe = check_recipe(content, path)
    manifest = mixture.manifest
    sources = list(dict.fromkeys([*(row.source for row in manifest.sources), name]))
    shape = {"row_tokens": manifest.row_tokens, "rows_per_step": manifest.rows_per_step}
    whole = MixtureConfig.model_validate({"sources": sources, **shape})
    return replace(recipe, mixtures={manifest.name: whole}), name


def take_in_all(context: RunContext, state: RecipeState, new: str) -> tuple[SourceDocuments, ...]:
    """Return the documents of all sources: of old ones as the version has them, and the new ones read in.

    Raises InputError where files that are read in place changed since.
    """
    old = {source.name: source for source in state.source_documents(context.workspace)}
    taken = []
    for stage in context.recipe.sources:
        name = stage.config.name
        if name in old:
            _require_unchanged(context, stage, old[name])
            taken.append(replace(old[name], config=stage.config.model_dump(mode="json")))
        elif name == new:
            taken.append(_new(context, stage))
        else:
            raise InputError(problem(context.recipe.path.name, f"the version was made without its source '{name}'"))
    return tuple(taken)


def require_same_files(context: RunContext, name: str, documents: Sequence[SourceDocuments]) -> None:
    """Raise RecipeError where the files of a source that extended the version before are others now."""
    stage = next(one for one in context.recipe.sources if one.config.name == name)
    now = intake.current(stage.config, stage.module, context.recipe.base, context.workspace)
    if now is None or now.digest not in {source.digest for source in documents if source.name == name}:
        found = "the version has a source of these files, which changed since"
        needed = "another name for what they hold now; what is known stays out as a copy"
        raise RecipeError(problem(f"--source {name}", found, needed, "choose one with --source NAME"))


def _new(context: RunContext, stage: Stage) -> SourceDocuments:
    label = f"source {stage.config.name}"
    arguments = (stage.config, stage.module, context.recipe.base, context.workspace)
    documents = intake.current(*arguments)
    found = FRESH if documents is not None else MADE
    documents = documents or intake.take_in(*arguments, context.jobs)
    context.note(label, found, receipt=read_receipt(documents.folder))
    return documents


def _require_unchanged(context: RunContext, stage: Stage, old: SourceDocuments) -> None:
    if not stage.module.IN_PLACE:
        return
    now = intake.current(stage.config, stage.module, context.recipe.base, context.workspace)
    if now is None or now.digest != old.digest:
        found = "its files, which are read in place, are not those that the version was made from"
        fix = "restore them, or run the recipe and extend the result"
        raise InputError(problem(f"source {old.name}", found, fix=fix))


def _stored(source: SourceDocuments) -> dict[str, Any]:
    """Return a source of an earlier extension as a recipe writes it; old documents come last where they compete."""
    return {key: value for key, value in source.config.items() if value is not None} | {"priority": 0}


def _is_same(source: SourceDocuments, new: NewFiles) -> bool:
    """Return whether a source of an earlier extension was read from the same files in the same way."""
    said = {key: value for key, value in source.config.items() if key not in _OWN_NAME}
    return all(said.get(key) == value for key, value in new.config.items()) and (
        not new.is_named or source.name == new.name
    )


def _files(given: Path, reader: str | None) -> Iterator[Path]:
    if given.is_file():
        yield given
        return
    if not given.is_dir():
        raise InputError(problem(given, "there is no such file"))
    inside = (path for path in sorted(given.rglob("*")) if path.is_file() and not path.name.startswith("."))
    found = [path for path in inside if reader is not None or _reader(path) is not None]
    if not found:
        raise InputError(problem(given, "it holds no file that can be read", f"one of {', '.join(READERS)}"))
    yield from found


def _reader(path: Path) -> str | None:
    return reader_of(path) or ("text" if path.name.lower().endswith(tuple(text.SUFFIXES)) else None)
