"""Memory of the machine, and of a container that allows less."""

from pathlib import Path

import pytest

from engine.base import machine_memory
from engine.base.machine_memory import available_memory, free_memory


def test_a_container_that_allows_less_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "memory.max": "1000000\n",
        "memory.current": "700000\n",
        "memory.stat": "anon 500000\ninactive_file 150000\n",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine_memory, "_LIMITS", (tmp_path / "memory.max", tmp_path / "none"))
    monkeypatch.setattr(machine_memory, "_USED", (tmp_path / "memory.current", tmp_path / "none"))
    assert available_memory() == 1_000_000
    assert free_memory() == 1_000_000 - 700_000 + 150_000


def test_a_container_without_a_limit_is_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(machine_memory, "_LIMITS", (tmp_path / "memory.max",))
    monkeypatch.setattr(machine_memory, "_USED", (tmp_path / "memory.current",))
    assert 0 < free_memory() <= available_memory()
