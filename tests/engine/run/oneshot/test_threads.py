"""As many threads as the memory ceiling allows; a ceiling that was asked for and allows none is an error."""

import pytest

from engine.base.errors import RecipeError
from engine.run.oneshot.threads import THREAD_BYTES, threads_within


@pytest.mark.parametrize(("spare", "threads"), [(0, 1), (1, 1), (2, 2), (7, 4)])
def test_each_thread_has_its_share_of_what_is_left(spare: int, threads: int) -> None:
    assert threads_within(1000 + spare * THREAD_BYTES, 4, None, 1000, "nothing") == threads


def test_ceiling_that_allows_no_thread_names_the_least_that_does() -> None:
    fixed = 10 << 20
    least = (fixed + THREAD_BYTES) >> 20
    with pytest.raises(RecipeError, match=rf"--memory: 1MB for 3 items\. Needed: at least {least}MB"):
        threads_within(1 << 20, 4, "1MB", fixed, "3 items")
    assert threads_within(least << 20, 4, f"{least}MB", fixed, "3 items") == 1
