"""Columns in a recipe: each that is read was written before, with a type that suits what is asked of it."""

from typing import Any

import polars as pl

from engine.base.errors import MOST_LISTED, closest, problem, unknown
from engine.base.stage import prefixed, stage_adds, stage_names, stage_reads
from engine.formats.columns import CORE
from engine.mixture.config import Config as MixtureConfig
from engine.recipe.check_selection import check_balance, check_control_tokens, check_reasons, check_split_sizes, raised
from engine.recipe.frame import lenient
from engine.recipe.stages import Stage, needed_of, split_token_counts
from engine.select.conditions import check_condition
from engine.select.filters import TAG, Filter, Preset, check_filter, expanded, tag_column
from engine.select.grouping import URL_HOST
from engine.select.split import Config as SplitConfig
from engine.select.split import split_columns


def check_columns(place: str, content: dict[str, Any], annotators: tuple[Stage, ...]) -> list[str]:
    """Return every mistake about columns: of stages, split, filters, balance, control tokens and curricula."""
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
    split = lenient(SplitConfig, content.get("split"))
    if split is not None:
        found += check_split_sizes(place, split, annotators)
        reads = split_columns(split, split_token_counts(annotators, split))
        unwritten = [name for name in reads if name not in written]
        grouped = {URL_HOST: pl.String} | written
        found += [
            _unwritten(f"{place}: split", name, grouped if name in split.group_by else written) for name in unwritten
        ]
        if split.where is not None and set(reads) <= set(written):
            found += raised(check_condition, f"{place}: split.where", split.where, written)
        found += _check_order(place, annotators, set(reads))
    found += _check_curricula(place, content.get("mixtures"), written)
    found += _check_filters(place, content.get("filters"), written)
    found += check_reasons(place, content, annotators)
    tagged = _tag_columns(content.get("filters"))
    found += check_balance(place, content.get("balance"), annotators, written | tagged)
    found += check_control_tokens(place, content, written | tagged)
    return found


def _tag_columns(filters: Any) -> dict[str, Any]:
    items = [lenient(Filter, one) or lenient(Preset, one) for one in (filters if isinstance(filters, list) else [])]
    rules = expanded([item for item in items if item is not None])
    return {tag_column(rule.reason): pl.Boolean for rule in rules if rule.action == TAG}


def _check_filters(place: str, filters: Any, written: dict[str, Any]) -> list[str]:
    found = []
    for position, item in enumerate(filters if isinstance(filters, list) else []):
        given: Filter | Preset | None = lenient(Filter, item) or lenient(Preset, item)
        where = f"{place}: filters[{position}]"
        if isinstance(given, Preset) and not any(name.startswith(f"{given.prefix}__") for name in written):
            fix = "add {stage: heuristics} to annotate:, or write as: with the name it has there"
            finding = f"preset {given.preset} reads columns {given.prefix}__*, which no stage writes"
            found.append(problem(where, finding, "the stage heuristics", fix))
        else:
            for rule in expanded([given] if given is not None else []):
                found += raised(check_filter, where, rule, written)
    return found


def _check_curricula(place: str, mixtures: Any, written: dict[str, Any]) -> list[str]:
    found = []
    for name, mixture in mixtures.items() if isinstance(mixtures, dict) else ():
        config = lenient(MixtureConfig, mixture)
        for key, column in config.difficulties() if config is not None else ():
            where = f"{place}: mixtures.{name}.{key}"
            if column not in written:
                found.append(_unwritten(where, column, written))
            elif not pl.DataFrame(schema={column: written[column]}).schema[column].is_numeric():
                found.append(problem(where, f"the column {column} is {written[column]}", "a column of numbers"))
    return found


def _unwritten(place: str, column: str, written: dict[str, Any]) -> str:
    """Return the message for a column that the recipe as a whole needs, though nobody may have written its name."""
    stage = column.partition("__")[0]
    if "__" not in column or stage not in stage_names("engine.annotate"):
        return unknown(place, "column", column, written)
    own = {name.removeprefix(f"{stage}__"): name for name in sorted(written) if name.startswith(f"{stage}__")}
    if own:
        numbers = [what for what in own if pl.DataFrame(schema={what: written[own[what]]}).schema[what].is_numeric()]
        guess = own[closest(column.partition("__")[2], own) or [*numbers, *own][0]]
        found = f"the stage {stage} writes no column '{column}' (has: {', '.join(list(own.values())[:MOST_LISTED])})"
        return problem(place, found, fix=f"did you mean '{guess}'?").replace("?.", "?")
    fix = f"add - {needed_of(stage)}"
    return problem(place, f"it reads {column}, which no stage writes", f"the stage {stage}", fix)


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
