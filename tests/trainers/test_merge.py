"""The verb `merge`: what it writes is the trained model, loads in transformers, and is refused where it differs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, MixtralConfig, MixtralForCausalLM

import trainers.merge
from engine.base.errors import AuditError, InputError, RecipeError
from engine.cli import main
from engine.formats.tokenizer import Tokenizer
from engine.formats.workspace import Workspace
from trainers.adapters import add_adapters, open_adapter
from trainers.lineage import Base
from trainers.merge import _merge_layers, merge, show_merge
from trainers.model import load_base, load_folder
from trainers.quantised import load_quantised
from trainers.recipe import TinyConfig, TuningConfig
from trainers.train import train

CPU = torch.device("cpu")
TUNINGS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.1},
    "qlora": {"method": "qlora", "r": 4, "alpha": 8, "dropout": 0.1},
    "ia3": {"method": "ia3"},
}
Recipe = Callable[..., Path]


@pytest.fixture
def tuned(workspace: Workspace, recipe: Recipe) -> Callable[..., Path]:
    """A function that trains a few steps with a method and returns the run's folder."""

    def run(tuning: dict[str, Any], **changes: Any) -> Path:
        optimizer = {"learning_rate": 0.02, "warmup_fraction": 0.0}
        path = recipe(**{"tuning": tuning, "max_steps": 3, "optimizer": optimizer, "probes": None} | changes)
        return Path(train(path, workspace.root)["folder"])

    return run


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids, use_cache=False).logits
    return found


@pytest.mark.parametrize("method", TUNINGS)
def test_merged_folder_is_the_adapter_on_its_base_in_plain_transformers(
    workspace: Workspace, tuned: Callable[..., Path], tokenizer: Tokenizer, tmp_path: Path, method: str
) -> None:
    final = tuned(TUNINGS[method]) / "final"
    result = merge("tiny", tmp_path / "merged", workspace.root)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", local_files_only=True)
    tiny = Base("tiny", "tiny", "", tiny=TinyConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64))
    plain = load_base(tiny, tokenizer, 64, seed=1)
    ids = torch.randint(3, 500, (4, 30), generator=torch.Generator().manual_seed(0))
    before = logits(plain, ids)
    difference = (logits(merged, ids) - logits(open_adapter(plain, final), ids)).abs()
    assert float(difference.max()) < 1e-4
    assert float(difference.mean()) < 1e-5
    assert float((logits(merged, ids) - before).abs().max()) > 0.01
    assert result["tensors_changed"] == {"lora": 14, "qlora": 14, "ia3": 6}[method]
    assert 0 < result["relative_change"] < 1
    if method != "qlora":  # what was trained is what is merged
        assert result["max_logit_difference"] < 1e-4
        assert result["nats_per_token_merged"] == pytest.approx(result["nats_per_token_trained"], rel=1e-5)
    assert json.loads((tmp_path / "merged" / "merge.json").read_text()) == result
    assert merged.config.max_position_embeddings == 64
    for name in ("generation_config.json", "lineage.json"):  # it stops where the run's answers do
        assert (tmp_path / "merged" / name).read_bytes() == (final / name).read_bytes()
    loaded = AutoTokenizer.from_pretrained(tmp_path / "merged", local_files_only=True)
    assert loaded.encode("def f(x):", add_special_tokens=False) == tokenizer.encode(["def f(x):"])[0].tolist()


def test_gap_of_a_base_in_four_bits_is_that_of_its_quantisation(
    workspace: Workspace, tuned: Callable[..., Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    final = tuned(TUNINGS["qlora"], probes={"general": ["general"]}) / "final"
    result = merge("tiny", tmp_path / "merged", workspace.root)
    assert result["base"]["quantised"] == "nf4"
    assert result["mean_logit_difference"] > 1e-3
    assert result["documents"] == 12  # all that are held out
    tiny = Base("tiny", "tiny", "", tiny=TinyConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64))
    trained = open_adapter(load_quantised(tiny, tokenizer, 64, 1, torch.float32, CPU), final)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", local_files_only=True)
    from trainers.merge import _documents, _open

    largest, nats, labels = 0.0, [0.0, 0.0], 0
    for ids in _documents(_open("tiny", workspace)):
        row = torch.from_numpy(ids)[None]
        pair = [logits(model, row)[0] for model in (trained, merged)]
        largest = max(largest, float((pair[0] - pair[1]).abs().max()))
        for number, one in enumerate(pair):
            nats[number] += float(torch.nn.functional.cross_entropy(one[:-1], row[0, 1:], reduction="sum"))
        labels += len(ids) - 1
    assert labels == result["tokens"]
    assert largest == pytest.approx(result["max_logit_difference"], rel=1e-3)
    assert nats[0] / labels == pytest.approx(result["nats_per_token_trained"], rel=1e-5)
    assert nats[1] / labels == pytest.approx(result["nats_per_token_merged"], rel=1e-5)


def test_type_is_the_bases_unless_another_is_asked_for(
    workspace: Workspace, tuned: Callable[..., Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tiny = Base("tiny", "tiny", "", tiny=TinyConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64))
    load_base(tiny, tokenizer, 64, seed=1).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    shutil.copy(tokenizer.folder / "tokenizer.model", tmp_path / "base")
    tuned(TUNINGS["lora"], base={"path": str(tmp_path / "base")})
    result = merge("tiny", tmp_path / "merged", workspace.root)
    assert result["dtype"] == "bf16"
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "bfloat16"
    assert 1e-4 < result["max_logit_difference"] < 0.2
    assert abs(result["nats_per_token_merged"] - result["nats_per_token_trained"]) < 0.01
    assert merge("tiny", tmp_path / "wide", workspace.root, dtype="fp32")["max_logit_difference"] < 1e-4


def test_adapter_on_the_result_of_an_adapter_is_merged_into_both(
    workspace: Workspace, tuned: Callable[..., Path], tmp_path: Path
) -> None:
    tuned(TUNINGS["lora"], name="first")
    tuned(TUNINGS["ia3"], name="second", base={"run": "first"})
    result = merge("second", tmp_path / "merged", workspace.root)
    assert result["base"]["name"] == "first"
    assert result["max_logit_difference"] < 1e-4


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({"method": "full"}, "all weights were trained, there is no adapter"),
        ({"method": "prompt", "virtual_tokens": 3}, r"what it trained \(prompt tuning\) stands in front of a model"),
        ({"method": "prefix", "virtual_tokens": 3}, r"what it trained \(prefix tuning\) stands in front of a model"),
    ],
    ids=["full", "prompt", "prefix"],
)
def test_run_without_an_adapter_that_can_be_merged_is_refused(
    workspace: Workspace, tuned: Callable[..., Path], recipe: Recipe, tmp_path: Path,
    tuning: dict[str, Any], message: str,
) -> None:  # fmt: skip
    tuned(tuning)
    with pytest.raises(InputError, match=message):
        merge("tiny", tmp_path / "merged", workspace.root)
    assert not (tmp_path / "merged").exists()
    if tuning["method"] != "full":
        with pytest.raises(InputError, match="start from its base, or train that with method lora"):
            train(recipe(name="next", base={"run": "tiny"}), workspace.root)


def test_adapter_that_changes_nothing_is_refused(
    workspace: Workspace, tuned: Callable[..., Path], tmp_path: Path
) -> None:
    tuned(TUNINGS["lora"], optimizer={"learning_rate": 1e-45})
    with pytest.raises(AuditError, match="merging the adapter changed no weight"):
        merge("tiny", tmp_path / "merged", workspace.root)
    assert list(tmp_path.glob("merged*")) == []


def test_merged_model_that_is_not_the_trained_one_is_refused(
    workspace: Workspace, tuned: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned(TUNINGS["lora"])
    original = trainers.merge._merge_layers

    def too_much(adapted: Any) -> Any:
        for name, before, after in original(adapted):
            after.add_(8 * (after - before))
            yield name, before, after

    monkeypatch.setattr(trainers.merge, "_merge_layers", too_much)
    with pytest.raises(AuditError, match=r"nats per token merged, .* as it was trained\. Needed: the same within 0\.1"):
        merge("tiny", tmp_path / "merged", workspace.root)
    assert not (tmp_path / "merged").exists()


def test_adapter_on_experts_takes_no_dropout_and_is_merged_into_them(tmp_path: Path) -> None:
    config = MixtralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(tmp_path / "base")
    with pytest.raises(InputError, match=r"does not work with lora_dropout.*Fix: set dropout: 0"):
        add_adapters(load_folder(tmp_path / "base"), TuningConfig(method="lora", r=4), 1)
    trained = add_adapters(load_folder(tmp_path / "base"), TuningConfig(method="lora", r=4, dropout=0), 1)
    assert any("experts" in name for name in trained.trained())
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trained.trained().values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    trained.saved.save_pretrained(tmp_path / "adapter")
    adapted = open_adapter(load_folder(tmp_path / "base"), tmp_path / "adapter")
    changed = {name for name, before, after in _merge_layers(adapted) if not torch.equal(before, after)}
    assert len(changed) == 7, "four of attention, the router, two of experts"
    ids = torch.arange(20)[None]
    assert float((logits(adapted.unload(), ids) - logits(trained.saved, ids)).abs().max()) < 1e-4


def test_folder_that_is_there_is_left_alone(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is something already"):
        merge("tiny", tmp_path, workspace.root)
    with pytest.raises(InputError, match="no run 'tiny'"):
        merge("tiny", tmp_path / "merged", workspace.root)


def test_command_prints_what_was_merged(
    workspace: Workspace, tuned: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned(TUNINGS["ia3"])
    where = ["--workspace", str(workspace.root)]
    assert main(["merge", "tiny", "--out", str(tmp_path / "one"), *where, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["tensors_changed"] == 6
    lines = show_merge(result).splitlines()
    assert lines[0].startswith("tiny merged into tiny (fp32): 6 tensors changed by ")
    assert lines[-1].strip() == str(tmp_path / "one")
