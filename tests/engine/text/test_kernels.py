"""The folder of compiled kernels: made, marked as in use, and cleared of what nobody uses any more."""

import os
import time
from pathlib import Path

from engine.text.kernels import make_cache

DAY = 86_400


def old(folder: Path, days: int) -> Path:
    (folder / "inside").mkdir(parents=True)
    used = time.time() - days * DAY
    os.utime(folder, (used, used))
    return folder


def test_new_folder_removes_those_unused_for_30_days(tmp_path: Path) -> None:
    for name, days in (("kernels-a", 31), ("kernels-b", 29), ("models", 99)):
        old(tmp_path / name, days)
    make_cache(tmp_path / "kernels-new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kernels-b", "kernels-new", "models"]


def test_folder_that_was_there_is_marked_as_used_and_removes_nothing(tmp_path: Path) -> None:
    old(tmp_path / "kernels-a", 40)
    ours = old(tmp_path / "kernels-b", 40)
    make_cache(ours)
    assert time.time() - ours.stat().st_mtime < DAY
    assert (tmp_path / "kernels-a").is_dir()
    make_cache(tmp_path / "kernels-c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kernels-b", "kernels-c"]


def test_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    make_cache(tmp_path / "file" / "kernels-a")
