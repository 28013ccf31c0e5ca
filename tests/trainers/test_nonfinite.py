import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.base.errors import AuditError
from engine.formats.training_rows import TrainingRows
from engine.formats.workspace import Workspace
from trainers.language_model import LanguageModel
from trainers.nonfinite import worst_documents
from trainers.optim import MasterOptimizer
from trainers.recipe import OptimizerConfig
from trainers.train import train

STEP = 13


def naive_nats(rows: TrainingRows, nats: np.ndarray) -> dict[str, list[float]]:
    """Nats by document of one step, span by span."""
    names = rows.mixture.documents().sort("document").get_column("doc_id")
    step_rows, found, at = rows.step(STEP), {}, 0
    for document, start, stop in zip(step_rows.document, *(step_rows.bounds[k:] for k in (0, 1)), strict=False):
        labels = int(step_rows.is_label[start:stop].sum())
        found.setdefault(names[int(document)].hex(), []).extend(nats[at : at + labels])
        at += labels
    return {document: parts for document, parts in found.items() if parts}


def test_nats_are_added_up_by_document_worst_mean_first(rows: TrainingRows) -> None:
    step_rows = rows.step(STEP)
    nats = np.random.default_rng(1).exponential(size=step_rows.step_labels)
    expected = naive_nats(rows, nats)
    found = worst_documents(rows, step_rows, nats)
    assert {d["doc_id"]: (d["labels"], d["nats"]) for d in found} == {
        document: (len(parts), pytest.approx(sum(parts), abs=1e-4)) for document, parts in expected.items()
    }
    means = [d["nats"] / d["labels"] for d in found]
    assert means == sorted(means, reverse=True)
    assert {d["source"] for d in found} <= {"docs", "code"}


def test_documents_that_are_no_number_come_first(rows: TrainingRows) -> None:
    step_rows = rows.step(STEP)
    owners = step_rows.of_tokens(step_rows.document)[step_rows.is_label]
    chosen = owners[len(owners) // 2]
    nats = np.where(owners == chosen, np.nan, 1e6)
    first, second = worst_documents(rows, step_rows, nats)[:2]
    names = rows.mixture.documents().sort("document").get_column("doc_id")
    assert (first["doc_id"], first["nats"]) == (names[int(chosen)].hex(), "nan")
    assert second["nats"] > 1e6


def poison(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Make loss or gradient of the 14th step no number."""
    original, calls = LanguageModel.forward, []

    def poisoned(self: LanguageModel, batch: Any) -> Any:
        summed, nats = original(self, batch)
        calls.extend([1] * torch.is_grad_enabled())
        if len(calls) != STEP + 1 or not torch.is_grad_enabled():
            return summed, nats
        factor = {"loss": float("nan"), "gradient": float("inf")}[what]
        if what == "loss":
            nats = nats.clone()
            nats[5] = factor
        return summed * factor, nats

    monkeypatch.setattr(LanguageModel, "forward", poisoned)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_run_stops_names_the_documents_and_keeps_its_checkpoint(
    workspace: Workspace, recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, rows: TrainingRows, what: str
) -> None:
    with monkeypatch.context() as patched:
        poison(patched, what)
        with pytest.raises(AuditError) as raised:
            train(recipe(probes=None), workspace.root)
    folder = workspace.run("tiny")
    told = json.loads((folder / "nonfinite.json").read_text())
    assert f"step {STEP + 1}: " in str(raised.value)
    assert told["documents"][0]["doc_id"] in str(raised.value)
    assert f"all {len(told['documents'])} are in nonfinite.json; the checkpoint of step 10 stands" in str(raised.value)
    assert (told["step"], told["grad_norm"]) == (STEP + 1, "nan")
    assert len(told["documents"]) == len(naive_nats(rows, np.zeros(rows.step(STEP).step_labels)))
    # Nothing of the step is left, and without its cause the run goes on.
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-000010"]
    assert train(recipe(probes=None), workspace.root)["steps"] == 20


def test_probe_that_is_no_number_stops_the_run_and_is_named(
    workspace: Workspace, recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = LanguageModel.forward

    def poisoned(self: LanguageModel, batch: Any) -> Any:
        summed, nats = original(self, batch)
        return summed, nats if torch.is_grad_enabled() or len(batch.edges) < 4 else nats * float("nan")

    monkeypatch.setattr(LanguageModel, "forward", poisoned)
    with pytest.raises(AuditError, match=r"after 0 steps \d+ held-out documents .* [0-9a-f]{32} of \w+ the first"):
        train(recipe(), workspace.root)


def test_gradient_that_is_no_number_never_reaches_the_weights() -> None:
    model = torch.nn.Linear(4, 4)
    before = model.weight.detach().clone()
    adam = MasterOptimizer(model, dict(model.named_parameters()), OptimizerConfig(), torch.float32)
    model.weight.grad, model.bias.grad = torch.full((4, 4), float("nan")), torch.zeros(4)
    assert np.isnan(adam.step(0.1))
    assert torch.equal(model.weight, before)
    assert adam.state() == {}
