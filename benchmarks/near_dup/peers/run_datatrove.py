"""datatrove's MinHash pipeline as in its example, on the local executor: two tasks, two workers, 14 bands of 8.

Its normalisation (lower case, digits to 0, no punctuation or diacritics) and its English tokenizer (spaCy's rules: no
model to download). The fourth stage reads all text again to write what stays; decisions are out after the third, and
are mapped to paths here: file r of the removals belongs to task r, which reads files r, r + 2, ... in sorted order.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupSignature,
)
from datatrove.pipeline.readers import ParquetReader
from shared import NGRAM_WORDS, arguments, documents, write_removed

TASKS = 2


def stages(listing: Path, folder: str, scratch: str) -> list[LocalPipelineExecutor]:
    """Return the stages from Parquet to the removals."""
    config = MinhashConfig(n_grams=NGRAM_WORDS, num_buckets=14, hashes_per_bucket=8)
    steps = [
        (
            TASKS,
            [
                ParquetReader(folder, paths_file=str(listing), id_key="path"),
                MinhashDedupSignature(f"{scratch}/signatures", config),
            ],
        ),
        (config.num_buckets, [MinhashDedupBuckets(f"{scratch}/signatures", f"{scratch}/buckets", config=config)]),
        (1, [MinhashDedupCluster(f"{scratch}/buckets", f"{scratch}/remove", config=config)]),
    ]
    return [
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=TASKS, logging_dir=f"{scratch}/logs{number}")
        for number, (tasks, pipeline) in enumerate(steps)
    ]


def main() -> None:
    """Run the stages and write the paths of the removals."""
    files, out = arguments()
    files = sorted(os.path.realpath(file) for file in files)
    with tempfile.TemporaryDirectory() as scratch:
        folder = os.path.commonpath([str(Path(file).parent) for file in files])
        listing = Path(scratch, "files.txt")
        listing.write_text("".join(f"{os.path.relpath(file, folder)}\n" for file in files))
        for stage in stages(listing, folder, scratch):
            stage.run()
        removed = []
        for file in sorted(Path(scratch, "remove").glob("*.remove")):
            rank = int(file.stem)
            # The reader skips documents without text.
            paths = [path for path, text in documents(files[rank::TASKS]) if text]
            removed += [paths[place] for place in np.fromfile(file, "<u4")]
    write_removed(out, removed)


if __name__ == "__main__":
    main()
