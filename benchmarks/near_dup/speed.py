"""Speed: ours in all its ways, the floors and the peers on the whole corpus; growth over three sizes."""

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from benchmarks.harness import Row
from benchmarks.near_dup.rows import described, row, sample, size_of
from benchmarks.near_dup.tools import (
    COPY_FLOOR,
    DAFT,
    DAFT_RECALL,
    DAFT_WORDS,
    DATASKETCH,
    DATATROVE,
    PROVENDER_DEFAULT,
    PROVENDER_WAYS,
    READ_FLOOR,
    RENSA,
    Result,
    Runs,
)

if TYPE_CHECKING:
    from benchmarks.near_dup import Sizes

FACTS = "0.8, word 5-grams. Slow peers run on a sample of the files, its size is stated. "
DECISIONS = ("removed.parquet", "pairs.parquet")


def warm_up(runs: Runs) -> None:
    """Run ours on a few documents, so that numba's cache is warm, as after `make setup`."""
    text = " ".join(f"word{number}" for number in range(200))
    rows = [(str(number), f"{text} and {number % 10}") for number in range(50)]
    folder = runs.scratch / "tiny"
    folder.mkdir()
    pl.DataFrame(rows, schema=["path", "text"], orient="row").write_parquet(folder / "000.parquet")
    runs.of(PROVENDER_DEFAULT, folder)


def speed_rows(runs: Runs, whole: Path, sizes: "Sizes") -> tuple[str, list[Row]]:
    """Ours in all ways, the floors and the peers; ratios are of MB/s on the same files."""
    main, floor = runs.of(PROVENDER_DEFAULT, whole), runs.of(READ_FLOOR, whole)
    copy = runs.of(COPY_FLOOR, whole)
    rows = [row(floor, "sums only", main), row(copy, "writes Polars' default compression", main)]
    rows.append(row(main, _breakdown(main, floor), main))
    for tool in PROVENDER_WAYS:
        result = runs.of(tool, whole)
        rows.append(row(result, _same(result, main, copy), main))
    for tool in (DAFT, DAFT_RECALL, DAFT_WORDS, RENSA):
        rows.append(row(runs.of(tool, whole), "judged in the tables of decisions", main))
    for tool, megabytes in ((DATASKETCH, sizes.datasketch), (DATATROVE, sizes.datatrove)):
        part = sample(runs, whole, megabytes)
        result = runs.of(tool, part)
        said = f"on the first {megabytes} MB of the files, ours beside it on the same"
        if result.run.failure is None and main.run.failure is None:
            rate = size_of(part)[1] / result.run.seconds
            said += f"; ours on all files makes {size_of(whole)[1] / main.run.seconds / rate:.1f} times its rate"
        rows.append(row(result, said, runs.of(PROVENDER_DEFAULT, part)))
    return f"{described(whole)}. Threshold {FACTS}Peak memory is of the process tree.", rows


def scale_rows(runs: Runs, whole: Path, sizes: "Sizes") -> tuple[str, list[Row]]:
    """Ours and Daft on growing parts of the corpus; how the time grows beside the documents."""
    rows = []
    folders = [sample(runs, whole, megabytes) for megabytes in sizes.scale] + [whole]
    for tool in (PROVENDER_DEFAULT, DAFT):
        before: tuple[int, float] | None = None
        for folder in folders:
            result, (documents, _) = runs.of(tool, folder), size_of(folder)
            grown = ""
            if before is not None and before[1] > 0:
                more, longer = documents / before[0], result.run.seconds / before[1]
                grown = f"{more:.1f} times the documents, {longer:.1f} times the time"
            rows.append(row(result, grown, name=f"{tool.name}, {documents:,} documents"))
            before = documents, result.run.seconds
    return f"Parts of one corpus, each the first files of the next. Threshold {FACTS}", rows


def _breakdown(main: Result, floor: Result) -> str:
    """Return how far ours is from the read floor, and its seconds by phase."""
    if main.run.failure is not None or floor.run.failure is not None:
        return ""
    seconds = main.report().get("seconds")
    phases = seconds.items() if isinstance(seconds, dict) else ()
    spent = ", ".join(f"{name} {value:.2f}" for name, value in phases if isinstance(value, float | int))
    return f"{main.run.seconds / floor.run.seconds:.1f} times the read floor; seconds: {spent or 'not reported'}"


def _same(result: Result, main: Result, copy: Result) -> str:
    """Return whether the decisions are the same bytes, and what writing the survivors adds beside the copy floor."""
    if result.run.failure is not None or main.run.failure is not None:
        return ""
    if "--id-column" not in result.tool.command:
        return "documents are named by file and row, and told apart by all their columns"
    same = all((result.out / name).read_bytes() == (main.out / name).read_bytes() for name in DECISIONS)
    said = "the same decisions, byte for byte" if same else "OTHER DECISIONS"
    if "--decisions-only" in result.tool.command or copy.run.failure is not None:
        return said
    added = (result.run.seconds - main.run.seconds) / copy.run.seconds
    return f"{said}; survivors add {added:.2f} times the copy floor"
