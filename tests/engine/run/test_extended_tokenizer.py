"""A recipe extends a tokenizer for a source, once, and its mixtures are stored with it."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.base.errors import RecipeError
from engine.formats.mixture import open_mixture
from engine.formats.receipt import read_receipt
from engine.formats.token_store import open_token_store
from engine.formats.tokenizer import decode, load_tokenizer
from engine.formats.workspace import Workspace
from engine.pack.extend_tokenizer import PIECES, require_same_text
from engine.run.gc import gc
from engine.run.pipeline import run, tokenizer_train
from engine.run.show import show_run

WORDS = ["hypertension", "cardiomyopathy", "tachycardia", "ischaemia", "myocardial", "stenosis"]


def texts(domain: bool) -> list[str]:
    words = WORDS if domain else ["house", "garden", "river", "mountain", "forest", "morning"]
    return [f"The {words[n % 6]} and the {words[(n * 5 + 1) % 6]} of number {n} are here." for n in range(50)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources, and a recipe whose base tokenizer saw one of them."""
    root = tmp_path_factory.mktemp("extended")
    for name in ("general", "medical"):
        lines = [json.dumps({"uid": f"{name}{n}", "text": text}) for n, text in enumerate(texts(name == "medical"))]
        (root / f"{name}.jsonl").write_text("\n".join(lines))
    write(root, {"train": {"sources": ["general"], "vocab_size": 330, "control_slots": 1}, "extend": extend(12)})
    return root


def extend(pieces: int) -> dict[str, Any]:
    return {"sources": ["medical"], "pieces": pieces, "held_out": 0.2}


def write(root: Path, tokenizer: dict[str, Any], **sections: Any) -> Path:
    source = {"stage": "jsonl", "columns": {"id": "uid"}}
    content = {
        "name": "extended",
        "sources": [source | {"name": name, "path": f"{name}.jsonl"} for name in ("general", "medical")],
        "tokenizer": tokenizer,
        "mixtures": {"all": {"sources": ["general", "medical"], "row_tokens": 64, "rows_per_step": 4}},
        **sections,
    }
    (root / "recipe.yaml").write_text(json.dumps(content))
    return root / "recipe.yaml"


def test_run_extends_stores_and_tells(folder: Path) -> None:
    planned = run(folder / "recipe.yaml", folder / "ws", dry_run=True)
    assert [step["name"] for step in planned["steps"]][-4:] == ["tokenizer", "new pieces", "token store", "mixture all"]
    result = run(folder / "recipe.yaml", folder / "ws")
    workspace = Workspace(folder / "ws")
    manifest = open_mixture(workspace, "all").manifest
    tokenizer = load_tokenizer(workspace.tokenizer(manifest.tokenizer))
    base = load_tokenizer(workspace.tokenizer(str(tokenizer.meta.parent)))
    assert tokenizer.meta.vocab_size == base.meta.vocab_size + 12
    require_same_text(tokenizer, base, [*texts(True), *texts(False)])
    receipt = read_receipt(tokenizer.folder)
    assert receipt is not None
    held_out, chosen_on = receipt.details["held_out"], receipt.details["chosen_on"]
    assert held_out["documents"] + chosen_on["documents"] == 50
    assert 0 < held_out["tokens_after"] < held_out["tokens_before"]
    saved = pl.read_parquet(tokenizer.folder / PIECES)["tokens_saved"].sum()
    assert saved == chosen_on["tokens_before"] - chosen_on["tokens_after"]
    line = next(line for line in show_run(result).splitlines() if "new pieces" in line and "medical" in line)
    assert f"12 new pieces for medical: {chosen_on['tokens_before']:,} -> {chosen_on['tokens_after']:,} tokens" in line
    store = open_token_store(workspace.tokens(manifest.token_store))
    assert int(store.ids.max()) >= base.meta.vocab_size
    offset, length = store.documents().select("offset", "num_tokens").row(0)
    assert decode(tokenizer, store.ids[offset : offset + length - 1].tolist()) in [*texts(True), *texts(False)]
    again = run(folder / "recipe.yaml", folder / "ws")
    assert {step["name"]: step["state"] for step in again["steps"]}["new pieces"] == "fresh"


def test_control_tokens_stand_behind_new_pieces(folder: Path) -> None:
    tags = {"tags": [{"tag": "from", "column": "source", "values": ["general", "medical"]}], "drop_out": 0}
    named = {"train": {"sources": ["general"], "vocab_size": 330, "control_slots": 1}, "extend": extend(12)}
    result = run(write(folder, named, control_tokens=tags), folder / "ws")
    slot, new = (token["id"] for token in result["control_tokens"])
    assert slot == 4
    assert new == 330 + 12


def test_verb_trains_and_extends(folder: Path) -> None:
    named = {"train": {"sources": ["general"], "vocab_size": 330, "control_slots": 1}, "extend": extend(3)}
    assert tokenizer_train(write(folder, named), folder / "ws")["vocab_size"] == 333


def test_garbage_collection_knows_extended_tokenizers(folder: Path) -> None:
    root = folder / "collected"
    named = {"train": {"sources": ["general"], "vocab_size": 330, "control_slots": 1}, "extend": extend(12)}
    run(write(folder, named), root)
    tokenizer_train(write(folder, named | {"extend": extend(4)}), root)
    pointers = set(root.glob("tokenizers/extended-*.json"))
    result = gc(root)
    assert result["unknown"] == []
    left = set(root.glob("tokenizers/extended-*.json"))
    assert (len(pointers), len(left)) == (2, 1)
    assert run(write(folder, named), root, dry_run=True)["steps"][-3]["state"] == "fresh"


def test_unknown_source_of_pieces_is_told(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"tokenizer.extend.sources: no source 'medicine'"):
        run(write(folder, {"path": "x", "extend": {"sources": ["medicine"], "pieces": 3}}), folder / "ws")
