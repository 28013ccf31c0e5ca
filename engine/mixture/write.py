"""Writes a planned mixture as a version, which never changes.

The digest names the content, which is what is trained on and what is promised of it: the documents in their order with
their texts, control tokens, uses and roles; tokenizer, render options, configuration and split; the sources with their
inputs, budgets and licences; what the documents were searched for; what a takedown or an extension changed.

Names, numbers, the recipe, the token store, the selection and the schedule are not content. They hold documents that
the mixture does not use, and change with them; so the same content again is the old version, whatever else a recipe
builds. A version keeps the token store and the schedule it was written with.

A version that awaits its audits has an empty file `unaudited`: until they hold nobody finds it but they and who would
build the same again (engine.run.audits).
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from engine.base.atomic import atomic_folder, write_json
from engine.base.hashing import digest_file, digest_json
from engine.base.stage import StrictModel
from engine.formats.manifest import Audit, Derivation, HeldOutSet, Manifest, MixtureSource, SearchedBenchmark
from engine.formats.mixture import UNAUDITED, Mixture, read_mixture, version_folders
from engine.formats.parquet import write_parquet
from engine.formats.receipt import NAME as RECEIPT
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.schedule import ScheduleMeta
from engine.formats.state import RecipeState
from engine.formats.token_store import TokenStore
from engine.formats.workspace import Workspace
from engine.formats.workspace_lock import only_writer
from engine.mixture.build import MixturePlan, documents_digest, texts_digest

VERSION = 1
FILES = ("manifest.json", "documents.parquet", "ledger.parquet")
_OF_CHATS = {"template", "template_digest", "grow", "date"}
"""Render options that change nothing where there are no chats."""
_NOT_CONTENT: dict[str, Any] = {
    **dict.fromkeys(("name", "version", "digest", "recipe", "recipe_digest", "schedule", "num_steps"), True),
    **dict.fromkeys(("token_store", "selection", "audit", "render"), True),  # render: `_render_of`
    "derived_from": {"reference", "reason"},
    "held_out": {"__all__": {"contaminated_documents"}},  # over all sources
}


class MixtureInputs(StrictModel):
    """What a version was made from, besides its part of the recipe."""

    recipe: str = Field(description="name of the data recipe")
    recipe_digest: str = Field(default="", description="digest of the whole recipe")
    derived_from: Derivation | None = None
    tokenizer: str = Field(description="digest")
    token_store: str = Field(description="digest")
    template: str | None = Field(default=None, description="name of the chat template")
    render: dict[str, Any] = Field(default_factory=dict, description="how documents became ids (StoreMeta.render)")
    control_tokens: dict[str, int] = Field(default_factory=dict, description="control token -> id")
    selection: str = Field(description="digest")
    split: str | None = Field(default=None, description="digest")
    held_out: list[HeldOutSet] = Field(default_factory=list)
    benchmarks: list[SearchedBenchmark] = Field(default_factory=list)
    coverage: str | None = Field(default=None, description="digest of the coverage sheet")
    audit: Audit | None = None
    models: dict[str, str] = Field(default_factory=dict, description="column prefix -> digest of its model's files")


def write_version(
    workspace: Workspace,
    plan: MixturePlan,
    manifest: Manifest,
    schedule: ScheduleMeta,
    state: RecipeState | None = None,
    awaits_audits: bool = False,
) -> Mixture:
    """Write the plan as the next version of its mixture, or return the version that has this content already.

    Args:
        workspace: Folder of all artifacts.
        plan: What the version uses.
        manifest: What `planned_manifest` said of it.
        schedule: Made from the plan's documents.
        state: Where the artifacts lie that it was made from; no content.
        awaits_audits: Whether nobody may use it yet; one that was there before stays as it is.
    """
    assert schedule.mixture == plan.order_digest, "the schedule was made from these documents"
    return write_content(workspace, scheduled(manifest, schedule), plan.documents, plan.ledger, state, awaits_audits)


def scheduled(manifest: Manifest, schedule: ScheduleMeta) -> Manifest:
    """Return the manifest with its schedule, which changes no digest."""
    assert schedule.token_store == manifest.token_store, "the schedule was made from this token store"
    return manifest.model_copy(update={"schedule": schedule.digest, "num_steps": schedule.num_steps})


def write_content(
    workspace: Workspace,
    manifest: Manifest,
    documents: pl.DataFrame,
    ledger: pl.DataFrame,
    state: RecipeState | None,
    awaits_audits: bool = False,
) -> Mixture:
    """Write a manifest, whatever its version, as the next one, or return the version that has this content already."""
    started = time.monotonic()
    folder = workspace.root / "mixtures" / manifest.name
    with only_writer(folder):
        known = find_version(workspace, manifest)
        if known is not None:
            return known
        number = 1 + max((int(path.name[1:]) for path in folder.glob("v*") if path.name[1:].isdigit()), default=0)
        manifest = manifest.model_copy(update={"version": number})
        with atomic_folder(workspace.mixture(manifest.name, number)) as temporary:
            write_json(temporary / "manifest.json", manifest.model_dump(mode="json"))
            if state is not None:
                write_json(temporary / "state.json", state.model_dump(mode="json"))
            write_parquet(temporary / "documents.parquet", documents)
            write_parquet(temporary / "ledger.parquet", ledger)
            if awaits_audits:
                (temporary / UNAUDITED).touch()
            _sign(temporary, manifest, documents_digest(documents), _referred(workspace, manifest), started)
    return read_mixture(workspace.mixture(manifest.name, number))


def find_version(workspace: Workspace, manifest: Manifest) -> Mixture | None:
    """Return the version that has this content already, also one that awaits its audits; None where there is none.

    It goes by the receipts, so that a damaged other version is in nobody's way.
    """
    for folder in version_folders(workspace, manifest.name, unaudited=True).values():
        receipt = read_receipt(folder)
        if receipt is not None and receipt.digest == manifest.digest:
            return read_mixture(folder)
    return None


def content_digest(manifest: Manifest, documents: str) -> str:
    """Digest of a version's content; `documents`: engine.mixture.build.documents_digest of its documents."""
    said = manifest.model_dump(mode="json", exclude=_NOT_CONTENT)
    return digest_json({"manifest": said, "render": _render_of(manifest), "documents": documents})


def _render_of(manifest: Manifest) -> dict[str, Any]:
    """Return how the documents of this version became ids, without what the recipe says of other sources."""
    render = dict(manifest.render)
    if render.get("objective"):
        used = {row.source for row in manifest.sources}
        render["objective"] = {source: what for source, what in render["objective"].items() if source in used}
    if manifest.template is None:
        render = {name: value for name, value in render.items() if name not in _OF_CHATS}
    return render


def planned_manifest(plan: MixturePlan, inputs: MixtureInputs, store: TokenStore) -> Manifest:
    """Return the manifest of a plan with its digest, but for its version and its schedule.

    store: the token store that `inputs` names; the texts of the documents are known there.
    """
    assert store.meta.digest == inputs.token_store, "the token store of the inputs"
    config = plan.config
    manifest = Manifest(
        name=plan.name,
        version=0,
        digest="",
        **inputs.model_dump(),
        seed=config.seed,
        curriculum=plan.curriculum,
        phases=plan.phases,
        replay_share=plan.replay_share,
        sources=with_first_uses(plan.sources, plan.documents),
        documents=plan.documents["doc_id"].n_unique(),
        tokens=sum(row.tokens for row in plan.sources),
        supervised_tokens=sum(row.supervised_tokens for row in plan.sources),
        licenses=plan.licenses,
        texts=texts_digest(plan.documents, store),
        n_eff_before=plan.n_eff_before,
        n_eff_after=plan.n_eff_after,
        n_eff_documents_before=plan.n_eff_documents_before,
        n_eff_documents_after=plan.n_eff_documents_after,
        schedule="",
        row_tokens=config.row_tokens,
        rows_per_step=config.rows_per_step,
        num_steps=0,
        config=config.model_dump(mode="json"),
    )
    return manifest.model_copy(update={"digest": content_digest(manifest, documents_digest(plan.documents))})


def with_first_uses(sources: Iterable[MixtureSource], documents: pl.DataFrame) -> list[MixtureSource]:
    """Return the rows of the sources with the documents and tokens that no row before them uses.

    documents: DOCUMENTS_SCHEMA; one that is used in several phases counts where it is used first.
    """
    first = documents.unique("doc_id", keep="first", maintain_order=True)
    sums = first.group_by("source", "is_replay", "phase").agg(pl.len(), pl.col("num_tokens").cast(pl.Int64).sum())
    found = {(source, replay, phase): counts for source, replay, phase, *counts in sums.iter_rows()}
    rows = []
    for row in sources:
        count, tokens = found.get((row.source, row.is_replay, row.phase), (0, 0))
        rows.append(row.model_copy(update={"first_documents": count, "first_tokens": tokens}))
    return rows


def _referred(workspace: Workspace, inputs: Manifest) -> dict[str, str]:
    """Path in the workspace -> digest of the files it refers to whose own receipts may not name them."""
    folders = [workspace.tokenizer(inputs.tokenizer)]
    folders += [workspace.split(inputs.split)] if inputs.split is not None else []
    folders += [workspace.benchmark(benchmark.name, benchmark.stored) for benchmark in inputs.benchmarks]
    paths = [path for folder in folders for path in sorted(folder.glob("*")) if path.name != RECEIPT and path.is_file()]
    return {path.relative_to(workspace.root).as_posix(): digest_file(path) for path in paths}


def _sign(folder: Path, manifest: Manifest, documents: str, referred: dict[str, str], started: float) -> None:
    files = [*FILES, *(name for name in ("state.json",) if (folder / name).is_file())]
    receipt = Receipt(
        made_by=f"mixture/{VERSION}",
        digest=manifest.digest,
        inputs={
            "documents": documents,
            "tokenizer": manifest.tokenizer,
            "token_store": manifest.token_store,
            "selection": manifest.selection,
            **({"split": manifest.split} if manifest.split is not None else {}),
        },
        config=manifest.config,
        rows=manifest.documents,
        seconds=round(time.monotonic() - started, 3),
        details={
            "schedule": manifest.schedule,
            "files": {name: digest_file(folder / name) for name in files},
            "bytes": {name: (folder / name).stat().st_size for name in files},
            "refers_to": referred,
        },
    )
    write_receipt(folder, receipt)
