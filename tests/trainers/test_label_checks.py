"""Labels that are wrong while the loss looks healthy: each damage is found, with the document and its source."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from engine.base.atomic import read_json, write_json
from engine.base.errors import AuditError, InputError
from engine.formats.doc_ids import id_text
from engine.formats.mixture import open_mixture
from engine.formats.tokenizer import load_tokenizer, special_pieces
from engine.formats.workspace import Workspace
from engine.run.pipeline import run
from tests.engine.run.chat_corpus import chats, prose, recipe, write
from trainers.job import resolve_job
from trainers.label_checks import require_sound_labels

from .conftest import TINY, open_rows

Damage = Callable[[np.ndarray, np.ndarray, dict[str, Any]], None]


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the mixture `all` of texts and chats in ChatML."""
    folder = tmp_path_factory.mktemp("talk")
    run(write(folder, recipe(annotate=[], render={"template": "chatml", "bos": True})), folder / "ws")
    return folder / "ws"


@pytest.fixture
def workspace(talk: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(talk, tmp_path / "ws")))


@pytest.fixture
def train_recipe(tmp_path: Path) -> Path:
    content = {"name": "answers", "mixture": "all", "base": {"tiny": TINY}}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "train.yaml"


def damage(workspace: Workspace, source: str, change: Damage) -> str:
    """Change ids and bits of the first document of a source in the store; return how users see its id."""
    manifest = open_mixture(workspace, "all").manifest
    store = open_rows(workspace, "all").store
    used = open_mixture(workspace, "all").documents().filter(pl.col("source") == source).get_column("doc_id")
    row = store.documents().filter(pl.col("doc_id").is_in(used.implode())).row(0, named=True)
    folder = workspace.tokens(manifest.token_store)
    ids = np.fromfile(folder / "ids.bin", store.meta.dtype)
    bits = np.unpackbits(np.fromfile(folder / "supervised.bin", np.uint8), bitorder="little")
    mine = slice(row["offset"], row["offset"] + row["num_tokens"])
    change(ids[mine], bits[mine], special(workspace))
    ids.tofile(folder / "ids.bin")
    np.packbits(bits, bitorder="little").tofile(folder / "supervised.bin")
    return id_text(row["doc_id"])


def special(workspace: Workspace) -> dict[str, int]:
    tokenizer = load_tokenizer(workspace.tokenizer(open_mixture(workspace, "all").manifest.tokenizer))
    return {piece: number for number, piece in special_pieces(tokenizer).items()}


def lose_all_labels(ids: np.ndarray, bits: np.ndarray, pieces: dict[str, int]) -> None:
    bits[:] = 0


def lose_the_stop(ids: np.ndarray, bits: np.ndarray, pieces: dict[str, int]) -> None:
    assert bits[ids == pieces["<|im_end|>"]].any()
    bits[ids == pieces["<|im_end|>"]] = 0


def lose_the_eos(ids: np.ndarray, bits: np.ndarray, pieces: dict[str, int]) -> None:
    bits[-1] = 0


def double_the_bos(ids: np.ndarray, bits: np.ndarray, pieces: dict[str, int]) -> None:
    ids[1] = ids[0]


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        ("chats", lose_all_labels, "has no label"),
        ("plain", lose_all_labels, "has no label"),
        ("chats", lose_the_stop, "has an answer whose stop token is no label"),
        ("plain", lose_the_eos, "does not end with EOS as a label"),
        ("chats", double_the_bos, "begins with two BOS"),
        ("plain", double_the_bos, "begins with two BOS"),
    ],
)
def test_damage_is_an_error_that_names_the_document_and_its_source(
    workspace: Workspace, train_recipe: Path, source: str, change: Damage, message: str
) -> None:
    doc_id = damage(workspace, source, change)
    with pytest.raises(AuditError) as error:
        resolve_job(train_recipe, workspace, None).require_sound_answers()
    assert message in str(error.value)
    assert f"document {doc_id} of source {source}" in str(error.value)
    if change is not lose_all_labels:  # of a text without any label the last is no label either
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("block", [1, 100, 1 << 24])
def test_sound_documents_tell_what_ends_their_answers(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("trainers.label_checks.BLOCK_TOKENS", block)
    rows = open_rows(workspace, "all")
    tokenizer = load_tokenizer(workspace.tokenizer(rows.mixture.manifest.tokenizer))
    assert require_sound_labels(rows, tokenizer) == [special(workspace)["<|im_end|>"]]


def test_documents_beside_the_mixture_are_not_looked_at(workspace: Workspace, train_recipe: Path) -> None:
    used = set(open_mixture(workspace, "all").documents().get_column("doc_id"))
    stored = open_rows(workspace, "all").store.documents()
    assert stored.height == len(used) + 1, "the chat nobody answered is in the store alone"
    resolve_job(train_recipe, workspace, None).require_sound_answers()


def test_what_the_store_says_ends_answers_is_what_has_to(workspace: Workspace, train_recipe: Path) -> None:
    folder = workspace.tokens(open_mixture(workspace, "all").manifest.token_store)
    write_json(folder / "store.json", read_json(folder / "store.json") | {"stop_ids": [1]})
    with pytest.raises(AuditError, match="whose stop token is no label"):
        resolve_job(train_recipe, workspace, None).require_sound_answers()


def test_store_rendered_with_another_template_than_the_manifest_says_is_refused(
    workspace: Workspace, train_recipe: Path
) -> None:
    folder = workspace.tokens(open_mixture(workspace, "all").manifest.token_store)
    content = read_json(folder / "store.json")
    content["render"]["template"] = "llama3"
    write_json(folder / "store.json", content)
    with pytest.raises(
        InputError, match=r"documents of source chats: rendered with template llama3.*eeded: template chatml"
    ):
        resolve_job(train_recipe, workspace, None).require_sound_answers()


def test_chats_are_as_they_were_written() -> None:
    assert chats()[0]["messages"][0]["content"] == f"Tell me {prose(0, num_words=4)}"
