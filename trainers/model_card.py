"""README.md beside trained weights: what the model was trained on and from, what that cost, and how to load it.

The front matter is what model hubs read; everything else is taken from the manifest and run.json, and what is not known
is said to be unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from engine.formats.manifest import HeldOutSet, Manifest, SearchedBenchmark, role_label
from trainers.recipe import TrainRecipe

OBJECTIVES = {"dapt": "every token of the documents (dapt)", "sft": "the answers of chats (sft)"}


def model_card(recipe: TrainRecipe, manifest: Manifest, content: Mapping[str, Any]) -> str:
    """Return the model card of a finished run; content: run.json with its summary."""
    waived, summary = content["waived"], content["summary"]
    parts = [
        _front_matter(recipe, manifest, content),
        f"# {recipe.name}",
        _listed(f"**WAIVED:** {text}" for text in waived),
        _table(("what", "value"), _facts(recipe, content)),
        "## Lineage",
        _listed(_lineage(content)),
        "## Data",
        f"Mixture {content['mixture']['reference']}, digest `{manifest.digest}`: {manifest.documents:,} documents, "
        f"{manifest.tokens:,} tokens, {manifest.supervised_tokens:,} labels; replay "
        f"{_replay(manifest)} of the labels. The run used {summary['tokens']:,} tokens of it.",
        _table(("source", "licences of its documents", "documents", "tokens"), _sources(manifest)),
        "Licences of the distinct documents: " + _licenses(manifest.licenses) + ".",
        "## What its data was searched for",
        _table(
            ("held-out set or benchmark", "documents or items", "searched", "copies found", "hits"), _searched(manifest)
        )
        or "Nothing: no held-out set and no benchmark is named in the mixture.",
        "## Forgetting",
        _verdict(summary),
        "## How to load it",
        _how_to_load(recipe, content),
        "Made with " + ", ".join(f"{name} {version}" for name, version in _versions(content)) + ".",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(recipe: TrainRecipe, manifest: Manifest, content: Mapping[str, Any]) -> str:
    is_adapter = recipe.tuning.method != "full"
    fields = {
        # What the data's licences mean for a model is nobody's to compute.
        "license": "other",
        "license_name": "see-licences-of-the-data-below",
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "base_model": _base_name(content),
        "base_model_relation": "adapter" if is_adapter else "finetune",
        "tags": ["provender", str(recipe.objective), recipe.tuning.method, f"mixture:{manifest.digest[:12]}"],
    }
    if content["base"]["kind"] == "tiny":
        del fields["base_model"], fields["base_model_relation"]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---"


def _base_name(content: Mapping[str, Any]) -> str:
    """Return what the base is called; of a folder without where it lies on this machine."""
    base = content["base"]
    return PurePath(base["name"]).name if base["kind"] == "path" else str(base["name"])


def _facts(recipe: TrainRecipe, content: Mapping[str, Any]) -> list[tuple[str, str]]:
    summary, model, generation = content["summary"], content["model"], content["generation"]
    template, pad = generation["template"], generation["pad_token"]
    stops = ", ".join(f"`{stop['token']}` ({stop['id']})" for stop in generation["stop_tokens"])
    return [
        ("labels", OBJECTIVES[str(recipe.objective)]),
        ("tuning", f"{recipe.tuning.method}, {model['trained_parameters']:,} of {model['parameters']:,} parameters"),
        ("optimizer", f"{recipe.optimizer.kind}, highest learning rate {recipe.optimizer.learning_rate:g}"),
        ("precision", model["precision"]),
        ("steps", f"{summary['steps']:,}, {summary['tokens']:,} tokens, {summary['supervised_tokens']:,} labels"),
        ("loss", f"{summary['loss_first']:.4f} in the first step, {summary['loss_last']:.4f} in the last"),
        ("chat template", "none" if template is None else f"{template['name']}, digest `{template['digest']}`"),
        ("stops at", stops),
        ("pad token", f"`{pad['token']}` ({pad['id']}), {pad['how']}"),
        ("tokenizer, by transformers", f"{content['reloaded']['tokenizer']} as in training, on its first texts"),
    ]


def _lineage(content: Mapping[str, Any]) -> list[str]:
    base, lineage = content["base"], content["lineage"]
    runs = [
        f"run {run['run']} on {run['mixture']['reference']} (digest `{run['mixture']['digest']}`)"
        for run in lineage["runs"]
    ]
    note = f"; {lineage['note']}" if lineage["note"] else ""
    return [
        f"pre-training of the first base: {lineage['pretraining']}{note}",
        *runs,
        f"base: {_base_name(content)} ({base['kind']}, digest `{base['digest']}`)",
    ]


def _sources(manifest: Manifest) -> list[tuple[str, ...]]:
    phases = [phase.name for phase in manifest.phases]
    return [
        (
            role_label(one.source, one.is_replay) + (f", phase {phases[one.phase]}" if len(phases) > 1 else ""),
            _licenses(one.licenses),
            f"{one.documents:,}",
            f"{one.tokens:,}",
        )
        for one in manifest.sources
    ]


def _licenses(licenses: Mapping[str, int]) -> str:
    found = sorted(licenses.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {documents:,}" for name, documents in found) or "unknown"


def _replay(manifest: Manifest) -> str:
    replayed = sum(one.supervised_tokens for one in manifest.sources if one.is_replay)
    return f"{100 * replayed / max(1, manifest.supervised_tokens):.1f} %"


def _searched(manifest: Manifest) -> list[tuple[str, ...]]:
    found: list[tuple[str, int, HeldOutSet | SearchedBenchmark]] = []
    found += [(one.set, one.documents, one) for one in manifest.held_out]
    found += [(one.name, one.items, one) for one in manifest.benchmarks]
    return [
        (
            name,
            f"{count:,}",
            f"{one.searched_documents:,} of {manifest.documents:,} documents",
            "unknown" if one.planted_recall is None else f"{100 * one.planted_recall:.1f} %",
            f"{len(one.found):,}",
        )
        for name, count, one in found
    ]


def _verdict(summary: Mapping[str, Any]) -> str:
    if not summary["probes"]:
        return "Not measured: the run had no probes."
    rows = [
        (
            probe["probe"],
            "general" if probe["is_general"] else "domain",
            f"{probe['bits_per_byte_before']:.4f}",
            f"{probe['bits_per_byte']:.4f}",
            " ".join(f"{100 * probe[name]:+.2f} %" for name in ("relative_rise", "rise_low", "rise_high")),
        )
        for probe in summary["probes"]
    ]
    within = {True: "within", False: "OVER", None: "not decided against"}[summary["within_budget"]]
    said = f"Bits per byte on held-out text; {within} the budget of {100 * summary['max_general_bpb_rise']:+.2f} %."
    return f"{said}\n\n{_table(('set', 'kind', 'before', 'after', 'change, and its 95 % interval'), rows)}"


def _how_to_load(recipe: TrainRecipe, content: Mapping[str, Any]) -> str:
    is_adapter = recipe.tuning.method != "full"
    library, loader = ("peft", "AutoPeftModelForCausalLM") if is_adapter else ("transformers", "AutoModelForCausalLM")
    ask = 'tokenizer.apply_chat_template([{"role": "user", "content": "..."}], add_generation_prompt=True, **asked)'
    if content["generation"]["template"] is None:
        ask = 'tokenizer("...", add_special_tokens=False, return_tensors="pt")'
    lines = [
        f"from {library} import {loader}",
        "from transformers import AutoTokenizer, GenerationConfig",
        "",
        f'model = {loader}.from_pretrained("FOLDER")',
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
        'config = GenerationConfig.from_pretrained("FOLDER")  # stops where the answers of the training data end',
        *(['asked = {"return_tensors": "pt", "return_dict": True}'] if "**asked" in ask else []),
        f"inputs = {ask}",
        "print(tokenizer.decode(model.generate(**inputs, generation_config=config)[0]))",
    ]
    above = ""
    if is_adapter and content["base"]["kind"] == "run":
        run = content["base"]["name"]
        above = (
            f"The base is what run {run} left behind. Where that is an adapter too, `provender merge {recipe.name}` "
            "makes one model of both, and what follows does not work before.\n\n"
        )
    return above + "```python\n" + "\n".join(lines) + "\n```"


def _versions(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    last = content["sessions"][-1]
    return [(name, last[name]) for name in ("provender", "torch", "transformers", "peft", "python") if name in last]


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )
