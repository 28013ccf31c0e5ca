"""Progress goes to stderr, as lines where there is no terminal, and only for work one waits for."""

import time

import pytest

from engine.base import progress as module
from engine.base.progress import progress


def test_quick_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", total=2, unit="shards") as bar:
        bar.advance()
        bar.advance()
    assert capsys.readouterr() == ("", "")


def test_long_work_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 30))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with progress("training", total=4, unit="steps") as bar:
        bar.advance(1, "loss 3.2")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["training: 1 of 4 steps, 30 s, about 90 s left, loss 3.2"]


def test_long_work_that_counts_nothing_is_announced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.05)
    with progress("verifying pairs"):
        time.sleep(0.3)
    assert capsys.readouterr().err.splitlines() == ["verifying pairs ..."]
