"""The score documents are spread over, and the columns shown beside a document."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from engine.base.errors import RecipeError, problem, unknown
from engine.formats.annotation import Annotation, read_columns
from engine.formats.columns import CORE
from engine.formats.documents import Shard
from engine.formats.find import plain

QUALITY = "quality"


def score_column(by: str | None, annotations: Sequence[Annotation], shards: Sequence[Shard]) -> str | None:
    """Return the column to spread documents over: `by`, else the score of the recipe's first stage quality, else None.

    Raises RecipeError for a column that does not exist or holds no numbers.
    """
    if by is None:
        scores = [f"{one.prefix}__score" for one in annotations if one.stage == QUALITY]
        return scores[0] if scores and any(scores[0] in one.columns for one in annotations) else None
    require_columns("--by", [by], annotations)
    dtypes = {read_columns(shard, [by], annotations).schema[by] for shard in shards[:1]}
    if any(not dtype.is_numeric() for dtype in dtypes):
        listed = ", ".join(str(dtype) for dtype in dtypes)
        raise RecipeError(problem("--by", f"the column {by} holds {listed}", "a column of numbers"))
    return by


def require_columns(place: str, names: Sequence[str], annotations: Sequence[Annotation]) -> None:
    """Raise RecipeError for a column that the recipe does not have."""
    known = [*CORE, *(name for annotation in annotations for name in annotation.columns)]
    for name in names:
        if name not in known:
            raise RecipeError(unknown(place, "column", name, known))


def values_of(
    shard: Shard, rows: Sequence[int], names: Sequence[str], annotations: Sequence[Annotation]
) -> list[dict[str, Any]]:
    """Return these columns of some rows of a shard as JSON can hold them; 32-bit floats with the digits they have."""
    frame = read_columns(shard, names, annotations)[rows]
    frame = frame.with_columns(pl.col(pl.Float32).cast(pl.String).cast(pl.Float64))
    return [{name: plain(value, name) for name, value in row.items()} for row in frame.to_dicts()]
