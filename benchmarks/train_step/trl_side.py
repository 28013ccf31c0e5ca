"""TRL's side: SFTTrainer with its defaults on the batches of our steps, each padded to its longest document.

Set are only what makes both sides do the same work: the batches, the learning rate and that it is constant, no dropout
in the adapters, and that nothing is saved. So TRL computes activations twice and in bf16 autocast over fp32 weights,
which are its defaults. Arguments: model folder, file of batches, method.
"""

import json
import sys
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from benchmarks.train_step.peer import TRL
from benchmarks.train_step.turns import THREADS, Turns

sys.path.insert(0, str(TRL))

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from torch.utils.data import DataLoader
from trl import SFTConfig, SFTTrainer

from benchmarks.train_step.rows import LEARNING_RATE


class WhenTold(transformers.TrainerCallback):
    """Makes the trainer wait before every step."""

    def __init__(self) -> None:
        """Begin with the first step."""
        self._turns = Turns()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Wait."""
        self._turns.wait()

    def on_log(self, _args: Any, _state: Any, _control: Any, logs: dict[str, float], **_: Any) -> None:
        """Answer with the loss of the step; the line at the very end of training has none."""
        if "loss" in logs:
            self._turns.answer(float(logs["loss"]))


class Replaying(SFTTrainer):
    """An SFTTrainer whose batches are those of our steps, whatever their number of documents."""

    batches: list[list[int]]

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches in their order, through TRL's own collator."""
        return DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator)


def main(model: str, file: str, method: str) -> None:
    """Train, a step whenever told."""
    torch.set_num_threads(THREADS)
    batches = json.loads(Path(file).read_text())
    given = SFTConfig(
        use_cpu=not torch.cuda.is_available(),
        output_dir=str(Path(file).parent / "trl"),
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_steps=len(batches),
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=1,
    )
    lora = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
    rows = Dataset.from_list([document for batch in batches for document in batch])
    trainer = Replaying(model, given, train_dataset=rows, peft_config=lora if method == "lora" else None)
    edges = accumulate((len(batch) for batch in batches), initial=0)
    trainer.batches = [list(range(*edge)) for edge in pairwise(edges)]
    trainer.add_callback(WhenTold())
    trainer.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
