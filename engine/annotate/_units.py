"""Ten-thousandths: how stages count fractions, in integers, before they are stored as Float64."""

import polars as pl

UNITS = 10_000


def as_fraction(units: pl.Expr) -> pl.Expr:
    """Return ten-thousandths (integers) as Float64 of four digits; null stays null."""
    # Polars divides by a constant through its reciprocal, which can be one digit off; rounding mends that.
    return (units.cast(pl.Float64) / UNITS).round(4)
