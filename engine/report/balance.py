"""Balance: what quotas and caps asked of every group, what came, what was kept, and which quotas are not met."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from engine.formats.selection import OVER_BUDGET
from engine.report.evidence import Evidence
from engine.report.table import Table, table
from engine.report.wording import MISSING, amount, count, counted, listed, share

_MOST_GROUPS = 40
_MOST_NAMED = 3


@dataclass(frozen=True)
class Balance:
    """What balance.parquet (engine.formats.selection.BALANCE_SCHEMA) and the ledger say."""

    groups: pl.DataFrame
    """Unmet quotas first, the one that lacks most before all; then those of which most documents were left over."""
    left_over: dict[str, int]
    """Rule -> documents it left over, of the rules that left any; the most first."""

    @property
    def unmet(self) -> pl.DataFrame:
        """The quotas that lack something."""
        return self.groups.filter(pl.col("missing") > 0)


def balance(evidence: Evidence) -> Balance | None:
    """Return the groups with a quota or a loss, or None where the recipe has no rule of balance."""
    if evidence.selection is None or not evidence.selection.rules().get("balance"):
        return None
    groups, ledger = evidence.selection.balance(), evidence.selection.ledger()
    # Of groups under a cap the file lists the largest losses; the ledger counts all.
    rules = ledger.filter(pl.col("outcome") == OVER_BUDGET).group_by("reason").agg(pl.col("documents").sum())
    left_over = dict(rules.sort(["documents", "reason"], descending=[True, False]).iter_rows())
    lacks = (pl.col("missing") / pl.col("asked")).fill_null(0.0)
    lost = pl.col("available_documents") - pl.col("kept_documents")
    return Balance(groups.sort([-lacks, -lost, pl.col("rule"), pl.col("group")]), left_over)


def balance_table(numbers: Balance) -> Table | None:
    """Return one row per rule and group, unmet quotas marked; None where no group has a quota or lost anything."""
    if numbers.groups.is_empty():
        return None
    shown = numbers.groups.head(max(_MOST_GROUPS, numbers.unmet.height))
    rows = []
    for row in shown.iter_rows(named=True):
        words = amount if row["unit"] == "bytes" else count
        asked = f"{'quota' if row['is_quota'] else 'cap'} {words(row['asked'])}"
        unmet = f"{words(row['missing'])} ({share(row['missing'], row['asked'])})" if row["missing"] else MISSING
        rows.append([
            row["group"], words(row["kept"]), unmet, asked, words(row["available"]),
            words(row["available"] - row["kept"]), row["unit"], row["rule"],
        ])  # fmt: skip
    caption = "Groups: unmet quotas first, then those of which most documents were left over"
    if shown.height < numbers.groups.height:
        caption += f"; {shown.height:,} of {numbers.groups.height:,}, `@balance` has all"
    headings = ["group", "kept", "missing", "asked", "came", "left over", "unit", "rule"]
    return table(headings, rows, 1, caption, marked=range(numbers.unmet.height))


def balance_findings(numbers: Balance | None) -> Iterator[str]:
    """Yield a sentence about quotas that are not met, and one about what balance left over."""
    if numbers is None:
        return
    unmet, quotas = numbers.unmet, numbers.groups.filter(pl.col("is_quota")).height
    if unmet.height:
        named = [_unmet(row) for row in unmet.head(_MOST_NAMED).iter_rows(named=True)]
        more = f"; {unmet.height - _MOST_NAMED:,} more in the table" if unmet.height > _MOST_NAMED else ""
        lack = f"{unmet.height:,} of {counted(quotas, 'quota')} {'is' if unmet.height == 1 else 'are'} not met"
        they = "it" if unmet.height == 1 else "them"
        yield f"{lack}, and nothing was repeated to fill {they}: {listed(named)}{more}."
    elif quotas:
        yield f"{'The quota is' if quotas == 1 else f'All {quotas:,} quotas are'} met."
    if left := numbers.left_over:
        named = [
            f"{counted(documents, 'document')} by '{rule}'" for rule, documents in list(left.items())[:_MOST_NAMED]
        ]
        rest = f" and {len(left) - _MOST_NAMED:,} more rules" if len(left) > _MOST_NAMED else ""
        stand = "it passed every filter and is" if sum(left.values()) == 1 else "they passed every filter and are"
        yield f"Balance left over {listed(named)}{rest}; {stand} in no mixture."


def _unmet(row: dict[str, Any]) -> str:
    if row["unit"] == "bytes":
        return f"{row['group']} has {amount(row['kept'])} of {amount(row['asked'])}"
    return f"{row['group']} has {row['kept']:,} of {row['asked']:,} {row['unit']}"
