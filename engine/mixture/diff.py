"""`provender mixture diff`: what changed between two versions, in documents, tokens and terms of the contract."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.errors import InputError
from engine.base.terminal import one_line
from engine.formats.doc_ids import id_text
from engine.formats.documents import read_source
from engine.formats.find import Place, find_documents
from engine.formats.manifest import Manifest
from engine.formats.mixture import Mixture, open_mixture
from engine.formats.token_store import open_token_store
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from engine.mixture.absence import with_absence
from engine.mixture.compare import GROUPS, USES, Changes, by_reason, compare

EXAMPLES = 3
"""Documents shown per reason."""
EXCERPT_CHARS = 120
_WHOLE = ("tokenizer", "template", "control_tokens", "render", "split", "coverage", "models", "num_steps")


def mixture_diff(old: str, new: str, workspace: Path | str = DEFAULT_WORKSPACE) -> dict[str, Any]:
    """Return what changed from one version to another, of the same mixture or of two.

    Args:
        old: name, name@latest, name@v<number> or name@<digest>; so is `new`.
        new: The version that comes after it.
        workspace: Folder of all artifacts.

    Returns:
        from, to: reference, digest, recipe, documents, tokens, supervised_tokens. is_same: whether the content is the
        same. is_reordered. contract: terms that differ, each with key, from and to (null: there is none). sources: per
        source documents, tokens and supervised tokens before, after and of every group, and its share of the
        supervised tokens before and after. added, removed, moved, changed: source, reason, documents, tokens,
        supervised_tokens (of the last two: after less before). examples: up to three documents per group and reason.

    Raises:
        InputError: There is no such version, or it was changed since it was written.
    """
    place = Workspace.open(workspace)
    versions = open_mixture(place, old), open_mixture(place, new)
    changes = compare(*_uses(place, versions))
    groups = {
        "added": with_absence(place, versions[0], changes.added),
        "removed": with_absence(place, versions[1], changes.removed),
        "moved": changes.moved,
        "changed": changes.changed,
    }
    return {
        **{name: _told(version) for name, version in zip(("from", "to"), versions, strict=True)},
        "is_same": versions[0].manifest.digest == versions[1].manifest.digest,
        "is_reordered": changes.is_reordered,
        "contract": contract_changes(versions[0].manifest, versions[1].manifest),
        "sources": _sources(changes, groups),
        **{name: by_reason(groups[name]).to_dicts() for name in GROUPS},
        "examples": {
            name: _examples(place, versions[0] if name == "removed" else versions[1], groups[name]) for name in GROUPS
        },
    }


def contract_changes(old: Manifest, new: Manifest) -> list[dict[str, Any]]:
    """Return the terms that differ between two manifests, besides documents and sums: key, from, to."""
    before, after = (dict(_leaves("", _terms(manifest))) for manifest in (old, new))
    return [
        {"key": key, "from": before.get(key), "to": after.get(key)}
        for key in [*before, *(key for key in after if key not in before)]
        if before.get(key) != after.get(key)
    ]


def _terms(manifest: Manifest) -> dict[str, Any]:
    content = manifest.model_dump(mode="json")
    return {
        "recipe": manifest.recipe,
        "derived_from": manifest.derived_from.reference if manifest.derived_from is not None else None,
        "input": {row.source: row.input_digest for row in manifest.sources},
        "objective": {row.source: row.objective for row in manifest.sources},
        "phases": {phase.name: phase.curriculum for phase in manifest.phases},
        "benchmarks": {benchmark.name: benchmark.digest for benchmark in manifest.benchmarks},
        **{name: content[name] for name in _WHOLE},
        **content["config"],
    }


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{prefix}.{name}" if prefix else name, inner)
    else:
        yield prefix, value


def _uses(workspace: Workspace, versions: tuple[Mixture, Mixture]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the uses of both versions; with digests of the texts only where the token stores differ."""
    has_texts = versions[0].manifest.token_store != versions[1].manifest.token_store
    old, new = (_uses_of(workspace, version, has_texts) for version in versions)
    return old, new


def _uses_of(workspace: Workspace, mixture: Mixture, has_texts: bool) -> pl.DataFrame:
    documents = mixture.documents()
    names = pl.Series([phase.name for phase in mixture.manifest.phases], dtype=pl.String)
    folder = workspace.tokens(mixture.manifest.token_store)
    digests = pl.Series([None], dtype=pl.Binary).new_from_index(0, documents.height)
    if has_texts and (folder / "receipt.json").is_file():
        digests = open_token_store(folder).documents()["text_digest"].gather(documents["store_row"])
    phases = names.gather(documents["phase"].cast(pl.UInt32))
    schema = pl.Schema(USES)
    return documents.with_columns(phase=phases, text_digest=digests).select(schema.names()).cast(schema)


def _told(mixture: Mixture) -> dict[str, Any]:
    manifest = mixture.manifest
    names = ("digest", "recipe", "documents", "tokens", "supervised_tokens")
    return {"reference": mixture.reference, **{name: getattr(manifest, name) for name in names}}


def _sources(changes: Changes, groups: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    rows = changes.sources().to_dicts()
    totals = {when: sum(row[f"supervised_tokens_{when}"] for row in rows) for when in ("before", "after")}
    moved = {name: dict(groups[name].group_by("source").len().iter_rows()) for name in ("moved", "changed")}
    for row in rows:
        # Moved and changed documents change no number of documents; how many they are is told all the same.
        row |= {f"documents_{name}": counts.get(row["source"], 0) for name, counts in moved.items()}
        for when, total in totals.items():
            row[f"share_{when}"] = round(row[f"supervised_tokens_{when}"] / total, 4) if total else 0.0
    return rows


def _examples(workspace: Workspace, mixture: Mixture, documents: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the first documents of every reason by id, with an excerpt where their source can still be read."""
    chosen = documents.sort("reason", "doc_id").group_by("reason", maintain_order=True).head(EXAMPLES)
    places = _places(workspace, mixture, chosen)
    return [
        {"reason": reason, "doc_id": id_text(doc_id), "source": source, **_excerpt(places.get(doc_id))}
        for reason, doc_id, source in chosen.select("reason", "doc_id", "source").iter_rows()
    ]


def _places(workspace: Workspace, mixture: Mixture, documents: pl.DataFrame) -> dict[bytes, Place]:
    state = mixture.state()
    folders = {name: workspace.root / folder for name, folder in state.sources.items()} if state is not None else {}
    named = [folders[name] for name in sorted(set(documents["source"])) if name in folders]
    sources = [read_source(folder) for folder in named if (folder / "source.json").is_file()]
    return find_documents(sources, documents["doc_id"])


def _excerpt(place: Place | None) -> dict[str, str | None]:
    """Return the beginning of a document, or why there is none to show."""
    if place is None:
        return {"excerpt": None, "problem": "its source is gone"}
    try:
        text = place.text()
    except InputError as error:
        return {"excerpt": None, "problem": str(error)}
    return {"excerpt": one_line(text or "", EXCERPT_CHARS), "problem": None}
