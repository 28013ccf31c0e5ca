"""What of a run's documents was taken down: those that left, and what the run found to be joined to one of them."""

import polars as pl

from engine.formats.takedowns import read_takedowns
from engine.formats.workspace import Workspace
from engine.run.relatives import Searched, relatives
from engine.run.stage_run import Annotated


def taken_down(workspace: Workspace, state: Annotated) -> pl.Series:
    """Return the doc_ids of these documents that no later run may keep: Binary, ascending, most often none.

    That are the documents that left, wherever they stand now, equal texts of those that were named (also where the
    named one is not among the sources any more), and what a verified pair of this run joins to a named one.
    """
    asked: dict[float | None, dict[bytes, bytes | None]] = {}
    left: set[bytes] = set()
    for takedown in read_takedowns(workspace):
        named = asked.setdefault(takedown.threshold, {})
        left.update(bytes.fromhex(one.doc_id) for one in takedown.documents)
        for one in takedown.asked():
            named[bytes.fromhex(one.doc_id)] = bytes.fromhex(one.text_digest) if one.text_digest else None
    found: set[bytes] = set()
    searched = Searched(state.sources, state.annotations, state.artifacts)
    for threshold, named in asked.items():
        digests = {doc_id: digest for doc_id, digest in named.items() if digest is not None}
        at = None if threshold is None else max([threshold, *searched.floors()])
        found.update(relatives(searched, list(named), at, digests)["doc_id"])
    if left:
        found.update(left & _present(state, left))
    return pl.Series("doc_id", sorted(found), dtype=pl.Binary)


def _present(state: Annotated, doc_ids: set[bytes]) -> set[bytes]:
    wanted = pl.Series(sorted(doc_ids), dtype=pl.Binary).implode()
    shards = [shard for source in state.sources for shard in source.shards if shard.num_rows]
    ids = (shard.read_core(["doc_id"])["doc_id"] for shard in shards)
    return {doc_id for one in ids for doc_id in one.filter(one.is_in(wanted))}
