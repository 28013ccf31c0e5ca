"""The stored views of mixture versions: phases, sources and documents of each, and the spans of its schedule."""

from collections.abc import Container, Mapping
from typing import Any

import duckdb
import polars as pl

from engine.catalog.relation import beside, create_rows, create_view, failing, text_literal, typed, union
from engine.formats.manifest import DOCUMENTS_SCHEMA, Derivation, Manifest, MixtureSource, Phase
from engine.formats.mixture import Mixture, readable_versions
from engine.formats.schedule import SCHEMA as SCHEDULE_SCHEMA
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace

VERSION_VIEWS = ("mixtures", "mixture_sources", "mixture_phases", "mixture_documents", "spans")
VERSION: dict[str, Any] = {"mixture": pl.String, "version": pl.Int64, "is_current": pl.Boolean}
_MIXTURES: dict[str, Any] = VERSION | {
    "digest": pl.String,
    "recipe": pl.String,
    "derived_from": pl.String,
    "template": pl.String,
    "documents": pl.Int64,
    "tokens": pl.Int64,
    "supervised_tokens": pl.Int64,
    "n_eff_before": pl.Float64,
    "n_eff_after": pl.Float64,
    "replay_share": pl.Float64,
    "max_repeats": pl.Int64,
    "curriculum": pl.String,
    "seed": pl.Int64,
    "row_tokens": pl.Int64,
    "rows_per_step": pl.Int64,
    "num_steps": pl.Int64,
    "tokenizer": pl.String,
    "token_store": pl.String,
    "selection": pl.String,
    "split": pl.String,
    "schedule": pl.String,
}
_PHASE: dict[str, Any] = {"phase": pl.String, "phase_number": pl.Int64}
_SHARE: dict[str, Any] = {"replay_numerator": pl.Int64, "replay_denominator": pl.Int64}
"""Replay's share of the supervised tokens of a phase, as the recipe says; null without replay."""
_NO_SHARE: dict[str, Any] = dict.fromkeys(_SHARE)
_MIXTURE_PHASES: dict[str, Any] = (
    VERSION
    | _PHASE
    | {"curriculum": pl.String}
    | dict.fromkeys(("budget_tokens", "documents", "tokens", "supervised_tokens"), pl.Int64)
    | _SHARE
)
_MIXTURE_SOURCES: dict[str, Any] = VERSION | {
    **_PHASE,
    "source": pl.String,
    "is_replay": pl.Boolean,
    "objective": pl.String,
    "budget_tokens": pl.Int64,
    "available_documents": pl.Int64,
    "available_tokens": pl.Int64,
    "documents": pl.Int64,
    "unique_tokens": pl.Int64,
    "first_documents": pl.Int64,
    "first_tokens": pl.Int64,
    "tokens": pl.Int64,
    "supervised_tokens": pl.Int64,
    "max_repeats": pl.Int64,
}
_STEP = {"step": "(step + 1)::UINTEGER"}
"""Files count steps from 0; all that people read counts them from 1, as metrics and checkpoints do."""


def create_version_views(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, state: RecipeState | None, is_audit: bool
) -> None:
    """Create the views of VERSION_VIEWS; what is wrong with a version is raised by whoever reads them."""
    current = set(state.mixtures.values()) if state else set()
    mixtures, damage = readable_versions(workspace, current, is_audit)
    versions = [(mixture, version_columns(mixture, current)) for mixture in mixtures]
    _create_mixtures(connection, versions, damage)
    documents = [
        beside(version, mixture.folder / "documents.parquet", DOCUMENTS_SCHEMA, _phase_name(mixture.manifest))
        for mixture, version in versions
    ]
    columns = typed(VERSION | DOCUMENTS_SCHEMA | _PHASE)
    create_view(connection, "mixture_documents", failing(union(documents, columns), damage))
    spans = [
        beside(version, path, SCHEDULE_SCHEMA, _STEP)
        for mixture, version in versions
        if (path := workspace.schedule(mixture.manifest.schedule) / "schedule.parquet").is_file()
    ]
    create_view(connection, "spans", failing(union(spans, typed(VERSION | SCHEDULE_SCHEMA)), damage))


def version_columns(mixture: Mixture, current: Container[str]) -> dict[str, Any]:
    """Return the values of VERSION; `current`: the references a recipe ended with."""
    manifest = mixture.manifest
    return {"mixture": manifest.name, "version": manifest.version, "is_current": mixture.reference in current}


def _create_mixtures(
    connection: duckdb.DuckDBPyConnection, versions: list[tuple[Mixture, dict[str, Any]]], damage: str | None
) -> None:
    rows, sources, phases = [], [], []
    for mixture, version in versions:
        caps = {"max_repeats": mixture.manifest.config.get("max_repeats")}
        rows.append(version | _chosen(mixture.manifest, _MIXTURES) | caps)
        manifest, shares = mixture.manifest, _replay_shares(mixture.manifest)
        for row in manifest.sources:
            sources.append(version | _phase(manifest, row.phase) | _chosen(row, _MIXTURE_SOURCES))
        for number, phase in enumerate(manifest.phases):
            share = shares.get(phase.name) or _NO_SHARE
            phases.append(version | _phase(manifest, number) | _chosen(phase, _MIXTURE_PHASES) | share)
    tables = {
        "mixtures": (rows, _MIXTURES),
        "mixture_sources": (sources, _MIXTURE_SOURCES),
        "mixture_phases": (phases, _MIXTURE_PHASES),
    }
    for name, (content, schema) in tables.items():
        create_rows(connection, name, pl.DataFrame(content, schema=schema, orient="row"), damage)


def _replay_shares(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Return phase -> values of _SHARE, for the phases with replay; by name, as a takedown may leave a phase out."""
    from engine.mixture.config import Config

    if not manifest.config:
        return {}
    shares = {phase.name: phase.replay_share for phase in Config.model_validate(manifest.config).phase_list()}
    return {
        name: {"replay_numerator": share.numerator, "replay_denominator": share.denominator}
        for name, share in shares.items()
        if share
    }


def _phase(manifest: Manifest, number: int) -> dict[str, Any]:
    return {"phase": manifest.phases[number].name, "phase_number": number}


def _phase_name(manifest: Manifest) -> dict[str, str]:
    """Return column -> expression: the name of a document's phase beside its number."""
    names = ", ".join(text_literal(phase.name) for phase in manifest.phases)
    return {"phase": f"([{names}]::VARCHAR[])[phase + 1]", "phase_number": "phase::BIGINT"}


def _chosen(model: Manifest | MixtureSource | Phase, schema: Mapping[str, Any]) -> dict[str, Any]:
    asked = (name for name in schema if name not in VERSION | _PHASE and name in type(model).model_fields)
    chosen = {name: getattr(model, name) for name in asked}
    derived = chosen.get("derived_from")
    return chosen | {"derived_from": derived.reference} if isinstance(derived, Derivation) else chosen
