"""The model of perplexity: loaded once a process, proven to be a causal language model, one batch at a time.

Shapes: R rows, T positions, H width of the model, V vocabulary, L labels.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.base.errors import InputError, ResourceError, problem
from trainers.annotators.perplexity import Config
from trainers.annotators.perplexity.passages import Passage, PassageReader, batches
from trainers.base_models import require_model
from trainers.language_model import LanguageModel
from trainers.lineage import ADAPTER_FILE
from trainers.losses import CHUNK_LOGITS, MIN_CHUNK_TOKENS, chunked_nats
from trainers.model import choose_device, choose_dtype, load_folder

MAX_TOKENS = 1024
BATCH_TOKENS = {"cpu": 512, "cuda": 32_768}
"""On two CPU cores larger batches were no faster, and the last one of every width is half empty."""
PROBE_TOKENS = 16
SAME_STATES = {torch.float32: 1e-5, torch.bfloat16: 1e-3}
"""Largest relative difference of states that later tokens make; seen: none."""
SAME_LOGITS = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""Largest relative difference of logits that are computed in two ways; bf16 rounds to 3 digits."""
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Score:
    """What a model says of one passage."""

    nats: float
    """-log of the probability of the scored tokens, summed in fp64."""
    num_tokens: int
    num_bytes: int


@dataclass
class Scorer:
    """A model on its device, with its tokenizer."""

    folder: Path
    model: LanguageModel
    reader: PassageReader
    device: torch.device
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def score(
        self, texts: Sequence[str], max_tokens: int | None = None, batch_tokens: int | None = None
    ) -> list[Score]:
        """Return the score of each text, in their order; may be called from several threads."""
        context = self._context(max_tokens)
        passages = list(self.reader.read(texts, context))
        nats = [0.0] * len(passages)
        for chosen, rows, width in batches(passages, batch_tokens or BATCH_TOKENS[self.device.type], context):
            found = self._batch_nats([passages[position] for position in chosen], rows, width)
            for position, value in zip(chosen, found, strict=True):
                nats[position] = value
        return [Score(value, p.num_scored, p.num_bytes) for value, p in zip(nats, passages, strict=True)]

    def _context(self, asked: int | None) -> int:
        longest = getattr(self.model.causal.config, "max_position_embeddings", None) or asked or MAX_TOKENS
        if asked is not None and asked > longest:
            found = f"the model knows {longest:,} positions, perplexity.max_tokens is {asked:,}"
            raise InputError(problem(self.folder, found, fix=f"set max_tokens to {longest} or less"))
        return min(asked or MAX_TOKENS, longest)

    def _batch_nats(self, passages: Sequence[Passage], rows: int, width: int) -> list[float]:
        """Return the summed nats of each passage, computed as [rows, width] however few and short they are."""
        ids = np.zeros((rows, width), dtype=np.int64)
        is_label = np.zeros((rows, width), dtype=bool)
        for row, passage in enumerate(passages):
            ids[row, : len(passage.ids)] = passage.ids
            is_label[row, passage.first : len(passage.ids)] = True
        places = np.flatnonzero(is_label)
        with self._lock, _memory_suffices(self.folder, f"a batch of {rows * width:,} tokens"):
            nats = self._token_nats(ids, places)
        if not np.isfinite(nats).all():
            dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")
            found = f"the model gives NaN or a probability of zero to text, in {dtype}"
            raise InputError(problem(self.folder, found, "finite losses", "use whole weights, or another dtype"))
        ends = np.cumsum([passage.num_scored for passage in passages])
        return [float(part.sum(dtype=np.float64)) for part in np.split(nats, ends[:-1])]

    @torch.no_grad()
    def _token_nats(self, ids: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return fp32[L], the nats of the ids at `places` (positions in `ids` [R, T], flat)."""
        batch = torch.from_numpy(ids).to(self.device)
        positions = torch.arange(batch.shape[1], device=self.device).expand_as(batch)
        states = self.model.states(batch, positions).flatten(0, 1)
        weight = self.model.head
        # The head's last chunk is filled up, so that all of them have one shape.
        chunk = min(ids.size, max(MIN_CHUNK_TOKENS, CHUNK_LOGITS // weight.shape[0]))
        filled = np.concatenate([places, np.ones(-len(places) % chunk, dtype=places.dtype)])
        labels = torch.from_numpy(filled).to(self.device)
        _, nats = chunked_nats(states, weight, labels - 1, batch.flatten()[labels])
        return nats[: len(places)].cpu().numpy()


def load_scorer(config: Config) -> Scorer:
    """Return the scorer of a config's model, loaded once a process as long as its files stay as they are.

    Raises InputError where the folder is no causal language model with its tokenizer.
    """
    folder = Path(config.model)
    files = tuple(sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.glob("*")))
    with _LOADING:
        return _load(folder, files, config.device, config.dtype)


@lru_cache(maxsize=2)  # a recipe may compare two models
def _load(folder: Path, _files: tuple[tuple[str, int, int], ...], device_name: str, dtype: str) -> Scorer:
    if (folder / ADAPTER_FILE).is_file():
        found = "it holds an adapter, not the model it stands on"
        raise InputError(problem(folder, found, "a whole model", "merge the adapter into its base"))
    require_model(folder)
    device = _device(device_name)
    reader = PassageReader(folder)
    model = load_folder(folder).eval().requires_grad_(False)
    # On a CPU bf16 would be another result on another processor.
    is_plain = dtype == "auto" and device.type == "cpu"
    _cast(model, torch.float32 if is_plain else choose_dtype(dtype, model.num_parameters(), device))
    with _memory_suffices(folder, "the model"):
        model.to(device)
    _require_embeddings(folder, model, reader)
    _require_causal(folder, model, device)
    return Scorer(folder, LanguageModel(model), reader, device)


def _cast(model: Any, dtype: torch.dtype) -> None:
    # Not its buffers: among them are the frequencies of rotary positions, which bf16 would move by far.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


@contextmanager
def _memory_suffices(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        fix = "set batch_tokens lower, or device: cpu"
        raise ResourceError(problem(folder, f"the GPU's memory does not hold {what}", fix=fix)) from error


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        fix = "set device: auto, or install a torch built for the GPU of this machine"
        raise ResourceError(problem("perplexity.device", "torch sees no GPU here", "a GPU", fix))
    return choose_device() if name == "auto" else torch.device(name)


def _require_embeddings(folder: Path, model: Any, reader: PassageReader) -> None:
    num_embeddings = model.get_input_embeddings().weight.shape[0]
    if num_embeddings < reader.vocab_size:
        found = f"{num_embeddings:,} embeddings for a tokenizer of {reader.vocab_size:,} ids"
        raise InputError(problem(folder, found, "an embedding for every id", "use the model's own tokenizer"))


@torch.no_grad()
def _require_causal(folder: Path, model: Any, device: torch.device) -> None:
    """Prove that no token sees a later one, which padding relies on too, and that the head is all after the states."""
    head = model.get_output_embeddings()
    if head is None:
        raise InputError(problem(folder, "the model has no head over a vocabulary", "a causal language model"))
    half, vocabulary = PROBE_TOKENS // 2, head.weight.shape[0]
    ids = torch.arange(PROBE_TOKENS, device=device)[None] % vocabulary
    changed = torch.cat([ids[:, :half], (ids[:, half:] + 1) % vocabulary], dim=1)
    positions = torch.arange(PROBE_TOKENS, device=device)[None]
    states, others = (LanguageModel(model).states(each, positions) for each in (ids, changed))
    logits = model(input_ids=ids, use_cache=False).logits
    if not bool(states.isfinite().all() and logits.isfinite().all()):
        found = "the model gives NaN or infinite logits"
        raise InputError(problem(folder, found, "finite weights", "use whole weights, or another dtype"))
    if not _are_same(states[:, :half], others[:, :half], SAME_STATES):
        needed = "a causal language model, in which no token sees a later one"
        raise InputError(problem(folder, f"a {model.config.model_type} model that sees later tokens", needed))
    if not _are_same(logits, states @ head.weight.t(), SAME_LOGITS):
        needed = "logits that are the last states times the head"
        raise InputError(problem(folder, f"a {model.config.model_type} model that does more after its head", needed))


def _are_same(one: torch.Tensor, other: torch.Tensor, tolerance: dict[torch.dtype, float]) -> bool:
    return float((one.float() - other.float()).abs().max()) <= tolerance[one.dtype] * float(one.abs().max())
