"""What stands beside trained weights: stop tokens, pad token, template; and weights that load as what was trained."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

import trainers.final
from engine.base.atomic import read_json, write_json
from engine.base.errors import AuditError
from engine.formats.mixture import open_mixture
from engine.formats.token_store import open_token_store
from engine.formats.tokenizer import Tokenizer, load_tokenizer
from engine.formats.workspace import Workspace
from tests.engine.pack.chat_tokenizers import make
from trainers.final import require_same_logits, tokenizer_in_transformers
from trainers.generation import choose_pad
from trainers.lineage import Base
from trainers.model import load_folder
from trainers.template_checks import require_one_template
from trainers.train import train

Recipe = Callable[..., Path]
LORA = {"method": "lora", "r": 4, "alpha": 8}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return make("byte_level", tmp_path_factory.mktemp("tokenizer"))


def base_of(folder: Path, **config: Any) -> Base:
    folder.mkdir(parents=True)
    write_json(folder / "tokenizer_config.json", config)
    return Base("path", "base", "0" * 32, folder)


def test_pad_token_of_the_base_is_kept_where_it_ends_nothing(spoken: Tokenizer, tmp_path: Path) -> None:
    stop = spoken.meta.eos_id
    kept = choose_pad(spoken, base_of(tmp_path / "a", pad_token="[INST]"), [stop])
    assert (kept["token"], kept["how"]) == ("[INST]", "the base's")
    other = choose_pad(spoken, base_of(tmp_path / "b", pad_token={"content": "</s>"}), [stop])
    assert other["id"] == stop, "no token of this tokenizer stands for nothing"
    assert "mask padding by length" in other["how"]


def test_reserved_token_fills_up_where_the_base_has_no_pad_token(tmp_path: Path) -> None:
    spoken = make("byte_level", tmp_path)
    for names, chosen in (
        (["<|reserved_special_token_0|>", "<|finetune_right_pad_id|>"], "<|finetune_right_pad_id|>"),
        (["<|reserved_special_token_0|>", "<|reserved_special_token_1|>"], "<|reserved_special_token_1|>"),
    ):
        tokenizer = with_special(spoken, names, tmp_path / chosen.strip("<|>"))
        pad = choose_pad(tokenizer, base_of(tmp_path / f"base of {chosen.strip('<|>')}"), [tokenizer.meta.eos_id])
        assert pad["token"] == chosen
        assert pad["how"] == "reserved: the base has none"


def with_special(tokenizer: Tokenizer, names: list[str], folder: Path) -> Tokenizer:
    import tokenizers

    from engine.formats.tokenizer import describe

    folder.mkdir()
    model = tokenizers.Tokenizer.from_file(str(tokenizer.folder / "tokenizer.json"))
    model.add_special_tokens(names)
    model.save(str(folder / "tokenizer.json"))
    meta = tokenizer.meta
    describe(folder, "huggingface", model.get_vocab_size(with_added_tokens=True), meta.eos_id, meta.bos_id, {})
    return load_tokenizer(folder)


@pytest.mark.parametrize("tuning", [{"method": "full"}, LORA], ids=["full", "lora"])
def test_run_without_chats_stops_at_eos_and_is_loaded_again(
    workspace: Workspace, recipe: Recipe, tuning: dict[str, Any]
) -> None:
    train(recipe(name="general", mixture="general", max_steps=2, probes=None), workspace.root)
    path = recipe(name="tuned", base={"run": "general"}, tuning=tuning, max_steps=2)
    folder = Path(train(path, workspace.root)["folder"])
    content = json.loads((folder / "run.json").read_text())
    assert [stop["token"] for stop in content["generation"]["stop_tokens"]] == ["</s>"]
    assert content["generation"]["template"] is None
    assert content["reloaded"]["logits_differ_by"] <= 1e-5
    assert content["reloaded"]["tokenizer"] == "the same ids"
    assert GenerationConfig.from_pretrained(folder / "final").eos_token_id == [2]
    assert AutoTokenizer.from_pretrained(folder / "final").pad_token == content["generation"]["pad_token"]["token"]
    card = (folder / "final" / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["library_name"] == ("peft" if tuning is LORA else "transformers")
    assert "| general | 12 | " in card
    assert "within the budget" in card or "OVER the budget" in card


def tiny_model(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, **sizes)).float()


def test_full_weights_that_load_as_others_are_an_error(tmp_path: Path) -> None:
    model, ids = tiny_model(1), torch.arange(12)[None]
    model.save_pretrained(tmp_path)
    assert require_same_logits(model, tmp_path, ids) == 0.0
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if "down_proj" in name)
    weights[name][0] += 0.5
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(AuditError, match="loaded again it gives other logits"):
        require_same_logits(model, tmp_path, ids)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adapter_under_keys_that_do_nothing_is_an_error(tmp_path: Path, dtype: torch.dtype) -> None:
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(
        tiny_model(1).to(dtype), LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear")
    )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(tmp_path)
    ids = torch.arange(12)[None]
    assert require_same_logits(adapted, tmp_path, ids) == 0.0
    weights = load_file(tmp_path / "adapter_model.safetensors")
    inert = {name.replace("base_model.model", "base_model.model.extra"): tensor for name, tensor in weights.items()}
    save_file(inert, tmp_path / "adapter_model.safetensors")
    with pytest.raises(AuditError, match="loaded again it gives other logits"):
        require_same_logits(adapted, tmp_path, ids)


def test_run_whose_export_is_damaged_is_not_finished(
    workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainers.final, "load_folder", tiny_like)
    with pytest.raises(AuditError, match="loaded again it gives other logits"):
        train(recipe(max_steps=1, probes=None), workspace.root)
    assert not (workspace.run("tiny") / "final").exists()
    assert not (workspace.run("tiny") / "receipt.json").exists()


def tiny_like(folder: Path) -> Any:
    model = load_folder(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(0.9)
    return model


def test_eos_that_is_the_pad_token_of_a_base_is_learnt_as_an_input(tmp_path: Path) -> None:
    model = tiny_model(1)
    model.config.pad_token_id = 5
    model.save_pretrained(tmp_path)
    loaded = load_folder(tmp_path)
    loaded(input_ids=torch.tensor([[4, 5, 6]]), labels=torch.tensor([[4, 5, 6]])).loss.backward()
    assert loaded.get_input_embeddings().weight.grad[5].any()


CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
ALIKE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>{{ '\\n' }}{% endfor %}"
PROMPTED = "{% if messages[0].role != 'system' %}You are good.{% endif %}" + CHATML


@pytest.mark.parametrize(
    ("there", "writes"),
    [
        (CHATML, None),
        (ALIKE, None),
        ("{{ bos_token }}" + ALIKE, None),
        (PROMPTED, r"it writes 'You are good\.<\|im_start\|>user"),
        ("{{ raise_exception('no') }}", "it writes what the other refuses"),
    ],
    ids=["equal", "alike", "bos", "prompted", "refuses"],
)
def test_base_whose_template_writes_other_things_than_that_of_the_mixture_is_refused(
    workspace: Workspace, tmp_path: Path, there: str, writes: str | None
) -> None:
    manifest = open_mixture(workspace, "mixed").manifest.model_copy(update={"template": "chatml"})
    store = open_token_store(workspace.tokens(manifest.token_store))
    store = replace(store, meta=store.meta.model_copy(update={"chat_template": CHATML}))
    base = base_of(tmp_path / "base", chat_template=there, bos_token="<s>")
    if writes is None:
        assert require_one_template(manifest, store, base, False) == []
        return
    with pytest.raises(AuditError, match=f"another chat template along than chatml: {writes}"):
        require_one_template(manifest, store, base, False)
    assert len(require_one_template(manifest, store, base, True)) == 1


def test_tokenizer_that_transformers_puts_together_in_another_way_is_told(spoken: Tokenizer, tmp_path: Path) -> None:
    texts = [
        "def f(x): return x",
        "two  spaces",
        "a text that spells </s> is text in training, and EOS in transformers",
    ]
    folder = Path(shutil.copytree(spoken.folder, tmp_path / "final"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    assert tokenizer_in_transformers(folder, spoken, texts) == "the same ids"
    content = read_json(folder / "tokenizer.json")
    write_json(
        folder / "tokenizer.json",
        content | {"normalizer": {"type": "Replace", "pattern": {"String": "  "}, "content": " "}},
    )
    assert tokenizer_in_transformers(folder, spoken, texts) == "other ids for 1 of 2 texts"
    (folder / "tokenizer.json").write_text("{")
    assert tokenizer_in_transformers(folder, spoken, texts).startswith("cannot be loaded (")
