"""AdamW over fp32 masters, in 32 or 8 bits, and its parameter groups.

Where the weights are bf16 or fp16, each has an fp32 master cloned before the cast: a master made from rounded weights
lies on the grid of the type, and the first small updates round away in the forward pass (measured: up to 2.5 % of the
loss).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trainers.freezing import Freezing
from trainers.fsdp import divided_like, local_part, whole
from trainers.recipe import OptimizerConfig

GROWTH_INTERVAL = 2000
"""Good steps after which the scale of a loss in fp16 is doubled."""


@dataclass
class LossScale:
    """The scale of a loss in fp16, where gradients below 6e-8 are zero: dynamic as torch.amp.GradScaler, same numbers.

    Halved when a gradient overflows, which skips the step. Its three numbers belong to the checkpoint.
    """

    value: float = 65536.0
    good_steps: int = 0
    """Since the last change."""
    skipped_steps: int = 0
    """Of the whole run."""

    def update(self, is_finite: bool) -> None:
        """Take note of whether the gradient of a step was finite."""
        if not is_finite:
            self.value, self.good_steps, self.skipped_steps = self.value / 2, 0, self.skipped_steps + 1
            return
        self.good_steps += 1
        if self.good_steps == GROWTH_INTERVAL:
            self.value, self.good_steps = self.value * 2, 0


class MasterOptimizer:
    """AdamW on fp32 masters of the trained parameters; in fp32 a parameter is its own master."""

    def __init__(
        self,
        model: torch.nn.Module,
        parameters: Mapping[str, torch.nn.Parameter],
        config: OptimizerConfig,
        dtype: torch.dtype,
        freezing: Freezing | None = None,
    ) -> None:
        """Take the trained `parameters` (fp32, by name) of `model`, then cast the model's weights to `dtype`.

        Those that `freezing` never lets move get no master and no gradient. Buffers keep their type: rotary frequencies
        rounded to bf16 would turn far positions by wrong angles.
        """
        self.config = config
        self.freezing = freezing
        self.loss_scale = LossScale() if dtype == torch.float16 else None
        self._step = 0
        still = [n for n in parameters if freezing is not None and freezing.opens_at(freezing.depths[n]) is None]
        self._frozen = {name: parameters[name] for name in still}
        for parameter in self._frozen.values():
            parameter.requires_grad_(False)
        self._unrounded: dict[str, torch.Tensor] = {}
        self.working = {name: p for name, p in parameters.items() if name not in self._frozen}
        self.masters = self.working
        if dtype != torch.float32:
            self.masters = {name: torch.nn.Parameter(p.detach().clone()) for name, p in self.working.items()}
            # Of what never moves only that is kept which the cast would round; it lies on the CPU until the end.
            self._unrounded = {n: p.detach().cpu() for n, p in self._frozen.items() if _rounds(p, dtype)}
            for parameter in model.parameters():
                if parameter.is_floating_point():  # weights in 4 bits are integers, and stay
                    parameter.data = parameter.data.to(dtype)
        self._adamw = _adamw(config, _groups(self.masters, config.weight_decay, freezing))

    def begin(self, step: int) -> None:
        """Let those parameters have gradients that move at `step` (from 0)."""
        self._step = step
        if self.freezing is not None:
            for name, parameter in self.working.items():
                parameter.requires_grad_(self.freezing.is_trainable(name, step))

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss as its backward pass needs it: multiplied in fp16, else as it is."""
        return loss if self.loss_scale is None else loss * self.loss_scale.value

    def collect(self) -> None:
        """Add the gradients of the working weights to those of the masters, in fp32."""
        for name, parameter in self.working.items():
            master = self.masters[name]
            if master is parameter or parameter.grad is None:
                continue
            master.grad = parameter.grad.float() if master.grad is None else master.grad.add_(parameter.grad)
            parameter.grad = None

    def step(self, rate: float) -> float:
        """Make one step with learning rate `rate`; return the norm of the gradient before clipping.

        A norm that is no finite number changes nothing but the loss scale of fp16. Parameters without a gradient, the
        frozen ones, are neither decayed nor do their moments move.
        """
        masters = list(self.masters.values())
        if self.loss_scale is not None:
            torch._foreach_mul_([m.grad for m in masters if m.grad is not None], 1 / self.loss_scale.value)
        limit = math.inf if self.config.clip is None else self.config.clip
        norm = float(whole(torch.nn.utils.clip_grad_norm_(masters, limit)))
        if self.loss_scale is not None:
            self.loss_scale.update(math.isfinite(norm))
        if math.isfinite(norm):
            for group in self._adamw.param_groups:
                group["lr"] = rate * self._share_of_rate(group["depth"])
            self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        self.publish()
        return norm

    def _share_of_rate(self, depth: int) -> float:
        share = 1.0 if self.freezing is None else self.freezing.multiplier(depth, self._step)
        return share or 0.0

    @torch.no_grad()
    def publish(self) -> None:
        """Give the model the masters' values, rounded to its type."""
        for name, parameter in self.working.items():
            if self.masters[name] is not parameter:
                parameter.copy_(self.masters[name])

    def restore(self) -> None:
        """Make the masters the model's weights, to be saved without the rounding, and what was frozen fp32 again."""
        for name, parameter in self.working.items():
            parameter.data = self.masters[name].data
        for name, parameter in self._frozen.items():
            parameter.data = self._unrounded.get(name, parameter.data).to(parameter.device, torch.float32)

    def state(self) -> dict[str, torch.Tensor]:
        """Return AdamW's state as `<parameter>/<what>` -> tensor of its own memory or of the optimizer's.

        In 8 bits that is state1, state2 (uint8), their maps qmap1, qmap2 (fp32[256]) and the scales of their blocks
        absmax1, absmax2, where the parameter has 4,096 elements or more; else state1 and state2 in fp32.
        """
        return {
            f"{name}/{what}": _as_tensor(what, value)
            for name, master in self.masters.items()
            for what, value in self._adamw.state[master].items()
        }

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `state` returned, exactly."""
        for key, value in state.items():
            name, _, what = key.rpartition("/")
            self._adamw.state[self.masters[name]][what] = self._as_state(self.masters[name], what, value)

    def _as_state(self, master: torch.nn.Parameter, what: str, value: torch.Tensor) -> Any:
        if self.config.kind == "adamw":
            return divided_like(value, master)
        if what == "step":
            return int(value)
        if what in ("state1", "state2"):  # these may lie in pages that leave a full CUDA device
            buffer = self._adamw.get_state_buffer(master, dtype=value.dtype)
            return buffer.copy_(value)
        return value.to(master.device)

    def alone(self, name: str) -> "MasterOptimizer":
        """Return a fresh optimizer of the same kind over a copy of this rank's part of one master."""
        copy = torch.nn.Parameter(local_part(self.masters[name].detach()).clone())
        # bitsandbytes never lets go of a page, and the state is the same without.
        kind = self.config.kind.removeprefix("paged_")
        return MasterOptimizer(
            torch.nn.Module(), {name: copy}, self.config.model_copy(update={"kind": kind}), torch.float32
        )


def _adamw(config: OptimizerConfig, groups: list[dict[str, Any]]) -> Any:
    if config.kind == "adamw":
        return torch.optim.AdamW(groups, betas=config.betas, fused=True)
    from bitsandbytes.optim import AdamW

    # On a CPU nothing is paged: bitsandbytes falls back, with a warning for every run.
    is_paged = config.kind == "paged_adamw_8bit" and any(p.is_cuda for group in groups for p in group["params"])
    return AdamW(groups, betas=config.betas, optim_bits=8, is_paged=is_paged)


def _groups(
    masters: Mapping[str, torch.nn.Parameter], weight_decay: float, freezing: Freezing | None
) -> list[dict[str, Any]]:
    # Norms and biases are vectors: decaying them towards zero has no use. So are the scales of IA3, of shape [n, 1].
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in masters.items():
        depth = 0 if freezing is None else freezing.depths[name]
        groups.setdefault((depth, sum(size > 1 for size in parameter.shape) < 2), []).append(parameter)
    return [
        {"params": groups[depth, is_vector], "weight_decay": 0.0 if is_vector else weight_decay, "depth": depth}
        for depth, is_vector in sorted(groups)
    ]


def _rounds(parameter: torch.Tensor, dtype: torch.dtype) -> bool:
    return not torch.equal(parameter.detach().to(dtype).float(), parameter.detach())


def _as_tensor(what: str, value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        return torch.tensor(value)
    # One map serves all parameters, and a file of tensors holds none twice.
    return value.clone() if what.startswith("qmap") else value
