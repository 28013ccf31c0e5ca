"""The corpora of stage tests, for the annotators that need torch."""

from tests.engine.conftest import world

__all__ = ["world"]
