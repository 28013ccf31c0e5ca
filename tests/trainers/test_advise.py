"""What `advise` says of a plan: data, room, way of tuning, and the rules of the field it breaks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import AuditError
from engine.formats.workspace import Workspace
from trainers.train import train
from trainers.workflows.advise import advise, approach, room_of, show_advise
from trainers.workflows.field_rules import RULES, Numbers, broken_rules

Recipe = Callable[..., Path]
DAPT = Numbers(
    objective="dapt",
    method="full",
    is_from_scratch=False,
    parameters=135_000_000,
    trained_parameters=135_000_000,
    examples=20_000,
    unique_tokens=30_000_000,
    unique_labels=30_000_000,
    tokens=33_000_000,
    epochs=1.0,
    replay_share=0.1,
    learning_rate=6e-5,
    pretraining_rate=6e-4,
    warmup_fraction=0.05,
    cut_share=0.01,
    tokens_per_byte_ratio=1.1,
    bits_per_byte_ratio=1.1,
)
SFT = replace(DAPT, objective="sft", learning_rate=1e-5, replay_share=0.0)
LORA = replace(
    SFT, method="lora", learning_rate=1e-4, examples=600, unique_labels=100_000, trained_parameters=5_000_000
)
FAR = replace(DAPT, bits_per_byte_ratio=1.5, replay_share=0.25)
SCRATCH = replace(DAPT, is_from_scratch=True, tokens=2_700_000_000, replay_share=0.0, learning_rate=3e-3)
BREAKS: dict[str, list[Numbers]] = {
    "examples_for_adapters": [replace(LORA, examples=499)],
    "examples_for_full": [replace(SFT, examples=9_999)],
    "replay": [
        *(replace(DAPT, replay_share=share) for share in (0.0, 0.04, 0.2)),
        *(replace(FAR, replay_share=share) for share in (0.0, 0.09, 0.3)),
    ],
    "rate_of_adapters": [replace(LORA, learning_rate=1e-5), replace(LORA, learning_rate=1e-3)],
    "rate_of_full_sft": [replace(SFT, learning_rate=1e-4), replace(SFT, learning_rate=1e-6)],
    "rate_of_full_dapt": [replace(DAPT, learning_rate=1e-3), replace(DAPT, learning_rate=1e-5)],
    "rank_for_the_data": [replace(LORA, trained_parameters=99_999)],
    "epochs": [replace(DAPT, epochs=4.1)],
    "warm_up": [replace(DAPT, warmup_fraction=0.0), replace(DAPT, warmup_fraction=0.2)],
    "context_length": [replace(DAPT, cut_share=0.06)],
    "tokenizer_fit": [replace(DAPT, tokens_per_byte_ratio=1.25)],
    "tokens_from_scratch": [replace(SCRATCH, tokens=2_699_999_999)],
}


@pytest.mark.parametrize("plan", [DAPT, SFT, LORA, FAR, SCRATCH], ids=["dapt", "sft", "lora", "far", "from scratch"])
def test_a_plan_of_the_field_breaks_no_rule(plan: Numbers) -> None:
    assert broken_rules(plan) == []


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_every_rule_can_be_broken_alone(rule: str) -> None:
    for plan in BREAKS[rule]:
        assert [broken["rule"] for broken in broken_rules(plan)] == [rule]


def test_every_rule_says_where_it_comes_from() -> None:
    for rule in RULES:
        assert rule.is_rule_of_thumb or "arXiv:" in rule.source or "LoRA Without Regret" in rule.source


def test_what_was_not_measured_breaks_nothing() -> None:
    unknown = replace(DAPT, tokens_per_byte_ratio=None, bits_per_byte_ratio=None)
    assert broken_rules(replace(unknown, replay_share=0.2)) == []
    assert room_of(unknown)[0] == "unknown"


@pytest.mark.parametrize(
    ("plan", "way"),
    [
        (replace(SFT, examples=20), "prompt"),
        (replace(SFT, examples=2_000), "lora"),
        (SFT, "full"),
        (replace(DAPT, unique_tokens=100_000), "retrieval"),
        (replace(DAPT, unique_tokens=5_000_000), "lora"),
        (DAPT, "full"),
        (replace(DAPT, bits_per_byte_ratio=0.9), "full"),
        (SCRATCH, "full"),
    ],
)
def test_the_way_follows_from_the_data(plan: Numbers, way: str) -> None:
    assert approach(plan)[0] == way


def test_fewer_bits_than_for_general_text_prove_nothing() -> None:
    ratios = (0.7, 1.04, 1.05, 1.3)
    assert [room_of(replace(DAPT, bits_per_byte_ratio=ratio))[0] for ratio in ratios] == ["unclear"] * 2 + ["yes"] * 2


@pytest.fixture
def on_a_run(workspace: Workspace, recipe: Recipe) -> Path:
    """A recipe that goes on from a finished run over the general text."""
    train(recipe(name="base", mixture="general", max_steps=4, probes=None), workspace.root)
    return recipe(name="more", base={"run": "base"}, optimizer={"learning_rate": 1e-4, "warmup_fraction": 0.05})


def test_advice_measures_the_base_and_counts_the_data(on_a_run: Path, workspace: Workspace) -> None:
    before = sorted(workspace.root.rglob("*"))
    result = advise(on_a_run, workspace.root)
    assert sorted(workspace.root.rglob("*")) == before
    probe, numbers = result["probe"], result["numbers"]
    assert probe["documents"] == 16
    ratio = probe["domain_bits_per_byte"] / probe["general_bits_per_byte"]
    assert numbers["bits_per_byte_ratio"] == pytest.approx(ratio, abs=1e-4)
    assert numbers["examples"] == 60
    assert 0 < numbers["replay_share"] < 0.5
    assert result["tokenizer_fit"]["domain"] > 1
    assert result["approach"] == "retrieval"
    speed, step = probe["tokens_per_second"], probe["optimizer_seconds"]
    assert result["plan"]["seconds"] == round(result["plan"]["tokens"] / speed + 20 * step)
    assert result["plan"]["seconds_from"].startswith(f"one micro-batch made here: {speed:,.0f} tokens a second")
    text = show_advise(result)
    for said in ("room for continued pre-training", "advised: retrieval", "rules of the field", "bits per byte"):
        assert said in text


def test_without_a_probe_nothing_is_loaded(
    on_a_run: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any) -> None:
        raise AssertionError("the base was loaded")

    monkeypatch.setattr("trainers.prepare.load_base", refuse)
    result = advise(on_a_run, workspace.root, no_probe=True)
    assert (result["probe"], result["room"], result["plan"]["seconds"]) == ({}, "unknown", None)
    monkeypatch.setattr("trainers.dry_run.free_bytes", lambda _device: 0)
    assert advise(on_a_run, workspace.root)["probe"] == {}


@pytest.mark.parametrize("method", ["qlora", "ia3"])
def test_bits_are_those_of_the_base_whatever_is_trained(
    method: str, on_a_run: Path, workspace: Workspace, recipe: Recipe
) -> None:
    plain = advise(on_a_run, workspace.root)["probe"]
    changed = recipe(name="more", base={"run": "base"}, tuning={"method": method})
    found = advise(changed, workspace.root)["probe"]
    for bits in ("domain_bits_per_byte", "general_bits_per_byte"):
        assert found[bits] == pytest.approx(plain[bits], rel=1e-2)


def test_advice_asks_the_gates_that_training_asks(workspace: Workspace, recipe: Recipe) -> None:
    with pytest.raises(AuditError, match="held-out set"):
        advise(recipe(probes={"general": ["unknown"]}), workspace.root)


def test_an_earlier_run_tells_the_time(workspace: Workspace, recipe: Recipe) -> None:
    train(recipe(name="first", max_steps=2, probes=None), workspace.root)
    result = advise(recipe(), workspace.root)
    assert result["plan"]["seconds_from"].startswith("from run first:")
    assert "tokens_per_second" not in result["probe"]


def test_the_epochs_are_those_of_the_planned_steps(workspace: Workspace, recipe: Recipe) -> None:
    few, all_steps = (advise(recipe(max_steps=steps), workspace.root)["numbers"] for steps in (10, 20))
    assert 0 < few["epochs"] < all_steps["epochs"]
    assert few["unique_tokens"] == all_steps["unique_tokens"]
