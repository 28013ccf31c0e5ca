"""A training step: real tokens a second and peak memory beside TRL's SFTTrainer, on the same rows and model.

Three parts: a tiny Llama (the demo's, alone), SmolLM2-135M on the CPU beside TRL, full and LoRA, and where there is a
CUDA device a larger model in bf16 with its distance to the peak of matrix products.
"""


def main(quick: bool = False) -> None:
    """Measure and record; quick results go to build/bench/quick and are no figures."""
    import torch

    from benchmarks.harness import RESULTS, record
    from benchmarks.near_dup.tools import ROOT
    from benchmarks.train_step.beside_trl import about, comparison_rows
    from benchmarks.train_step.peer import peer_versions
    from benchmarks.train_step.tiny import tiny_row

    rows = [] if quick else [tiny_row()]
    rows += comparison_rows(1 if quick else 3)
    if torch.cuda.is_available():
        from benchmarks.train_step.cuda import cuda_rows

        rows += cuda_rows(3 if quick else 10)
    folder = ROOT / "build" / "bench" / "quick" if quick else RESULTS
    record("train_step", about(), rows, folder, peer_versions(), own_memory=False)
