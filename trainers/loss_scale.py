"""The scale of a loss in fp16: gradients below 6e-8 are zero there, so the loss is multiplied before its backward pass.

Dynamic as torch.amp.GradScaler (and the same numbers): halved when a gradient overflows, which skips the step; doubled
after so many good steps.
"""

from dataclasses import dataclass

GROWTH_INTERVAL = 2000


@dataclass
class LossScale:
    """Scale, and what it was made from; its three numbers belong to the checkpoint."""

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
