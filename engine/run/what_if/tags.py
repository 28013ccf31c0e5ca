"""How many kept documents have a reason as a tag, before the rules of a recipe changed and now."""

from collections import Counter
from functools import partial
from typing import Any

from engine.formats.documents import Shard
from engine.run.deciding import Decisions
from engine.run.what_if.examples import EarlierDecisions
from engine.run.workers import work


def tags(decisions: Decisions, earlier: EarlierDecisions | None) -> list[dict[str, Any]]:
    """Return source, reason, documents_before (None without `earlier`) and documents_now, by source and reason."""
    before: Counter[tuple[str, str]] = Counter()
    if earlier is not None:
        counts = work("what if: tags", partial(_before, earlier), decisions.shards, decisions.context.jobs)
        for shard, of_shard in zip(decisions.shards, counts, strict=True):
            before.update({(shard.source, reason): documents for reason, documents in of_shard.items()})
    now = {(str(row["source"]), str(row["reason"])): row["documents"] for row in decisions.tagged()}
    return [
        {"source": source, "reason": reason}
        | {"documents_before": None if earlier is None else before[source, reason]}
        | {"documents_now": now.get((source, reason), 0)}
        for source, reason in sorted(before.keys() | now.keys())
    ]


def _before(earlier: EarlierDecisions, shard: Shard) -> dict[str, int]:
    found = earlier(shard, ["tags"])
    if found is None:
        return {}
    return dict(found["tags"].drop_nulls().explode().rename("reason").value_counts().iter_rows())
