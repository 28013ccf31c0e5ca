"""The training half of Provender: replays a schedule, measures what the model forgets."""

import os

# Threads of torch on a CPU wait for each other by spinning, which takes the core from whom they wait for as soon as
# another program runs: measured on two busy cores, 860 tokens a second with the default and 4,180 with a short spin.
# OpenMP reads this when torch is loaded, so it has to be said before; what the user says goes first.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
