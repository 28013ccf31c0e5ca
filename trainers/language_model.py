"""A language model as training and probes see it: packed rows of ids in, nats of labels out."""

from typing import Any

import torch

from trainers.data import MicroBatch
from trainers.losses import chunked_nats


class LanguageModel(torch.nn.Module):
    """A causal language model of transformers, with whatever adapters stand inside or beside it.

    The one place that calls the model, in training, probes and proofs. transformers keeps the documents of a row apart
    only without an attention mask and without a cache, and says nothing where there is one, so neither is ever given.
    """

    def __init__(self, causal: Any, adapted: Any = None) -> None:
        """`causal`: the model of transformers; `adapted`: the PeftModel around it, None where all of it is trained."""
        super().__init__()
        self.causal = causal
        # Not a submodule: its parameters are those that stand inside `causal` already.
        self._adapted = (adapted,)

    @property
    def saved(self) -> Any:
        """What final/ is made of: the PeftModel, or the model itself."""
        return self.causal if self._adapted[0] is None else self._adapted[0]

    @property
    def head(self) -> torch.Tensor:
        """Weight of the output layer, [V, H]."""
        weight: torch.Tensor = self.causal.get_output_embeddings().weight
        return weight

    def states(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Run the body: [R, T] ids and positions, which count from 0 within each document, to [R, T, H] states."""
        body = self.causal.base_model
        states: torch.Tensor = body(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        return states

    def forward(self, batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the summed nats of the batch's labels (differentiable), and fp32[L] nats of each label."""
        states = self.states(batch.ids, batch.positions)
        return chunked_nats(states.flatten(0, 1), self.head, batch.predictors, batch.labels)

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """Return the parameters that training changes, by their name in the transformers model; tied ones once."""
        return {name: parameter for name, parameter in self.causal.named_parameters() if parameter.requires_grad}
