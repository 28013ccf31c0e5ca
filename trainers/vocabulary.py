"""Rows for tokens a base has none for: how they start, and the first steps in which nothing else moves.

A new row is the mean of the rows of its old pieces, in the embeddings and in a head of its own. The base's other rows
stay bit for bit. Where a base has spare rows, for free slots or behind its vocabulary, the new ids take those: nobody
ever trained them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import gcd
from typing import Any

import torch

from engine.base.errors import AuditError, InputError, problem
from trainers.language_model import LanguageModel
from trainers.new_rows import NewRow
from trainers.optim import MasterOptimizer

NOISE = 0.01
"""Of rows that would be equal to another, as a share of the standard deviation of the row's numbers."""
TOKEN_ROWS = "trainable_tokens_delta"
ZERO = 1e-12
"""What rounding leaves of a row of zeros."""


@torch.no_grad()
def add_rows(model: Any, rows: Sequence[NewRow], vocab_size: int) -> None:
    """Give a causal language model of transformers these rows, in place; tied matrices stay tied.

    `vocab_size`: rows needed in all; more that are there already stay. Raises InputError where the model lacks rows for
    ids that are not new.
    """
    there, new = model.get_input_embeddings().weight.shape[0], {row.id for row in rows}
    old = vocab_size
    while old - 1 in new:
        old -= 1
    if there < old:
        found = f"{there:,} embeddings for a tokenizer of {vocab_size:,} ids"
        fix = "use the model's own tokenizer"
        raise InputError(problem(model.name_or_path or type(model).__name__, found, "an embedding for every id", fix))
    if not rows:
        return
    if there < vocab_size:
        model.resize_token_embeddings(vocab_size, mean_resizing=False)
    ids = torch.tensor([row.id for row in rows])
    for matrix in _matrices(model):
        matrix[ids.to(matrix.device)] = _means(matrix[:old], rows).to(matrix)


@torch.no_grad()
def require_learnt_stops(model: Any, pieces: Mapping[int, str], stop_ids: Sequence[int], method: str) -> None:
    """Raise AuditError where `method` keeps the head's row of a token that ends texts or answers, and the row is zero.

    As in bases whose tokenizer has the tokens of chats and whose training had none: no adapter makes it likely.
    """
    weight = model.get_output_embeddings().weight
    zero = [number for number in stop_ids if method != "full" and float(weight[number].abs().max()) <= ZERO]
    if zero:
        found = f"the head's row of '{pieces.get(zero[0], zero[0])}' is zero: nobody trained it, nor does {method}"
        fix = "use method full, or a base that has learnt chats, or a template whose tokens it knows"
        raise AuditError(problem(model.name_or_path or type(model).__name__, found, "a token that can be said", fix))


def _matrices(model: Any) -> list[torch.Tensor]:
    """Return what has an entry per token: embeddings, and of a head that is not tied to them weight and bias."""
    head = model.get_output_embeddings()
    found = [model.get_input_embeddings().weight, getattr(head, "weight", None), getattr(head, "bias", None)]
    return list({id(one): one for one in found if one is not None}.values())


def _means(matrix: torch.Tensor, rows: Sequence[NewRow]) -> torch.Tensor:
    """Return the rows' means over `matrix` [V, H] or [V], in fp64; some noise on those that another row has."""
    seen: set[tuple[tuple[int, int], ...]] = set()
    found = []
    for row in rows:
        mean = (matrix[list(row.old_ids)] if row.old_ids else matrix).double().mean(0)
        # The order of pieces does not show in their mean, and the mean of one row is that row.
        counts = Counter(row.old_ids)
        divisor = gcd(*counts.values()) if counts else 1
        key = tuple(sorted((number, count // divisor) for number, count in counts.items()))
        if (key in seen or len(key) == 1) and mean.ndim:
            draw = torch.randn(mean.shape, generator=torch.Generator().manual_seed(row.id), dtype=torch.float64)
            mean = mean + NOISE * mean.std() * draw.to(mean.device)
        seen.add(key)
        found.append(mean)
    return torch.stack(found)


def trained_beside(model: Any, rows: Sequence[NewRow]) -> dict[str, list[int]] | None:
    """Return peft's `trainable_token_indices`: the rows an adapter trains and saves; None where there are none.

    peft ties the rows of a tied head to those of the embeddings. Raises InputError for a head with a bias, which peft
    would leave out.
    """
    if not rows:
        return None
    ids = [row.id for row in rows]
    names = {id(module): name for name, module in model.named_modules()}
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    found = {names[id(embeddings)]: ids}
    if head.weight is not embeddings.weight:
        found[names[id(head)]] = ids
    if getattr(head, "bias", None) is not None:
        raise InputError(problem(type(model).__name__, "its head has a bias", "a plain head", "use method full"))
    return found


class NewRowsFirst:
    """The first steps of a run, in which only new rows move."""

    def __init__(self, model: LanguageModel, rows: Sequence[NewRow], steps: int) -> None:
        """`steps`: how many; 0: none."""
        self._steps = steps if rows else 0
        self._ids = torch.tensor([row.id for row in rows])
        matrices = {id(one) for one in _matrices(model.causal)} if self._steps else set()
        trained = model.trained()
        self._whole = [name for name in trained if TOKEN_ROWS in name]
        """Parameters that hold nothing but new rows."""
        self._partly = [name for name, one in trained.items() if id(one) in matrices and not self._whole]
        """Parameters some rows of which are new."""

    @contextmanager
    def at(self, step: int, optimizer: MasterOptimizer) -> Iterator[None]:
        """Around the optimizer's step `step` (from 0): let it change new rows only, where it is one of the first.

        Other parameters have no gradient, so neither they nor their moments move. Old rows of a matrix have a gradient
        of zero, and get their bits back, for the optimizer decays matrices as a whole.
        """
        if step >= self._steps:
            yield
            return
        masters = optimizer.masters
        kept = {name: masters[name].detach().clone() for name in self._partly if name in masters}
        self._mask(masters)
        yield
        with torch.no_grad():
            for name, before in kept.items():
                ids = self._ids.to(before.device)
                before[ids] = masters[name][ids]
                masters[name].copy_(before)
        optimizer.publish()

    def _mask(self, masters: Mapping[str, torch.nn.Parameter]) -> None:
        for name, master in masters.items():
            if name in self._partly and master.grad is not None:
                ids = self._ids.to(master.grad.device)
                rows = master.grad[ids]
                master.grad.zero_()
                master.grad[ids] = rows
            elif name not in self._whole:
                master.grad = None
