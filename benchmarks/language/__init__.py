"""Languages of real documents: accuracy and speed of the stage beside other identifiers, on the same windows."""

import json
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path

import polars as pl

from benchmarks.harness import RESULTS, Row, peak_memory_mb, record
from benchmarks.language.corpora import CORPORA, documents
from benchmarks.language.judge import accuracies, by_windows, judged, missed
from benchmarks.near_dup.tools import BENCH_PYTHON
from engine.annotate import language
from engine.annotate.language.detectors import embedded_languages
from engine.text.windows import text_windows

PEERS = {
    "pycld2": ("CLD2 (pycld2)", "Apache-2.0", 1),
    "py3langid": ("py3langid", "BSD-3-Clause", 1),
    "cld3": ("CLD3 (cld3-py)", "Apache-2.0", 1),
    "whatlang": ("whatlang (whatlang-pyo3)", "MIT", 1),
    "langdetect": ("langdetect (langdetect-rs)", "Apache-2.0", 1),
    "heliport": ("heliport", "GPL-3.0", 1),
    "lingua": ("lingua", "Apache-2.0", 5),
}
"""Script -> name, licence, and of how many documents one is asked (those that are slow)."""
OURS = "this stage (ELD, eldc)"
INCLUDES = "CPU time; windows cut already, model loaded"


class Texts:
    """What the stage reads of a shard."""

    def __init__(self, texts: pl.Series) -> None:
        """Cut the windows."""
        self.text, self.windows = texts.to_arrow(), text_windows(texts)


def main(quick: bool = False) -> None:
    if not CORPORA.is_dir():
        print("language: skipped, ../shared/data/corpora is not here")
        return
    every = documents().gather_every(20 if quick else 1)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        row, by_source = _ours(every)
        rows.append(row)
        for script, (name, licence, share) in PEERS.items():
            rows.append(_peer(script, name, licence, every.gather_every(share), Path(scratch)))
        about = (
            f"{every.height:,} documents of 200 characters and more in {every['language'].n_unique()} languages; a "
            "tool is judged on those it has a label for. At most three windows of 1,000 characters each; of the peers "
            "the answer that most characters got counts, lingua is asked for one document in five."
        )
        folder = Path(scratch) if quick else RESULTS
        record("language", about, rows, folder)
        record("language_sources", f"{OURS}, by source, and the languages it misses.", by_source, folder)


def _ours(every: pl.DataFrame) -> tuple[Row, list[Row]]:
    texts, config = Texts(every["text"]), language.Config()
    language.annotate(texts, config)  # type: ignore[arg-type]
    seconds = []
    for _ in range(3):
        started = time.process_time()
        found = language.annotate(texts, config)  # type: ignore[arg-type]
        seconds.append(time.process_time() - started)
    scored = every.with_columns(score=found["language__score"]).with_row_index("row")
    verdicts = judged(scored, found["language__top"].to_list(), embedded_languages())
    size = sum(Path(file.locate()).stat().st_size for file in metadata.files("eldc") or ()) / 1e6
    more = {"licence": "Apache-2.0", "installed MB": round(size), "peak MB": round(peak_memory_mb())}
    row = _row(OURS, texts.windows, every.height, sorted(seconds)[1], embedded_languages(), verdicts, more)
    unknown = scored.join(verdicts, on="row", how="anti")
    return row, [*_by_source(verdicts), *_by_score(verdicts.filter("is_right"), unknown)]


def _peer(script: str, name: str, licence: str, every: pl.DataFrame, scratch: Path) -> Row:
    if not BENCH_PYTHON.is_file():
        reason = "no .bench-venv: python -m benchmarks.near_dup.tools makes it"
        return Row(name, None, "", INCLUDES, reason)
    windows = text_windows(every["text"])
    asked, out = scratch / "windows.json", scratch / "answers.json"
    asked.write_text(json.dumps(windows["window"].to_list()))
    command = [str(BENCH_PYTHON), str(Path(__file__).parent / "peers.py"), script, str(asked), str(out)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        return Row(name, None, "", INCLUDES, done.stderr.strip().splitlines()[-1])
    found = json.loads(out.read_text())
    verdicts = judged(every, by_windows(windows, found["answers"], every.height), found["known"])
    more = {"licence": licence, "installed MB": round(found["installed_mb"]), "peak MB": round(found["peak_mb"])}
    named = f"{name} {found['version']}"
    return _row(named, windows, every.height, found["seconds"], found["known"], verdicts, more)


def _row(
    name: str,
    windows: pl.DataFrame,
    num_documents: int,
    seconds: float,
    labels: tuple[str, ...] | list[str],
    verdicts: pl.DataFrame,
    more: dict[str, int | str],
) -> Row:
    megabytes = windows["window"].str.len_bytes().sum() / 1e6
    details = {
        "languages": len(set(labels)),
        "languages judged": verdicts["language"].n_unique(),
        "documents judged": verdicts.height,
        **{what: round(value, 4) for what, value in accuracies(verdicts).items()},
        "us per document": round(seconds / num_documents * 1e6),
        **more,
    }
    said = "below 0.95: " + (", ".join(code for code, *_ in missed(verdicts)) or "none")
    return Row(name, megabytes / seconds, "MB/s", INCLUDES, said, details=details)


def _by_source(verdicts: pl.DataFrame) -> list[Row]:
    rows = []
    for (source,), of_source in verdicts.group_by("source", maintain_order=True):
        details = {"documents": of_source.height, "languages": of_source["language"].n_unique()}
        right = 100 * float(of_source["is_right"].mean())  # type: ignore[arg-type]
        rows.append(Row(str(source), right, "%", "", "share of documents answered rightly", details=details))
    for code, count, accuracy, wrong in missed(verdicts):
        details = {"documents": count, "languages": 1}
        rows.append(Row(f"language {code}", 100 * accuracy, "%", "", f"most often taken for {wrong}", details=details))
    return rows


def _by_score(right: pl.DataFrame, unknown: pl.DataFrame) -> list[Row]:
    """Return how well a least score of 0.5 tells known languages from those without a label."""
    rows = []
    for name, of_kind in (("answered rightly", right), ("languages without a label", unknown)):
        details = {"documents": of_kind.height, "languages": of_kind["language"].n_unique()}
        kept = 100 * float((of_kind["score"] >= 0.5).mean())  # type: ignore[arg-type]
        rows.append(Row(f"score 0.5 and more, {name}", kept, "%", "", "share of documents kept", details=details))
    return rows
