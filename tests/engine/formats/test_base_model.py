"""Base models are told from other models, found by name, and identified by their files."""

import json
from pathlib import Path

import pytest

from engine.base.errors import InputError
from engine.formats.base_model import ModelMeta, digest_model, find_model, list_models
from engine.formats.workspace import Workspace


def write_meta(root: Path, name: str, path: str) -> ModelMeta:
    meta = ModelMeta(name=name, digest=name * 32, path=path, tokenizer="t" * 32, num_parameters=1)
    folder = Workspace(root).model(meta.digest)
    folder.mkdir(parents=True)
    (folder / "provender.json").write_text(json.dumps(meta.model_dump()))
    return meta


def test_models_are_listed_by_name_with_their_folders(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    meta = write_meta(tmp_path / "ws", "b", str(outside))
    write_meta(tmp_path / "ws", "a", "models/x")
    models = list_models(Workspace(tmp_path / "ws"))
    assert [(model.name, model.folder) for model in models] == [("a", tmp_path / "ws/models/x"), ("b", outside)]
    assert (models[1].meta, models[1].digest, models[1].tokenizer) == (meta, "b" * 32, "t" * 32)


def test_models_of_stages_are_no_base_models(tmp_path: Path) -> None:
    for name, content in {"a": '{"kind": "fasttext"}', "b": "{}"}.items():
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "provender.json").write_text(content)
    (tmp_path / "models/c").mkdir()
    assert list_models(Workspace(tmp_path)) == []


def test_missing_model_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no base model 'smollm2' \(have: none\)\. Add one: `provender models add smo"
    ):
        find_model(Workspace(tmp_path), "smollm2")
    write_meta(tmp_path, "a", str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"no base model 'b' \(have: a\)\.$"):
        find_model(Workspace(tmp_path), "b")
    with pytest.raises(InputError, match=r"gone: the files of model 'a' are gone\. Fix: add the model again"):
        find_model(Workspace(tmp_path), "a")


def test_digest_follows_content_and_names_not_folders_or_other_files(tmp_path: Path) -> None:
    digests = []
    for number, files in enumerate(
        [
            {"config.json": "{}", "model.safetensors": "w"},
            {"config.json": "{}", "model.safetensors": "w", "README.md": "x"},
            {"config.json": "{}", "model.safetensors": "v"},
            {"config.json": "{ }", "model.safetensors": "w"},
            {"config.json": "{}", "model-1.safetensors": "w"},
            {"config.json": "{}", "model.safetensors": "w", "chat_template.jinja": "x"},
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
        digests.append(digest_model(folder))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 5
