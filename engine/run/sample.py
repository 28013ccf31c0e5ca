"""Documents to read by hand: of every source some that were kept beside some that were dropped, with the reasons.

1. Each source gets the same number of documents, as far as it has them; of those one half is kept ones, the other half
   is shared out evenly over its reasons. What one side lacks, the other gets.
2. Within a stratum the documents with the smallest seeded hash of their id are taken: any shard layout gives the same
   ones, and another seed gives others.
3. Documents without text are left out, unless their reason is asked for.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from engine.base.errors import InputError, RecipeError, problem, unknown
from engine.base.terminal import one_line, terminal_width, wrapped
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.selection import KEPT, Selection
from engine.formats.state import RecipeState, require_state
from engine.formats.workspace import Workspace

TEXT_CHARS = 2_000
SHOWN_CHARS = 500
_STRATUM = ["source", "decision", "reason"]
_EMPTY = pl.DataFrame(
    schema={
        "source": pl.String,
        "decision": pl.String,
        "reason": pl.String,
        "key": pl.UInt64,
        "doc_id": pl.Binary,
        "shard": pl.UInt32,
        "row": pl.UInt32,
        "num_chars": pl.Int64,
    }
)


def sample(
    workspace: Path | str,
    recipe: str | None = None,
    documents: int = 50,
    seed: int = 1,
    reason: str | None = None,
    source: str | None = None,
) -> dict[str, Any]:
    """Return documents to read by hand, kept ones beside dropped ones.

    Args:
        workspace: Folder of all artifacts.
        recipe: Name of the recipe whose decisions to sample; default: the one that finished last.
        documents: How many; fewer where there are fewer.
        seed: Another seed, other documents.
        reason: Only documents dropped for this reason (or held out for this set).
        source: Only documents of this source.

    Returns:
        recipe, seed, strata (source, decision, reason, documents there are, documents shown), and documents (doc_id,
        source, decision, reason, url, num_chars, text: the first 2,000 characters, is_cut).

    Raises:
        InputError: No finished recipe or selection; a source file is gone. RecipeError: an argument is wrong.
    """
    if documents < 1:
        raise RecipeError(problem("--documents", f"{documents}", "1 document or more"))
    place = Workspace.open(workspace)
    state = require_state(place, recipe)
    selection = state.open_selection(place)
    if selection is None:
        raise InputError(problem(place.root, f"recipe '{state.recipe}' has no selection yet", fix="run it again"))
    sources = _chosen_sources(state, place, source)
    shards = [shard for one in sources for shard in one.shards]
    candidates, strata = _candidates(shards, selection, documents, seed, reason)
    if reason is not None and not strata.height:
        raise RecipeError(unknown("--reason", "reason", reason, _reasons(shards, selection)))
    shares = _shares(strata, documents)
    shown = _taken(candidates, shares, [one.name for one in sources])
    return {
        "recipe": state.recipe,
        "seed": seed,
        "strata": [row | {"shown": shares[tuple(row[name] for name in _STRATUM)]} for row in strata.to_dicts()],
        "documents": _read(shown, shards),
    }


def show_sample(result: dict[str, Any], width: int | None = None) -> str:
    """Return what `sample` returned as text for a terminal of `width` columns (default: this one's)."""
    width = width or terminal_width()
    lines = []
    for document in result["documents"]:
        reason = "" if document["reason"] is None else f": {document['reason']}"
        lines.append(f"--- {document['source']}  {document['decision']}{reason}")
        lines.append(wrapped(f"{document['doc_id']}, {document['num_chars']:,} characters", width))
        text = one_line(document["text"] or "", SHOWN_CHARS, document["num_chars"]) or "(no text)"
        lines.append(wrapped(text, width, 2))
    count = len(result["documents"])
    lines.append(f"({count:,} document{'' if count == 1 else 's'}; `provender explain DOC_ID` tells more)")
    return "\n".join(lines)


def _chosen_sources(state: RecipeState, workspace: Workspace, source: str | None) -> tuple[SourceDocuments, ...]:
    sources = state.source_documents(workspace)
    if source is None:
        return sources
    chosen = tuple(one for one in sources if one.name == source)
    if not chosen:
        raise RecipeError(unknown("--source", "source", source, [one.name for one in sources]))
    return chosen


def _candidates(
    shards: Sequence[Shard], selection: Selection, most: int, seed: int, reason: str | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the first `most` documents of every stratum in seeded order, and the strata with their size."""
    parts, sizes = [_EMPTY], [_EMPTY.group_by(_STRATUM).agg(pl.len().alias("documents"))]
    for number, shard in enumerate(shards):
        frame = pl.concat([shard.read_core(["doc_id", "num_chars"]), selection.decisions(shard)], how="horizontal")
        frame = frame.with_columns(source=pl.lit(shard.source)).with_row_index("row")
        frame = frame.filter(pl.col("num_chars") > 0 if reason is None else pl.col("reason") == reason)
        key = pl.Series("key", seeded_keys(frame["doc_id"], seed), dtype=pl.UInt64)
        frame = frame.with_columns(key, shard=pl.lit(number, dtype=pl.UInt32)).select(_EMPTY.columns)
        parts.append(_first(frame, most))
        sizes.append(frame.group_by(_STRATUM).agg(pl.len().alias("documents")))
    strata = pl.concat(sizes).group_by(_STRATUM).agg(pl.col("documents").sum().cast(pl.Int64)).sort(_STRATUM)
    return _first(pl.concat(parts), most), strata


def seeded_keys(doc_ids: pl.Series, seed: int) -> np.ndarray:
    """Return uint64[len(doc_ids)]: the first 8 bytes of each id, a hash already, mixed with the seed.

    The mixing is the finalizer of SplitMix64 (Steele, Lea and Flood 2014), a bijection of 64 bits.
    """
    first = doc_ids.bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64, endianness="little").to_numpy()
    mixed = first + np.uint64((seed * 0x9E3779B97F4A7C15) % (1 << 64))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _first(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    return frame.sort([*_STRATUM, "key", "doc_id"]).group_by(_STRATUM, maintain_order=True).head(most)


def _shares(strata: pl.DataFrame, documents: int) -> dict[tuple[Any, ...], int]:
    """Return stratum -> how many documents of it are shown."""
    sizes = {(row[0], row[1], row[2]): row[3] for row in strata.iter_rows()}
    shares: dict[tuple[Any, ...], int] = {}
    per_source = even_shares({s: sum(n for key, n in sizes.items() if key[0] == s) for s, _, _ in sizes}, documents)
    for number, (source, share) in enumerate(per_source.items()):
        kept = {key: n for key, n in sizes.items() if key[0] == source and key[1] == KEPT}
        others = {key: n for key, n in sizes.items() if key[0] == source and key[1] != KEPT}
        halves = {"kept": sum(kept.values()), "others": sum(others.values())}
        # The odd document is a kept one of the first source, a dropped one of the second, and so on.
        order = ("kept", "others") if number % 2 == 0 else ("others", "kept")
        halves = even_shares({half: halves[half] for half in order}, share)
        shares |= even_shares(kept, halves["kept"]) | even_shares(others, halves["others"])
    return shares


def even_shares(sizes: Mapping[Any, int], total: int) -> dict[Any, int]:
    """Return key -> share: as equal as the sizes allow, summing to `total` or to all there is; the first get more."""
    shares = dict.fromkeys(sizes, 0)
    left = min(total, sum(sizes.values()))
    while left:
        open_keys = [key for key in sizes if shares[key] < sizes[key]]
        each = max(1, left // len(open_keys))
        for key in open_keys:
            given = min(each, sizes[key] - shares[key], left)
            shares[key] += given
            left -= given
    return shares


def _taken(candidates: pl.DataFrame, shares: dict[tuple[Any, ...], int], order: Sequence[str]) -> list[dict[str, Any]]:
    taken = []
    for stratum, group in candidates.group_by(_STRATUM, maintain_order=True):
        taken += group.head(shares[tuple(stratum)]).to_dicts()
    return sorted(taken, key=lambda row: (order.index(row["source"]), row["decision"] != KEPT, row["reason"] or ""))


def _read(rows: Sequence[dict[str, Any]], shards: Sequence[Shard]) -> list[dict[str, Any]]:
    documents: dict[bytes, dict[str, Any]] = {}
    for number in sorted({row["shard"] for row in rows}):
        here = [row for row in rows if row["shard"] == number]
        texts = shards[number].read_shown([row["row"] for row in here])
        urls = shards[number].read_core(["url"])["url"]
        for row, text in zip(here, texts, strict=True):
            documents[row["doc_id"]] = {"url": urls[row["row"]], "num_chars": row["num_chars"]} | {
                "text": None if text is None else text[:TEXT_CHARS],
                "is_cut": len(text or "") > TEXT_CHARS,
            }
    return [
        {"doc_id": str(UUID(bytes=row["doc_id"]))} | {name: row[name] for name in _STRATUM} | documents[row["doc_id"]]
        for row in rows
    ]


def _reasons(shards: Sequence[Shard], selection: Selection) -> set[str]:
    reasons = {reason for shard in shards for reason in selection.decisions(shard)["reason"].unique().to_list()}
    return {reason for reason in reasons if reason is not None}
