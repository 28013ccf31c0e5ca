"""The labels of a step over texts and chats are exactly the tokens of the answers and of the texts."""

from collections import Counter
from pathlib import Path

from engine.formats.mixture import open_mixture
from engine.formats.tokenizer import decode_batch
from engine.formats.training_rows import open_training_rows
from engine.formats.workspace import Workspace
from engine.run.pipeline import run
from tests.engine.run.chat_corpus import NUM_CHATS, chats, recipe, store_of, write
from trainers.data import micro_batches


def test_labels_of_the_steps_are_the_answers(tmp_path: Path) -> None:
    run(write(tmp_path, recipe(annotate=[])), tmp_path / "ws")
    workspace = Workspace(tmp_path / "ws")
    mixture = open_mixture(workspace, "all")
    _, tokenizer = store_of(tmp_path / "ws")
    rows = open_training_rows(workspace, mixture)
    number = [source for source, _ in rows.sources].index("chats")
    found: list[list[int]] = []
    for step in range(rows.num_steps):
        for batch in micro_batches(rows.step(step), rows.store.meta.eos_id, 1):
            of_chats = batch.label_sources == number
            places = (batch.predictors.numpy() + 1)[of_chats].tolist()
            last = -1
            for place, label in zip(places, batch.labels.numpy()[of_chats].tolist(), strict=True):
                # A run of labels is an answer; the headers between two are none.
                if place != last + 1:
                    found.append([])
                found[-1].append(label)
                last = place
    answers = [f"{m['content']}<|im_end|>" for row in chats() for m in row["messages"] if m["role"] == "assistant"]
    assert Counter(decode_batch(tokenizer, found)) == Counter(answers)
    assert sum(map(len, found)) == next(r for r in mixture.manifest.sources if r.source == "chats").supervised_tokens
    assert len(answers) == NUM_CHATS + 4
