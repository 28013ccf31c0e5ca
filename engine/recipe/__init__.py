"""The data recipe: YAML in, checked objects out, every mistake reported at once.

A recipe stands alone: no includes, no environment, no inheritance. Each part is a pydantic model that lives with the
code that does the work (stage modules, select, pack, mixture); here they are put together and checked against each
other: sources that are named exist, columns that are read were written, no stage stands twice under one prefix.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.base.errors import RecipeError
from engine.base.hashing import digest_json
from engine.base.recipe_errors import mistakes, read_yaml
from engine.base.stage import ANNOTATOR, SourceConfig, StageConfig
from engine.mixture.config import Config as MixtureConfig
from engine.pack.render import RenderConfig
from engine.pack.tokenizer import TokenizerConfig
from engine.recipe.check_columns import check_columns
from engine.recipe.check_files import check_files
from engine.recipe.check_names import check_benchmarks, check_names
from engine.recipe.check_render import check_render, without_templates
from engine.recipe.frame import Frame, GuardConfig
from engine.recipe.stages import Stage, read_stages
from engine.select.balance import Rule as BalanceRule
from engine.select.control_tokens import Config as ControlTokensConfig
from engine.select.filters import Filter, expanded
from engine.select.split import Config as SplitConfig

__all__ = ["DataRecipe", "GuardConfig", "Stage", "check_recipe", "load_recipe"]


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
    balance: tuple[BalanceRule, ...] = ()
    guard: GuardConfig = field(default_factory=GuardConfig)
    tokenizer: TokenizerConfig | None = None
    control_tokens: ControlTokensConfig | None = None
    render: RenderConfig = field(default_factory=RenderConfig)
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
            "balance": [rule.model_dump(mode="json") for rule in self.balance],
            "guard": self.guard.model_dump(mode="json"),
            "tokenizer": self.tokenizer.model_dump(mode="json") if self.tokenizer else None,
            "control_tokens": self.control_tokens.model_dump(mode="json") if self.control_tokens else None,
            "render": self.render.model_dump(mode="json"),
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
        frame: Frame | None = Frame.model_validate(without_templates(content))
    except ValidationError as error:
        found += mistakes(place, error, Frame)
        frame = None
    sources = read_stages(
        place, "sources", content.get("sources"), "engine.sources", "source reader", SourceConfig, found
    )
    annotators = read_stages(
        place, "annotate", content.get("annotate"), "engine.annotate", ANNOTATOR, StageConfig, found
    )
    found += check_names(place, content)
    found += check_render(place, content, sources)
    found += check_benchmarks(place, content, annotators)
    found += check_files(place, path.parent, annotators)
    found += check_columns(place, content, annotators)
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
        balance=tuple(_with_seed(rule, frame.seed) for rule in frame.balance),
        guard=frame.guard,
        tokenizer=_seeded_tokenizer(frame.tokenizer, frame.seed),
        control_tokens=_with_seed(frame.control_tokens, frame.seed),
        render=frame.render,
        mixtures={name: _with_seed(mixture, frame.seed) for name, mixture in frame.mixtures.items()},
    )


def _with_floor(stage: Stage, split: SplitConfig | None) -> Stage:
    # A split groups documents by verified pairs below the threshold of removal, so they have to be verified too.
    if split is None or getattr(stage.config, "floor", 0) is not None:
        return stage
    return Stage(
        stage.module, stage.config.model_copy(update={"floor": min(split.min_similarity, stage.config.threshold)})
    )


def _prepared(stage: Stage, frame: Frame) -> Stage:
    stage = _with_floor(stage, frame.split)
    return Stage(stage.module, _with_seed(stage.config, frame.seed))


def _with_seed(part: Any, seed: int) -> Any:
    # What draws, draws with the recipe's seed unless it names its own.
    if part is None or "seed" not in type(part).model_fields or "seed" in part.model_fields_set:
        return part
    return part.model_copy(update={"seed": seed})


def _seeded_tokenizer(tokenizer: TokenizerConfig | None, seed: int) -> TokenizerConfig | None:
    if tokenizer is None:
        return None
    parts = {"train": tokenizer.train, "extend": tokenizer.extend}
    return tokenizer.model_copy(update={name: _with_seed(part, seed) for name, part in parts.items()})
