"""Paths as people write them."""

from pathlib import Path

import pytest

from engine.base.errors import RecipeError
from engine.base.paths import written_path


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert written_path("~/lists/en") == Path("/home/ada/lists/en")
    assert written_path("lists/~en") == Path("lists/~en")


def test_the_home_folder_of_nobody_is_an_error() -> None:
    with pytest.raises(RecipeError, match="~nobody-of-that-name/x: no home folder of that name"):
        written_path("~nobody-of-that-name/x")
