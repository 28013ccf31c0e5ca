"""Files and folders are whole or not there, also when the disk is full or the process dies."""

import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.base.atomic import atomic_file, atomic_folder, read_json, remove_folder, scratch_folder, write_json


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    write_json(path, {"a": 1})
    with pytest.raises(ZeroDivisionError), atomic_file(path) as temporary:
        temporary.write_text(f"half {1 // 0}")
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["f.json"]


def test_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "d") as temporary:
            (temporary / f"{content}.txt").write_text(content)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["two.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_folder_that_is_removed_is_gone_even_where_its_files_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("x")
    remove_folder(tmp_path / "one")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_folder(tmp_path / "other")
    assert [path.name.startswith(".tmp-") for path in tmp_path.iterdir()] == [True]


def test_full_disk_leaves_no_file(tmp_path: Path) -> None:
    # A limit on the size of files stands for a full disk: it needs no root.
    code = f"""
import resource, signal
from pathlib import Path
from engine.base.atomic import atomic_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.getrlimit(resource.RLIMIT_FSIZE)[1]}))
with atomic_file(Path({str(tmp_path)!r}) / "big") as temporary:
    temporary.write_bytes(b"x" * 5000)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "File too large" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_killed_process_leaves_only_a_temporary_name(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from engine.base.atomic import atomic_folder
with atomic_folder(Path({str(tmp_path)!r}) / "d") as temporary:
    (temporary / "f").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "d").exists()
    assert all(name.startswith(".tmp-") for name in (path.name for path in tmp_path.iterdir()))


def test_folder_made_inside_another_one_takes_its_name_from_there(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with scratch_folder(tmp_path, ".tmp-x-") as scratch, atomic_folder(tmp_path / "d", scratch) as temporary:
            assert temporary.parent == scratch
            (temporary / f"{content}.txt").write_text(content)
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "two.txt"]


def test_scratch_folder_goes_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path, ".tmp-x-") as scratch:
        (scratch / "f").write_text(f"half {1 // 0}")
    assert list(tmp_path.iterdir()) == []


def test_scratch_folders_of_killed_processes_go_and_those_in_use_stay(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
from pathlib import Path
from engine.base.atomic import scratch_folder
with scratch_folder(Path({str(tmp_path)!r}), ".tmp-x-") as folder:
    (folder / "f").write_text("half")
    print(folder, flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / ".tmp-other").mkdir()
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        with scratch_folder(tmp_path, ".tmp-x-") as ours:
            assert set(tmp_path.iterdir()) == {theirs, ours, tmp_path / ".tmp-other"}
        process.communicate("")
    assert (theirs / "f").read_text() == "half"
    with scratch_folder(tmp_path, ".tmp-x-") as ours:
        assert set(tmp_path.iterdir()) == {ours, tmp_path / ".tmp-other"}
