"""The stage contract: what a file must offer to be a stage, and how it is found by its name.

A stage is one module (or a folder once it outgrows one file). Its name is the `stage:` value of a recipe, the prefix
of its columns, the name of its test and of its benchmark. An annotator module has

- a docstring whose first line says what comes out,
- `SCOPE`: "shard" (rows are independent) or "corpus" (needs all shards),
- `VERSION`: an integer, raised whenever the same config on the same input gives other bytes,
- `READS`: the columns it reads, or a function of the config that returns them,
- `ADDS`: column name -> Column(dtype, unit or meaning), or a function of the config that returns them; every name
  starts with `<stage>__`,
- `Config`: a frozen pydantic model with a `stage` literal,
- `annotate(view, config, model=None)`: the row-aligned frame of one shard. SCOPE "shard": exactly the columns of ADDS.
  SCOPE "corpus": the stored shard part, from which `combine` makes the columns without reading all text again,
- `combine(corpus, config, folder)` (SCOPE "corpus" only): yields (shard, frame with the columns of ADDS) for every
  shard and may leave further files in `folder`: Parquet (pairs, hits), and details.json, counts for the receipt,
- `find_pairs(corpus, config, folder)` (SCOPE "corpus", optional): leaves in `folder` what is costly and shared by all
  settings that only decide over it, verified pairs, and returns how many there are; `combine` then finds the folder as
  `corpus.pairs_folder`. With it go `pairs_key(corpus, config)`, a JSON value of what the pairs depend on besides the
  shard parts, and `pairs_hold(corpus, config, folder)`: whether finished pairs under that key are those that would be
  found now, for what no key can hold because it is known only afterwards,
- `part_config(config)` and, with SCOPE "corpus", `PART_READS` (optional): the settings and columns its shard part
  depends on; default: all of them,
- `train(corpus, config, folder)` (optional): leaves a model in `folder`; the digest of what it was made from becomes
  part of the stage's identity, and the folder is handed to `annotate` as `model`,
- `trains(config)` (optional): False where this config brings its model along (a path of FILES), so that `train` is not
  called and `annotate` gets no model,
- `train_config(config)` (optional): the settings its model depends on; default: those its parts depend on,
- `training_sources(config)` (optional): names of the sources `train` reads; default: all,
- `TRAINS_ON` (optional): ("documents",) by default; () where `train` reads nothing but what `NEEDS` names, so that a
  new source leaves the model and all shard parts as they are,
- `DROPS` (optional): drop reason -> SQL condition over its columns, taken up by the selection,
- `EDITS` (optional): column -> "cut" or "replace", or a function of the config that returns it: its columns of spans
  (start, end in bytes of the text, and `replacement`) that are applied to a kept document's text where it is rendered,
- `NEEDS` (optional): sections of the recipe it works on besides documents, "split" (held-out documents) and
  "benchmarks"; a recipe has to have one of them at least,
- `FILES` (optional): keys of its config that name files or folders (a path, a list of paths, or a mapping to paths).
  Paths are taken from the recipe's folder and handed over absolute; what is in them, not where they lie, is part of
  the stage's identity,
- `check_files(config)` (optional): raises InputError or RecipeError where a file is not what the stage needs; called
  when the recipe is read, so that nothing is worked on in vain,
- `EXTRA` (optional): the extra of its package without which it cannot work,
- `HOLDS_GIL` (optional): True makes the runner use processes for it instead of threads,
- `OWN_THREADS` (optional): True where it keeps all processors busy by itself: it gets a wave of its own, one shard
  after the other in the runner's process.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from engine.base.errors import RecipeError, problem, unknown

ANNOTATOR_GROUP = "provender.annotators"
ANNOTATOR = "annotate stage"
"""What errors call an annotator."""


@dataclass(frozen=True)
class Column:
    """One column a stage adds: Polars type, and its unit or meaning in a few words."""

    dtype: pl.DataType | type[pl.DataType]
    meaning: str


class StrictModel(BaseModel):
    """A part of a recipe: unknown keys are errors, values cannot change after the check."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=(), allow_inf_nan=False
    )


class PartConfig(StrictModel):
    """What sources and stages of a recipe have: the name of their module, and another prefix where it stands twice."""

    stage: str = Field(description="name of the stage, the same as its file")
    prefix: str | None = Field(
        default=None, alias="as", pattern=r"^[a-z][a-z0-9_]*$", description="column prefix instead of the stage's name"
    )

    @property
    def column_prefix(self) -> str:
        """The prefix of this instance's columns."""
        return self.prefix or self.stage


class StageConfig(PartConfig):
    """What every annotate stage of a recipe has."""

    field: Literal["text", "all", "prompt", "response"] = Field(
        default="text",
        description="what the stage takes for the text of a chat: all of it, or what the assistant was given, or said",
    )


class SourceConfig(PartConfig):
    """What every source of a recipe has; a reader adds where its files are.

    A reader module (engine/sources/<stage>.py) has `VERSION`, `IN_PLACE` (True: its files are Parquet and stay where
    they are), `Config`, `files(config, base)` -> sorted input files, and, where not IN_PLACE, `read(path, config)` ->
    iterator of Arrow tables whose columns are the source's own plus `read_problem` (string, null where all is well).
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="name of the source, unique in the recipe")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="core column -> column of the source: text, id, license, url, date, language, domain",
    )
    license: str | None = Field(default=None, description="licence of every document, SPDX where it can be")
    url: str | None = Field(default=None, description="where all of the source comes from")
    date: str | None = Field(default=None, description="date of every document")
    language: str | None = Field(default=None, description="language of every document")
    domain: str | None = Field(default=None, description="domain of every document")
    priority: int = Field(default=0, description="higher wins where duplicates span sources")
    protected: bool = Field(
        default=False,
        description="its documents always stay: they win over duplicates, and what rules say of them is only a tag",
    )


def stage_names(package: str, group: str | None = None) -> dict[str, str]:
    """Return stage name -> module name for the modules of `package` and the entry points of `group`.

    Raises RecipeError where an entry point is called like a stage of ours, or two are called alike: which of them a
    recipe means would depend on what is installed.
    """
    found = {
        module.name: f"{package}.{module.name}"
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__)
        if not module.name.startswith("_")
    }
    for point in entry_points(group=group) if group is not None else ():
        if found.get(point.name, point.value) != point.value:
            place = f"stage '{point.name}' of {point.value}"
            finding = f"{found[point.name]} is called so already"
            raise RecipeError(problem(place, finding, "one name each", "uninstall the package, or rename its stage"))
        found[point.name] = point.value
    return found


def find_stage(place: object, kind: str, name: str, modules: Mapping[str, str]) -> ModuleType:
    """Import the stage `name`.

    Raises RecipeError that lists what there is; or, of another package's stage, that says why it cannot be used.
    """
    if name not in modules:
        raise RecipeError(unknown(place, kind, name, modules))
    try:
        module = importlib.import_module(modules[name])
    except ImportError as error:
        found = f"{modules[name]} cannot be imported ({error})"
        raise RecipeError(problem(place, found, fix="install what it needs, or remove the stage")) from error
    missing = [one for one in ("VERSION", "Config") if not hasattr(module, one)]
    if kind == ANNOTATOR:
        missing += [one for one in ("SCOPE", "READS", "ADDS", "annotate") if not hasattr(module, one)]
    if missing:
        found = f"{modules[name]} has no {' and no '.join(missing)}"
        raise RecipeError(problem(place, found, "what engine/base/stage.py asks of a stage", "ask its author"))
    return module


def stage_reads(module: ModuleType, config: StageConfig) -> tuple[str, ...]:
    """Return the columns the stage reads under this config."""
    reads: tuple[str, ...] | Callable[[Any], tuple[str, ...]] = module.READS
    return tuple(reads(config) if callable(reads) else reads)


def stage_adds(module: ModuleType, config: StageConfig) -> dict[str, Column]:
    """Return the columns the stage adds under this config, by the name that carries the stage's own prefix."""
    adds: Mapping[str, Column] | Callable[[Any], Mapping[str, Column]] = module.ADDS
    return dict(adds(config) if callable(adds) else adds)


def stage_edits(module: ModuleType, config: StageConfig) -> dict[str, str]:
    """Return the stage's columns of spans that are applied to texts: column -> "cut" or "replace"."""
    edits: Mapping[str, str] | Callable[[Any], Mapping[str, str]] = getattr(module, "EDITS", {})
    return dict(edits(config) if callable(edits) else edits)


def stage_trains(module: ModuleType, config: StageConfig) -> bool:
    """Return whether the stage trains a model under this config."""
    return hasattr(module, "train") and bool(getattr(module, "trains", lambda _: True)(config))


def stage_files(module: ModuleType, config: StageConfig) -> dict[str, list[str]]:
    """Return the keys of FILES that are set, each with its paths as written."""
    found = {}
    for key in getattr(module, "FILES", ()):
        value = getattr(config, key)
        if value is not None:
            found[key] = list(_paths(value))
    return found


def with_files(module: ModuleType, config: StageConfig, replaced: Callable[[str], str]) -> StageConfig:
    """Return the config with every path of FILES replaced by what `replaced` makes of it."""
    values = {key: getattr(config, key) for key in getattr(module, "FILES", ())}
    changed = {key: _each_path(value, replaced) for key, value in values.items() if value is not None}
    return config.model_copy(update=changed) if changed else config


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    else:
        yield from value.values() if isinstance(value, Mapping) else value


def _each_path(value: Any, replaced: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return replaced(value)
    if isinstance(value, Mapping):
        return {name: replaced(path) for name, path in value.items()}
    return tuple(replaced(path) for path in value)


def prefixed(name: str, config: StageConfig) -> str:
    """Return a column of ADDS under the prefix this instance of the stage writes."""
    return config.column_prefix + name.removeprefix(config.stage)
