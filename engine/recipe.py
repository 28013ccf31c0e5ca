"""The data recipe: YAML in, checked objects out, every mistake reported at once.

A recipe stands alone: no includes, no environment, no inheritance. Each part is a pydantic model that lives with the
code that does the work (stage modules, select, pack, mixture); here they are put together and checked against each
other: sources that are named exist, columns that are read were written, no stage stands twice under one prefix.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeVar

import polars as pl
from pydantic import Field, ValidationError

from engine.base.errors import InputError, RecipeError, problem, unknown
from engine.base.hashing import digest_json
from engine.base.paths import written_path
from engine.base.recipe_errors import mistakes, read_yaml
from engine.base.stage import (
    ANNOTATOR,
    ANNOTATOR_GROUP,
    PartConfig,
    SourceConfig,
    StageConfig,
    StrictModel,
    find_stage,
    prefixed,
    stage_adds,
    stage_files,
    stage_names,
    stage_reads,
    with_files,
)
from engine.formats.columns import CORE
from engine.mixture.config import Config as MixtureConfig
from engine.pack.tokenizer import TokenizerConfig
from engine.select.filters import Filter, FilterItem, Preset, check_filter, expanded
from engine.select.split import Config as SplitConfig
from engine.select.split import split_columns

Part = TypeVar("Part", bound=StrictModel)
Share = Annotated[float, Field(ge=0, le=1)]
SOURCE_LISTS = ("sources", "positive", "negative")
"""Keys whose values name sources of the recipe, wherever they stand."""


class GuardConfig(StrictModel):
    """When a run stops because too much would go."""

    max_source_loss: Share = Field(default=0.5, description="share of a source's documents that may be dropped")
    max_cluster_documents: int = Field(default=10_000, ge=1, description="documents in one cluster of duplicates")
    allow: dict[str, Share] = Field(default_factory=dict, description="source -> share it may lose instead")

    def limit(self, source: str) -> float:
        """The share of its documents this source may lose."""
        return self.allow.get(source, self.max_source_loss)


class _Frame(StrictModel):
    """The recipe as written, its parts still raw where their model depends on `stage`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="name of the recipe")
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of everything that is drawn and names no own seed")
    sources: list[dict[str, Any]] = Field(min_length=1, description="where documents come from")
    annotate: list[dict[str, Any]] = Field(default_factory=list, description="stages, in the order of work")
    benchmarks: list[str] = Field(
        default_factory=list, description="[NAME=]PATH of benchmark files or folders that contamination searches for"
    )
    benchmark_fields: dict[str, dict[str, str | list[str]]] = Field(
        default_factory=dict, description="NAME -> question, choices, answer, passage -> field of its file"
    )
    split: SplitConfig | None = Field(default=None, description="held-out sets")
    filters: list[FilterItem] = Field(default_factory=list, description="rules; the first that fails is the reason")
    guard: GuardConfig = Field(default_factory=GuardConfig, description="when too much would go")
    tokenizer: TokenizerConfig | None = Field(default=None, description="needed by mixtures")
    mixtures: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], MixtureConfig] = Field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A stage of a recipe: its module and its checked configuration."""

    module: ModuleType
    config: Any


@dataclass(frozen=True)
class DataRecipe:
    """A checked data recipe."""

    path: Path
    name: str
    seed: int
    sources: tuple[Stage, ...]
    annotate: tuple[Stage, ...] = ()
    benchmarks: tuple[str, ...] = ()
    benchmark_fields: dict[str, dict[str, str | list[str]]] = field(default_factory=dict)
    split: SplitConfig | None = None
    filters: tuple[Filter, ...] = ()
    guard: GuardConfig = field(default_factory=GuardConfig)
    tokenizer: TokenizerConfig | None = None
    mixtures: dict[str, MixtureConfig] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        """The folder that relative paths of the recipe start from."""
        return self.path.parent

    @property
    def source_names(self) -> list[str]:
        """Names of the sources, as written."""
        return [source.config.name for source in self.sources]

    def resolved(self) -> dict[str, Any]:
        """The whole recipe with every default written out."""
        return {
            "name": self.name,
            "seed": self.seed,
            "sources": [s.config.model_dump(mode="json") for s in self.sources],
            "annotate": [s.config.model_dump(mode="json", by_alias=True) for s in self.annotate],
            "benchmarks": list(self.benchmarks),
            "benchmark_fields": self.benchmark_fields,
            "split": self.split.model_dump(mode="json") if self.split else None,
            "filters": [f.model_dump(mode="json") for f in self.filters],
            "guard": self.guard.model_dump(mode="json"),
            "tokenizer": self.tokenizer.model_dump(mode="json") if self.tokenizer else None,
            "mixtures": {name: m.model_dump(mode="json") for name, m in self.mixtures.items()},
        }

    def digest(self) -> str:
        """Digest of the resolved recipe."""
        return digest_json(self.resolved())


def load_recipe(path: Path | str) -> DataRecipe:
    """Read and check a data recipe; raises one RecipeError that lists every mistake."""
    path = Path(path)
    return check_recipe(read_yaml(path), path)


def check_recipe(content: dict[str, Any], path: Path) -> DataRecipe:
    """Check a recipe that is already parsed; `path` is where it stands and how errors call it."""
    place = path.name
    found: list[str] = []
    try:
        frame: _Frame | None = _Frame.model_validate(content)
    except ValidationError as error:
        found += mistakes(place, error, _Frame)
        frame = None
    sources = _stages(place, "sources", content.get("sources"), "engine.sources", "source reader", SourceConfig, found)
    annotators = _stages(place, "annotate", content.get("annotate"), "engine.annotate", ANNOTATOR, StageConfig, found)
    found += _check_names(place, content)
    found += _check_chats(place, content, sources)
    found += _check_benchmarks(place, content, annotators)
    found += _check_files(place, path.parent, annotators)
    found += _check_columns(place, content, annotators)
    if found or frame is None:
        raise RecipeError("\n".join(found))
    return DataRecipe(
        path=path,
        name=frame.name,
        seed=frame.seed,
        sources=sources,
        annotate=tuple(_prepared(stage, frame) for stage in annotators),
        benchmarks=tuple(frame.benchmarks),
        benchmark_fields=frame.benchmark_fields,
        split=_with_seed(frame.split, frame.seed),
        filters=expanded(frame.filters),
        guard=frame.guard,
        tokenizer=_seeded_tokenizer(frame.tokenizer, frame.seed),
        mixtures={name: _with_seed(mixture, frame.seed) for name, mixture in frame.mixtures.items()},
    )


def _stages(
    place: str, key: str, items: Any, package: str, kind: str, base: type[PartConfig], found: list[str]
) -> tuple[Stage, ...]:
    modules = stage_names(package, ANNOTATOR_GROUP if base is StageConfig else None)
    stages = []
    for position, item in enumerate(items if isinstance(items, list) else []):
        where = f"{place}: {key}[{position}]"
        if not isinstance(item, dict):
            found.append(problem(where, f"got {item!r}", "a mapping with the key 'stage'"))
        elif "stage" not in item:
            found.append(problem(where, "no key 'stage'", f"one of {', '.join(sorted(modules))}"))
        else:
            try:
                module = find_stage(f"{where}.stage", kind, str(item["stage"]), modules)
                stages.append(Stage(module, module.Config.model_validate(item)))
            except RecipeError as error:
                found.append(str(error))
            except ValidationError as error:
                found += mistakes(where, error, module.Config)
    return tuple(stages)


def _with_floor(stage: Stage, split: SplitConfig | None) -> Stage:
    # A split groups documents by verified pairs below the threshold of removal, so they have to be verified too.
    if split is None or getattr(stage.config, "floor", 0) is not None:
        return stage
    return Stage(
        stage.module, stage.config.model_copy(update={"floor": min(split.min_similarity, stage.config.threshold)})
    )


def _prepared(stage: Stage, frame: _Frame) -> Stage:
    stage = _with_floor(stage, frame.split)
    return Stage(stage.module, _with_seed(stage.config, frame.seed))


def _with_seed(part: Any, seed: int) -> Any:
    # What draws, draws with the recipe's seed unless it names its own.
    if part is None or "seed" not in type(part).model_fields or "seed" in part.model_fields_set:
        return part
    return part.model_copy(update={"seed": seed})


def _seeded_tokenizer(tokenizer: TokenizerConfig | None, seed: int) -> TokenizerConfig | None:
    if tokenizer is None or tokenizer.train is None:
        return tokenizer
    return tokenizer.model_copy(update={"train": _with_seed(tokenizer.train, seed)})


def _check_names(place: str, content: dict[str, Any]) -> list[str]:
    # On the recipe as written, so that a mistake elsewhere does not hide these.
    found = []
    items = content.get("sources")
    names = [str(item.get("name")) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    for name in sorted({name for name in names if names.count(name) > 1}):
        found.append(problem(f"{place}: sources", f"two sources are called '{name}'", "one name per source"))
    rest = {key: value for key, value in content.items() if key != "sources"}
    found += [
        unknown(f"{place}: {where}", "source", name, names) for where, name in _named_sources(rest) if name not in names
    ]
    guard = content.get("guard")
    allowed = guard.get("allow") if isinstance(guard, dict) else None
    allowed = allowed if isinstance(allowed, dict) else {}
    found += [unknown(f"{place}: guard.allow", "source", str(name), names) for name in allowed if name not in names]
    if content.get("mixtures") and content.get("tokenizer") is None:
        fix = "add tokenizer: {train: {sources: [...]}}"
        found.append(
            problem(f"{place}: mixtures", "no tokenizer is named", "one, as budgets are counted in tokens", fix)
        )
    return found


def _check_chats(place: str, content: dict[str, Any], sources: tuple[Stage, ...]) -> list[str]:
    chats = {source.config.name for source in sources if getattr(source.config, "has_messages", False)}
    named = [one for one in _named_sources(content.get("mixtures"), "mixtures") if one[1] in chats]
    needed = "sources of texts: messages need a template, which mixtures do not know yet"
    return [problem(f"{place}: {where}", f"'{name}' holds chat records", needed) for where, name in named]


def _check_benchmarks(place: str, content: dict[str, Any], annotators: tuple[Stage, ...]) -> list[str]:
    if not content.get("benchmarks") or any("benchmarks" in getattr(s.module, "NEEDS", ()) for s in annotators):
        return []
    fix = "add - {stage: contamination} to annotate:"
    return [problem(f"{place}: benchmarks", "no stage searches for them", "a stage that does", fix)]


def _named_sources(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{where}.{key}" if where else str(key)
            if key in SOURCE_LISTS and isinstance(inner, list | dict):
                yield from ((path, str(name)) for name in inner)
            else:
                yield from _named_sources(inner, path)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _named_sources(inner, f"{where}[{position}]")


def _check_files(place: str, base: Path, annotators: tuple[Stage, ...]) -> list[str]:
    found = []
    for stage in annotators:
        where = f"{place}: {stage.config.column_prefix}"
        try:
            found += _check_paths(where, base, stage)
        except (InputError, RecipeError) as error:
            found.append(f"{where}: {error}")
    return found


def _check_paths(where: str, base: Path, stage: Stage) -> list[str]:
    paths = [(key, path) for key, named in stage_files(stage.module, stage.config).items() for path in named]
    missing = [(key, path) for key, path in paths if not _located(base, path).exists()]
    if paths and not missing and hasattr(stage.module, "check_files"):
        stage.module.check_files(with_files(stage.module, stage.config, lambda path: str(_located(base, path))))
    needed = f"a path, relative ones from {base.absolute()}"
    return [problem(f"{where}.{key}", f"no file '{path}'", needed) for key, path in missing]


def _located(base: Path, path: str) -> Path:
    return base.absolute() / written_path(path)


def _check_columns(place: str, content: dict[str, Any], annotators: tuple[Stage, ...]) -> list[str]:
    # What cannot be read at all was reported already; everything else is checked, so that all mistakes come at once.
    found = []
    written: dict[str, Any] = {"text": pl.String} | {name: column.dtype for name, column in CORE.items()}
    prefixes: set[str] = set()
    for position, stage in enumerate(annotators):
        prefix = stage.config.column_prefix
        where = f"{place}: annotate[{position}] ({prefix})"
        if prefix in prefixes:
            finding, fix = f"a second stage writes the columns {prefix}__*", "give one of them another name with as:"
            found.append(problem(where, finding, "one prefix each", fix))
        prefixes.add(prefix)
        reads = stage_reads(stage.module, stage.config)
        found += [unknown(where, "column written before it", name, written) for name in reads if name not in written]
        needs = getattr(stage.module, "NEEDS", ())
        if needs and not any(content.get(need) for need in needs):
            finding = f"it searches for what is meant for measuring, but there is neither {' nor '.join(needs)}"
            found.append(problem(where, finding, fix=f"add a section {' or '.join(f'{need}:' for need in needs)}"))
        written |= {
            prefixed(name, stage.config): column.dtype
            for name, column in stage_adds(stage.module, stage.config).items()
        }
    del written["text"]  # stages read it, conditions cannot
    split = _lenient(SplitConfig, content.get("split"))
    if split is not None:
        reads = split_columns(split)
        unwritten = [name for name in reads if name not in written]
        found += [_unwritten(f"{place}: split", name, written) for name in unwritten]
        if split.where is not None and set(reads) <= set(written):
            found += _checked_filter(f"{place}: split.where", Filter(reason="where", keep=split.where), written)
        found += _check_order(place, annotators, set(reads))
    found += _check_curricula(place, content.get("mixtures"), written)
    filters = content.get("filters")
    for position, item in enumerate(filters if isinstance(filters, list) else []):
        given: Filter | Preset | None = _lenient(Filter, item) or _lenient(Preset, item)
        where = f"{place}: filters[{position}]"
        if isinstance(given, Preset) and not any(name.startswith(f"{given.prefix}__") for name in written):
            fix = "add {stage: heuristics} to annotate:, or write as: with the name it has there"
            finding = f"preset {given.preset} reads columns {given.prefix}__*, which no stage writes"
            found.append(problem(where, finding, "the stage heuristics", fix))
        else:
            for rule in expanded([given] if given is not None else []):
                found += _checked_filter(where, rule, written)
    return found


def _check_curricula(place: str, mixtures: Any, written: dict[str, Any]) -> list[str]:
    found = []
    for name, mixture in mixtures.items() if isinstance(mixtures, dict) else ():
        config = _lenient(MixtureConfig, mixture)
        column = config.difficulty if config is not None else None
        if column is not None and column not in written:
            found.append(_unwritten(f"{place}: mixtures.{name}.difficulty", column, written))
        elif column is not None and not pl.DataFrame(schema={column: written[column]}).schema[column].is_numeric():
            finding = f"the column {column} is {written[column]}"
            found.append(problem(f"{place}: mixtures.{name}.difficulty", finding, "a column of numbers"))
    return found


def _unwritten(place: str, column: str, written: dict[str, Any]) -> str:
    """Return the message for a column that the recipe as a whole needs, though nobody may have written its name."""
    stage = column.partition("__")[0]
    if "__" not in column or stage not in stage_names("engine.annotate"):
        return unknown(place, "column", column, written)
    return problem(
        place, f"it reads {column}, which no stage writes", f"the stage {stage}", f"add - {{stage: {stage}}}"
    )


def _checked_filter(place: str, rule: Filter, written: dict[str, Any]) -> list[str]:
    try:
        check_filter(place, rule, written)
    except RecipeError as error:
        return [str(error)]
    return []


def _check_order(place: str, annotators: tuple[Stage, ...], split_reads: set[str]) -> list[str]:
    """Report a split that waits for a stage that waits for the split."""
    behind: set[str] = set()
    for stage in annotators:
        reads = set(stage_reads(stage.module, stage.config))
        if "split" in getattr(stage.module, "NEEDS", ()) or reads & behind:
            behind |= {prefixed(name, stage.config) for name in stage_adds(stage.module, stage.config)}
    circular = sorted(split_reads & behind)
    if not circular:
        return []
    return [
        problem(
            f"{place}: split",
            f"it reads {circular[0]}, which can only be made after the split",
            "columns made before it",
        )
    ]


def _lenient(model: type[Part], value: Any) -> Part | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None
