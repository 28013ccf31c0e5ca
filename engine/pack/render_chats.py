"""What a chat becomes before it is packed: BOS, its control tokens, the segments of its template, EOS.

Neighbouring segments of text are encoded together; a border is at every special token and where an answer begins or
ends, for there generation begins and ends too. So the ids of a chat do not depend on what is supervised. A text behind
another one, past such a border, is encoded without the space some tokenizers put in front
(engine.formats.continuation): decoded, the ids are the rendered chat.

BOS stands in front once, whether the template or the recipe asks for it, and control tokens behind it: never inside of
a message's header, though some tokenizers call what opens one their BOS. EOS stands at
the end once; it is a label where it ends an answer, and where everything is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.formats.messages import RESPONDS, Message
from engine.formats.tokenizer import Encoder, TokenizerMeta
from engine.pack.render import OF_TEXTS, Fronts, Rendered
from engine.pack.templates import BOS, EOS, TEXT, TOKEN, Template, TemplateError

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Run:
    """Neighbouring segments as they are encoded: a text, or one special token."""

    text: str
    kind: str
    answer: int | None
    goes_on: bool = False
    """Whether it is a text behind a text."""


@dataclass(frozen=True)
class ChatRenderer:
    """Turns messages into ids with one template."""

    template: Template
    tokenizer: TokenizerMeta
    token_ids: Mapping[str, int]
    """Spelling of a special token -> its id."""
    encode: Encoder
    encode_on: Encoder
    """Encodes a text behind a text."""
    bos_id: int | None
    """What the recipe puts in front of every document."""

    def runs(self, messages: Sequence[Message]) -> list[Run]:
        """Return the chat as it is encoded; raises TemplateError where the template cannot express it."""
        runs: list[Run] = []
        for one in self.template.segments(messages):
            if one.kind != TEXT:
                runs.append(Run(one.text, one.kind, one.answer))
            elif one.text and runs and runs[-1].kind == TEXT and runs[-1].answer == one.answer:
                runs[-1] = Run(runs[-1].text + one.text, TEXT, one.answer, runs[-1].goes_on)
            elif one.text:
                runs.append(Run(one.text, TEXT, one.answer, bool(runs) and runs[-1].kind == TEXT))
        _require_ends(messages, runs)
        return runs

    def encoded(self, chats: Sequence[Sequence[Run]]) -> list[list[Ids]]:
        """Return the ids of every run of every chat."""
        by_kind = {
            goes_on: [run.text for runs in chats for run in runs if run.kind == TEXT and run.goes_on == goes_on]
            for goes_on in (False, True)
        }
        first = iter(self.encode(by_kind[False]) if by_kind[False] else [])
        behind = iter(self.encode_on(by_kind[True]) if by_kind[True] else [])
        return [
            [(next(behind if run.goes_on else first) if run.kind == TEXT else self._token(run)) for run in runs]
            for runs in chats
        ]

    def rendered(
        self,
        chats: Sequence[Sequence[Run]],
        encoded: Sequence[Sequence[Ids]],
        objectives: Sequence[str],
        fronts: Fronts,
    ) -> Rendered:
        """Return the chats with what stands before and behind them; objectives: one per chat."""
        ends = np.cumsum(fronts.counts)
        made = [
            self._one(runs, ids, objective, fronts.ids[end - count : end])
            for runs, ids, objective, count, end in zip(chats, encoded, objectives, fronts.counts, ends, strict=True)
        ]
        ids = np.concatenate([np.zeros(0, np.int32), *(one for one, _, _ in made)])
        bits = np.concatenate([np.zeros(0, np.bool_), *(one for _, one, _ in made)])
        num_tokens = np.array([one.size for one, _, _ in made], dtype=np.int64)
        return Rendered(ids, bits, num_tokens, frozenset().union(*(stops for _, _, stops in made)))

    def _one(
        self, runs: Sequence[Run], encoded: Sequence[Ids], objective: str, front: Ids
    ) -> tuple[Ids, NDArray[np.bool_], set[int]]:
        meta = self.tokenizer
        wanted = _supervised_answers(runs, objective)
        labels = [objective == OF_TEXTS or run.answer in wanted for run in runs]
        lengths = [ids.size for ids in encoded]
        body = np.concatenate([*encoded, np.zeros(0, np.int32)]).astype(np.int32)
        bits = np.repeat(np.array(labels, dtype=np.bool_), lengths)
        if runs and runs[0].kind == BOS and lengths[0]:
            opening, body, bits = [int(body[0])], body[1:], bits[1:]
        else:
            is_there = bool(body.size) and body[0] == self.bos_id
            opening = [] if self.bos_id is None or is_there else [self.bos_id]
        # A text never becomes a special token, so an EOS at the end is the template's.
        closing = [] if body.size and body[-1] == meta.eos_id else [meta.eos_id]
        is_answer_open = bool(runs) and labels[-1] and runs[-1].kind == TEXT
        stops = {meta.eos_id} if is_answer_open and runs[-1].answer is not None else set()
        ends = zip(runs, encoded, labels, strict=True)
        stops |= {
            int(one[-1]) for run, one, is_label in ends if is_label and run.answer is not None and run.kind != TEXT
        }
        ids = np.concatenate([np.array(opening, np.int32), front, body, np.array(closing, np.int32)])
        before = np.zeros(len(opening) + front.size, np.bool_)
        behind = np.full(len(closing), objective == OF_TEXTS or is_answer_open)
        bits = np.concatenate([before, bits, behind])
        bits[0] = False
        return ids, bits, stops

    def _token(self, run: Run) -> Ids:
        if run.kind == BOS:
            known = self.token_ids.get(run.text, self.tokenizer.bos_id)
            ids = [] if known is None else [known]
        else:
            ids = [self.tokenizer.eos_id if run.kind == EOS else self.token_ids[run.text]]
        return np.array(ids, dtype=np.int32)


def _supervised_answers(runs: Sequence[Run], objective: str) -> set[int]:
    answers = {run.answer for run in runs if run.answer is not None}
    return {max(answers)} if answers and objective == "last_answer" else answers


def _require_ends(messages: Sequence[Message], runs: Sequence[Run]) -> None:
    """Raise TemplateError where an answer in the middle ends with no special token: nobody would learn to stop."""
    ended = {run.answer for run in runs if run.kind in (TOKEN, EOS)}
    for number, message in enumerate(messages[:-1]):
        if message["role"] == RESPONDS and number not in ended:
            raise TemplateError(f"no special token ends message {number + 1}, so a model would not learn to stop there")
