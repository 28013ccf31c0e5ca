"""Base models of a workspace: a Hugging Face folder, inside or where the user has it, and what it is.

models/<digest>/
    provender.json       ModelMeta; `path` says where the model's files are
    config.json, *.safetensors, tokenizer.json, ...      only where the model was made here
    receipt.json

Other models (classifiers of stages) lie in models/ too; those of kind causal_lm are meant here.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem, unknown
from engine.base.hashing import digest_file, digest_json
from engine.base.stage import StrictModel
from engine.formats.workspace import Workspace

META = "provender.json"
KIND = "causal_lm"
IDENTITY = ("config.json", "*.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""The files that decide what a model computes and how text reaches it; others may change."""


class ModelMeta(StrictModel):
    """What a base model is."""

    kind: str = Field(default=KIND, description="causal_lm")
    name: str = Field(description="what recipes call it")
    digest: str = Field(description="digest of its weights, configuration and tokenizer files")
    path: str = Field(description="folder of its files: absolute, or relative to the workspace")
    note: str = Field(default="", description="what a report must say about it")
    tokenizer: str = Field(description="digest of its tokenizer, to be found under tokenizers/")
    num_parameters: int = Field(description="numbers stored in its weight files; tied ones once")


@dataclass(frozen=True)
class Model:
    """A base model of a workspace."""

    meta: ModelMeta
    folder: Path
    """Where config.json and the weights are."""

    @property
    def name(self) -> str:
        """What recipes call it."""
        return self.meta.name

    @property
    def digest(self) -> str:
        """Digest of its weights, configuration and tokenizer files."""
        return self.meta.digest

    @property
    def tokenizer(self) -> str:
        """Digest of its tokenizer."""
        return self.meta.tokenizer


def list_models(workspace: Workspace) -> list[Model]:
    """Return the base models of a workspace, sorted by name; their files may be gone."""
    return sorted(_models(workspace), key=lambda model: model.name)


def find_model(workspace: Workspace, name: str) -> Model:
    """Return the base model of this name; raises InputError where there is none, or its files are gone."""
    models = {model.name: model for model in list_models(workspace)}
    if name not in models:
        message = unknown(workspace.root, "base model", name, models)
        raise InputError(f"{message} Add one: `provender models add {name}`." if not models else message)
    model = models[name]
    if not (model.folder / "config.json").is_file():
        raise InputError(problem(model.folder, f"the files of model '{name}' are gone", fix="add the model again"))
    return model


def digest_model(folder: Path) -> str:
    """Return the digest of a model folder's weights, configuration and tokenizer files; reads all of them."""
    paths = sorted({path for pattern in IDENTITY for path in folder.glob(pattern)})
    return digest_json({path.name: digest_file(path) for path in paths})


def _models(workspace: Workspace) -> Iterator[Model]:
    for path in (workspace.root / "models").glob(f"*/{META}"):
        content = read_json(path)
        if content.get("kind") == KIND:
            meta = ModelMeta.model_validate(content)
            # An absolute path replaces the workspace's in this join.
            yield Model(meta, workspace.root / meta.path)


def count_parameters(folder: Path) -> int:
    """Return how many numbers the weight files hold, from their headers alone; tied weights are stored once."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for length in tensor["shape"]:
                    size *= length
                total += size
    return total
