"""Probes: the log-likelihood a model gives to the held-out texts of the split, document by document.

What is counted: each document is tokenised with the mixture's tokenizer, without EOS. Every token but the first is a
label exactly once; documents longer than a training row are cut into windows that share one token, so a window's first
token is the label that ended the window before. `bytes` are the UTF-8 bytes of the whole text: the first token's bytes
are counted though it cannot be predicted, which lowers bits per byte by its share (a token in hundreds), at every step
by the same factor, so no relative change depends on it. Documents of fewer than two tokens cannot be measured and are
left out before the first `max_documents` are taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from engine.base.errors import InputError, problem
from engine.formats.run import PROBES_SCHEMA
from engine.formats.split import Split
from engine.formats.tokenizer import Tokenizer
from trainers.language_model import LanguageModel
from trainers.losses import chunked_nats
from trainers.recipe import ProbesConfig

BATCH_TOKENS = 4096


@dataclass(frozen=True)
class ProbeDocument:
    """A held-out document, tokenised."""

    probe: str
    doc_id: bytes
    ids: np.ndarray
    num_bytes: int


def probe_documents(config: ProbesConfig, split: Split, tokenizer: Tokenizer) -> list[ProbeDocument]:
    """Return the documents of all probe sets; raises InputError for a set without a document that can be measured."""
    heldout = split.heldout().sort("set", "doc_id")
    documents: list[ProbeDocument] = []
    for name in config.sets:
        chosen = heldout.filter(pl.col("set") == name)
        ids = tokenizer.encode(chosen.get_column("text").to_list())
        columns = zip(chosen.get_column("doc_id"), ids, chosen.get_column("num_bytes"), strict=True)
        found = [ProbeDocument(name, doc_id, tokens, size) for doc_id, tokens, size in columns if len(tokens) > 1]
        if not found:
            raise InputError(problem(split.folder, f"held-out set '{name}' has no document of two tokens or more"))
        documents += found[: config.max_documents]
    return documents


@torch.no_grad()
def measure(
    model: LanguageModel, documents: Sequence[ProbeDocument], step: int, context: int, device: torch.device
) -> pl.DataFrame:
    """Return one row per document (PROBES_SCHEMA): nats summed in fp64 over its labels.

    `context` is the longest window in tokens. The model is in the same mode afterwards as before.
    """
    was_training = model.training
    model.eval()
    nats = np.zeros(len(documents), dtype=np.float64)
    for owners, ids in _batches(documents, context):
        batch = torch.from_numpy(ids).to(device)
        positions = torch.arange(batch.shape[1], device=device).expand_as(batch)
        states = model.states(batch.clamp(min=0), positions)
        is_label = batch[:, 1:] >= 0
        predictors = torch.nonzero(torch.nn.functional.pad(is_label, (0, 1)).flatten()).flatten()
        _, token_nats = chunked_nats(states.flatten(0, 1), model.head, predictors, batch[:, 1:][is_label])
        lengths = is_label.sum(1).cpu().numpy()
        np.add.at(nats, np.repeat(owners, lengths), token_nats.cpu().numpy().astype(np.float64))
    model.train(was_training)
    columns = {
        "step": [step] * len(documents),
        "probe": [document.probe for document in documents],
        "doc_id": [document.doc_id for document in documents],
        "nats": nats,
        "tokens": [len(document.ids) - 1 for document in documents],
        "bytes": [document.num_bytes for document in documents],
    }
    return pl.DataFrame(columns, schema=PROBES_SCHEMA)


def _batches(documents: Sequence[ProbeDocument], context: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (owner of each window, ids[windows, tokens] padded with -1), windows of like length together.

    Padding stands at the end, where causal attention never looks back at it.
    """
    windows = [
        (owner, document.ids[start : start + context])
        for owner, document in enumerate(documents)
        for start in range(0, len(document.ids) - 1, context - 1)
    ]
    windows.sort(key=lambda window: -len(window[1]))
    start = 0
    while start < len(windows):
        longest = len(windows[start][1])
        chosen = windows[start : start + max(1, BATCH_TOKENS // longest)]
        ids = np.full((len(chosen), longest), -1, dtype=np.int64)
        for row, (_, tokens) in enumerate(chosen):
            ids[row, : len(tokens)] = tokens
        yield np.array([owner for owner, _ in chosen]), ids
        start += len(chosen)
