"""Too little memory says what is enough; a full disk and a killed run leave no result behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.base.errors import ProvenderError
from engine.run.dedup import dedup
from tests.engine.run.oneshot.full_disk import assert_one_error_and_nothing_left, many_texts

from .corpora import decisions, edited_copies, run, span, survivors, write

UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
DEDUP = [sys.executable, "-m", "engine.cli", "dedup"]


def sizes(message: str) -> list[str]:
    return re.findall(r"\b\d+(?:\.\d+)? ?[KMGT]i?B\b", message)


def test_too_little_memory_names_the_least_that_works_and_it_does(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", list(edited_copies(31).values()))
    with pytest.raises(ProvenderError, match="--memory") as caught:
        dedup([path], tmp_path / "out", id_column="uid", memory="1MB")
    assert sorted(tmp_path.iterdir()) == [path]
    least = [size.replace(" ", "") for size in sizes(str(caught.value)) if not re.fullmatch(r"1 ?MB", size)]
    assert least, str(caught.value)
    run([path], tmp_path / "least", id_column="uid", memory=least[-1])
    run([path], tmp_path / "plenty", id_column="uid")
    assert decisions(tmp_path / "least") == decisions(tmp_path / "plenty")


@pytest.mark.parametrize("limit", [0, 4_000, 200_000])
def test_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    texts = many_texts()
    path = write(tmp_path / "in.parquet", [*texts, *texts[:200]])
    assert_one_error_and_nothing_left(tmp_path, ["dedup", path], limit)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_stopped_run_leaves_no_result_and_the_next_one_is_whole(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path = write(tmp_path / "in.parquet", [span(0, 150, f"d{number}x") for number in range(15_000)])
    command = [*DEDUP, str(path), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) == 1 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()
    if number == signal.SIGINT:
        assert "interrupted; nothing was written to --out; the same command starts anew" in errors
        assert list(tmp_path.iterdir()) == [path]
    else:
        assert any(left.name.startswith(".tmp-dedup-") for left in tmp_path.iterdir())
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    # What the killed run left has gone, too.
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "out"]
    assert len(survivors(tmp_path / "out")) == 15_000


def test_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ["some text"])
    # A file where a folder of the path should be; unlike permissions, this stops root too.
    (tmp_path / "file").touch()
    result = subprocess.run(
        [*DEDUP, str(path), "--out", str(tmp_path / "file" / "out")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "file" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_old_folder_without_permission_is_one_error(tmp_path: Path) -> None:
    old = write(tmp_path / "old.parquet", ["some text"])
    old.chmod(0)
    path = write(tmp_path / "in.parquet", ["some text"])
    result = subprocess.run(
        [*DEDUP, str(path), "--against", str(old), "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1, result.stderr
    assert "old.parquet" in result.stderr
    assert not (tmp_path / "out").exists()
