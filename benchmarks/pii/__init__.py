"""Personal data: recall and precision per kind on the shared sentences and on built cases, finds on texts, speed.

Four results: `pii_shared`, `pii_built`, `pii_texts` (what is found per megabyte of manuals, proposals, encyclopedia,
code), `pii_speed`. Everything missed or false, and what was found in the texts, lies in build/bench/pii/*.jsonl, to be
read by hand.
"""

import json
import random
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
TEXT_FILES = ("*.txt", "*.rst", "*.md", "*.py")
QUICK_CASES, CASES = 50, 300
EXAMPLES = 10


def main(quick: bool = False, corpus: Path | None = None) -> None:  # noqa: ARG001 - the others' signature
    """Measure and record; quick results go to build/bench/quick and are no figures."""
    from benchmarks.harness import FOLDER, RESULTS, Row, record
    from benchmarks.pii.built import built_cases
    from benchmarks.pii.truth import scores, shared_cases
    from engine.annotate.pii import REGIONS
    from engine.annotate.pii.find import find_in_text

    build = FOLDER.parent / "build" / "bench"
    results, to_read = build / "quick" if quick else RESULTS, build / "pii"
    find = partial(find_in_text, regions=REGIONS)
    sets = {
        "pii_shared": ("Generated sentences of presidio-research", shared_cases(SHARED / "benchmarks" / "pii")),
        "pii_built": (
            "Cases built by code with a fixed seed, half of them hard negatives; by the same hand as the stage",
            built_cases(QUICK_CASES if quick else CASES),
        ),
    }
    for what, (about, cases) in sets.items():
        measured, wrong = scores(cases, find)
        rows = [
            Row(
                kind,
                round(100 * score.recall, 2),
                "% recall",
                "",
                f"{score.found} of {score.spans} found whole, {score.false} false",
                details={"spans": score.spans, "precision": round(score.precision, 4)},
            )
            for kind, score in sorted(measured.items())
        ]
        record(what, f"{about}: {len(cases):,} texts.", rows, results)
        _written(to_read / f"{what}.jsonl", wrong)
    texts = _texts(quick)
    record("pii_texts", *_found_rows(texts, to_read), results)
    record("pii_speed", *_speed_rows(texts), results)


def _texts(quick: bool) -> dict[str, list[str]]:
    """Return the texts of every shared corpus."""
    corpora = {}
    for folder in sorted((SHARED / "corpora").iterdir()):
        paths = sorted(path for pattern in TEXT_FILES for path in folder.rglob(pattern))
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths[:: 20 if quick else 1]]
        if texts:
            corpora[folder.name] = texts
    return corpora


def _found_rows(corpora: Mapping[str, list[str]], to_read: Path) -> tuple[str, list]:
    from benchmarks.harness import Row
    from benchmarks.pii.truth import around
    from engine.annotate.pii import REGIONS
    from engine.annotate.pii.find import KINDS, find_all

    found: dict[str, list[dict[str, str]]] = {kind: [] for kind in KINDS}
    size = 0
    for name, texts in corpora.items():
        size += sum(len(text.encode()) for text in texts)
        for row, spans in find_all(_array(texts), KINDS, REGIONS):
            for one in spans:
                found[one.kind].append({"corpus": name, "text": around(texts[row], one.start, one.end)})
    rows = []
    for kind, examples in sorted(found.items()):
        _written(to_read / f"texts-{kind}.jsonl", examples)
        some = random.Random(kind).sample(examples, min(EXAMPLES, len(examples)))
        for example in some:
            print(f"  {kind}: {example['corpus']}: {example['text']!r}")
        rows.append(
            Row(
                kind,
                round(len(examples) / size * 1e6, 4),
                "per MB",
                "",
                "found; to be read",
                details={"spans": len(examples)},
            )
        )
    return f"What is found in {size / 1e6:.1f} MB of {', '.join(corpora)}.", rows


def _speed_rows(corpora: Mapping[str, list[str]], repeats: int = 5) -> tuple[str, list]:
    from benchmarks.harness import Row
    from engine.annotate.pii import REGIONS
    from engine.annotate.pii.candidates import find_candidates, text_buffers
    from engine.annotate.pii.find import KINDS, find_all

    texts = _array([text for several in corpora.values() for text in several])
    size = texts.nbytes / 1e6
    data, edges = text_buffers(texts.chunk(0))
    works = {
        "candidates": ("the compiled pass", lambda: find_candidates(data, edges)),
        "spans": ("candidates and their checks", lambda: list(find_all(texts, KINDS, REGIONS))),
    }
    rows = []
    for name, (includes, work) in works.items():
        work()
        rates = []
        for _ in range(repeats):
            started = time.process_time()
            work()
            rates.append(size / (time.process_time() - started))
        rates.sort()
        said = f"{len(find_candidates(data, edges)) / size:.0f} candidates per MB" if name == "candidates" else ""
        rows.append(Row(name, rates[repeats // 2], "MB/s", includes, said, rates[0], rates[-1]))
    return f"{size:.1f} MB of the shared texts, one core, seconds of the processor.", rows


def _array(texts: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def _written(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
