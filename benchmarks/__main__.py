"""Run all benchmarks, or those named, and write the table: `python -m benchmarks [NAME...] [--quick]`.

Each is a module or folder here with `main`, which takes `quick` and `corpus` where it can use them.
"""

import argparse
import importlib
import inspect
from pathlib import Path

from benchmarks.harness import write_table
from benchmarks.readme import write_readme

ALL = ("near_dup", "contamination", "annotate", "language", "pii", "quality", "select", "mixture", "sql", "train_step")

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)} (default: all)")
parser.add_argument("--quick", action="store_true", help="small inputs; nothing recorded")
parser.add_argument("--tables", action="store_true", help="measure nothing, only write the tables from the results")
parser.add_argument("--corpus", type=Path, help="folder with the system corpus (made if it is empty)")
options = parser.parse_args()
for name in () if options.tables else options.names or ALL:
    run = importlib.import_module(f"benchmarks.{name}").main
    given = {"quick": options.quick, "corpus": options.corpus}
    run(**{key: value for key, value in given.items() if key in inspect.signature(run).parameters})
if not options.quick:
    write_table()
    write_readme()
