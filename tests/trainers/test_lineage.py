"""Bases of every kind, what stands behind them, and the gate on probes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from engine.base.atomic import write_json
from engine.base.errors import AuditError, InputError
from engine.formats.base_model import ModelMeta, digest_model
from engine.formats.mixture import open_mixture
from engine.formats.tokenizer import Tokenizer, describe, load_tokenizer
from engine.formats.workspace import Workspace
from tests.engine.pack.chat_tokenizers import make
from trainers.adapters import open_adapter
from trainers.base_models import models_add
from trainers.final import tokenizer_in_transformers
from trainers.language_model import LanguageModel
from trainers.lineage import _same_tokenizer, resolve_base
from trainers.merge import merge
from trainers.model import load_base
from trainers.recipe import BaseConfig
from trainers.tokenizer_files import write_tokenizer
from trainers.train import train

Recipe = Callable[..., Path]
LORA = {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.1}


@pytest.fixture
def general(workspace: Workspace, recipe: Recipe) -> Path:
    """The folder of a finished run on `general`, from scratch."""
    return Path(train(recipe(name="general", mixture="general", max_steps=6), workspace.root)["folder"])


def run_json(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_text())


def step_zero(workspace: Workspace, run: str) -> list[float]:
    import polars as pl

    return (
        pl.read_parquet(workspace.run(run) / "probes.parquet").filter(pl.col("step") == 0).get_column("nats").to_list()
    )


def last_step(workspace: Workspace, run: str) -> list[float]:
    import polars as pl

    frame = pl.read_parquet(workspace.run(run) / "probes.parquet")
    return frame.filter(pl.col("step") == pl.col("step").max()).get_column("nats").to_list()


def test_run_goes_on_from_the_weights_another_ended_with(workspace: Workspace, recipe: Recipe, general: Path) -> None:
    train(recipe(name="code", base={"run": "general"}, max_steps=4), workspace.root)
    assert step_zero(workspace, "code") == last_step(workspace, "general")
    content = run_json(workspace.run("code"))
    assert [(run["run"], run["mixture"]["reference"]) for run in content["lineage"]["runs"]] == [
        ("general", "general@v1")
    ]
    assert content["base"]["kind"] == "run"


def test_adapter_of_an_ancestor_is_merged_in_memory(workspace: Workspace, recipe: Recipe, general: Path) -> None:
    train(recipe(name="adapted", base={"run": "general"}, tuning=LORA, max_steps=6), workspace.root)
    assert not (workspace.run("adapted") / "final" / "model.safetensors").exists()
    train(recipe(name="again", base={"run": "adapted"}, tuning=LORA, max_steps=2), workspace.root)
    assert step_zero(workspace, "again") == pytest.approx(last_step(workspace, "adapted"), rel=1e-4)
    assert [run["run"] for run in run_json(workspace.run("again"))["lineage"]["runs"]] == ["general", "adapted"]


def test_only_the_adapter_is_trained_and_the_base_stays_bit_for_bit(
    workspace: Workspace, recipe: Recipe, general: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trainers.prepare

    models = []
    original = trainers.prepare.load_base
    monkeypatch.setattr(trainers.prepare, "load_base", lambda *a: models.append(original(*a)) or models[-1])
    train(recipe(name="adapted", base={"run": "general"}, tuning=LORA, max_steps=6), workspace.root)
    trained = {name.replace(".base_layer", ""): tensor for name, tensor in models[0].state_dict().items()}
    for name, tensor in load_file(general / "final" / "model.safetensors").items():
        assert torch.equal(trained[name], tensor), name
    adapter = load_file(workspace.run("adapted") / "final" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in adapter} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"
    }  # fmt: skip
    assert all(bool(tensor.any()) for name, tensor in adapter.items() if "lora_B" in name)


def test_final_folder_is_a_model_of_transformers(general: Path, tokenizer: Tokenizer) -> None:
    model = AutoModelForCausalLM.from_pretrained(general / "final", local_files_only=True)
    assert model.config.eos_token_id == tokenizer.meta.eos_id
    assert (general / "final" / "tokenizer.model").read_bytes() == (tokenizer.folder / "tokenizer.model").read_bytes()


def test_tokenizer_of_the_final_folder_gives_the_ids_of_training(
    general: Path, tokenizer: Tokenizer, texts: dict[str, list[str]]
) -> None:
    loaded = AutoTokenizer.from_pretrained(general / "final", local_files_only=True)
    texts_seen = [*texts["docs"], *texts["code"], "", " \t\n  x", "caf\u00e9 \u4f60\u597d"]
    expected = [ids.tolist() for ids in tokenizer.encode(texts_seen)]
    assert [loaded.encode(text, add_special_tokens=False) for text in texts_seen] == expected
    assert [loaded.decode(ids) for ids in expected] == texts_seen
    assert loaded.eos_token_id == tokenizer.meta.eos_id


def test_tokenizer_that_cannot_be_converted_exactly_is_only_copied(tmp_path: Path, texts: dict[str, list[str]]) -> None:
    folder = tmp_path / "normalising"
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts["docs"]),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=400,
        character_coverage=0.99,
        byte_fallback=True,
        normalization_rule_name="nfkc_cf",
        minloglevel=2,
    )
    describe(folder, "sentencepiece", 400, eos_id=2, bos_id=1, slots={})
    (tmp_path / "final").mkdir()
    write_tokenizer(load_tokenizer(folder), None, tmp_path / "final", texts["docs"])
    assert [path.name for path in (tmp_path / "final").iterdir()] == ["tokenizer.model"]
    said = tokenizer_in_transformers(tmp_path / "final", load_tokenizer(folder), texts["docs"])
    assert said == "cannot be loaded: there is only tokenizer.model, which SentencePiece reads"


def test_final_adapter_is_an_adapter_of_peft(workspace: Workspace, recipe: Recipe, general: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    train(recipe(name="adapted", base={"run": "general"}, tuning=LORA, max_steps=2), workspace.root)
    model = AutoPeftModelForCausalLM.from_pretrained(workspace.run("adapted") / "final", local_files_only=True)
    plain = AutoModelForCausalLM.from_pretrained(general / "final", dtype=torch.float32)
    by_hand = open_adapter(plain, workspace.run("adapted") / "final").merge_and_unload()
    ids = torch.arange(20)[None]
    one, other = (
        LanguageModel(m).eval().states(ids, torch.arange(20)[None]) for m in (model.merge_and_unload(), by_hand)
    )
    torch.testing.assert_close(one, other)


def test_whole_weights_need_nothing_of_the_runs_behind_them(
    workspace: Workspace, recipe: Recipe, general: Path
) -> None:
    train(recipe(name="code", base={"run": "general"}, max_steps=2), workspace.root)
    shutil.rmtree(general)
    train(recipe(name="more", base={"run": "code"}, max_steps=2), workspace.root)
    behind = run_json(workspace.run("more"))["lineage"]
    assert [run["run"] for run in behind["runs"]] == ["general", "code"]
    assert behind["pretraining"] == "none: initialised from the seed"


def test_weights_that_changed_behind_a_run_are_refused(workspace: Workspace, recipe: Recipe, general: Path) -> None:
    weights = load_file(general / "final" / "model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, general / "final" / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="these are not the weights the run ended with"):
        train(recipe(name="code", base={"run": "general"}, max_steps=2), workspace.root)


def test_tiny_base_under_an_adapter_is_that_of_its_own_seed(workspace: Workspace, recipe: Recipe) -> None:
    train(recipe(name="first", tuning=LORA, max_steps=2, seed=1), workspace.root)
    train(recipe(name="second", base={"run": "first"}, max_steps=2, seed=2), workspace.root)
    assert step_zero(workspace, "second") == pytest.approx(last_step(workspace, "first"), rel=1e-5)


@pytest.mark.parametrize("is_merged", [False, True])
def test_folder_a_run_left_behind_has_its_lineage_wherever_it_lies(
    workspace: Workspace, recipe: Recipe, general: Path, tokenizer: Tokenizer, tmp_path: Path, is_merged: bool
) -> None:
    if is_merged:
        train(recipe(name="adapted", base={"run": "general"}, tuning=LORA, max_steps=2), workspace.root)
        merge("adapted", tmp_path / "elsewhere", workspace.root)
    else:
        shutil.copytree(general / "final", tmp_path / "elsewhere")
    before = ["general", "adapted"] if is_merged else ["general"]
    train(recipe(name="code", base={"path": "elsewhere"}, max_steps=2), workspace.root)
    behind = run_json(workspace.run("code"))["lineage"]
    assert [run["run"] for run in behind["runs"]] == before
    assert behind["pretraining"] == "none: initialised from the seed"
    models_add(str(tmp_path / "elsewhere"), workspace.root, "left")
    added = resolve_base(BaseConfig(model="left"), workspace, Path(), tokenizer, 1)
    assert [run["run"] for run in added.runs] == before
    # The gate asks what the mixtures behind it were searched for, and cannot where they are gone.
    shutil.rmtree(workspace.root / "mixtures" / "general")
    with pytest.raises(AuditError, match=r"behind base run general\): the mixture the run was trained on is not here"):
        train(recipe(name="more", base={"path": "elsewhere"}), workspace.root)
    waived = train(
        recipe(name="more", base={"path": "elsewhere"}, gate={"waive": ["general", "code"]}, max_steps=1),
        workspace.root,
    )
    assert "is not here" in waived["waived"][0]


def test_unfinished_run_is_no_base(workspace: Workspace, recipe: Recipe, general: Path) -> None:
    (general / "receipt.json").unlink()
    with pytest.raises(InputError, match="the run is not finished"):
        train(recipe(name="code", base={"run": "general"}), workspace.root)


def test_adapter_whose_base_changed_is_refused(workspace: Workspace, recipe: Recipe, general: Path) -> None:
    train(recipe(name="adapted", base={"run": "general"}, tuning=LORA, max_steps=2), workspace.root)
    shutil.rmtree(general)
    train(recipe(name="general", mixture="general", max_steps=5), workspace.root)
    with pytest.raises(InputError, match="the base the adapter was trained on"):
        train(recipe(name="code", base={"run": "adapted"}), workspace.root)


@pytest.fixture
def model_folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A Hugging Face folder of a Llama with 4 key-value heads for 4 heads and the tokenizer's vocabulary."""
    config = LlamaConfig(
        vocab_size=512, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=128, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    shutil.copy(tokenizer.folder / "tokenizer.model", tmp_path / "model")
    return tmp_path / "model"


def test_folder_beside_the_recipe_is_a_base(workspace: Workspace, recipe: Recipe, model_folder: Path) -> None:
    result = train(recipe(base={"path": "model"}, max_steps=3), workspace.root)
    content = run_json(Path(result["folder"]))
    assert content["base"]["name"] == str(model_folder)
    assert content["lineage"]["pretraining"] == "unknown"


def add_model(workspace: Workspace, folder: Path) -> str:
    digest = digest_model(folder)
    meta = ModelMeta(
        name="little", digest=digest, path=str(folder), note="for tests", tokenizer="0" * 32, num_parameters=1
    )
    write_json(workspace.model(digest) / "provender.json", meta.model_dump())
    return digest


def test_model_that_changed_since_it_was_added_is_refused(
    workspace: Workspace, recipe: Recipe, model_folder: Path
) -> None:
    add_model(workspace, model_folder)
    content = json.loads((model_folder / "config.json").read_text())
    write_json(model_folder / "config.json", content | {"rope_theta": 5.0})
    with pytest.raises(InputError, match="model 'little' changed since it was added"):
        train(recipe(base={"model": "little"}, max_steps=2), workspace.root)


def test_model_of_the_workspace_is_found_by_its_name(workspace: Workspace, recipe: Recipe, model_folder: Path) -> None:
    digest = add_model(workspace, model_folder)
    train(recipe(base={"model": "little"}, max_steps=2), workspace.root)
    content = run_json(workspace.run("tiny"))
    assert content["base"] == {"kind": "model", "name": "little", "digest": digest}
    assert content["lineage"] == {"runs": [], "pretraining": "unknown", "note": "for tests"}
    with pytest.raises(InputError, match=r"no base model 'litle' \(have: little\). Fix: did you mean 'little'\?"):
        train(recipe(name="other", base={"model": "litle"}), workspace.root)


def test_base_with_another_tokenizer_is_refused(workspace: Workspace, recipe: Recipe, model_folder: Path) -> None:
    (model_folder / "tokenizer.model").write_bytes(b"another")
    with pytest.raises(InputError, match="its tokenizer is not the one the mixture is made with"):
        train(recipe(base={"path": "model"}), workspace.root)


def test_base_without_a_tokenizer_is_refused(workspace: Workspace, recipe: Recipe, model_folder: Path) -> None:
    (model_folder / "tokenizer.model").unlink()
    with pytest.raises(InputError, match="it has no tokenizer, so nobody can say whether it is that of the mixture"):
        train(recipe(base={"path": "model"}), workspace.root)


def test_tokenizers_of_one_vocabulary_are_one_only_where_they_cut_texts_alike(tmp_path: Path) -> None:
    spoken = make("byte_level", tmp_path)
    content = json.loads((spoken.folder / "tokenizer.json").read_text())
    merges = content["model"]["merges"]
    layouts = {
        "compact": (content, True),
        "truncated": (
            content | {"truncation": {"max_length": 8, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}},
            True,
        ),
        "other merges": (content | {"model": content["model"] | {"merges": merges[::-1]}}, False),
        "other words": (content | {"pre_tokenizer": {"type": "Digits", "individual_digits": True}}, False),
    }
    for name, (changed, is_same) in layouts.items():
        write_json(tmp_path / name / "tokenizer.json", changed)
        assert _same_tokenizer(tmp_path / name / "tokenizer.json", spoken.folder / "tokenizer.json") == is_same, name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 100}, "100 embeddings for a tokenizer of 512 ids"),
        ({"max_position_embeddings": 32}, "the model knows 32 positions, the mixture's rows need 64"),
    ],
)
def test_base_that_is_too_small_is_refused(
    workspace: Workspace, recipe: Recipe, tokenizer: Tokenizer, tmp_path: Path, change: dict[str, int], message: str
) -> None:
    config = {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2} | change
    LlamaForCausalLM(LlamaConfig(intermediate_size=32, **config)).save_pretrained(tmp_path / "model")
    shutil.copy(tokenizer.folder / "tokenizer.model", tmp_path / "model")
    with pytest.raises(InputError, match=message):
        train(recipe(base={"path": "model"}), workspace.root)


def test_folder_that_cannot_be_loaded_is_told(workspace: Workspace, recipe: Recipe, model_folder: Path) -> None:
    write_json(model_folder / "config.json", {"model_type": "nothing_known"})
    with pytest.raises(InputError, match="cannot be loaded"):
        train(recipe(base={"path": "model"}), workspace.root)


def test_same_seed_makes_the_same_base_and_another_another(workspace: Workspace, tokenizer: Tokenizer) -> None:
    config = BaseConfig.model_validate({"tiny": {"hidden_size": 32, "layers": 1, "heads": 2}})
    weights, digests = [], []
    for seed in (1, 1, 2):
        base = resolve_base(config, workspace, Path(), tokenizer, seed)
        weights.append(load_base(base, tokenizer, 64, seed).get_input_embeddings().weight)
        digests.append(base.digest)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert digests[0] == digests[1] != digests[2]


def test_probe_not_searched_in_all_documents_is_refused(
    workspace: Workspace, recipe: Recipe, change_manifest: Callable[..., None]
) -> None:
    held_out = [held.model_dump() for held in open_mixture(workspace, "mixed").manifest.held_out]
    held_out[1]["searched_documents"] -= 12
    change_manifest("mixed", held_out=held_out)
    with pytest.raises(AuditError, match=r"60 of its 72 documents were searched for 'general'. Needed: all of them"):
        train(recipe(), workspace.root)
    assert not workspace.run("tiny").exists()


def test_mixture_without_a_split_covers_no_probe(
    workspace: Workspace, recipe: Recipe, change_manifest: Callable[..., None]
) -> None:
    change_manifest("mixed", split=None, held_out=[])
    with pytest.raises(AuditError) as error:
        train(recipe(), workspace.root)
    assert [line.partition(" (have")[0] for line in str(error.value).splitlines()] == [
        "mixed@v1: no held-out set searched for in it 'general'",
        "mixed@v1: no held-out set searched for in it 'code'",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "9" * 32}, "its split is another, and not here: nobody can say whether it held out what 'general'"),
        ({"held_out": []}, "no held-out set searched for in it 'general'"),
        ({"digest": "8" * 32}, "it is not the mixture the run was trained on"),
    ],
)
def test_probe_not_covered_by_an_ancestor_is_refused(
    workspace: Workspace,
    recipe: Recipe,
    general: Path,
    change_manifest: Callable[..., None],
    changes: dict[str, Any],
    message: str,
) -> None:
    change_manifest("general", **changes)
    with pytest.raises(AuditError, match=r"general@v1 \(behind base run general\)") as error:
        train(recipe(name="code", base={"run": "general"}), workspace.root)
    assert message in str(error.value)
    train(recipe(name="code", base={"run": "general"}, probes=None, max_steps=1), workspace.root)
