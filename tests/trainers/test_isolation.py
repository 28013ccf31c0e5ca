from itertools import pairwise
from typing import Any

import pytest
import torch

from engine.base.errors import AuditError
from engine.formats.tokenizer import Tokenizer
from engine.formats.training_rows import TrainingRows
from trainers.adapters import add_adapters
from trainers.data import micro_batches
from trainers.isolation import prove_isolation
from trainers.language_model import LanguageModel
from trainers.lineage import Base
from trainers.model import load_base
from trainers.recipe import TinyConfig, TuningConfig

CPU = torch.device("cpu")


@pytest.fixture
def model(tokenizer: Tokenizer) -> LanguageModel:
    tiny = TinyConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64)
    return LanguageModel(load_base(Base("tiny", "tiny", "", tiny=tiny), tokenizer, 64, seed=3))


def force(model: LanguageModel, **given: Any) -> None:
    """Make every call of the model's body carry these arguments."""
    body, original = model.causal.base_model, model.causal.base_model.forward

    def forward(input_ids: torch.Tensor, **arguments: Any) -> Any:
        values = {name: value(input_ids) if callable(value) else value for name, value in given.items()}
        return original(input_ids=input_ids, **(arguments | values))

    body.forward = forward


def test_documents_of_one_row_are_isolated(model: LanguageModel, rows: TrainingRows) -> None:
    proof = prove_isolation(model, rows, CPU)
    assert proof["documents_isolated"]
    assert proof["spans"] > 1


def test_proof_holds_with_dropout_and_leaves_the_mode(model: LanguageModel, rows: TrainingRows) -> None:
    model = add_adapters(model.causal, TuningConfig(method="lora", r=4, dropout=0.5), seed=1)
    assert prove_isolation(model.train(), rows, CPU)["documents_isolated"]
    assert model.training


@pytest.mark.parametrize(
    "given", [{"use_cache": True}, {"attention_mask": torch.ones_like}], ids=["cache", "mask of ones"]
)
def test_model_whose_documents_see_each_other_is_refused(
    model: LanguageModel, rows: TrainingRows, given: dict[str, Any]
) -> None:
    force(model, **given)
    with pytest.raises(AuditError, match="changing other documents of a row moves the states of its document 1 by"):
        prove_isolation(model, rows, CPU)


def test_positions_that_do_not_restart_are_refused(model: LanguageModel, rows: TrainingRows) -> None:
    force(model, position_ids=lambda ids: torch.arange(ids.shape[1])[None])
    with pytest.raises(AuditError, match="documents of one row that cannot see each other"):
        prove_isolation(model, rows, CPU)


def test_model_that_does_more_after_its_last_states_is_refused(model: LanguageModel, rows: TrainingRows) -> None:
    original = model.causal.lm_head.forward
    model.causal.lm_head.forward = lambda states: 0.5 * original(states)
    with pytest.raises(AuditError, match=r"for the packed row, .* for its documents one by one"):
        prove_isolation(model, rows, CPU)


def test_isolation_in_bf16_is_bit_equal_too(model: LanguageModel, rows: TrainingRows) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    assert prove_isolation(model, rows, CPU)["documents_isolated"]


def test_states_of_a_document_do_not_depend_on_its_place_in_the_row(model: LanguageModel, rows: TrainingRows) -> None:
    singles = (
        batch for step in range(rows.num_steps) for batch in micro_batches(rows.step(step), rows.store.meta.eos_id, 1)
    )
    batch = next(batch for batch in singles if int((batch.positions == 0).sum()) > 1)
    packed = model.states(batch.ids, batch.positions)
    starts = [*torch.nonzero(batch.positions[0] == 0).flatten().tolist(), batch.ids.shape[1]]
    for start, stop in pairwise(starts):
        alone = model.states(batch.ids[:1, start:stop], torch.arange(stop - start)[None])
        torch.testing.assert_close(packed[:1, start:stop], alone, rtol=1e-4, atol=1e-5)


def of_transformers(kind: str, **changes: Any) -> LanguageModel:
    """A tiny model of another architecture, with random weights."""
    import transformers

    sizes = {"vocab_size": 512, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": None}
    config = getattr(transformers, f"{kind}Config")(**sizes, **heads, **changes)
    torch.manual_seed(0)
    return LanguageModel(transformers.AutoModelForCausalLM.from_config(config).float())


@pytest.fixture(scope="module")
def hybrid() -> LanguageModel:
    linear = {f"linear_{what}": 16 for what in ("key_head_dim", "value_head_dim")}
    linear |= {f"linear_num_{what}_heads": 2 for what in ("key", "value")}
    layers = {"layer_types": ["linear_attention", "full_attention"], "mlp_only_layers": [0, 1], "num_experts": 0}
    return of_transformers("Qwen3Next", head_dim=16, **linear, **layers)


def test_layers_that_carry_a_state_along_the_row_are_refused_with_a_way_out(
    hybrid: LanguageModel, rows: TrainingRows
) -> None:
    with pytest.raises(AuditError) as error:
        prove_isolation(hybrid, rows, CPU)
    assert "qwen3_next has layers that carry a state along the row (linear_attention). " in str(error.value)
    assert "Fix: set packed: false" in str(error.value)


def test_documents_one_by_one_are_isolated_in_every_model(
    hybrid: LanguageModel, model: LanguageModel, rows: TrainingRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hybrid, "packed", False)
    assert prove_isolation(hybrid, rows, CPU)["documents_isolated"]
    found = []
    for model.packed in (True, False):
        assert model.is_flat is not model.packed
        batches = micro_batches(rows.step(1), 0, 2, model.is_flat)
        total = sum((model(batch)[0] for batch in batches), start=torch.zeros(()))
        found.append([total.detach(), *torch.autograd.grad(total, list(model.parameters()))])
    for packed, alone in zip(*found, strict=True):
        torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)


def test_documents_one_by_one_cost_at_most_as_much_padding_as_there_are_tokens(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, original = [], model.causal.base_model.forward

    def counting(input_ids: torch.Tensor, **given: Any) -> Any:
        cells.append(input_ids.numel())
        return original(input_ids=input_ids, **given)

    monkeypatch.setattr(model.causal.base_model, "forward", counting)
    model.packed = False
    lengths = [1, 60, 2, 3, 1, 33, 31, 7, 64, 4]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    model.states(torch.zeros_like(positions), positions)
    assert sum(lengths) <= sum(cells) <= 2 * sum(lengths)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Mistral", {"sliding_window": 8}),
        ("Gemma3Text", {"sliding_window": 8, "head_dim": 16, "layer_types": ["sliding_attention", "full_attention"]}),
        ("Mixtral", {"num_local_experts": 4}),
    ],
    ids=["window", "window in every other layer", "experts"],
)
def test_other_architectures_pass(rows: TrainingRows, kind: str, changes: dict[str, Any]) -> None:
    assert prove_isolation(of_transformers(kind, **changes), rows, CPU)["documents_isolated"]


@pytest.mark.parametrize("place", ["first to second", "to the last", "between two in the middle"])
def test_leak_between_any_two_documents_is_seen(model: LanguageModel, rows: TrainingRows, place: str) -> None:
    original = model.states

    def leaking(ids: torch.Tensor, positions: torch.Tensor, edges: Any = None) -> torch.Tensor:
        states = original(ids, positions, edges)
        starts = torch.nonzero(positions[0] == 0).flatten().tolist()
        seen = {"first to second": 1, "to the last": len(starts) - 2, "between two in the middle": len(starts) // 2}
        at = starts[seen[place]]
        states[:, at] += 1e-3 * ids[:, at - 1, None]
        return states

    model.states = leaking  # type: ignore[method-assign]
    with pytest.raises(AuditError, match="moves the states of its document"):
        prove_isolation(model, rows, CPU)
