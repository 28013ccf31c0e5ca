"""Single documents of many megabytes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .corpora import pairs, removed, run, span


def large_text(num_words: int, seed: int) -> str:
    """Different words of eight digits, nine bytes each with the space."""
    parts = []
    for start in range(0, num_words, 1_000_000):
        places = np.arange(start, min(start + 1_000_000, num_words))
        # 37,000,003 and 90,000,000 have no common factor, so no number comes twice.
        numbers = (places * 37_000_003 + seed) % 90_000_000 + 10_000_000
        digits = (numbers[:, None] // 10 ** np.arange(7, -1, -1)) % 10 + ord("0")
        parts.append(np.hstack([digits, np.full((len(places), 1), ord(" "))]).astype(np.uint8).tobytes())
    return b"".join(parts).decode()


def write_texts(path: Path, texts: list[str]) -> Path:
    ids = [f"d{row}" for row in range(len(texts))]
    pq.write_table(pa.table({"uid": ids, "text": pa.array(texts, pa.large_string())}), path, row_group_size=2)
    return path


def test_document_of_20_megabytes_is_compared_like_any_other(tmp_path: Path) -> None:
    text = large_text(2_250_000, 1)
    changed = text[:8_100_000] + "another!" + text[8_100_008:] + "!"
    texts = ["small one", text, span(0, 100), changed, span(0, 100) + " more", large_text(250_000, 2)]
    run([write_texts(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    # 5 of 2,249,996 5-grams differ.
    assert removed(tmp_path / "out") == {
        "d1": ("d3", "near_dup", 0.9999),
        "d2": ("d4", "near_dup", 0.9896),
    }
    assert len(pairs(tmp_path / "out")) == 2


def test_small_document_inside_a_large_one_stays(tmp_path: Path) -> None:
    text = large_text(500_000, 3)
    report = run([write_texts(tmp_path / "in.parquet", [text, text[:81_000]])], tmp_path / "out", id_column="uid")
    assert report["kept"] == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_document_of_200_megabytes_fits_into_2_gigabytes_of_memory(tmp_path: Path) -> None:
    text = large_text(22_300_000, 4)
    path = write_texts(tmp_path / "in.parquet", ["small one", text, span(0, 100), span(0, 100)])
    del text
    command = [
        sys.executable, "-m", "engine.cli", "dedup", str(path), "--out", str(tmp_path / "out"), "--id-column", "uid",
        "--memory", "2GB", "--json",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_so_far(process.pid))
        time.sleep(0.05)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    report = json.loads(output)
    assert (report["documents"], report["kept"]) == (4, 3)
    assert report["bytes"] > 200_000_000
    assert 200_000_000 < peak <= 2 << 30
    assert report["peak_memory_bytes"] == pytest.approx(peak, rel=0.1)


def peak_so_far(process: int) -> int:
    """VmHWM of a process in bytes; 0 while it begins or ends."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)
