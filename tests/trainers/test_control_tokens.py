"""A mixture with control tokens trains on bases that have rows for them, and on no other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from peft import AutoPeftModelForCausalLM
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from engine.base.errors import InputError
from engine.formats.mixture import open_mixture
from engine.formats.tokenizer import Tokenizer, TokenizerMeta, describe, load_tokenizer
from engine.formats.workspace import Workspace
from engine.pack.control_slots import add_control_tokens
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer
from tests.trainers.conftest import Document, write_mixture
from trainers.lineage import resolve_base
from trainers.model import load_base
from trainers.recipe import BaseConfig
from trainers.tokenizer_files import write_tokenizer
from trainers.train import train

Recipe = Callable[..., Path]
TAGS = ["<|quality:high|>", "<|quality:low|>", "<|lang:de|>"]
ROWS = 400


def stored(workspace: Workspace, folder: Path, meta: TokenizerMeta) -> Tokenizer:
    return load_tokenizer(Path(shutil.copytree(folder, workspace.tokenizer(meta.digest))))


@pytest.fixture
def parent(workspace: Workspace, texts: dict[str, list[str]], tmp_path: Path) -> Tokenizer:
    """A tokenizer of 400 ids with three free slots, in the workspace."""
    config = TokenizerTraining(sources=["docs"], vocab_size=ROWS, control_slots=3)
    return stored(workspace, tmp_path / "parent", train_tokenizer(texts["docs"], config, tmp_path / "parent"))


def copy_of(workspace: Workspace, parent: Tokenizer, tags: list[str], folder: Path) -> Tokenizer:
    return stored(workspace, folder, add_control_tokens(parent, tags, True, folder))


@pytest.fixture
def in_slots(workspace: Workspace, parent: Tokenizer, tmp_path: Path) -> Tokenizer:
    return copy_of(workspace, parent, TAGS, tmp_path / "in_slots")


@pytest.fixture
def grown(workspace: Workspace, parent: Tokenizer, tmp_path: Path) -> Tokenizer:
    return copy_of(workspace, parent, [*TAGS, "<|lang:en|>", "<|lang:fr|>"], tmp_path / "grown")


@pytest.fixture
def model_folder(tmp_path: Path, parent: Tokenizer) -> Path:
    """A model with a row for each id of the parent, and the parent's tokenizer beside it."""
    config = LlamaConfig(
        vocab_size=ROWS, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=128,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    shutil.copy(parent.folder / "tokenizer.model", tmp_path / "model")
    return tmp_path / "model"


def write_tagged(workspace: Workspace, tokenizer: Tokenizer, texts: list[str]) -> None:
    """The mixture `tagged`: every document begins with a control token."""
    first = next(iter(tokenizer.meta.control_tokens.values()))

    def encode(some: list[str]) -> list[np.ndarray]:
        return [np.insert(ids, 0, first) for ids in tokenizer.encode(some)]

    tagged = Tokenizer(tokenizer.meta, tokenizer.folder, encode)  # type: ignore[arg-type]
    split = open_mixture(workspace, "mixed").manifest.split
    assert split is not None
    write_mixture(workspace, "tagged", [Document("docs", text) for text in texts], tagged, split)


def test_model_of_the_parent_trains_on_tags_in_its_free_slots(
    workspace: Workspace, recipe: Recipe, model_folder: Path, in_slots: Tokenizer, texts: dict[str, list[str]]
) -> None:
    write_tagged(workspace, in_slots, texts["docs"][12:40])
    result = train(recipe(mixture="tagged", base={"path": str(model_folder)}, max_steps=2, probes=None), workspace.root)
    final = Path(result["folder"]) / "final"
    loaded = AutoTokenizer.from_pretrained(final, local_files_only=True)
    assert [loaded.convert_tokens_to_ids(tag) for tag in TAGS] == list(in_slots.meta.control_tokens.values())
    text = texts["docs"][0]
    assert loaded.encode(TAGS[0] + text, add_special_tokens=False) == [
        in_slots.meta.control_tokens[TAGS[0]],
        *in_slots.encode([text])[0].tolist(),
    ]
    # What was trained is no base for a mixture that calls the same rows by other names.
    other = copy_of(workspace, load_tokenizer(workspace.tokenizer(str(in_slots.meta.parent))), TAGS[::-1], final / "x")
    run = BaseConfig(run="tiny")
    assert resolve_base(run, workspace, Path(), in_slots, 1).kind == "run"
    with pytest.raises(InputError, match="trained with tokenizer"):
        resolve_base(run, workspace, Path(), other, 1)
    with pytest.raises(InputError, match="its tokenizer is not the one the mixture is made with"):
        resolve_base(BaseConfig(path=str(final)), workspace, Path(), other, 1)


def test_new_ids_get_rows_from_the_words_of_their_names(
    workspace: Workspace, model_folder: Path, parent: Tokenizer, grown: Tokenizer
) -> None:
    base = resolve_base(BaseConfig(path=str(model_folder)), workspace, Path(), grown, 1)
    assert {row.token: row.id for row in base.new_rows} == grown.meta.control_tokens
    *in_slots, english, french = base.new_rows
    assert [(row.id, row.token) for row in (english, french)] == [(400, "<|lang:en|>"), (401, "<|lang:fr|>")]
    assert list(french.old_ids) == parent.encode(["lang fr"])[0].tolist()
    before = LlamaForCausalLM.from_pretrained(model_folder).get_input_embeddings().weight
    after = load_base(base, grown, 64, 1).get_input_embeddings().weight
    assert after.shape[0] == ROWS + 2
    is_old = torch.ones(ROWS, dtype=torch.bool)
    is_old[[row.id for row in in_slots]] = False
    assert torch.equal(after[:ROWS][is_old], before[is_old])
    for row in base.new_rows:
        assert torch.allclose(after[row.id], before[list(row.old_ids)].mean(0), atol=1e-6)


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_adapter_learns_the_rows_of_tags_in_free_slots(
    workspace: Workspace,
    recipe: Recipe,
    model_folder: Path,
    in_slots: Tokenizer,
    texts: dict[str, list[str]],
    method: str,
) -> None:
    write_tagged(workspace, in_slots, texts["docs"][12:40])
    changes = {"tuning": {"method": method, "r": 4}, "optimizer": {"learning_rate": 0.01}, "probes": None}
    result = train(recipe(mixture="tagged", base={"path": str(model_folder)}, max_steps=3, **changes), workspace.root)
    base = resolve_base(BaseConfig(path=str(model_folder)), workspace, Path(), in_slots, 1)
    start = load_base(base, in_slots, 64, 1).get_input_embeddings().weight
    model = AutoPeftModelForCausalLM.from_pretrained(Path(result["folder"]) / "final")
    learnt = model.merge_and_unload().get_input_embeddings().weight
    tag = in_slots.meta.control_tokens[TAGS[0]]
    assert float((learnt[tag] - start[tag]).abs().max()) > 1e-3
    still = [number for number in range(ROWS) if number not in in_slots.meta.control_tokens.values()]
    assert torch.equal(
        learnt[still], LlamaForCausalLM.from_pretrained(model_folder).get_input_embeddings().weight[still]
    )


def test_model_from_scratch_has_rows_for_new_ids(
    workspace: Workspace, recipe: Recipe, grown: Tokenizer, texts: dict[str, list[str]]
) -> None:
    write_tagged(workspace, grown, texts["docs"][12:40])
    result = train(recipe(mixture="tagged", max_steps=2, probes=None), workspace.root)
    config = json.loads((Path(result["folder"]) / "final" / "config.json").read_text())
    assert config["vocab_size"] == ROWS + 2


def test_parent_that_is_gone_is_told(workspace: Workspace, model_folder: Path, in_slots: Tokenizer) -> None:
    shutil.rmtree(workspace.tokenizer(str(in_slots.meta.parent)))
    with pytest.raises(InputError, match="the tokenizer it was made from is gone"):
        resolve_base(BaseConfig(path=str(model_folder)), workspace, Path(), in_slots, 1)


def test_copy_of_a_hugging_face_tokenizer_loads_in_transformers(tmp_path: Path, texts: dict[str, list[str]]) -> None:
    base = tmp_path / "base"
    base.mkdir()
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts["docs"], trainer)
    slots = ["<|end|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>"]
    made.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in slots])
    made.save(str(base / "tokenizer.json"))
    added = {str(made.token_to_id(piece)): {"content": piece, "special": True} for piece in slots}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "added_tokens_decoder": added}
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    describe(base, "huggingface", made.get_vocab_size(), made.token_to_id("<|end|>"), None, {})
    meta = add_control_tokens(load_tokenizer(base), TAGS, True, tmp_path / "copy")
    # As beside a trained model: its own files first, what is missing from the base's folder.
    (tmp_path / "final").mkdir()
    (tmp_path / "copy" / "tokenizer_config.json").unlink()
    write_tokenizer(load_tokenizer(tmp_path / "copy"), base, tmp_path / "final", texts["docs"][:3])
    before, after = (
        AutoTokenizer.from_pretrained(folder, local_files_only=True) for folder in (base, tmp_path / "final")
    )
    sample = [*texts["docs"], *texts["code"]]
    assert [before.encode(text) for text in sample] == [after.encode(text) for text in sample]
    assert [after.convert_tokens_to_ids(tag) for tag in TAGS] == list(meta.control_tokens.values())
    assert after.encode("".join(TAGS)) == list(meta.control_tokens.values())
    assert len(after) == meta.vocab_size
    assert after.decode([meta.control_tokens[TAGS[2]]], skip_special_tokens=True) == ""
