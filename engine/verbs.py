"""Every verb of the engine as a plain function: the arguments of the command line in, what `--json` prints out."""

from engine.catalog import sql
from engine.catalog.stages import stages
from engine.explain import explain
from engine.explain.step import show
from engine.mixture.diff import mixture_diff
from engine.mixture.versions import mixture_list, mixture_schema, mixture_show, mixture_verify
from engine.report import report
from engine.run.decontaminate import decontaminate
from engine.run.dedup import dedup
from engine.run.export import mixture_export
from engine.run.extend import mixture_extend
from engine.run.gc import gc
from engine.run.init import init
from engine.run.label import label
from engine.run.pipeline import run, tokenizer_train
from engine.run.quality_train import quality_train
from engine.run.takedown import mixture_takedown
from engine.sample import sample

__all__ = [
    "decontaminate",
    "dedup",
    "explain",
    "gc",
    "init",
    "label",
    "mixture_diff",
    "mixture_export",
    "mixture_extend",
    "mixture_list",
    "mixture_schema",
    "mixture_show",
    "mixture_takedown",
    "mixture_verify",
    "quality_train",
    "report",
    "run",
    "sample",
    "show",
    "sql",
    "stages",
    "tokenizer_train",
]
