from typing import Any

import pytest
import torch

import trainers.model
from engine.formats.tokenizer import Tokenizer
from trainers.lineage import Base
from trainers.model import BIG_PARAMETERS, choose_dtype, load_base
from trainers.recipe import TinyConfig

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "parameters", "is_fast", "expected"),
    [
        ("auto", BIG_PARAMETERS, True, torch.bfloat16),
        ("auto", BIG_PARAMETERS, False, torch.float32),
        ("auto", BIG_PARAMETERS - 1, True, torch.float32),
        ("fp32", BIG_PARAMETERS, True, torch.float32),
        ("bf16", 1, False, torch.bfloat16),
        ("fp16", 1, True, torch.float16),
    ],
)
def test_bf16_is_for_big_models_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, precision: str, parameters: int, is_fast: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(trainers.model, "_has_fast_bf16", lambda _: is_fast)
    assert choose_dtype(precision, parameters, CPU) == expected


@pytest.mark.parametrize(
    ("is_fast", "parameters", "expected"),
    [
        (True, BIG_PARAMETERS, torch.bfloat16),
        (False, BIG_PARAMETERS, torch.float16),
        (False, BIG_PARAMETERS - 1, torch.float32),
    ],
)
def test_fp16_is_for_gpus_without_bf16(
    monkeypatch: pytest.MonkeyPatch, is_fast: bool, parameters: int, expected: torch.dtype
) -> None:
    monkeypatch.setattr(trainers.model, "_has_fast_bf16", lambda _: is_fast)
    assert choose_dtype("auto", parameters, torch.device("cuda")) == expected


def test_demo_model_has_two_to_three_million_parameters_and_an_even_start(tokenizer: Tokenizer) -> None:
    meta = tokenizer.meta.model_copy(update={"vocab_size": 4096})
    wide = Tokenizer(meta, tokenizer.folder, tokenizer.encode)
    model: Any = load_base(Base("tiny", "tiny", "", tiny=TinyConfig()), wide, 256, seed=1)
    assert 2e6 < model.num_parameters() < 3e6
    with torch.no_grad():
        logits = model(input_ids=torch.arange(200)[None], use_cache=False).logits
    # As good as a uniform guess: no token is favoured before training.
    assert float(logits.std()) < 1.5
