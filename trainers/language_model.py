"""A language model as training and probes see it: packed rows of ids in, nats of labels out."""

from collections.abc import Sequence
from typing import Any

import torch

from trainers.attention import DOCUMENTS, Documents
from trainers.data import MicroBatch
from trainers.losses import chunked_nats
from trainers.virtual_tokens import VirtualTokens, one_by_one


class LanguageModel(torch.nn.Module):
    """A causal language model of transformers, with whatever adapters stand inside or beside it.

    The one place that calls the model, in training, probes and proofs. Documents of a row are kept apart by
    trainers.attention; where a model cannot use it, by transformers, which does so only without an attention mask and
    without a cache, and says nothing where there is one, so neither is ever given with a packed row. Behind learnt
    positions, and where `packed` is false, each document runs as a row of its own (trainers.virtual_tokens).
    """

    def __init__(self, causal: Any, adapted: Any = None) -> None:
        """`causal`: the model of transformers; `adapted`: the PeftModel around it, None where all of it is trained."""
        super().__init__()
        self.causal = causal
        # Not a submodule: its parameters are those that stand inside `causal` already.
        self._adapted = (adapted,)
        is_prompted = adapted is not None and adapted.active_peft_config.is_prompt_learning
        self._virtual = VirtualTokens(adapted) if is_prompted else None
        self.prompt_encoder = adapted.prompt_encoder if is_prompted else None
        self.packed = True
        """Whether documents share rows in which only transformers keeps them apart."""

    @property
    def saved(self) -> Any:
        """What final/ is made of: the PeftModel, or the model itself."""
        return self.causal if self._adapted[0] is None else self._adapted[0]

    @property
    def head(self) -> torch.Tensor:
        """Weight of the output layer, [V, H]."""
        weight: torch.Tensor = self.causal.get_output_embeddings().weight
        return weight

    @property
    def is_flat(self) -> bool:
        """Whether documents are kept apart by their edges, so that rows need no padding."""
        return self._attends_by_document or self._runs_one_by_one

    @property
    def _attends_by_document(self) -> bool:
        return bool(self.causal.config._attn_implementation == DOCUMENTS)

    @property
    def _runs_one_by_one(self) -> bool:
        return self._virtual is not None or not (self.packed or self._attends_by_document)

    def states(self, ids: torch.Tensor, positions: torch.Tensor, edges: Sequence[int] | None = None) -> torch.Tensor:
        """Run the body: [R, T] ids and positions, which count from 0 within each document, to [R, T, H] states.

        edges: where documents begin in the flattened rows, and their end; None: where positions are 0.
        """
        if not self.is_flat:
            return self._body(ids, position_ids=positions)
        if edges is None:
            edges = [*torch.nonzero(positions.flatten() == 0).flatten().tolist(), ids.numel()]
        if self._runs_one_by_one:
            run = self._body if self._virtual is None else self._virtual.states
            return one_by_one(run, ids.flatten(), edges).view(*ids.shape, -1)
        documents = Documents.at(list(edges), ids.device)
        states = self._body(ids.reshape(1, -1), position_ids=positions.reshape(1, -1), documents=documents)
        return states.view(*ids.shape, -1)

    def _body(self, ids: torch.Tensor, **given: Any) -> torch.Tensor:
        states: torch.Tensor = self.causal.base_model(input_ids=ids, use_cache=False, **given).last_hidden_state
        return states

    def forward(self, batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the summed nats of the batch's labels (differentiable), and fp32[L] nats of each label."""
        states = self.states(batch.ids, batch.positions, batch.edges.tolist())
        return chunked_nats(states.flatten(0, 1), self.head, batch.predictors, batch.labels)

    def library_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Return [1, T, V] logits of one document, [1, T], by the forward pass of transformers or peft: the oracle."""
        logits: torch.Tensor = self.saved(input_ids=ids, use_cache=False).logits
        return logits[:, -ids.shape[1] :]  # behind the learnt embeddings, where there are some

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """Return the parameters that training changes, by their name in the transformers model; tied ones once.

        Those of a prompt or prefix stand beside the model and are called prompt_encoder.*.
        """
        named = dict(self.causal.named_parameters())
        if self.prompt_encoder is not None:
            named |= {f"prompt_encoder.{name}": one for name, one in self.prompt_encoder.named_parameters()}
        return {name: parameter for name, parameter in named.items() if parameter.requires_grad}
