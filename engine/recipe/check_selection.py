"""What a recipe says about balance and control tokens suits the columns that are there."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from polars.datatypes import IntegerType

from engine.base.errors import RecipeError, problem, unknown
from engine.formats.columns import READ_PROBLEMS
from engine.pack.control_slots import too_few_slots
from engine.pack.tokenizer import CONTROL_PIECE, TokenizerConfig
from engine.recipe.frame import lenient
from engine.recipe.stages import Stage, stage_drops, tokens_stage
from engine.select.balance import Rule, balance_columns
from engine.select.conditions import check_condition
from engine.select.control_tokens import Config as ControlTokensConfig
from engine.select.control_tokens import Tag, all_tokens
from engine.select.decide import NO_TEXT
from engine.select.filters import Filter, Preset, expanded
from engine.select.grouping import URL_HOST, grouping, stored_columns
from engine.select.split import Config as SplitConfig


def check_reasons(place: str, content: Mapping[str, Any], annotators: tuple[Stage, ...]) -> list[str]:
    """Return the reasons of filters and balance that something else has already, so that nobody could tell them apart.

    Filters may share a reason among themselves, as those that look for the same thing do.
    """
    taken = {NO_TEXT: "documents without text"} | dict.fromkeys(READ_PROBLEMS, "rows that cannot be read")
    taken |= {reason: f"the stage {one.config.column_prefix}" for one in annotators for reason in stage_drops(one)}
    own, found = dict[str, str](), []
    for section in ("filters", "balance"):
        items = content.get(section)
        for position, item in enumerate(items if isinstance(items, list) else []):
            where = f"{section}[{position}]"
            for reason in _reasons(section, item):
                if reason in taken:
                    fix = "a reason of its own"
                    found.append(problem(f"{place}: {where}", f"the reason {reason} is that of {taken[reason]}", fix))
                if section == "balance":
                    taken[reason] = where
                else:
                    own[reason] = where
        taken = own | taken
    return found


def _reasons(section: str, item: Any) -> list[str]:
    if section == "balance":
        rule = lenient(Rule, item)
        return [] if rule is None else [rule.reason]
    given = lenient(Filter, item) or lenient(Preset, item)
    return list(dict.fromkeys(rule.reason for rule in expanded([given] if given is not None else [])))


def check_balance(place: str, rules: Any, annotators: tuple[Stage, ...], written: Mapping[str, Any]) -> list[str]:
    """Return the mistakes of the rules of balance; `written`: column -> Polars type."""
    found = []
    for position, item in enumerate(rules if isinstance(rules, list) else []):
        rule = lenient(Rule, item)
        if rule is None:
            continue
        where = f"{place}: balance[{position}] ({rule.reason})"
        missing = [name for name in balance_columns(rule) if name not in written]
        grouped = [*written, URL_HOST]
        found += [unknown(where, "column", name, grouped if name in rule.by else written) for name in missing]
        if not missing:
            found += _check_rule(where, rule, written)
        if rule.unit == "tokens" and tokens_stage(annotators) is None:
            fix = "add - {stage: tokens, tokenizer: PATH} to annotate:, or write unit: bytes"
            found.append(problem(where, "it counts tokens, which no stage counts", "the stage tokens", fix))
    return found


def check_split_sizes(place: str, config: SplitConfig, annotators: tuple[Stage, ...]) -> list[str]:
    """Return the held-out sets that are sized in tokens which no stage counts."""
    if tokens_stage(annotators) is not None:
        return []
    fix = "add - {stage: tokens, tokenizer: PATH} to annotate:, or write max_bytes"
    sets = [name for name, wanted in config.heldout.items() if wanted.max_tokens is not None]
    found = "max_tokens counts tokens, which no stage counts"
    return [problem(f"{place}: split.heldout.{name}", found, "the stage tokens", fix) for name in sets]


def _check_rule(where: str, rule: Rule, written: Mapping[str, Any]) -> list[str]:
    schema = pl.Schema(dict(written))
    found = []
    for name in rule.by:
        stored = pl.LazyFrame(schema={column: schema[column] for column in stored_columns([name])})
        dtype = stored.select(grouping(name)).collect_schema().dtypes()[0]
        if not (dtype in (pl.String, pl.Boolean) or dtype.is_integer()):
            found.append(problem(where, f"the column {name} is {dtype}", "text, whole numbers or truth to group by"))
            continue
        for quota in rule.quotas:
            value = quota.group[name]
            if not _fits(value, dtype):
                found.append(
                    problem(where, f"a quota for {name} = {value!r}, which is {dtype}", "a value of that type")
                )
    if rule.prefer is not None and not schema[rule.prefer].is_numeric():
        found.append(problem(where, f"the column {rule.prefer} is {schema[rule.prefer]}", "a column of numbers"))
    if rule.where is not None:
        found += raised(check_condition, f"{where}.where", rule.where, written)
    return found


def raised(check: Callable[..., None], *arguments: Any) -> list[str]:
    """Return the message of the RecipeError a check raises, or nothing."""
    try:
        check(*arguments)
    except RecipeError as error:
        return [str(error)]
    return []


def check_control_tokens(place: str, content: Mapping[str, Any], written: Mapping[str, Any]) -> list[str]:
    """Return the mistakes of the control tokens; `written`: column -> Polars type."""
    config = lenient(ControlTokensConfig, content.get("control_tokens"))
    found = _check_slots(place, config, lenient(TokenizerConfig, content.get("tokenizer")))
    for tag in config.tags if config is not None else ():
        where = f"{place}: control_tokens ({tag.tag})"
        if tag.column not in written:
            found.append(unknown(where, "column", tag.column, written))
        else:
            found += _check_tag(where, tag, pl.Schema({tag.column: written[tag.column]})[tag.column])
    return found


def _check_slots(place: str, config: ControlTokensConfig | None, tokenizer: TokenizerConfig | None) -> list[str]:
    """Return the mistake of tags for which a tokenizer that is yet to be trained has too few slots."""
    if config is None or config.grow or tokenizer is None or tokenizer.train is None:
        return []
    slots = {CONTROL_PIECE.format(number) for number in range(tokenizer.train.control_slots)}
    wanted, free = len(set(all_tokens(config)) - slots), len(slots - set(all_tokens(config)))
    if wanted <= free:
        return []
    return [too_few_slots(f"{place}: control_tokens", "the tokenizer to be trained", wanted, free)]


def _check_tag(where: str, tag: Tag, dtype: pl.DataType) -> list[str]:
    if tag.ranges is not None:
        if dtype.is_numeric():
            return []
        return [problem(where, f"the column {tag.column} is {dtype}", "a column of numbers for ranges", "use values:")]
    if not (dtype in (pl.String, pl.Boolean) or dtype.is_integer()):
        needed = "text, whole numbers or truth for values"
        return [problem(where, f"the column {tag.column} is {dtype}", needed, "use ranges: for numbers")]
    wrong = [value for values in tag.label_values.values() for value in values if not _fits(value, dtype)]
    return [
        problem(where, f"a label for {value!r}, but {tag.column} is {dtype}", "values of that type") for value in wrong
    ]


def _fits(value: str | bool | int, dtype: pl.DataType) -> bool:
    if isinstance(dtype, IntegerType):
        low, high = pl.select(dtype.min(), dtype.max().alias("high")).row(0)
        return type(value) is int and bool(low <= value <= high)
    return type(value) is (bool if dtype == pl.Boolean else str)
