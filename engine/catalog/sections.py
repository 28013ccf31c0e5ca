"""Sections of a recipe and their keys, read from the models that check them; each with an example to start from."""

import re
from typing import Any

from pydantic import BaseModel

from engine.catalog.stage_options import models_inside, options_of, type_in_words
from engine.recipe.frame import Frame

_OF_STAGES = ("sources", "annotate")
"""Lists of stages, whose keys `provender stages NAME` tells stage by stage."""
_OF_THE_RECIPE = ("name", "seed")
_SINGULAR = {"mixture": "mixtures", "filter": "filters"}

EXAMPLES = {
    "benchmarks": "benchmarks: [gsm8k=questions/gsm8k.jsonl]",
    "benchmark_fields": "benchmark_fields:\n  gsm8k: {question: problem, answer: solution}",
    "split": "split:\n  heldout:\n    general: {sources: [wiki], max_bytes: 100_000}\n  min_similarity: 0.5",
    "filters": "filters:\n"
    '  - {reason: too_short, keep: "heuristics__num_words >= 20"}\n'
    "  - {preset: gopher_quality, action: tag}",
    "balance": "balance:\n  - {reason: too_much_of_a_host, by: [url_host], unit: bytes, cap: 1_000_000}",
    "guard": "guard:\n  max_source_loss: 0.5\n  allow: {forum: 0.8}",
    "tokenizer": "tokenizer:\n  train: {sources: [wiki, papers], vocab_size: 8192}",
    "control_tokens": "control_tokens:\n"
    "  tags:\n"
    "    - {tag: language, column: language__top, values: [en, de]}\n"
    "    - {tag: length, column: heuristics__num_words, ranges: {short: [0, 200], long: [200, null]}}",
    "render": "render:\n  template: chatml          # one for all chats of the recipe\n  objective: {chats: answers}",
    "mixtures": """\
mixtures:
  plain:
    sources: [wiki, papers]   # a list: weighted by the rule `weighting`
    weighting: temperature
    temperature: 2
    budget_tokens: 1_000_000
  in_phases:
    budget_tokens: 1_000_000
    phases:
      - {name: general, share: 0.7, sources: {wiki: 3, papers: 1}}   # a mapping: weights of your own
      - name: specific
        share: 0.3
        sources: [papers]
        replay: {share: 0.2, sources: [wiki]}
        curriculum: easy_to_hard
        difficulty: difficulty__value   # of - {stage: difficulty, by: words}""",
}
"""Section -> lines of a recipe that pass its check."""


def section_names() -> list[str]:
    """Return the keys of a recipe that are sections of their own, in the order of a recipe."""
    return [key for key in Frame.model_fields if key not in (*_OF_STAGES, *_OF_THE_RECIPE)]


def section_of(name: str) -> str | None:
    """Return the section a name stands for, `mixture` as `mixtures`; None where there is none."""
    key = _SINGULAR.get(name, name)
    return key if key in section_names() else None


def listed_sections() -> list[dict[str, str]]:
    """Return section, type and what it is for, of each."""
    return [_about(key) for key in section_names()]


def section(key: str) -> dict[str, Any]:
    """Return section, type, what, example and options (engine.catalog.stage_options) of a section.

    Options are the keys of one mixture, rule or filter where the section holds several.
    """
    models = [model for _, model in models_inside(Frame.model_fields[key].annotation)]
    options = [option for model in models for option in _plain_first(options_of(model))]
    if len(models) > 1:
        options = _of_several(models, options)
    return {**_about(key), "example": EXAMPLES[key], "options": options}


def _plain_first(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the options with those last that hold keys of their own, each in front of its keys."""
    nested = {re.split(r"[.\[]", one["name"])[0] for one in options if "." in one["name"]}
    return sorted(options, key=lambda one: re.split(r"[.\[]", one["name"])[0] in nested)


def _of_several(models: list[type[BaseModel]], options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each option once, with what it stands beside where only one of the forms has it."""
    keys = [[field.alias or name for name, field in model.model_fields.items()] for model in models]
    found: dict[str, dict[str, Any]] = {}
    for option in options:
        form = next(one for one in keys if option["name"] in one)
        is_shared = all(option["name"] in one for one in keys)
        beside = "" if is_shared or option["name"] == form[0] else f"beside {form[0]}: "
        found.setdefault(option["name"], option | {"description": beside + option["description"]})
    return list(found.values())


def _about(key: str) -> dict[str, str]:
    field = Frame.model_fields[key]
    return {"section": key, "type": type_in_words(field), "what": field.description or ""}
