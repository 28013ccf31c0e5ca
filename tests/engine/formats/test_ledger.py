"""The ledger finds what does not add up."""

import polars as pl
import pytest

from engine.base.errors import AuditError
from engine.formats.ledger import SCHEMA, unbalanced
from engine.run.ledger import require_balance


def rows(*values: tuple[str, str | None, int, int]) -> pl.DataFrame:
    return pl.DataFrame([("selection", "web", o, r, d, b, None) for o, r, d, b in values], schema=SCHEMA, orient="row")


def test_what_came_in_is_what_was_kept_dropped_and_held_out() -> None:
    ledger = rows(
        ("in", None, 10, 100), ("kept", None, 6, 70), ("dropped", "short", 3, 10), ("held_out", "general", 1, 20)
    )
    assert unbalanced(ledger).is_empty()


def test_a_lost_document_stops_the_run() -> None:
    with pytest.raises(AuditError, match="10 documents of web came in, 9 are accounted for"):
        require_balance([rows(("in", None, 10, 100), ("kept", None, 9, 100))], "selection")


def test_a_lost_byte_is_found_where_documents_add_up() -> None:
    wrong = unbalanced(rows(("in", None, 10, 100), ("kept", None, 10, 99)))
    assert wrong.select("unit", "came_in", "accounted_for").rows() == [("bytes", 100, 99)]


def test_rows_of_shards_are_summed_by_reason() -> None:
    ledger = require_balance([rows(("in", None, 1, 5), ("dropped", "short", 1, 5))] * 3, "selection")
    assert ledger.select("outcome", "reason", "documents", "bytes", "tokens").rows() == [
        ("dropped", "short", 3, 15, None),
        ("in", None, 3, 15, None),
    ]
