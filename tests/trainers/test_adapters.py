"""Every method of tuning: what is trained, that the base stays, and that plain libraries load what is left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from engine.base.errors import InputError, RecipeError
from engine.formats.tokenizer import Tokenizer
from engine.formats.training_rows import TrainingRows
from engine.formats.workspace import Workspace
from trainers.adapters import add_adapters
from trainers.checkpoint import load_checkpoint, save_checkpoint
from trainers.data import MicroBatch, micro_batches
from trainers.isolation import prove_isolation
from trainers.language_model import LanguageModel
from trainers.lineage import Base
from trainers.model import load_base
from trainers.optim import MasterOptimizer
from trainers.probes import ProbeDocument, measure
from trainers.quantised import load_quantised
from trainers.recipe import OptimizerConfig, TinyConfig, TuningConfig, load_train_recipe
from trainers.train import train

CPU = torch.device("cpu")
TINY = TinyConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64)
TUNINGS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.1},
    "qlora": {"method": "qlora", "r": 4, "alpha": 8, "dropout": 0.1},
    "ia3": {"method": "ia3"},
    "prompt": {"method": "prompt", "virtual_tokens": 5},
    "prefix": {"method": "prefix", "virtual_tokens": 5},
}
INSIDE, IN_FRONT = ["lora", "qlora", "ia3"], ["prompt", "prefix"]
Recipe = Callable[..., Path]


@pytest.fixture
def base(tokenizer: Tokenizer) -> Callable[[str], Any]:
    """A function that returns a fresh tiny model as the method wants it; always the same numbers."""

    def load(method: str) -> Any:
        tiny = Base("tiny", "tiny", "", tiny=TINY)
        if method == "qlora":
            return load_quantised(tiny, tokenizer, 96, 3, torch.float32, CPU)
        return load_base(tiny, tokenizer, 96, seed=3)

    return load


@pytest.fixture
def batch(rows: TrainingRows) -> MicroBatch:
    """Rows of which each holds several documents."""
    return next(micro_batches(rows.step(1), rows.store.meta.eos_id))


def tuned(base: Callable[[str], Any], method: str) -> LanguageModel:
    return add_adapters(base(method), TuningConfig.model_validate(TUNINGS[method]), seed=1)


def shake(model: LanguageModel) -> None:
    """Move what is trained away from its start, where adapters do nothing."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.trained().values():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def documents(batch: MicroBatch) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return (ids[1, T], predictors, labels) of each document of the flattened rows that has labels."""
    flat = batch.ids.flatten()
    found = []
    for start, stop in zip(batch.edges[:-1].tolist(), batch.edges[1:].tolist(), strict=True):
        inside = (batch.predictors >= start) & (batch.predictors < stop)
        if bool(inside.any()):
            found.append((flat[None, start:stop], batch.predictors[inside] - start, batch.labels[inside]))
    return found


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("lora", {"lora_A", "lora_B"}),
        ("qlora", {"lora_A", "lora_B"}),
        ("ia3", {"ia3_l"}),
        ("prompt", {"prompt_encoder"}),
        ("prefix", {"prompt_encoder"}),
    ],
)
def test_only_the_new_parameters_are_trained_and_they_are_fp32(
    base: Callable[[str], Any], method: str, expected: set[str]
) -> None:
    model = tuned(base, method)
    trained = model.trained()
    assert {word for name in trained for word in name.split(".")} & {
        "lora_A",
        "lora_B",
        "ia3_l",
        "prompt_encoder",
    } == expected
    assert {parameter.dtype for parameter in trained.values()} == {torch.float32}
    every = {id(p) for p in model.parameters() if p.requires_grad}
    assert every == {id(p) for p in trained.values()}


@pytest.mark.parametrize("method", TUNINGS)
def test_start_depends_on_the_seed_alone(base: Callable[[str], Any], method: str) -> None:
    torch.manual_seed(77)
    first, again = tuned(base, method).trained(), tuned(base, method).trained()
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = add_adapters(base(method), TuningConfig.model_validate(TUNINGS[method]), seed=2).trained()
    if method != "ia3":  # which starts at one
        assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("method", INSIDE)
@torch.no_grad()
def test_adapter_that_is_switched_off_leaves_the_base_bit_for_bit(
    base: Callable[[str], Any], batch: MicroBatch, method: str
) -> None:
    expected = LanguageModel(base(method)).eval().states(batch.ids, batch.positions)
    model = tuned(base, method).eval()
    shake(model)
    assert not torch.equal(model.states(batch.ids, batch.positions), expected)
    with model.saved.disable_adapter():
        assert torch.equal(model.states(batch.ids, batch.positions), expected)


@pytest.mark.parametrize("method", INSIDE)
@torch.no_grad()
def test_fresh_adapter_changes_nothing(base: Callable[[str], Any], batch: MicroBatch, method: str) -> None:
    expected = LanguageModel(base(method)).eval().states(batch.ids, batch.positions)
    assert torch.equal(tuned(base, method).eval().states(batch.ids, batch.positions), expected)


@torch.no_grad()
def test_prompt_and_prefix_begin_as_tokens_in_front(base: Callable[[str], Any]) -> None:
    ids = torch.randint(3, 500, (1, 20), generator=torch.Generator().manual_seed(0))
    causal = base("full").eval()
    (learnt,) = tuned(base, "prompt").trained().values()
    sampled = (learnt[:, None] == causal.get_input_embeddings().weight).all(-1).nonzero()[:, 1]
    assert len(sampled) == 5
    drawn = torch.randint(0, 512, (5,), generator=torch.Generator().manual_seed(1))
    for method, front in (("prompt", sampled), ("prefix", drawn)):
        expected = causal(torch.cat((front[None], ids), dim=1), use_cache=False).logits[:, 5:]
        model = tuned(base, method).eval()
        found = model.states(ids, torch.arange(20)[None]) @ model.head.t()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", TUNINGS)
@pytest.mark.parametrize("rows_at_once", [1, None])
@torch.no_grad()
def test_loss_is_that_of_pefts_own_forward_pass_on_each_document_alone(
    base: Callable[[str], Any], rows: TrainingRows, method: str, rows_at_once: int | None
) -> None:
    model = tuned(base, method).eval()
    shake(model)
    for batch in micro_batches(rows.step(1), rows.store.meta.eos_id, rows_at_once):
        expected = []
        for ids, predictors, labels in documents(batch):
            logits = model.saved(input_ids=ids, use_cache=False).logits[0, -ids.shape[1] :].double()
            expected.append(cross_entropy(logits[predictors], labels, reduction="none"))
        summed, nats = model(batch)
        torch.testing.assert_close(nats.double(), torch.cat(expected), rtol=1e-4, atol=1e-4)
        assert float(summed) == pytest.approx(float(torch.cat(expected).sum()), rel=1e-5)


@pytest.mark.parametrize("method", IN_FRONT)
@torch.no_grad()
def test_heads_that_share_keys_and_have_a_width_of_their_own_take_learnt_positions(
    rows: TrainingRows, batch: MicroBatch, method: str
) -> None:
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    causal = Qwen3ForCausalLM(
        Qwen3Config(vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, **heads)
    )
    model = add_adapters(causal, TuningConfig.model_validate(TUNINGS[method]), seed=1)
    shake(model)
    assert prove_isolation(model.eval(), rows, CPU)["packed_equals_unpacked"]


@pytest.mark.parametrize("method", IN_FRONT)
def test_gradient_is_that_of_pefts_own_forward_pass(base: Callable[[str], Any], batch: MicroBatch, method: str) -> None:
    model = tuned(base, method)
    ((name, parameter),) = model.trained().items()
    assert name == "prompt_encoder.default.embedding.weight"
    model(batch)[0].backward()
    assert parameter.grad is not None
    found, parameter.grad = parameter.grad.clone(), None
    for ids, predictors, labels in documents(batch):
        logits = model.saved(input_ids=ids, use_cache=False).logits[0, -ids.shape[1] :]
        cross_entropy(logits[predictors], labels, reduction="sum").backward()
    assert float(found.norm()) > 0.1
    torch.testing.assert_close(found, parameter.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", TUNINGS)
def test_isolation_is_proven_with_every_method(base: Callable[[str], Any], rows: TrainingRows, method: str) -> None:
    model = tuned(base, method).train()
    shake(model)
    assert prove_isolation(model, rows, CPU)["documents_isolated"]


@pytest.mark.parametrize("method", IN_FRONT)
@torch.no_grad()
def test_probes_use_what_stands_in_front(base: Callable[[str], Any], method: str) -> None:
    model = tuned(base, method).eval()
    shake(model)
    generator = torch.Generator().manual_seed(2)
    probes, expected = [], []
    for length in (9, 70, 30):  # the second takes two windows, which share a token
        ids = torch.randint(3, 500, (length,), generator=generator)
        probes.append(ProbeDocument("general", bytes([length]), ids.numpy(), length))
        total = 0.0
        for window in (ids[:64], ids[63:]):
            if len(window) > 1:
                logits = model.saved(input_ids=window[None], use_cache=False).logits[0, -len(window) :]
                total += float(cross_entropy(logits[:-1], window[1:], reduction="sum"))
        expected.append(total)
    assert measure(model, probes, 0, 64, CPU).get_column("nats").to_list() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("method", IN_FRONT)
def test_masters_of_a_prompt_are_fp32_under_bf16_and_come_back_from_a_checkpoint(
    base: Callable[[str], Any], batch: MicroBatch, tmp_path: Path, method: str
) -> None:
    model = tuned(base, method)
    optimizer = MasterOptimizer(model, model.trained(), OptimizerConfig(learning_rate=0.01), torch.bfloat16)
    before = {name: master.detach().clone() for name, master in optimizer.masters.items()}
    losses = []
    for _ in range(3):
        summed, _ = model(batch)
        losses.append(summed.item())
        (summed / len(batch.labels)).backward()
        optimizer.collect()
        optimizer.step(0.01)
    assert losses[2] < losses[0]
    save_checkpoint(tmp_path, 3, optimizer, keep=1)
    again = tuned(base, method)
    other = MasterOptimizer(again, again.trained(), OptimizerConfig(learning_rate=0.01), torch.bfloat16)
    load_checkpoint(tmp_path / "step-000003", other)
    for name, master in optimizer.masters.items():
        assert master.dtype == torch.float32
        assert torch.equal(other.masters[name], master)
        assert not torch.equal(before[name], master)
    assert torch.equal(again(batch)[0], model(batch)[0])


def test_scales_of_ia3_are_not_decayed_to_zero(base: Callable[[str], Any]) -> None:
    model = tuned(base, "ia3")
    optimizer = MasterOptimizer(model, model.trained(), OptimizerConfig(weight_decay=0.5), torch.float32)
    for master in optimizer.masters.values():
        master.grad = torch.zeros_like(master)
    optimizer.step(0.1)
    assert all(torch.equal(master, torch.ones_like(master)) for master in optimizer.masters.values())


def test_prefix_under_gradient_checkpointing_is_refused(
    base: Callable[[str], Any], batch: MicroBatch, recipe: Recipe
) -> None:
    model = tuned(base, "prefix").train()
    model.causal.gradient_checkpointing_enable({"use_reentrant": False})
    with pytest.raises(RecipeError, match=r"gradient_checkpointing: a prefix cannot be combined with it"):
        model(batch)
    path = recipe(tuning=TUNINGS["prefix"], gradient_checkpointing=True)
    with pytest.raises(RecipeError, match="gradient_checkpointing with method prefix"):
        load_train_recipe(path)


@pytest.mark.parametrize("method", TUNINGS)
def test_final_folder_gives_the_same_logits_in_plain_peft(
    workspace: Workspace, recipe: Recipe, base: Callable[[str], Any], tokenizer: Tokenizer, method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import trainers.prepare

    kept: list[LanguageModel] = []
    original = trainers.prepare.add_adapters
    monkeypatch.setattr(trainers.prepare, "add_adapters", lambda *a: kept.append(original(*a)) or kept[-1])
    result = train(
        recipe(tuning=TUNINGS[method], max_steps=2, probes=None, optimizer={"learning_rate": 0.01}), workspace.root
    )
    final = Path(result["folder"]) / "final"
    ids = torch.randint(3, 500, (1, 20), generator=torch.Generator().manual_seed(0))
    tiny = Base("tiny", "tiny", "", tiny=TINY)
    fresh = (
        load_quantised(tiny, tokenizer, 96, 1, torch.float32, CPU)
        if method == "qlora"
        else load_base(tiny, tokenizer, 96, 1)
    )
    with torch.no_grad():
        expected = kept[0].eval().library_logits(ids)
        plain = fresh.eval()(input_ids=ids, use_cache=False).logits
        loaded = PeftModel.from_pretrained(fresh, final).eval()
        found = loaded(input_ids=ids, use_cache=False).logits[:, -20:]
    assert float((found - plain).abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert load_file(final / "adapter_model.safetensors")


def test_rank_above_the_smallest_layer_is_refused(base: Callable[[str], Any]) -> None:
    with pytest.raises(RecipeError, match=r"tuning\.r: got 33, and model\.layers\.0\.\S+ has a rank of at most 32"):
        add_adapters(base("lora"), TuningConfig(method="lora", r=33), seed=1)
    with pytest.raises(RecipeError, match=r"tuning\.r: got 33"):
        add_adapters(base("qlora"), TuningConfig(method="qlora", r=33), seed=1)


def test_base_without_linear_layers_is_refused(base: Callable[[str], Any]) -> None:
    causal = base("lora")
    causal.model.layers = torch.nn.ModuleList()
    with pytest.raises(InputError, match="a LlamaForCausalLM has no linear layers besides its head"):
        add_adapters(causal, TuningConfig(method="lora"), seed=1)


def test_ia3_of_a_model_peft_knows_takes_its_layers_and_of_others_is_refused() -> None:
    small = {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 64, "n_positions": 32}
    model = add_adapters(GPT2LMHeadModel(GPT2Config(**small)), TuningConfig(method="ia3"), seed=1)
    assert {name.split(".")[-3] for name in model.trained()} == {"c_attn", "c_proj"}
    other = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2))
    other.model.layers = torch.nn.ModuleList()
    other.config.model_type = "unheard_of"
    with pytest.raises(InputError, match="tuning: ia3: peft has no place for it in a LlamaForCausalLM"):
        add_adapters(other, TuningConfig(method="ia3"), seed=1)
