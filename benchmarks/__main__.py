"""Run all benchmarks, or those named, and write the table: `python -m benchmarks [near_dup train_step]`."""

import importlib
import sys

from benchmarks.harness import write_table

ALL = ("near_dup", "train_step")

for name in sys.argv[1:] or ALL:
    importlib.import_module(f"benchmarks.{name}").main()
write_table()
