"""What a document becomes before it is packed: BOS if asked for, its control tokens, its text, EOS.

Every document ends with EOS, which is a label like the text. BOS and control tokens stand in front, put there as ids,
and are never labels. The first token of a document is never a label either: nothing comes before it; the first token
of a text behind control tokens is one. Chats: engine.pack.render_chats.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from engine.base.errors import RecipeError, problem
from engine.base.hashing import digest_json
from engine.base.stage import StrictModel
from engine.formats.tokenizer import TokenizerMeta
from engine.pack.templates import require_one_template

VERSION = 3


Objective = Literal["text", "answers", "last_answer"]
OF_TEXTS: Final = "text"
OF_CHATS: Final = "answers"
"""What is supervised where a recipe says nothing: everything of a text, the assistant's messages of a chat."""


class RenderConfig(StrictModel):
    """How documents become ids: the section `render:` of a recipe. One template for all mixtures of a recipe."""

    template: str | None = Field(
        default=None,
        description="chat template: chatml, llama3, mistral, alpaca, or tokenizer for the tokenizer's own; needed "
        "where a mixture has chats",
    )
    bos: bool = Field(default=False, description="put the tokenizer's BOS in front of every document")
    objective: dict[str, Objective] = Field(
        default_factory=dict,
        description="source -> what is supervised: text (everything), answers (all of the assistant's messages with "
        "what ends them) or last_answer; default: text of texts, answers of chats",
    )
    grow: bool = Field(
        default=True, description="whether the template's tokens may get new ids where the tokenizer lacks free slots"
    )
    date: datetime.date | None = Field(
        default=None, description="the day a tokenizer's own template is told it is, where it asks"
    )

    _names_one_template = field_validator("template", mode="before")(require_one_template)

    @property
    def digest(self) -> str:
        """Digest of the options and of the way they are carried out."""
        return digest_json({"version": VERSION, "config": self.model_dump(mode="json")})


class StoreRender(RenderConfig):
    """How the documents of a token store became ids; `objective` names every source of chats it holds."""

    template_digest: str | None = Field(default=None, description="digest of the template; null without chats")
    control_tokens: dict[str, Any] | None = Field(
        default=None, description="what the recipe says of control tokens; which a document has is in its row"
    )


@dataclass(frozen=True, eq=False)
class Fronts:
    """The control tokens in front of some documents."""

    counts: NDArray[np.int64]
    """int64[num_documents]: how many each has."""
    ids: NDArray[np.int32]
    """int32[sum(counts)]: one document after the other, in their order."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """Documents as ids, one after the other."""

    ids: NDArray[np.int32]
    """int32[num_tokens]."""
    is_supervised: NDArray[np.bool_]
    """bool[num_tokens]: may this token be a label?"""
    num_tokens: NDArray[np.int64]
    """int64[num_documents]: tokens of each document, at least 1."""
    stop_ids: frozenset[int] = frozenset()
    """Of chats the ids that end answers and are labels."""

    @property
    def supervised_tokens(self) -> NDArray[np.int64]:
        """int64[num_documents]: labels of each document when it is not cut."""
        starts = np.cumsum(self.num_tokens) - self.num_tokens
        return np.add.reduceat(self.is_supervised, starts, dtype=np.int64) if starts.size else np.zeros(0, np.int64)


def bos_of(tokenizer: TokenizerMeta, config: RenderConfig) -> int | None:
    """Return the id that goes in front of every document, None for none; raises RecipeError where there is no BOS."""
    if not config.bos:
        return None
    if tokenizer.bos_id is None:
        raise RecipeError(problem("render.bos", "the tokenizer has no BOS", fix="leave bos out"))
    return tokenizer.bos_id


def render(encoded: Sequence[NDArray[np.int32]], fronts: Fronts, eos_id: int, bos_id: int | None = None) -> Rendered:
    """Return the documents whose texts are `encoded`: BOS where there is one, control tokens, text, EOS."""
    text_tokens = np.array([len(ids) for ids in encoded], dtype=np.int64)
    num_bos = int(bos_id is not None)
    num_tokens = num_bos + fronts.counts + text_tokens + 1
    ends = np.cumsum(num_tokens)
    starts = ends - num_tokens
    ids = np.empty(int(num_tokens.sum()), dtype=np.int32)
    is_supervised = np.ones(ids.size, dtype=np.bool_)
    if bos_id is not None:
        ids[starts] = bos_id
    controls = positions(starts + num_bos, fronts.counts)
    ids[controls] = fronts.ids
    is_supervised[controls] = False
    flat = np.concatenate(encoded) if len(encoded) else np.zeros(0, np.int32)
    ids[positions(starts + num_bos + fronts.counts, text_tokens)] = flat
    ids[ends - 1] = eos_id
    is_supervised[starts] = False
    return Rendered(ids, is_supervised, num_tokens)


def positions(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of the runs that begin at `starts`, one run after the other: int64[sum(lengths)]."""
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(starts - before, lengths)
