"""What a document becomes before it is packed: control tokens, its text, EOS.

Every document ends with EOS, which is a label like the text. BOS and control tokens stand in front, put there as ids,
and are never labels. The first token of a document is never a label either: nothing comes before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from engine.base.errors import RecipeError, problem, unknown
from engine.base.hashing import digest_json
from engine.base.stage import StrictModel
from engine.formats.tokenizer import TokenizerMeta

VERSION = 1


class RenderConfig(StrictModel):
    """How text becomes ids."""

    bos: bool = Field(default=False, description="put the tokenizer's BOS in front of every document")
    control_tokens: dict[str, list[str]] = Field(
        default_factory=dict, description="source -> control tokens in front of each of its documents, after BOS"
    )

    @property
    def digest(self) -> str:
        """Digest of the options and of the way they are carried out."""
        return digest_json({"version": VERSION, "config": self.model_dump(mode="json")})


@dataclass(frozen=True, eq=False)
class Rendered:
    """Documents as ids, one after the other."""

    ids: NDArray[np.int32]
    """int32[num_tokens]."""
    is_supervised: NDArray[np.bool_]
    """bool[num_tokens]: may this token be a label?"""
    num_tokens: NDArray[np.int64]
    """int64[num_documents]: tokens of each document, at least 1."""

    @property
    def supervised_tokens(self) -> NDArray[np.int64]:
        """int64[num_documents]: labels of each document when it is not cut."""
        starts = np.cumsum(self.num_tokens) - self.num_tokens
        return np.add.reduceat(self.is_supervised, starts, dtype=np.int64) if starts.size else np.zeros(0, np.int64)


def prefixes(tokenizer: TokenizerMeta, config: RenderConfig) -> dict[str | None, list[int]]:
    """Return source -> ids that go in front of its documents; None stands for every other source.

    Raises RecipeError where the tokenizer lacks a token that is asked for.
    """
    if config.bos and tokenizer.bos_id is None:
        raise RecipeError(problem("render.bos", "the tokenizer has no BOS", fix="leave bos out"))
    front = [tokenizer.bos_id] if config.bos and tokenizer.bos_id is not None else []
    found: dict[str | None, list[int]] = {None: front}
    for source, pieces in config.control_tokens.items():
        for piece in pieces:
            if piece not in tokenizer.control_slots:
                place = f"render.control_tokens.{source}"
                raise RecipeError(unknown(place, "control token", piece, tokenizer.control_slots))
        found[source] = front + [tokenizer.control_slots[piece] for piece in pieces]
    return found


def render(
    encoded: Sequence[NDArray[np.int32]], sources: Sequence[str], eos_id: int, in_front: dict[str | None, list[int]]
) -> Rendered:
    """Return the documents whose texts are `encoded`; `in_front` comes from `prefixes`."""
    text_tokens = np.array([len(ids) for ids in encoded], dtype=np.int64)
    names, source_of = np.unique(np.asarray(sources, dtype=object).astype(str), return_inverse=True)
    fronts = [in_front.get(name, in_front[None]) for name in names.tolist()]
    front_tokens = (
        np.array([len(front) for front in fronts], dtype=np.int64)[source_of] if len(encoded) else text_tokens
    )
    num_tokens = front_tokens + text_tokens + 1
    ends = np.cumsum(num_tokens)
    starts = ends - num_tokens
    ids = np.empty(int(num_tokens.sum()), dtype=np.int32)
    is_supervised = np.ones(ids.size, dtype=np.bool_)
    text_starts = starts + front_tokens
    flat = np.concatenate(encoded) if len(encoded) else np.zeros(0, np.int32)
    ids[positions(text_starts, text_tokens)] = flat
    ids[ends - 1] = eos_id
    for number, front in enumerate(fronts):
        places = starts[source_of == number]
        for position, token in enumerate(front):
            ids[places + position] = token
            is_supervised[places + position] = False
    is_supervised[starts] = False
    return Rendered(ids, is_supervised, num_tokens)


def positions(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of the runs that begin at `starts`, one run after the other: int64[sum(lengths)]."""
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(starts - before, lengths)
