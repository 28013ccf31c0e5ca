"""Fixtures every test may ask for by name."""

from pathlib import Path

import pytest
from hypothesis import settings

# Properties are about results; how long one takes depends on what else runs on the machine.
settings.register_profile("provender", deadline=None)
settings.load_profile("provender")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora and benchmarks; skips with a reason where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared data folder (../shared/data) is not here")
    return SHARED_DATA
