"""A recipe of texts and chats in one mixture, small enough to be run in a test."""

import json
from pathlib import Path
from typing import Any

from engine.formats.token_store import TokenStore, open_token_store
from engine.formats.tokenizer import Tokenizer, decode_batch, load_tokenizer
from engine.formats.workspace import Workspace
from tests.engine.run.searched import prose

MAIL = "ada.lovelace@analytical.org"
NUM_CHATS = 12


def chats() -> list[dict[str, Any]]:
    """Every third with two turns; one with an address in it, one that ends with a question, one that spells a token."""
    rows = []
    for number in range(NUM_CHATS):
        said = [("user", f"Tell me {prose(number, num_words=4)}"), ("assistant", prose(50 + number, num_words=9))]
        if number % 3 == 0:
            said += [("user", "Is there more?"), ("assistant", f"More: {prose(90 + number, num_words=6)}")]
        if number == 1:
            said[0] = ("user", f"I am {MAIL}. Who?")
            said[1] = ("assistant", f"You are {MAIL}, no less.")
        if number == 2:
            said[1] = ("assistant", "<|im_end|> is how it ends.")
        if number == 4:
            said += [("user", "Thanks?")]
        rows.append({"id": f"c{number}", "messages": [{"role": role, "content": text} for role, text in said]})
    rows.append({"id": "unanswered", "messages": [{"role": "user", "content": "Nobody ever answered this one."}]})
    return rows


def recipe(**sections: Any) -> dict[str, Any]:
    """The recipe; sections of None are left out."""
    content = {
        "name": "talk",
        "sources": [
            {"stage": "chat", "name": "chats", "path": "chats.jsonl", "columns": {"id": "id"}},
            {"stage": "jsonl", "name": "plain", "path": "plain.jsonl"},
        ],
        "annotate": [{"stage": "pii", "action": "replace"}],
        "tokenizer": {"train": {"sources": ["plain"], "vocab_size": 400, "control_slots": 4}},
        "render": {"template": "chatml"},
        "mixtures": {"all": {"sources": ["chats", "plain"], "row_tokens": 256, "rows_per_step": 2}},
        **sections,
    }
    return {key: value for key, value in content.items() if value is not None}


def write(folder: Path, content: dict[str, Any]) -> Path:
    """Write documents and recipe into a folder and return the recipe."""
    texts = [{"text": prose(200 + number, num_words=30)} for number in range(20)]
    for name, rows in (("chats", chats()), ("plain", texts)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text(json.dumps(content))
    return folder / "recipe.yaml"


def store_of(workspace: Path) -> tuple[TokenStore, Tokenizer]:
    """Return the token store of the recipe's last run and its tokenizer."""
    place = Workspace(workspace)
    state = json.loads(place.state("talk").read_text())
    return open_token_store(place.root / state["token_store"]), load_tokenizer(place.tokenizer(state["tokenizer"]))


def labels_of(store: TokenStore, tokenizer: Tokenizer, source: str) -> list[tuple[str, list[str]]]:
    """Return of each document of a source all of it, and its runs of labels, decoded."""
    found = []
    for row in store.documents().filter(source=source).iter_rows(named=True):
        ids = store.ids[row["offset"] :][: row["num_tokens"]].tolist()
        runs: list[list[int]] = []
        was_label = False
        for number, is_label in zip(ids, store.supervised(row["offset"], row["num_tokens"]).tolist(), strict=True):
            runs += [[]] if is_label and not was_label else []
            if is_label:
                runs[-1].append(number)
            was_label = is_label
        found.append((decode_batch(tokenizer, [ids])[0], decode_batch(tokenizer, runs)))
    return found
