"""The HTML page of a workspace or run; the only writer of HTML."""

from engine.report.page import report, show_report

__all__ = ["report", "show_report"]
