from itertools import pairwise
from typing import Any

import pytest
import torch

import trainers.attention
from trainers.attention import DOCUMENTS, attend_by_document
from trainers.language_model import LanguageModel

SMALL: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "attn_implementation": "sdpa",
}
LENGTHS = (5, 1, 40, 17, 1)


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SMALL | {"initializer_range": 0.3} | changes)).eval()


def packed(lengths: tuple[int, ...] = LENGTHS) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return torch.randint(0, 96, (1, sum(lengths))), positions[None]


def alone(model: Any, ids: torch.Tensor, lengths: tuple[int, ...] = LENGTHS) -> torch.Tensor:
    """States of each document by itself, through transformers' own attention."""
    edges = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    spans = [model.base_model(input_ids=ids[:, start:stop], use_cache=False) for start, stop in pairwise(edges)]
    return torch.cat([span.last_hidden_state for span in spans], dim=1)


@pytest.mark.parametrize("plain_tokens", [0, 10, 512], ids=["sdpa", "both", "plain"])
@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_states_and_gradients_are_those_of_each_document_alone(
    monkeypatch: pytest.MonkeyPatch, plain_tokens: int, kv_heads: int
) -> None:
    monkeypatch.setattr(trainers.attention, "PLAIN_TOKENS", plain_tokens)
    reference, model = (llama(num_key_value_heads=kv_heads).double() for _ in range(2))
    assert attend_by_document(model, row_tokens=64)
    ids, positions = packed()
    states, expected = LanguageModel(model).states(ids, positions), alone(reference, ids)
    torch.testing.assert_close(states, expected)
    weights = torch.randn_like(states)
    (states * weights).sum().backward()
    (expected * weights).sum().backward()
    for one, other in zip(model.base_model.parameters(), reference.base_model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_rows_with_padding_and_rows_end_to_end_give_the_same_states() -> None:
    model = LanguageModel(llama())
    assert attend_by_document(model.causal, 64)
    ids, positions = packed((5, 3, 8))
    flat = model.states(ids, positions)[0]
    rows = torch.zeros(2, 10, dtype=torch.int64), torch.zeros(2, 10, dtype=torch.int64)
    for tensor, values in zip(rows, (ids[0], positions[0]), strict=True):
        tensor[0, :8], tensor[1, :8] = values[:8], values[8:]
    rows[1][:, 8:] = torch.arange(2)
    padded = model.states(*rows)
    torch.testing.assert_close(torch.cat([padded[0, :8], padded[1, :8]]), flat, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_document_does_not_move_one_bit_of_another(dtype: torch.dtype) -> None:
    model = LanguageModel(llama())
    assert attend_by_document(model.causal, 64)
    model.to(dtype)
    ids, positions = packed()
    changed = ids.clone()
    changed[:, 6:46] = (changed[:, 6:46] + 1) % 96  # the third document
    one, other = model.states(ids, positions), model.states(changed, positions)
    assert torch.equal(one[:, :6], other[:, :6])
    assert torch.equal(one[:, 46:], other[:, 46:])
    assert not torch.equal(one[:, 6:46], other[:, 6:46])


def test_cache_of_a_config_changes_nothing() -> None:
    model = llama()
    assert attend_by_document(model, 64)
    model.config.use_cache = True
    ids, positions = packed()
    states = LanguageModel(model).states(ids, positions)
    torch.testing.assert_close(states, alone(llama(), ids), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("window", "row_tokens", "can"), [(16, 64, False), (64, 64, True), (None, 64, True)])
def test_window_that_is_shorter_than_a_row_stays_with_transformers(
    window: int | None, row_tokens: int, can: bool
) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    model = MistralForCausalLM(MistralConfig(**SMALL, sliding_window=window)).eval()
    assert attend_by_document(model, row_tokens) == can
    assert (model.config._attn_implementation == DOCUMENTS) == can


def test_attention_that_does_more_stays_with_transformers() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(**SMALL | {"attn_implementation": "eager"}, head_dim=8, sliding_window=256)
    model = Gemma2ForCausalLM(config)
    assert not attend_by_document(model, 64)
    assert model.config._attn_implementation == "eager"
    assert all(module.training for module in model.modules())


def test_cache_that_is_asked_for_is_refused() -> None:
    model = llama()
    assert attend_by_document(model, 64)
    ids = torch.zeros(1, 5, dtype=torch.int64)
    cache = model(input_ids=ids, use_cache=True).past_key_values
    with pytest.raises(NotImplementedError, match="attention with a cache"):
        model(input_ids=ids, past_key_values=cache)


def test_attention_with_a_dropout_draws_it() -> None:
    model = LanguageModel(llama(attention_dropout=0.5))
    assert attend_by_document(model.causal, 64)
    ids, positions = packed()
    still = model.states(ids, positions)
    assert torch.equal(still, model.states(ids, positions))
    assert not torch.allclose(still, model.train().states(ids, positions))


def test_saved_model_knows_nothing_of_it(tmp_path: Any) -> None:
    model = llama()
    assert attend_by_document(model, 64)
    model.save_pretrained(tmp_path)
    assert DOCUMENTS not in (tmp_path / "config.json").read_text()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_flash_attention_over_documents_gives_the_same_states() -> None:
    model = LanguageModel(llama(hidden_size=192)).to("cuda", torch.bfloat16)
    reference = llama(hidden_size=192).to("cuda", torch.bfloat16)
    assert attend_by_document(model.causal, 64)
    ids, positions = (part.cuda() for part in packed())
    torch.testing.assert_close(model.states(ids, positions), alone(reference, ids), rtol=3e-2, atol=3e-2)
