"""The removal guard: a source that loses most of itself, or a huge cluster, stops the run before anybody trains on it.

Three published curation runs lost nearly all of a source without anybody noticing; the loss was found after training.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import polars as pl

from engine.base.errors import AuditError, problem
from engine.formats.takedowns import TAKEDOWN
from engine.recipe import GuardConfig
from engine.select.decide import NO_TEXT


def require_sane_removal(
    ledger: pl.DataFrame, largest_cluster: int, guard: GuardConfig, examples: Callable[[], Sequence[str]]
) -> None:
    """Raise AuditError with examples where a source lost more than the recipe allows, or a cluster is too large.

    Loss: share of the source's documents that were dropped for any reason but having no text or being taken down.
    """
    wrong = [*losses_over_limit(ledger, guard)]
    if largest_cluster > guard.max_cluster_documents:
        found = f"a duplicate cluster of {largest_cluster:,} documents"
        wrong.append(
            problem(
                "removal guard",
                found,
                f"at most {guard.max_cluster_documents:,}",
                "look at it, then raise guard.max_cluster_documents",
            )
        )
    if wrong:
        raise AuditError("\n".join([*wrong, *(f"  {example}" for example in examples())]))


def sources_over_limit(ledger: pl.DataFrame, guard: GuardConfig) -> list[str]:
    """Return the sources that lost more than their share."""
    return [source for source, _, _ in _over_limit(ledger, guard)]


def losses_over_limit(ledger: pl.DataFrame, guard: GuardConfig) -> list[str]:
    """Return one message per source that lost more than its share."""
    wrong = []
    for source, came_in, dropped in _over_limit(ledger, guard):
        lost, limit = int(dropped["documents"].sum()), guard.limit(source)
        reasons = ", ".join(
            f"{r['documents']:,} {r['reason']}"
            for r in dropped.sort("documents", descending=True).iter_rows(named=True)
        )
        allow = f"guard: {{allow: {{{source}: {min(1.0, lost / came_in + 0.01):.2f}}}}}"
        wrong.append(
            problem(
                f"removal guard, source {source}",
                f"{lost:,} of {came_in:,} documents would go ({reasons})",
                f"a loss of at most {limit:.0%}",
                f"look at them with `provender sample --source {source}`; where it is right, write {allow}",
            )
        )
    return wrong


def _over_limit(ledger: pl.DataFrame, guard: GuardConfig) -> Iterator[tuple[str, int, pl.DataFrame]]:
    """Yield source, documents that came in, and its ledger of dropped ones, of every source that lost too much."""
    for (source,), rows in ledger.group_by("source", maintain_order=True):
        came_in = int(rows.filter(pl.col("outcome") == "in")["documents"].sum())
        dropped = rows.filter((pl.col("outcome") == "dropped") & ~pl.col("reason").is_in([NO_TEXT, TAKEDOWN]))
        lost = int(dropped["documents"].sum())
        if came_in and Fraction(lost, came_in) > Fraction(str(guard.limit(str(source)))):
            yield str(source), came_in, dropped
