"""Everything known about one document: where it lies, what was found, what was decided and why, where it is trained."""

from engine.explain.gather import explain
from engine.explain.show import show_explain

__all__ = ["explain", "show_explain"]
