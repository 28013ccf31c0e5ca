"""Speed and correctness together: one file per thing timed, `python -m benchmarks` runs them all."""
