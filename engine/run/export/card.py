"""What lies beside the texts of an export: a dataset card that datasets reads, and the index of LLaMA-Factory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from engine.base.atomic import write_json
from engine.formats.manifest import Manifest, MixtureSource, role_label
from engine.formats.mixture import Mixture
from engine.run.export.held_out import FOLDER as HELD_OUT
from engine.run.export.options import ExportOptions
from engine.run.export.order import MESSAGES, TEXT
from engine.run.export.write import WrittenFile, described

_LOADER = {"parquet": "parquet", "jsonl": "json"}


def write_cards(
    folder: Path, mixture: Mixture, kinds: Sequence[str], files: Sequence[WrittenFile], options: ExportOptions
) -> list[WrittenFile]:
    """Write README.md and dataset_info.json beside the files of an export, and return them."""
    _write_card(folder, mixture, kinds, files, options)
    _dataset_info(folder, mixture.manifest.name, kinds)
    return [described(folder / name, folder) for name in ("README.md", "dataset_info.json")]


def _write_card(
    folder: Path, mixture: Mixture, kinds: Sequence[str], files: Sequence[WrittenFile], options: ExportOptions
) -> None:
    """Write README.md: YAML front matter with one configuration a kind, then what the version is and how to load it."""
    names = sorted(kinds, reverse=True)
    has_held_out = any(file.path.startswith(f"{HELD_OUT}/") for file in files)
    front = yaml.safe_dump(
        _front_matter(mixture, names, has_held_out, options.format), sort_keys=False, allow_unicode=True
    )
    parts = [
        f"---\n{front}---\n",
        f"# {mixture.reference}\n",
        _about(mixture.manifest, files, options),
        "## Sources\n",
        _source_table(mixture.manifest.sources),
        "## Measured with\n",
        _coverage(mixture.manifest),
        "## How to load it\n",
        *(_loading(mixture.manifest, kind, options.format) for kind in names),
    ]
    (folder / "README.md").write_text("\n".join(parts), encoding="utf-8")


def _dataset_info(folder: Path, name: str, kinds: Sequence[str]) -> None:
    """Write dataset_info.json, where LLaMA-Factory finds files by name: <mixture>_text, <mixture>_messages."""
    described: dict[str, dict[str, Any]] = {
        TEXT: {"file_name": TEXT, "columns": {"prompt": "text"}},
        MESSAGES: {
            "file_name": MESSAGES,
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
                "observation_tag": "tool",
            },
        },
    }
    write_json(folder / "dataset_info.json", {f"{name}_{kind}": described[kind] for kind in sorted(kinds)})


def _front_matter(mixture: Mixture, kinds: Sequence[str], has_held_out: bool, form: str) -> dict[str, Any]:
    configs: list[dict[str, Any]] = [
        {"config_name": kind, "data_files": [{"split": "train", "path": f"{kind}/*.{form}"}]} for kind in kinds
    ]
    configs[0]["default"] = True
    if has_held_out:
        configs.append({"config_name": HELD_OUT, "data_files": [{"split": "test", "path": f"{HELD_OUT}/*.{form}"}]})
    return {"pretty_name": mixture.reference, "configs": configs}


def _about(manifest: Manifest, files: Sequence[WrittenFile], options: ExportOptions) -> str:
    derived = manifest.derived_from
    facts = {
        "version": f"{manifest.name}@v{manifest.version}",
        "digest": manifest.digest,
        "recipe": f"{manifest.recipe} {manifest.recipe_digest}".strip(),
        "derived from": "-" if derived is None else f"{derived.reference} ({derived.how}, {derived.digest})",
        "documents": f"{manifest.documents:,}",
        "rows in these files": f"{sum(file.rows or 0 for file in files if not file.path.startswith(HELD_OUT)):,}",
        "tokens": f"{manifest.tokens:,}, {manifest.supervised_tokens:,} of them supervised",
        "tokenizer": manifest.tokenizer,
        "template": manifest.template or "none",
        "order": manifest.curriculum,
        "phases": ", ".join(phase.name for phase in manifest.phases),
        "repeats": "a row for every use" if options.repeat else "a row per document and phase; its uses in `repeats`",
        "control tokens": _control_tokens(manifest, options.tags_as_text),
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"| | |\n|---|---|\n{rows}\n\nEdits (replaced personal data, cut benchmark passages) are applied.\n"


def _control_tokens(manifest: Manifest, tags_as_text: bool) -> str:
    if not manifest.control_tokens:
        return "none"
    return "as text in front" if tags_as_text else "left out of the text"


def _source_table(sources: Sequence[MixtureSource]) -> str:
    head = "| source | phase | objective | documents | tokens | licences (documents) |\n|---|---|---|---|---|---|\n"
    rows = [
        f"| {role_label(row.source, row.is_replay)} | {row.phase} | {row.objective} | {row.documents:,} "
        f"| {row.tokens:,} | {_cell(', '.join(f'{name} {count:,}' for name, count in row.licenses.items()))} |"
        for row in sources
    ]
    return head + "\n".join(rows) + "\n"


def _coverage(manifest: Manifest) -> str:
    """Return what the documents were searched for, and what of it was left in."""
    lines = [
        f"- {kind} `{name}`: {searched:,} documents searched, {len(found):,} hold some of it, "
        + ("recall not measured" if recall is None else f"recall on planted copies {recall:.3f}")
        for kind, name, searched, found, recall in [
            *(("benchmark", b.name, b.searched_documents, b.found, b.planted_recall) for b in manifest.benchmarks),
            *(("held-out set", h.set, h.searched_documents, h.found, h.planted_recall) for h in manifest.held_out),
        ]
    ]
    coverage = [f"\nDigest of the coverage sheet: {manifest.coverage}\n"] if manifest.coverage else []
    return "\n".join([*(lines or ["Nothing was searched for."]), *coverage, ""])


def _loading(manifest: Manifest, kind: str, form: str) -> str:
    axolotl = (
        "type: completion\n    field: text" if kind == TEXT else "type: chat_template\n    field_messages: messages"
    )
    stage = "pt" if kind == TEXT else "sft"
    return f"""### {kind}

```python
import datasets
datasets.load_dataset("DIR", "{kind}", split="train")
```

axolotl (`shuffle_merged_datasets: false` keeps the order of the files):

```yaml
datasets:
  - path: DIR/{kind}
    ds_type: {_LOADER[form]}
    {axolotl}
```

TRL:

```yaml
dataset_name: DIR
dataset_config: {kind}
```

LLaMA-Factory, stage {stage} (`disable_shuffling: true` keeps the order):

```yaml
dataset_dir: DIR
dataset: {manifest.name}_{kind}
```
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
