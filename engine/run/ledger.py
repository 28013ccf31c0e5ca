"""The ledger is enforced: what came in must equal what was kept, dropped by reason, held out, cut and over budget."""

import polars as pl

from engine.base.errors import AuditError, problem
from engine.formats.ledger import SCHEMA, unbalanced


def require_balance(rows: list[pl.DataFrame], place: str) -> pl.DataFrame:
    """Return the summed ledger of these rows; raises AuditError where it does not add up."""
    keys = ["step", "source", "outcome", "reason"]
    ledger = (
        pl.concat([row.cast(pl.Schema(SCHEMA)) for row in rows])
        .group_by(keys)
        .agg(pl.col("documents", "bytes").sum(), _sum_or_null("tokens"))
        .sort(keys)
        .select(list(SCHEMA))
    )
    wrong = unbalanced(ledger)
    if wrong.height:
        first = wrong.row(0, named=True)
        came_in = f"{first['came_in']} {first['unit']} of {first['source']} came in"
        found = f"{came_in}, {first['accounted_for']} are accounted for"
        raise AuditError(problem(place, found, "in = kept + dropped + held out + cut + over budget", "report this bug"))
    return ledger


def _sum_or_null(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_not_null().all()).then(pl.col(name).sum()).otherwise(None).alias(name)
