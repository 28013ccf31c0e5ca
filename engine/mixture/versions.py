"""The verbs about mixtures: list the versions, show one, verify one."""

from pathlib import Path
from typing import Any

from engine.base.atomic import read_json
from engine.base.errors import AuditError, problem
from engine.formats.manifest import Mixture, mixture_names, mixture_versions, open_mixture, read_mixture, version_folder
from engine.formats.receipt import read_receipt
from engine.formats.tokenizer import META as TOKENIZER_META
from engine.formats.tokenizer import TokenizerMeta, control_tokens_told
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from engine.mixture.verify import verify


def mixture_list(workspace: Path | str = DEFAULT_WORKSPACE) -> dict[str, Any]:
    """Return all versions of all mixtures of a workspace: {"mixtures": [...]}, by name and version."""
    place = Workspace.open(workspace)
    names = mixture_names(place)
    return {"mixtures": [_summary(mixture) for name in names for mixture in mixture_versions(place, name)]}


def mixture_show(reference: str, workspace: Path | str = DEFAULT_WORKSPACE) -> dict[str, Any]:
    """Return the manifest of one version, what each source is short of its budget, and how its rows are packed.

    `reference`: name, name@latest, name@v<number> or name@<digest>.
    """
    place = Workspace.open(workspace)
    mixture = open_mixture(place, reference)
    manifest = mixture.manifest.model_dump(mode="json")
    for row in manifest["sources"]:
        row["short_of_budget_tokens"] = row["budget_tokens"] - row["supervised_tokens"]
        row["supervised_share"] = round(row["supervised_tokens"] / manifest["supervised_tokens"], 4)
        row["repeated_tokens"] = row["tokens"] - row["unique_tokens"]
    receipt = read_receipt(place.schedule(mixture.manifest.schedule))
    packing = {} if receipt is None else {key: value for key, value in receipt.details.items() if key != "files"}
    tokenizer = place.tokenizer(mixture.manifest.tokenizer) / TOKENIZER_META
    told = {}
    if tokenizer.is_file():
        told["control_tokens"] = control_tokens_told(TokenizerMeta.model_validate(read_json(tokenizer)))
    return {"reference": mixture.reference, "folder": str(mixture.folder), **manifest, **told, "packing": packing}


def mixture_verify(reference: str, workspace: Path | str = DEFAULT_WORKSPACE) -> dict[str, Any]:
    """Compute every digest of one version anew and return what was checked.

    That covers the version itself, its tokenizer, token store, schedule, selection and split. Raises AuditError that
    lists everything that does not hold, InputError where there is no such version.
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


def _summary(mixture: Mixture) -> dict[str, Any]:
    manifest = mixture.manifest
    return {
        "reference": mixture.reference,
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.digest,
        "documents": manifest.documents,
        "tokens": manifest.tokens,
        "supervised_tokens": manifest.supervised_tokens,
        "replay_share": manifest.replay_share,
        "n_eff_before": manifest.n_eff_before,
        "n_eff_after": manifest.n_eff_after,
        "num_steps": manifest.num_steps,
    }
