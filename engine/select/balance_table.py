"""What rules of balance asked for and what became of it: the sums of groups, as a table and as totals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.formats.selection import BALANCE_SCHEMA
from engine.select.balance import Rule
from engine.select.group_codes import Codes, GroupCodes
from engine.select.taking import Numbers, count_groups

LISTED_GROUPS = 1000
"""Groups of a rule that lost something and are listed, largest loss first."""
Quotas = Sequence[tuple[int, int]]
"""Code of the group, amount."""


class GroupSums:
    """Sums over the documents that came to a rule, by the codes of their groups: int64[groups] each."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.amounts: Numbers = np.zeros(1, np.int64)
        self.documents: Numbers = np.zeros(1, np.int64)
        self.protected_amounts: Numbers = np.zeros(1, np.int64)
        self.protected_documents: Numbers = np.zeros(1, np.int64)
        self.kept_amounts: Numbers = np.zeros(1, np.int64)
        self.kept_documents: Numbers = np.zeros(1, np.int64)

    def add(self, codes: Codes, sizes: Numbers, is_protected: bool) -> None:
        """Count documents; codes of ABSENT are left out, and without sizes each counts 1."""
        # Codes are given out from 0 on, so the largest that is none of ABSENT says how many groups there are.
        self.grow(int((codes + np.uint32(1)).max(initial=0)))
        count_groups(codes, sizes, self.amounts, self.documents)
        if is_protected:
            count_groups(codes, sizes, self.protected_amounts, self.protected_documents)

    def grow(self, num_groups: int) -> None:
        """Make room for at least so many groups."""
        if num_groups > self.amounts.size:
            more = np.zeros(max(num_groups, 2 * self.amounts.size) - self.amounts.size, np.int64)
            for name, sums in vars(self).items():
                setattr(self, name, np.concatenate([sums, more]))


def table_of(rule: Rule, groups: GroupCodes, sums: GroupSums, rooms: Numbers, quotas: Quotas) -> pl.DataFrame:
    """Return the rows of a rule (BALANCE_SCHEMA): its quotas as written, then groups by loss and name."""
    codes = np.array([code for code, _ in quotas], dtype=np.int64)
    lost = _losing(sums)
    lost = lost[~np.isin(lost, codes)]
    # The names of a million groups are not needed to find the largest losses: only those that may be listed get one.
    losses = sums.amounts[lost] - sums.kept_amounts[lost]
    if lost.size > LISTED_GROUPS:
        least = np.partition(losses, lost.size - LISTED_GROUPS)[lost.size - LISTED_GROUPS]
        lost = lost[losses >= least]
    capped = _rows(rule, groups, sums, rooms, lost, False)
    order = pl.col("available") - pl.col("kept")
    capped = capped.sort(order, "group", descending=[True, False]).head(LISTED_GROUPS)
    return pl.concat([_rows(rule, groups, sums, rooms, codes, True), capped])


def details_of(rule: Rule, sums: GroupSums) -> dict[str, Any]:
    """Return the totals of a rule, in its unit and in documents."""
    return {
        "rule": rule.reason,
        "unit": rule.unit,
        "groups": int((sums.documents > 0).sum()),
        "losing_groups": int(_losing(sums).size),
        "available": int(sums.amounts.sum()),
        "kept": int(sums.kept_amounts.sum()),
        "available_documents": int(sums.documents.sum()),
        "kept_documents": int(sums.kept_documents.sum()),
    }


def after_later_rules(table: pl.DataFrame, lost: Numbers) -> pl.DataFrame:
    """Return the table of a rule where later rules took documents of its quotas.

    lost: int64[quotas, 2], amounts and documents, in the order of the quotas, which are the first rows.
    """
    more = np.zeros((table.height - len(lost), 2), np.int64)
    amounts, documents = (pl.Series(column) for column in np.concatenate([lost, more]).T)
    kept = pl.col("kept") - amounts
    missing = pl.when("is_quota").then((pl.col("asked") - kept).clip(lower_bound=0)).otherwise(0)
    return table.with_columns(kept, missing.alias("missing"), pl.col("kept_documents") - documents)


def unmet_quotas(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the quotas of a table of which something is missing: group, asked, available, kept, missing."""
    unmet = table.filter(pl.col("is_quota") & (pl.col("missing") > 0))
    return unmet.select("group", "asked", "available", "kept", "missing").to_dicts()


def _losing(sums: GroupSums) -> NDArray[np.int64]:
    return np.flatnonzero((sums.amounts > sums.kept_amounts) | (sums.documents > sums.kept_documents))


def _rows(
    rule: Rule, groups: GroupCodes, sums: GroupSums, rooms: Numbers, codes: NDArray[np.int64], is_quota: bool
) -> pl.DataFrame:
    asked, kept = rooms[codes], sums.kept_amounts[codes]
    columns = {
        "rule": [rule.reason] * codes.size,
        "unit": [rule.unit] * codes.size,
        "group": groups.names(codes.astype(np.uint32)),
        "is_quota": [is_quota] * codes.size,
        "asked": asked,
        "available": sums.amounts[codes],
        "kept": kept,
        "missing": np.maximum(asked - kept, 0) if is_quota else np.zeros(codes.size, np.int64),
        "available_documents": sums.documents[codes],
        "kept_documents": sums.kept_documents[codes],
    }
    return pl.DataFrame(columns, schema=BALANCE_SCHEMA)
