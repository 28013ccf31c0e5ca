"""The verbs about mixtures: list the versions, show one, verify one, print the schema of their manifests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.base.atomic import read_json
from engine.base.errors import AuditError, problem
from engine.formats.manifest import Manifest
from engine.formats.manifest_schema import published_schema
from engine.formats.mixture import Mixture, open_mixture, read_mixture, readable_versions, version_folder
from engine.formats.receipt import read_receipt
from engine.formats.state import read_state, recipe_names
from engine.formats.tokenizer import META as TOKENIZER_META
from engine.formats.tokenizer import TokenizerMeta, control_tokens_told
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from engine.mixture.verify import verify


def mixture_list(workspace: Path | str = DEFAULT_WORKSPACE) -> dict[str, Any]:
    """Return all versions of all mixtures of a workspace: {"mixtures": [...], "damaged": [...]}, by name and version.

    `current_for`: the recipes whose last run ended with the version. Versions of one name are numbered together,
    whichever recipe made them. `damaged`: one message for each version that is not listed because its files changed.
    """
    place = Workspace.open(workspace)
    current = _current(place)
    versions, damage = readable_versions(place)
    return {
        "mixtures": [_summary(mixture, current.get(mixture.reference, [])) for mixture in versions],
        "damaged": damage.splitlines() if damage is not None else [],
    }


def mixture_schema() -> dict[str, Any]:
    """Return the JSON schema of manifest.json (draft 2020-12)."""
    return published_schema()


def mixture_show(reference: str, workspace: Path | str = DEFAULT_WORKSPACE) -> dict[str, Any]:
    """Return the manifest of one version, and what follows from it.

    That is, per source its shares asked and reached (of the supervised tokens of its phase), what it is short of its
    budget (below 0: replay that another source left) and its repeated tokens; replay's share of supervised and of row
    tokens; packing; running_shares: how far each source is from its plan at worst, as the schedule says; control
    slots; recipes it is current for.
    `reference`: name, name@latest, name@v<number> or name@<digest>.
    """
    place = Workspace.open(workspace)
    mixture = open_mixture(place, reference)
    manifest = mixture.manifest.model_dump(mode="json")
    _add_shares(manifest)
    receipt = read_receipt(place.schedule(mixture.manifest.schedule))
    packing = {} if receipt is None else {key: value for key, value in receipt.details.items() if key != "files"}
    return {
        "reference": mixture.reference,
        "folder": str(mixture.folder),
        **manifest,
        "replay_share_reached": _replay(manifest["sources"], "supervised_tokens"),
        "replay_share_of_row_tokens": _replay(manifest["sources"], "tokens"),
        "rows_filled": _rows_filled(mixture.manifest),
        "running_shares": _running_shares(mixture.manifest, packing),
        "current_for": _current(place).get(mixture.reference, []),
        "control_slots": _control_slots(place.tokenizer(mixture.manifest.tokenizer) / TOKENIZER_META),
        "packing": packing,
    }


def _add_shares(manifest: dict[str, Any]) -> None:
    for row in manifest["sources"]:
        phase = [other for other in manifest["sources"] if other["phase"] == row["phase"]]
        row["short_of_budget_tokens"] = row["budget_tokens"] - row["supervised_tokens"]
        row["supervised_share"] = round(row["supervised_tokens"] / manifest["supervised_tokens"], 4)
        row["share_asked"] = _share(row, phase, "budget_tokens")
        row["share_reached"] = _share(row, phase, "supervised_tokens")
        row["repeated_tokens"] = row["tokens"] - row["unique_tokens"]
    for number, phase_row in enumerate(manifest["phases"]):
        phase_row["replay_share_reached"] = _replay(
            [row for row in manifest["sources"] if row["phase"] == number], "supervised_tokens"
        )


def _running_shares(manifest: Manifest, packing: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per phase, source and role; none where the schedule was collected by `gc`. In supervised tokens.

    largest_deviation: of what it gave so far from its share of all so far, at the end of any step. longest_document:
    its own. bound: what it has to stay within, the labels of that document (bound_by: source), or of the longest
    piece of all sources (bound_by: mixture), where the packing could not keep the first.
    """
    bounds = {phase["phase"]: phase["share_bound"] for phase in packing.get("phases", ())}
    return [
        {
            "phase": manifest.phases[row["phase"]].name,
            "source": row["source"],
            "is_replay": row["is_replay"],
            "bound_by": bounds[row["phase"]],
            "bound": row["bound"],
            "longest_document": row["longest_document"],
            "largest_deviation": row["largest_deviation"],
            "is_kept": row["largest_deviation"] <= row["bound"],
        }
        for row in packing.get("sources", ())
    ]


def _rows_filled(manifest: Manifest) -> float | None:
    """Return which part of the tokens of all rows is no padding."""
    slots = manifest.num_steps * manifest.rows_per_step * manifest.row_tokens
    return round(manifest.tokens / slots, 4) if slots else None


def _control_slots(path: Path) -> list[dict[str, Any]]:
    """Return where the control tokens of a recipe have their ids, none where the tokenizer is gone."""
    return control_tokens_told(TokenizerMeta.model_validate(read_json(path))) if path.is_file() else []


def mixture_verify(reference: str, workspace: Path | str = DEFAULT_WORKSPACE) -> dict[str, Any]:
    """Compute the digests of one version and of what it was made from anew, and return what was checked.

    That covers the version itself, its tokenizer, token store, schedule, selection, held-out sets, benchmarks, the
    search of the decoded tokens, and where its state.json names them the documents of its sources, the coverage sheet
    and the models that stages learnt (engine.mixture.verify). Raises AuditError that lists everything that does not
    hold, InputError where there is no such version.
    """
    place = Workspace.open(workspace)
    try:
        mixture = read_mixture(version_folder(place, reference), is_checked=False)
    except (ValueError, OSError) as error:  # no JSON, or no manifest; pydantic's errors are ValueErrors too
        damage = f"a manifest of this mixture cannot be read ({str(error).splitlines()[0]})"
        fix = "restore it, or delete the version and run the recipe"
        raise AuditError(problem(reference, damage, fix=fix)) from error
    checked, found = verify(place, mixture)
    if found:
        raise AuditError("\n".join([f"{mixture.reference}: does not hold, {len(found)} found:", *found]))
    return {"reference": mixture.reference, "digest": mixture.manifest.digest, "checked": checked}


def _current(workspace: Workspace) -> dict[str, list[str]]:
    """Return name@v<version> -> the recipes whose last run ended with it."""
    found: dict[str, list[str]] = {}
    for recipe in recipe_names(workspace):
        state = read_state(workspace, recipe)
        for reference in state.mixtures.values() if state is not None else ():
            found.setdefault(reference, []).append(recipe)
    return found


def _share(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], key: str) -> float:
    whole = sum(other[key] for other in rows)
    return round(row[key] / whole, 4) if whole else 0.0


def _replay(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    """Return replay's part of a number of tokens."""
    whole = sum(row[key] for row in rows)
    return round(sum(row[key] for row in rows if row["is_replay"]) / whole, 4) if whole else 0.0


def _summary(mixture: Mixture, current_for: list[str]) -> dict[str, Any]:
    manifest = mixture.manifest
    sources = manifest.model_dump(mode="json")["sources"]
    derived = manifest.derived_from
    return {
        "reference": mixture.reference,
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.digest,
        "recipe": manifest.recipe,
        "current_for": current_for,
        "derived_from": derived.reference if derived is not None else None,
        "how": derived.how if derived is not None else None,
        "phases": [phase.name for phase in manifest.phases],
        "documents": manifest.documents,
        "tokens": manifest.tokens,
        "supervised_tokens": manifest.supervised_tokens,
        "replay_share": manifest.replay_share,
        "replay_share_reached": _replay(sources, "supervised_tokens"),
        "n_eff_before": manifest.n_eff_before,
        "n_eff_after": manifest.n_eff_after,
        "num_steps": manifest.num_steps,
    }
