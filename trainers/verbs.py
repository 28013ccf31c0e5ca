"""Every verb of the trainers as a plain function: the arguments of the command line in, what `--json` prints out."""

from trainers.base_models import models_add, models_list
from trainers.merge import merge
from trainers.train import train
from trainers.workflows.advise import advise
from trainers.workflows.demo import demo

__all__ = ["advise", "demo", "merge", "models_add", "models_list", "train"]
