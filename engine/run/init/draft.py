"""The recipe for what was found in a folder, as YAML with comments; its numbers follow from the amount of text."""

import os
from pathlib import Path
from typing import Any

import yaml

from engine.run.init.look import Found, FoundSource, slug

HEAD = """\
# Written by `provender init`. Read it, mend it, then: provender run {name} --dry-run
name: {recipe}
seed: 1

sources:
"""
BODY = """
annotate:                      # columns beside the documents; nothing is dropped here
  - {{stage: exact_dup}}
  - {{stage: near_dup, threshold: 0.8}}     # Jaccard similarity of word 5-grams; every removal is verified
  - {{stage: heuristics}}
  - {{stage: contamination}}                # who holds half of a held-out document, or a question, is dropped

benchmarks: []                 # files of questions you will measure with, to search for too: [NAME=]PATH

split:                         # held-out documents, for measuring what a training run learned and forgot
  heldout:
    general: {{sources: [{names}], max_bytes: {heldout_bytes}}}
  min_similarity: 0.5          # documents this similar stay on one side
  where: "heuristics__num_words >= 20"

filters:                       # the first rule a document fails is the reason it is dropped for
  - {{reason: too_short, keep: "heuristics__num_words >= 5"}}

guard:                         # a run stops where a source loses more than this share of its documents
  max_source_loss: 0.5

tokenizer:                     # or {{path: FOLDER}} of a tokenizer you have
  train: {{sources: [{names}], vocab_size: {vocab_size}, control_slots: 16}}
{render}
mixtures:
  {recipe}_all:
    sources: [{names}]         # in proportion to what there is; or by weights: {{{first}: 3, ...}}
    budget_tokens: null        # null: everything once
    row_tokens: {row_tokens}
    rows_per_step: {rows_per_step}
"""
RENDER = """
render:                        # chats become tokens; of them the answers are trained on, of texts everything
  template: chatml             # or llama3, mistral, alpaca, or tokenizer: its own; one for all mixtures
"""


def draft_recipe(folder: Path, recipe: Path, found: Found) -> str:
    """Return the recipe; its paths are relative to the recipe where the files are below it, else absolute."""
    names = [source.name for source in found.sources]
    sources = "\n".join(_source(folder, recipe, source) for source in found.sources)
    name = _recipe_name(folder)
    render = RENDER if any(source.stage == "chat" for source in found.sources) else ""
    body = BODY.format(recipe=name, render=render, names=", ".join(names), first=names[0], **_numbers(found.text_bytes))
    return HEAD.format(name=recipe.name, recipe=name) + sources + body


def _numbers(text_bytes: int) -> dict[str, Any]:
    small, middle = text_bytes < 2_000_000, text_bytes < 50_000_000
    return {
        "heldout_bytes": max(1_000, min(200_000, text_bytes // 20)),
        "vocab_size": 512 if text_bytes < 200_000 else 2_048 if small else 8_192 if middle else 32_000,
        "row_tokens": 128 if small else 512 if middle else 2_048,
        "rows_per_step": 4 if small else 16,
    }


def _source(folder: Path, recipe: Path, source: FoundSource) -> str:
    base = Path(os.path.abspath(recipe)).parent  # noqa: PTH100 - without following links
    root = Path(os.path.abspath(folder))  # noqa: PTH100
    start = root.relative_to(base) if root.is_relative_to(base) else root
    paths = [(start / pattern).as_posix() for pattern in source.patterns]
    columns = f"; columns: {', '.join(source.columns)}" if source.columns else ""
    lines = [
        f"  # {len(source.paths):,} files, {source.num_bytes / 1e6:,.1f} MB{columns}",
        f"  - stage: {source.stage}",
        f"    name: {source.name}",
        f"    path: {_flow(paths if len(paths) > 1 else paths[0])}",
        *(f"    {key}: {value}" for key, value in source.options.items()),
    ]
    if source.mapping:
        lines.append(f"    columns: {_flow(source.mapping)}")
    if not source.has_license:
        lines.append("    # license: CC-BY-4.0      # no column states one; if you know it, say so")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _recipe_name(folder: Path) -> str:
    return slug(Path(os.path.abspath(folder)).name)  # noqa: PTH100
