"""The removal guard of the one-shot verbs warns above one half, and says where to look."""

import pytest

from engine.run.oneshot.loss import warned_of_loss


@pytest.mark.parametrize(("lost", "documents"), [(0, 0), (0, 5), (2, 4), (1, 3)])
def test_up_to_one_half_says_nothing(lost: int, documents: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert warned_of_loss(lost, documents, "removed.parquet") == []
    assert capsys.readouterr().err == ""


def test_more_than_one_half_is_said_on_stderr_and_returned(capsys: pytest.CaptureFixture[str]) -> None:
    (warning,) = warned_of_loss(3, 5, "removed.parquet")
    assert "3 of 5 documents go" in warning
    assert "removed.parquet" in warning
    assert capsys.readouterr() == ("", f"warning: {warning}\n")
