"""What verbs of several modules say about themselves."""

from engine.base.command import argument

GOES_ON = "the same command goes on from the last whole artifact"
JOBS = argument("--jobs", help="workers (default: one per processor); never changes a byte", type=int, metavar="N")
MEMORY = argument(
    "--memory",
    help="memory for shards that are worked on at once, such as 4GB (default: half of what there is)",
    metavar="SIZE",
)
