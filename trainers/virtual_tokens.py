"""Documents as rows of their own, and learnt positions in front of them: prompt tuning (embeddings) and prefix tuning
(keys and values).

A packed row cannot hold such positions: they would stand in front of its first document only, and keys and values
arrive as a cache, with which transformers stops keeping the documents of a row apart. Nor can it hold documents that
layers carry a state along. So every span of a row goes through the model as a row of its own, padded on the right,
where nothing causal looks: isolation by construction, the labels and the divisor unchanged. The cost: the learnt
positions once more for every document, and padding up to the length of the longest document of a group, at most as many
cells again as there are tokens (documents of one group differ in length by a factor of at most two).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch

from engine.base.errors import InputError, RecipeError, problem


class VirtualTokens:
    """The body of a model whose documents each begin with learnt positions."""

    def __init__(self, adapted: Any) -> None:
        """`adapted`: the PeftModel of a prompt or a prefix."""
        self._adapted = adapted
        self._is_prefix = adapted.active_peft_config.peft_type == "PREFIX_TUNING"

    def states(self, ids: torch.Tensor) -> torch.Tensor:
        """Run [D, T] ids, a document a row, with the learnt positions in front; return [D, T, H] without theirs.

        Raises RecipeError for a prefix under gradient checkpointing.
        """
        adapted, causal = self._adapted, self._adapted.get_base_model()
        states: torch.Tensor
        if self._is_prefix:
            if causal.training and causal.is_gradient_checkpointing:
                # transformers would drop the cache, which is the prefix, and only warn.
                fix = "set gradient_checkpointing: false, or method: prompt"
                raise RecipeError(problem("gradient_checkpointing", "a prefix cannot be combined with it", fix=fix))
            prefix = adapted.get_prompt(len(ids))
            states = causal.base_model(input_ids=ids, past_key_values=prefix, use_cache=False).last_hidden_state
            return states
        embedded = causal.get_input_embeddings()(ids)
        prompt = adapted.get_prompt(len(ids)).to(embedded.dtype)
        states = causal.base_model(
            inputs_embeds=torch.cat((prompt, embedded), dim=1), use_cache=False
        ).last_hidden_state
        return states[:, prompt.shape[1] :]


@torch.no_grad()
def start_from_activations(adapted: Any, seed: int) -> None:
    """Give a prefix the keys and values of randomly chosen tokens (Li and Liang 2021, arXiv:2101.00190, section 7.4).

    At step 0 the model is then the base with those tokens in front; peft's own start, N(0, 1), ruins it. Raises
    InputError where the model's cache is not one of equal keys and values in every layer.
    """
    causal, config = adapted.get_base_model(), adapted.active_peft_config
    weight = adapted.prompt_encoder[adapted.active_adapter].embedding.weight
    rows = causal.get_input_embeddings().weight.shape[0]
    ids = torch.randint(0, rows, (1, config.num_virtual_tokens), generator=torch.Generator().manual_seed(seed))
    was_training = causal.training
    cache = causal.eval().base_model(input_ids=ids.to(causal.device), use_cache=True).past_key_values
    causal.train(was_training)
    found = [t for layer in getattr(cache, "layers", ()) for t in (layer.keys, layer.values)]
    if {t.numel() for t in found} != {config.num_virtual_tokens * config.token_dim} or len(
        found
    ) != 2 * config.num_layers:
        place, needed = causal.config.model_type, "equal keys and values in every layer"
        raise InputError(
            problem(place, "its layers keep other things than a prefix can give", needed, "method: prompt")
        )
    # [2 L, heads, V, width] to the order of peft's one row per learnt position: layer, key or value, head, width.
    weight.copy_(torch.stack([t[0] for t in found]).permute(2, 0, 1, 3).reshape(weight.shape))


def one_by_one(run: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor, edges: Sequence[int]) -> torch.Tensor:
    """Return [N, H] states of the documents between `edges` of [N] ids; `run` makes [D, T, H] of [D, T], each alone."""
    states, places = [], []
    for group in of_like_length([(stop - start, start) for start, stop in pairwise(edges)]):
        lengths, first = torch.tensor(group, device=ids.device).T[:, :, None]
        columns = torch.arange(group[0][0], device=ids.device)[None]
        is_real = columns < lengths
        cells = torch.where(is_real, first + columns, first)
        states.append(run(ids[cells])[is_real])
        places.append(cells[is_real])
    return torch.cat(states)[torch.argsort(torch.cat(places))]


def of_like_length(spans: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield groups of (length, start), longest first, none shorter than half of its group's longest."""
    group: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda span: (-span[0], span[1])):
        if group and 2 * span[0] < group[0][0]:
            yield group
            group = []
        group.append(span)
    yield group
