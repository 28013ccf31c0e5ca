"""Columns by whose equal values documents belong together: those of the recipe, and one that is derived, `url_host`."""

from collections.abc import Iterable

import polars as pl

URL_HOST = "url_host"
"""The host of the core column `url`, in lower case, an IPv6 address in its brackets; null where there is none."""
_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^/?#:\[]+)"


def stored_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Return the columns that have to be read for these names, each once."""
    return tuple(dict.fromkeys("url" if name == URL_HOST else name for name in names))


def grouping(name: str) -> pl.Expr:
    """Return the expression of the values of `name`, over `stored_columns`."""
    if name == URL_HOST:
        return pl.col("url").str.extract(_HOST).str.to_lowercase().alias(URL_HOST)
    return pl.col(name)
