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
from trainers.data import MicroBatch
from trainers.fsdp import let_go
from trainers.language_model import LanguageModel
from trainers.recipe import ProbesConfig
from trainers.world import World

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
    model: LanguageModel,
    documents: Sequence[ProbeDocument],
    step: int,
    context: int,
    device: torch.device,
    world: World | None = None,
) -> pl.DataFrame:
    """Return one row per document (PROBES_SCHEMA): nats summed in fp64 over its labels.

    `context` is the longest window in tokens. The model is in the same mode afterwards as before. Batches are divided
    over the ranks of `world`, which all call this and all get the same rows, those of one process.
    """
    world = world or World(device)
    was_training = model.training
    model.eval()
    windows, owners = zip(*_windows(documents, context), strict=True)
    batches = list(_batches(windows))
    nats = torch.zeros(len(windows), dtype=torch.float64, device=device)
    for first in range(0, len(batches), world.size):
        # A divided model is run by all ranks together: one without a batch repeats the last, and nothing counts.
        mine = first + world.rank
        chosen = batches[min(mine, len(batches) - 1)]
        found = _nats(model, [windows[i] for i in chosen], device)
        if mine < len(batches):
            nats[chosen.start : chosen.stop] = found
    model.train(was_training)
    let_go(model)
    by_document = np.zeros(len(documents), dtype=np.float64)
    np.add.at(by_document, list(owners), world.sum(nats).cpu().numpy())
    columns = {
        "step": [step] * len(documents),
        "probe": [document.probe for document in documents],
        "doc_id": [document.doc_id for document in documents],
        "nats": by_document,
        "tokens": [len(document.ids) - 1 for document in documents],
        "bytes": [document.num_bytes for document in documents],
    }
    return pl.DataFrame(columns, schema=PROBES_SCHEMA)


def _windows(documents: Sequence[ProbeDocument], context: int) -> list[tuple[np.ndarray, int]]:
    """Return the ids that go through the model at once, the longest first, and the position of their document."""
    windows = [
        (document.ids[start : start + context], owner)
        for owner, document in enumerate(documents)
        for start in range(0, len(document.ids) - 1, context - 1)
    ]
    return sorted(windows, key=lambda window: -len(window[0]))


def _batches(windows: Sequence[np.ndarray]) -> Iterator[range]:
    """Yield runs of windows that are measured at once."""
    start = 0
    while start < len(windows):
        stop = min(len(windows), start + max(1, BATCH_TOKENS // len(windows[start])))
        yield range(start, stop)
        start = stop


def _nats(model: LanguageModel, windows: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """Return fp64[windows]: nats of all tokens but the first of each."""
    longest = max(len(ids) for ids in windows)
    # Padding stands at the end, where causal attention never looks back at it.
    ids = np.zeros((len(windows), longest), dtype=np.int64)
    is_predictor = np.zeros(ids.shape, dtype=bool)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        is_predictor[row, : len(window) - 1] = True
    predictors = np.flatnonzero(is_predictor)
    rows = predictors // longest
    batch = MicroBatch(
        ids=torch.from_numpy(ids),
        positions=torch.arange(longest).repeat(len(windows), 1),
        predictors=torch.from_numpy(predictors),
        labels=torch.from_numpy(ids.reshape(-1)[predictors + 1]),
        label_sources=rows,
        edges=np.arange(len(windows) + 1, dtype=np.int32) * longest,
    )
    _, nats = model(batch.to(device))
    return torch.zeros(len(windows), dtype=torch.float64, device=device).index_add_(
        0, torch.from_numpy(rows).to(device), nats.double()
    )
