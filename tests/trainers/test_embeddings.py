from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.formats.workspace import Workspace
from trainers.embeddings import sum_in_fp32
from trainers.job import resolve_job
from trainers.prepare import prepare
from trainers.world import World


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_gradient_of_an_embedding_is_the_sum_over_its_places(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(7, 4).to(dtype)
    sum_in_fp32(embedding)
    ids, weights = torch.randint(0, 5, (30, 100)), torch.randn(30, 100, 4).to(dtype) + 0.5
    rows = embedding(ids)
    assert torch.equal(rows, embedding.weight[ids])
    (rows * weights).sum().backward()
    expected = torch.zeros(7, 4, dtype=torch.float64).index_add_(0, ids.flatten(), weights.flatten(0, 1).double())
    torch.testing.assert_close(
        embedding.weight.grad.double(), expected, rtol=max(1e-5, 2 * torch.finfo(dtype).eps), atol=1e-4
    )


def test_frozen_embeddings_have_no_gradient() -> None:
    embedding = torch.nn.Embedding(7, 4).bfloat16().requires_grad_(False)
    sum_in_fp32(embedding)
    assert not embedding(torch.zeros(2, dtype=torch.int64)).requires_grad


def test_embeddings_of_a_run_in_bf16_are_summed_so(workspace: Workspace, recipe: Callable[..., Path]) -> None:
    job = resolve_job(recipe(precision="bf16", probes=None), workspace, None)
    embeddings = prepare(job, World(torch.device("cpu"))).model.causal.get_input_embeddings()
    embeddings(torch.full((3000,), 3)).sum().backward()
    assert float(embeddings.weight.grad[3, 0]) == pytest.approx(3000, rel=0.01)
