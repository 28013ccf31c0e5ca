from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from transformers import GPT2Config, GPT2LMHeadModel

from engine.base.errors import InputError, ResourceError
from engine.formats.tokenizer import Tokenizer
from engine.formats.training_rows import TrainingRows
from tests.trainers.test_loop import prepare
from trainers.attention import attend_by_document
from trainers.blocks import blocks_of, checkpoint_blocks, compile_blocks, is_checkpointing, wants_checkpointing
from trainers.loop import train_step


@pytest.mark.parametrize(
    ("given", "parameters", "expected"),
    [
        (None, None, False),
        (None, 7 * 10**9, False),
        (None, 8 * 10**9, True),
        (True, None, True),
        (False, 10**10, False),
    ],
)
def test_big_models_compute_their_activations_twice(given: Any, parameters: Any, expected: bool) -> None:
    assert wants_checkpointing(given, parameters) is expected


@pytest.mark.parametrize(
    "tuning", [{"method": "full"}, {"method": "lora", "r": 4, "dropout": 0.5}], ids=["full", "lora with dropout"]
)
def test_activations_computed_twice_change_no_bit(
    rows: TrainingRows, tokenizer: Tokenizer, tmp_path: Path, tuning: dict[str, Any]
) -> None:
    is_full = tuning["method"] == "full"
    kept, twice = (prepare(rows, tokenizer, tmp_path, tuning=tuning, micro_batch_rows=2) for _ in range(2))
    checkpoint_blocks(twice.model.causal)
    assert (is_checkpointing(kept.model.causal), is_checkpointing(twice.model.causal)) == (False, True)
    calls: list[int] = []
    twice.model.causal.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    for step in range(3):
        one, other = train_step(kept, step), train_step(twice, step)
        assert (one["loss"], one["grad_norm"]) == (other["loss"], other["grad_norm"])
    assert not twice.model.causal.model.embed_tokens(torch.zeros(1, dtype=torch.int64)).requires_grad or is_full
    assert len(calls) == 3 * 2 * 2  # steps, micro-batches, and twice
    for name, master in kept.optimizer.masters.items():
        assert torch.equal(master, twice.optimizer.masters[name])


def test_compiled_blocks_keep_their_names_and_their_number(
    rows: TrainingRows, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    plain, compiled = (prepare(rows, tokenizer, tmp_path) for _ in range(2))
    compile_blocks(compiled.model.causal)
    blocks = compiled.model.causal.model.layers
    assert all(block._compiled_call_impl is not None for block in blocks)
    assert list(compiled.model.trained()) == list(plain.model.trained())
    with torch.compiler.set_stance("force_eager"):  # code for the CPU takes most of a minute to make
        assert train_step(compiled, 0)["loss"] == train_step(plain, 0)["loss"]


def test_blocks_are_found_in_other_architectures_and_missed_aloud() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2))
    assert blocks_of(model) == ("transformer.h", model.transformer.h)
    model.config.num_hidden_layers = 3
    with pytest.raises(InputError, match="GPT2LMHeadModel has no list of 3 blocks"):
        blocks_of(model)


def test_model_that_cannot_compute_twice_is_refused() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2))
    model.supports_gradient_checkpointing = False
    with pytest.raises(InputError, match="set gradient_checkpointing: false"):
        checkpoint_blocks(model)


def test_code_is_not_made_anew_for_every_number_of_documents(
    rows: TrainingRows, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, compile_block = CompileCounterWithBackend("eager"), torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda block: compile_block(block, backend=counted))
    compiled, plain = (prepare(rows, tokenizer, tmp_path) for _ in range(2))
    assert all(attend_by_document(one.model.causal, 64) for one in (compiled, plain))
    compile_blocks(compiled.model.causal)
    made = []
    for step in range(5):
        assert train_step(compiled, step)["loss"] == pytest.approx(train_step(plain, step)["loss"], rel=1e-5)
        made.append(counted.frame_count)
    assert len({rows.step(step).length.size for step in range(5)}) > 2
    assert made[1] == made[-1]


def test_compiler_that_is_missing_is_told_before_the_first_step(
    rows: TrainingRows, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nowhere/g++"))
    with pytest.raises(ResourceError, match=r"no C\+\+ compiler that works. Fix: install"):
        compile_blocks(prepare(rows, tokenizer, tmp_path).model.causal)
