"""A base in NF4: what is quantised, that it stays, and that training on it is exact and goes on bit for bit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file, save_file
from transformers import BitsAndBytesConfig

import trainers.loop
from engine.base.errors import InputError
from engine.cli import main
from engine.formats.base_model import find_model
from engine.formats.tokenizer import Tokenizer, load_tokenizer
from engine.formats.training_rows import TrainingRows
from engine.formats.workspace import Workspace
from trainers.adapters import add_adapters
from trainers.data import MicroBatch, micro_batches
from trainers.isolation import prove_isolation
from trainers.language_model import LanguageModel
from trainers.lineage import Base
from trainers.model import load_base, load_folder
from trainers.optim import MasterOptimizer
from trainers.quantised import load_quantised, quantised_layers, require_plain_head
from trainers.recipe import OptimizerConfig, TinyConfig, TuningConfig
from trainers.train import train

from .conftest import Document, write_mixture

CPU = torch.device("cpu")
TINY = Base("tiny", "tiny", "", tiny=TinyConfig(hidden_size=64, layers=2, heads=2, intermediate_size=128))
QLORA = {"method": "qlora", "r": 4, "alpha": 8, "dropout": 0.2}
Recipe = Callable[..., Path]


class Killed(BaseException):
    """The end of the process, as far as the code can see."""


def quantised(tokenizer: Tokenizer, dtype: torch.dtype = torch.float32) -> Any:
    return load_quantised(TINY, tokenizer, 64, 3, dtype, CPU)


def adapted(tokenizer: Tokenizer, dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> LanguageModel:
    tuning = TuningConfig(method="qlora", r=4, alpha=8, dropout=dropout)
    model = add_adapters(quantised(tokenizer, dtype), tuning, seed=1)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.trained().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def dequantised(model: LanguageModel) -> None:
    """Put plain linear layers with the very weights of the quantised ones in their place: the oracle."""
    for module in list(model.causal.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Linear4bit):
                weight = dequantize_4bit(child.weight.data, child.weight.quant_state)
                plain = torch.nn.Linear(child.in_features, child.out_features, bias=False, dtype=weight.dtype)
                plain.weight = torch.nn.Parameter(weight, requires_grad=False)
                setattr(module, name, plain)


@pytest.fixture
def batch(rows: TrainingRows) -> MicroBatch:
    return next(micro_batches(rows.step(1), rows.store.meta.eos_id))


def test_matrices_of_the_blocks_are_nf4_twice_quantised_and_the_rest_is_plain(tokenizer: Tokenizer) -> None:
    model = quantised(tokenizer, torch.bfloat16)
    assert {name for name, module in model.named_modules() if isinstance(module, Linear4bit)} == {
        f"model.layers.{layer}.{place}"
        for layer in range(2)
        for place in (
            *(f"self_attn.{one}_proj" for one in "qkvo"),
            *(f"mlp.{one}_proj" for one in ("gate", "up", "down")),
        )
    }
    states = [layer.weight.quant_state for layer in quantised_layers(model)]
    assert {(state.quant_type, state.nested) for state in states} == {("nf4", True)}
    plain = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
    assert {name.split(".")[-2] for name in plain} == {
        "embed_tokens", "norm", "input_layernorm", "post_attention_layernorm"
    }  # fmt: skip
    assert {p.dtype for p in plain.values()} == {torch.bfloat16}
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert not any(p.requires_grad for p in model.parameters())
    assert model.training


def test_optimizer_casts_the_rest_and_leaves_quantised_weights(tokenizer: Tokenizer) -> None:
    model = adapted(tokenizer, torch.bfloat16)
    before = [layer.weight.detach().clone() for layer in quantised_layers(model)]
    optimizer = MasterOptimizer(model, model.trained(), OptimizerConfig(), torch.bfloat16)
    after = [layer.weight for layer in quantised_layers(model)]
    assert all(torch.equal(one, other) and other.dtype == torch.uint8 for one, other in zip(before, after, strict=True))
    assert {master.dtype for master in optimizer.masters.values()} == {torch.float32}
    assert {p.dtype for p in model.parameters() if p.is_floating_point()} == {torch.bfloat16}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=["fp32", "bf16"])
def test_loss_and_gradients_are_those_of_the_dequantised_weights(
    tokenizer: Tokenizer, batch: MicroBatch, dtype: torch.dtype, tolerance: float
) -> None:
    found = []
    for oracle in (False, True):
        model = adapted(tokenizer, dtype)
        parameters = model.trained()
        if oracle:
            dequantised(model)
        loss = model(batch)[0]
        loss.backward()
        found.append((loss.item(), torch.cat([p.grad.flatten() for p in parameters.values() if p.grad is not None])))
    assert found[0][0] == pytest.approx(found[1][0], rel=tolerance)
    assert float((found[0][1] - found[1][1]).norm() / found[1][1].norm()) < 10 * tolerance


def test_pass_in_eval_mode_leaves_weights_and_gradients(tokenizer: Tokenizer, batch: MicroBatch) -> None:
    """On a CPU with AVX512-BF16 bitsandbytes would repack the weights there, for a kernel without a gradient."""
    model = adapted(tokenizer)
    before = [layer.weight.detach().clone() for layer in quantised_layers(model)]
    gradients = []
    for _ in range(2):
        model.train()(batch)[0].backward()
        gradients.append([p.grad for p in model.trained().values()])
        for parameter in model.trained().values():
            parameter.grad = None
        with torch.no_grad():
            model.eval()(batch)
    after = [layer.weight for layer in quantised_layers(model)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_documents_are_isolated_bit_for_bit(tokenizer: Tokenizer, rows: TrainingRows, dtype: torch.dtype) -> None:
    model = adapted(tokenizer, dtype, dropout=0.5)
    MasterOptimizer(model, model.trained(), OptimizerConfig(), dtype)
    assert prove_isolation(model.train(), rows, CPU)["documents_isolated"]


def test_killed_run_goes_on_and_ends_with_the_same_bits(
    workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe(tuning=QLORA, max_steps=12, checkpoints={"every_steps": 6}, probes={"general": ["general"]})
    straight = Path(train(path, workspace.root, name="straight")["folder"])
    original, calls = trainers.loop.train_step, []

    def dying(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 9:
            raise Killed
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(trainers.loop, "train_step", dying)
        with pytest.raises(Killed):
            train(path, workspace.root)
    again = Path(train(path, workspace.root)["folder"])
    embeddings, matrices, norms, adapters = 512 * 32, 2 * (4 * 32 * 32 + 3 * 32 * 64), 5 * 32, 2 * 4 * (4 * 64 + 3 * 96)
    assert json.loads((again / "run.json").read_text())["model"] == {
        "architecture": "LlamaForCausalLM",
        "parameters": embeddings + matrices + norms + adapters,
        "trained_parameters": adapters,
        "optimizer": "adamw",
        "freezing": None,
        "gradient_checkpointing": False,
        "precision": "float32",
        "quantised": "nf4",
    }
    for name in ("final/adapter_model.safetensors", "checkpoints/step-000012/optimizer.safetensors"):
        first, second = load_file(straight / name), load_file(again / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name
    losses = [json.loads(line)["loss"] for line in (again / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 0.02


def test_base_of_a_run_with_an_adapter_is_merged_then_quantised(workspace: Workspace, recipe: Recipe) -> None:
    train(recipe(name="first", tuning=QLORA, max_steps=2, probes=None), workspace.root)
    train(recipe(name="second", base={"run": "first"}, tuning=QLORA, max_steps=2, probes=None), workspace.root)
    content = json.loads((workspace.run("second") / "run.json").read_text())
    assert content["model"]["quantised"] == "nf4"
    assert [run["run"] for run in content["lineage"]["runs"]] == ["first"]


def saved(tokenizer: Tokenizer, folder: Path, **config: Any) -> Path:
    load_base(TINY, tokenizer, 64, 3).save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    shutil.copy(tokenizer.folder / "tokenizer.model", folder)
    return folder


@pytest.mark.parametrize("method", ["full", "qlora"])
def test_base_that_is_quantised_already_is_refused(
    workspace: Workspace, recipe: Recipe, tokenizer: Tokenizer, tmp_path: Path, method: str
) -> None:
    folder = saved(tokenizer, tmp_path / "base", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(InputError, match=r"its weights are quantised already \(gptq\)"):
        train(recipe(base={"path": str(folder)}, tuning={"method": method}, optimizer=None), workspace.root)
    assert not workspace.run("tiny").exists()


def test_head_that_is_quantised_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", llm_int8_skip_modules=["nothing"])
    untied = saved(tokenizer, tmp_path / "base", tie_word_embeddings=False)
    weights = load_file(untied / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, untied / "model.safetensors", metadata={"format": "pt"})
    model = load_folder(untied, quantization_config=config, device_map={"": "cpu"})
    with pytest.raises(
        InputError, match=r"base: its output layer would be quantised\. Needed: an output layer in float"
    ):
        require_plain_head(model, "base")


def test_mixture_with_ids_beyond_the_rows_is_refused(
    workspace: Workspace, recipe: Recipe, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    meta = tokenizer.meta.model_copy(update={"vocab_size": 500})
    folder = saved(Tokenizer(meta, tokenizer.folder, tokenizer.encode), tmp_path / "base")
    with pytest.raises(InputError, match="500 embeddings for a tokenizer of 512 ids"):
        train(recipe(base={"path": str(folder)}, tuning=QLORA), workspace.root)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_real_command_tunes_smollm2_in_four_bits(
    smollm2: Path, tmp_path: Path, texts: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two steps of 256 tokens on the packaged model, quantised on the CPU."""
    workspace = Workspace(Path(shutil.copytree(smollm2, tmp_path / "workspace", copy_function=link)))
    tokenizer = load_tokenizer(workspace.tokenizer(find_model(workspace, "smollm2").tokenizer))
    write_mixture(workspace, "docs", [Document("docs", text) for text in texts["docs"][:24]], tokenizer, "0" * 32)
    recipe = {
        "name": "qlora",
        "mixture": "docs",
        "base": {"model": "smollm2"},
        "tuning": {"method": "qlora"},
        "optimizer": {"learning_rate": 1e-3, "warmup_fraction": 0.0},
        "max_steps": 2,
    }
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert main(["train", str(path), "--workspace", str(workspace.root), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    content = json.loads((workspace.run("qlora") / "run.json").read_text())
    assert content["model"]["quantised"] == "nf4"
    assert content["isolation"]["documents_isolated"] is True
    assert result["steps"] == 2
    assert 2.0 < result["loss_first"] < 4.5
    adapter = load_file(workspace.run("qlora") / "final" / "adapter_model.safetensors")
    assert len(adapter) == 30 * 7 * 2
    assert all(bool(tensor.any()) for tensor in adapter.values())


def link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
