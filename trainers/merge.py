"""The verb `merge`: the adapter of a run becomes part of its base, in a folder that plain transformers loads.

The base is loaded anew in the type its folder names, never in 4 bits: adding to quantised weights would quantise the
sum again. What a base in 4 bits was to the adapter is therefore gone after the merge, and so is the rounding of a base
that was trained as bf16; both are measured, on what was written and read back: the difference between (base as trained
+ adapter) and the folder, in logits and in nats per token of real documents.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.base.atomic import atomic_folder, read_json, write_json
from engine.base.errors import AuditError, InputError, RecipeError, problem
from engine.base.progress import progress
from engine.formats.huggingface_tokenizer import BESIDE
from engine.formats.mixture import open_mixture
from engine.formats.run import Run, open_run, require_finished
from engine.formats.split import Split
from engine.formats.token_store import open_token_store
from engine.formats.tokenizer import FILES, Tokenizer, load_tokenizer
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from trainers.adapters import open_adapter
from trainers.generation import GENERATION
from trainers.language_model import LanguageModel
from trainers.lineage import ADAPTER_FILE, LINEAGE_FILE, Base, resolve_base
from trainers.model import choose_device, hide_progress, load_base, load_folder
from trainers.probes import probe_documents
from trainers.quantised import load_quantised
from trainers.recipe import BaseConfig, ProbesConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
COMPARED_DOCUMENTS, COMPARED_TOKENS = 16, 128
"""Documents the gap is measured on, and the tokens of each that are taken at most."""
LARGEST_GAP = {"nf4": 0.5, None: 0.1}
"""Nats per token by which the merged model may differ from what was trained, by how its base was quantised. Measured on
SmolLM2-135M: 0.22 for NF4 (the merged model being better), 0.02 where only bf16 rounds, nothing in fp32."""
Measured = tuple[list[torch.Tensor], torch.Tensor]
"""States of each document, [T, H], and the head, [V, H], on the CPU: the logits of all at once would be too many."""


@dataclass(frozen=True)
class Trained:
    """A finished run that trained an adapter."""

    run: Run
    base: Base
    """What the adapter stands on."""
    tokenizer: Tokenizer
    workspace: Workspace

    def load(self, dtype: torch.dtype, device: torch.device, quantised: str | None) -> Any:
        """Return the base, loaded as `dtype`, or as NF4 where `quantised`."""
        rows, seed = self.run.content["mixture"]["row_tokens"], self.base.seed
        if quantised:
            return load_quantised(self.base, self.tokenizer, rows, seed, dtype, device)
        load = partial(load_folder, dtype=dtype)
        return load_base(self.base, self.tokenizer, rows, seed, load).to(device, dtype)


def merge(
    run: str, out: Path | str, workspace: Path | str = DEFAULT_WORKSPACE, dtype: str | None = None
) -> dict[str, Any]:
    """Write the base of a finished run with the run's adapter merged into it, and say how far it is from the run.

    Args:
        run: A run that trained lora, qlora or ia3.
        out: Folder to be made: weights, config, tokenizer, chat template, how it is asked and when it stops
            (generation_config.json), what lies behind it (lineage.json), merge.json (what is returned).
        workspace: Folder of all artifacts.
        dtype: fp32, bf16 or fp16; default: what config.json of the base says, else fp32.

    Returns:
        run, folder, dtype, base, tensors_changed, change_norm and relative_change (Frobenius norms over the changed
        tensors), and the gap: documents, tokens, nats_per_token of both, max_logit_difference, mean_logit_difference.

    Raises:
        InputError: no such run, unfinished, or nothing to merge. RecipeError: `out` is taken. AuditError: the adapter
        changed nothing, or the merged model is not the trained one.
    """
    folder = Path(out)
    if folder.exists():
        found = "there is something already"
        raise RecipeError(problem(folder, found, "a folder that is not there", "choose another --out"))
    trained = _open(run, Workspace.open(workspace))
    target = DTYPES[dtype] if dtype else _stored_dtype(trained.base)
    device, documents = choose_device(), _documents(trained)
    hide_progress()
    with progress(f"measuring {run} as it was trained"):
        before = _measure_trained(trained, documents, device)
    with progress(f"merging {run}"), atomic_folder(folder) as temporary:
        changes = _write_merged(trained, target, temporary)
        merged = LanguageModel(load_folder(temporary, target).to(device))
        quantised = trained.run.content["model"].get("quantised")
        gap = _compare(before, _measured(merged, documents, device), documents)
        base = trained.base.described() | {"quantised": quantised}
        result = {"run": run, "folder": str(folder), "dtype": _name_of(target), "base": base, **changes, **gap}
        _require_small(result, LARGEST_GAP[quantised])
        write_json(temporary / "merge.json", result)
    return result


def show_merge(result: dict[str, Any]) -> str:
    """Return what was merged and how far it is from what was trained, for a terminal."""
    return "\n".join(
        [
            f"{result['run']} merged into {result['base']['name']} ({result['dtype']}): "
            f"{result['tensors_changed']} tensors changed by {100 * result['relative_change']:.3g} % of their norm",
            f"  gap to the adapter on {result['documents']} documents, {result['tokens']:,} tokens: "
            f"{result['nats_per_token_trained']:.4f} -> {result['nats_per_token_merged']:.4f} nats per token, logits "
            f"differ by {result['mean_logit_difference']:.2g} (mean), {result['max_logit_difference']:.2g} (max)",
            f"  {result['folder']}",
        ]
    )


def _open(name: str, workspace: Workspace) -> Trained:
    run = require_finished(open_run(workspace, name))
    if not (run.folder / "final" / ADAPTER_FILE).is_file():
        found, fix = "all weights were trained, there is no adapter", f"use {run.folder / 'final'} as it is"
        raise InputError(problem(run.folder, found, "a run of method lora, qlora or ia3", fix))
    tokenizer = load_tokenizer(workspace.tokenizer(run.content["mixture"]["tokenizer"]))
    base = resolve_base(BaseConfig(run=name), workspace, Path(), tokenizer, seed=0)
    assert base.parent is not None
    return Trained(run, base.parent, tokenizer, workspace)


def _stored_dtype(base: Base) -> torch.dtype:
    while base.parent is not None:
        base = base.parent
    if base.folder is None:
        return torch.float32
    config = read_json(base.folder / "config.json")
    name = config.get("dtype") or config.get("torch_dtype")
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name, torch.float32)


def _name_of(dtype: torch.dtype) -> str:
    return next(name for name, other in DTYPES.items() if other == dtype)


def _documents(trained: Trained) -> list[np.ndarray]:
    """Return the ids of some documents: of the run's held-out sets, else of its mixture."""
    mixture = trained.run.content["mixture"]
    probes = ProbesConfig.model_validate(trained.run.content["recipe"]["probes"])
    if probes.sets and mixture["split"]:
        each = probes.model_copy(update={"max_documents": -(-COMPARED_DOCUMENTS // len(probes.sets))})
        split = Split(trained.workspace.split(mixture["split"]), mixture["split"])
        found = [document.ids for document in probe_documents(each, split, trained.tokenizer)]
    else:
        manifest = open_mixture(trained.workspace, mixture["reference"]).manifest
        store = open_token_store(trained.workspace.tokens(manifest.token_store))
        places = store.documents().head(COMPARED_DOCUMENTS).select("offset", "num_tokens").iter_rows()
        found = [store.ids[start : start + length] for start, length in places]
    return [ids[:COMPARED_TOKENS].astype(np.int64) for ids in found[:COMPARED_DOCUMENTS] if len(ids) > 1]


@torch.no_grad()
def _measured(model: LanguageModel, documents: list[np.ndarray], device: torch.device) -> Measured:
    model.eval()
    states = []
    for ids in documents:
        positions = torch.arange(len(ids), device=device)[None]
        states.append(model.states(torch.from_numpy(ids)[None].to(device), positions)[0].cpu())
    return states, model.head.detach().cpu().clone()


def _measure_trained(trained: Trained, documents: list[np.ndarray], device: torch.device) -> Measured:
    described = trained.run.content["model"]
    causal = trained.load(getattr(torch, described["precision"]), device, described.get("quantised"))
    adapted = open_adapter(causal, trained.run.folder / "final")
    return _measured(LanguageModel(causal, adapted), documents, device)


def _write_merged(trained: Trained, dtype: torch.dtype, folder: Path) -> dict[str, Any]:
    """Merge in memory, layer by layer, write a Hugging Face folder; return how much changed."""
    # Rounded once, after the sum: a base that is stored wider than it is wanted is merged as it is stored.
    exact = torch.promote_types(dtype, _stored_dtype(trained.base))
    adapted = open_adapter(trained.load(exact, torch.device("cpu"), None), trained.run.folder / "final")
    number, change, whole = 0, 0.0, 0.0
    for name, before, after in _merge_layers(adapted):
        difference = float((after.double() - before.double()).norm())
        if not np.isfinite(difference):
            raise AuditError(problem(trained.run.folder, f"the merged {name} is not finite", "finite weights"))
        if difference > 0:
            number, change = number + 1, float(np.hypot(change, difference))
            whole = float(np.hypot(whole, float(before.double().norm())))
    if not number:
        found, fix = "merging the adapter changed no weight", "train it longer, or with a higher learning rate"
        raise AuditError(problem(trained.run.folder, found, "at least one tensor that changes", fix))
    adapted.unload().to(dtype).save_pretrained(folder)
    final = trained.run.folder / "final"
    # Behind the weights: save_pretrained writes how the base is asked, which stops where the base does.
    for name in (*FILES.values(), *BESIDE, GENERATION, LINEAGE_FILE):
        if (final / name).is_file():
            shutil.copyfile(final / name, folder / name)
    return {"tensors_changed": number, "change_norm": change, "relative_change": change / whole}


def _merge_layers(adapted: Any) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Merge the adapter into one layer after the other; yield name, tensor before and after; experts have several."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in adapted.named_modules():
        if isinstance(module, BaseTunerLayer):
            layer = module.get_base_layer()
            before = {key: parameter.detach().clone() for key, parameter in layer.named_parameters()}
            module.merge()
            for key, tensor in before.items():
                yield f"{name}.{key}", tensor, layer.get_parameter(key).detach()


def _compare(trained: Measured, merged: Measured, documents: list[np.ndarray]) -> dict[str, Any]:
    nats, largest, means = np.zeros(2), 0.0, []
    for number, ids in enumerate(documents):
        pair = [(states[number] @ head.t()).float() for states, head in (trained, merged)]
        wanted = torch.from_numpy(ids)[1:]
        nats += [float(torch.nn.functional.cross_entropy(one[:-1], wanted, reduction="sum")) for one in pair]
        difference = (pair[0] - pair[1]).abs()
        largest = max(largest, float(difference.max()))
        means.append(float(difference.mean()))
    lengths = [len(ids) for ids in documents]
    labels = sum(lengths) - len(lengths)
    return {
        "documents": len(documents),
        "tokens": labels,
        "nats_per_token_trained": float(nats[0] / labels),
        "nats_per_token_merged": float(nats[1] / labels),
        "max_logit_difference": largest,
        "mean_logit_difference": float(np.average(means, weights=lengths)),
    }


def _require_small(result: dict[str, Any], largest: float) -> None:
    gap = abs(result["nats_per_token_merged"] - result["nats_per_token_trained"])
    if not gap <= largest:
        found = (
            f"{result['nats_per_token_merged']:.4f} nats per token merged, "
            f"{result['nats_per_token_trained']:.4f} as it was trained"
        )
        other = "on a base in 4 bits" if result["base"]["quantised"] else "or merge with --dtype fp32"
        fix = f"use the adapter without merging it, {other}"
        raise AuditError(problem(result["run"], found, f"the same within {largest:g}", fix))
