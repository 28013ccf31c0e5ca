from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from engine.base.errors import InputError, RecipeError
from engine.formats.workspace import Workspace
from trainers.freezing import Freezing, freezing_of
from trainers.optim import MasterOptimizer
from trainers.recipe import OptimizerConfig, TrainRecipe

LAYERS = 3


def llama(is_tied: bool = False) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=11,
        hidden_size=8,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=8,
        tie_word_embeddings=is_tied,
    )
    return LlamaForCausalLM(config)


def freezing(model: Any, **keys: Any) -> Freezing:
    recipe = TrainRecipe.model_validate({"name": "t", "mixture": "m", "base": {"tiny": {}}, "freezing": keys})
    found = freezing_of(model, recipe)
    assert found is not None
    return found


def groups(names: list[str]) -> set[str]:
    """embeddings, 0, 1, 2, norm or head of each name."""
    short = {"model.embed_tokens.weight": "embeddings", "model.norm.weight": "norm", "lm_head.weight": "head"}
    return {short.get(name) or name.removeprefix("model.layers.")[0] for name in names}


def optimizer(model: Any, found: Freezing, dtype: torch.dtype = torch.float32, **keys: Any) -> MasterOptimizer:
    return MasterOptimizer(model, dict(model.named_parameters()), OptimizerConfig(**keys), dtype, found)


def make_step(model: Any, adam: MasterOptimizer, step: int) -> None:
    torch.manual_seed(step)
    adam.begin(step)
    ids = torch.randint(0, 11, (2, 6))
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    adam.collect()
    adam.step(0.01)


def moved(before: dict[str, torch.Tensor], model: Any) -> set[str]:
    return groups([name for name, p in model.named_parameters() if not torch.equal(p, before[name])])


def copies(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_without_freezing_all_moves_alike() -> None:
    assert freezing_of(llama(), TrainRecipe.model_validate({"name": "t", "mixture": "m", "base": {"tiny": {}}})) is None


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"embeddings": True}, {"0", "1", "2", "norm", "head"}),
        ({"blocks": 2}, {"embeddings", "2", "norm", "head"}),
        ({"blocks": 3, "embeddings": True}, {"norm", "head"}),
        ({"layer_decay": 0.5}, {"embeddings", "0", "1", "2", "norm", "head"}),
    ],
)
@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit"])
def test_what_is_frozen_keeps_its_bits_and_the_rest_moves(keys: dict[str, Any], expected: set[str], kind: str) -> None:
    model = llama()
    before = copies(model)
    adam = optimizer(model, freezing(model, **keys), kind=kind)
    for step in range(3):
        make_step(model, adam, step)
    assert moved(before, model) == expected
    assert groups(list(adam.masters)) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            {},
            [
                {"2", "norm", "head"},
                {"2", "norm", "head"},
                {"1", "2", "norm", "head"},
                {"1", "2", "norm", "head"},
                {"0", "1", "2", "norm", "head"},
                {"0", "1", "2", "norm", "head"},
                {"embeddings", "0", "1", "2", "norm", "head"},
            ],
        ),
        ({"embeddings": True, "blocks": 1}, [{"2", "norm", "head"}] * 2 + [{"1", "2", "norm", "head"}] * 5),
        (
            {"blocks": 1},
            [{"2", "norm", "head"}] * 2
            + [{"1", "2", "norm", "head"}] * 2
            + [{"embeddings", "1", "2", "norm", "head"}] * 3,
        ),
    ],
)
def test_blocks_are_freed_from_the_top_and_the_embeddings_last(keys: dict[str, Any], expected: list[set[str]]) -> None:
    model = llama()
    adam = optimizer(model, freezing(model, unfreeze_every=2, **keys))
    for step, names in enumerate(expected):
        before = copies(model)
        make_step(model, adam, step)
        assert moved(before, model) == names
        assert groups([name for name, p in model.named_parameters() if p.requires_grad]) == names


def test_rates_fall_by_the_decay_from_the_top() -> None:
    model = llama()
    adam = optimizer(model, freezing(model, layer_decay=0.5), weight_decay=0.0, clip=None)
    before = copies(model)
    adam.begin(0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    adam.step(0.01)  # the first step of Adam is as long as the rate
    found = {name: float((before[name] - p.detach()).mean()) for name, p in model.named_parameters()}
    shares = {"model.embed_tokens.weight": 0.125, "model.norm.weight": 1.0, "lm_head.weight": 1.0}
    for name, length in found.items():
        share = shares.get(name) or {"0": 0.25, "1": 0.5, "2": 1.0}[name.removeprefix("model.layers.")[0]]
        assert length == pytest.approx(0.01 * share, rel=1e-4)


def test_backward_stops_above_what_is_frozen() -> None:
    model = llama()
    adam = optimizer(model, freezing(model, embeddings=True, blocks=2))
    seen: list[int] = []
    for number, block in enumerate(model.model.layers):
        block.register_full_backward_hook(lambda *_, number=number: seen.append(number))
    make_step(model, adam, 0)
    assert seen == [2]


def test_tied_head_is_frozen_with_the_embeddings_and_that_is_said() -> None:
    model = llama(is_tied=True)
    found = freezing(model, embeddings=True, unfreeze_every=5)
    before = copies(model)
    make_step(model, optimizer(model, found), 0)
    assert moved(before, model) == {"2", "norm"}
    assert found.describe() == {
        "blocks": 3,
        "tied_head": True,
        "embeddings_and_tied_head": "never",
        "blocks_from_the_bottom": ["from step 11", "from step 6", "from step 1"],
    }


def test_frozen_weights_that_bf16_would_round_come_back_whole() -> None:
    model = llama()
    before = copies(model)
    adam = optimizer(model, freezing(model, embeddings=True), torch.bfloat16)
    assert model.model.embed_tokens.weight.dtype == torch.bfloat16
    make_step(model, adam, 0)
    adam.restore()
    assert torch.equal(model.model.embed_tokens.weight, before["model.embed_tokens.weight"])
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_position_embeddings_are_embeddings_and_the_last_norm_is_not() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2))
    depths = freezing(model, blocks=1).depths
    chosen = (
        "transformer.wte.weight",
        "transformer.wpe.weight",
        "transformer.h.1.ln_1.weight",
        "transformer.ln_f.bias",
    )
    assert [depths[name] for name in chosen] == [0, 0, 2, 3]


def test_more_frozen_blocks_than_there_are_and_a_model_without_blocks_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"got 4\. Needed: at most 3, the blocks of LlamaForCausalLM"):
        freezing(llama(), blocks=4)
    model = llama()
    model.config.num_hidden_layers = 7
    with pytest.raises(InputError, match="no list of 7 blocks"):
        freezing(model, blocks=1)


def test_freezing_belongs_to_full_training() -> None:
    content = {"name": "t", "mixture": "m", "base": {"tiny": {}}, "tuning": {"method": "lora"}}
    with pytest.raises(ValueError, match=r"freezing given with method lora\. Needed: method full"):
        TrainRecipe.model_validate(content | {"freezing": {"blocks": 1}})


def test_run_killed_while_unfreezing_goes_on_with_the_same_bits(
    workspace: Workspace, recipe: Callable[..., Path], same_run_when_killed: Callable[..., None]
) -> None:
    same_run_when_killed(
        recipe, freezing={"unfreeze_every": 2, "layer_decay": 0.8}, max_steps=6, checkpoints={"every_steps": 3}
    )
    content = (workspace.run("straight") / "run.json").read_text()
    assert '"embeddings_and_tied_head": "from step 5"' in content
