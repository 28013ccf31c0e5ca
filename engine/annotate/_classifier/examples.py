"""Which documents a classifier is trained on, and which are held out.

Equal texts count once. A text that stands in several classes says nothing and is left out of all. Of each class the
documents are taken in the order of the digests of their texts, up to a number and to a size; one in ten is held out by
the last bytes of its key. So neither shards nor files nor ids change the examples. Near-duplicates are not looked for:
one of them may be trained on and the other held out, and the figures are then better than the classifier.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from engine.annotate._classifier.options import TrainingOptions
from engine.base.errors import RecipeError, problem, unknown
from engine.text.windows import WINDOW_CHARS

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus

HELD_OUT_OF = 10
LEAST_DOCUMENTS = 20
CANDIDATES = {
    "label": pl.Int32,
    "source": pl.String,
    "name": pl.String,
    "text_digest": pl.Binary,
    "num_bytes": pl.Int64,
}
"""label: position of the class; name: what the document is called where a mistake is shown."""


READ_BYTES = 3 * WINDOW_CHARS
"""What a text counts at most: the rest of a book is not read."""


def choose(
    candidates: pl.DataFrame,
    labels: Sequence[str],
    options: TrainingOptions,
    places: Sequence[str],
    first: str | None = None,
) -> tuple[pl.DataFrame, int]:
    """Return the documents to take (rows of `candidates`, by label and digest), and how many texts had several classes.

    candidates: CANDIDATES and whatever else; places: how errors call the classes; first: a Boolean column, those where
    it is false are taken before the others.

    Raises RecipeError for a class with fewer than 20 different texts.
    """
    known = candidates.filter(pl.col("text_digest").is_not_null()).sort("label", "text_digest", "source", "name")
    different = known.unique(["label", "text_digest"], keep="first", maintain_order=True)
    several = different.group_by("text_digest").len().filter(pl.col("len") > 1).select("text_digest")
    alone = different.join(several, on="text_digest", how="anti", maintain_order="left")
    within = (pl.int_range(pl.len()).over("label") < options.max_documents) & (
        pl.col("num_bytes").clip(upper_bound=READ_BYTES).cum_sum().over("label") <= options.max_bytes
    )
    chosen = (alone if first is None else alone.sort("label", first, maintain_order=True)).filter(within)
    for label, (name, place) in enumerate(zip(labels, places, strict=True)):
        count = chosen.filter(pl.col("label") == label).height
        if count < LEAST_DOCUMENTS:
            also = several.join(different.filter(pl.col("label") == label), on="text_digest", how="semi").height
            found = f"{count} different texts for the class '{name}'"
            found += f", and {also:,} more that another class has too" if also else ""
            needed = f"at least {LEAST_DOCUMENTS} that no other class has"
            raise RecipeError(problem(place, found, needed, "name more documents, or others"))
    return chosen, several.height


def corpus_candidates(corpus: "Corpus", classes: Mapping[str, Iterable[str]], places: Sequence[str]) -> pl.DataFrame:
    """Return CANDIDATES with shard and row, of the documents of the sources of each class.

    Raises RecipeError for a source that does not exist.
    """
    known = [source.name for source in corpus.sources]
    label_of: dict[str, int] = {}
    for label, (sources, place) in enumerate(zip(classes.values(), places, strict=True)):
        for name in sources:
            if name not in known:
                raise RecipeError(unknown(place, "source", name, known))
            label_of[name] = label
    documents = corpus.all_columns(["doc_id", "source", "text_digest", "num_bytes"])
    return documents.filter(pl.col("source").is_in(list(label_of))).with_columns(
        label=pl.col("source").replace_strict(label_of, return_dtype=pl.Int32), name=pl.col("doc_id").bin.encode("hex")
    )


def corpus_texts(corpus: "Corpus", chosen: pl.DataFrame) -> pl.DataFrame:
    """Return `chosen` (with shard and row) with its texts, in the same order."""
    wanted = chosen.with_row_index("place")
    shards = list(corpus.shards)
    parts = [wanted.head(0).with_columns(text=pl.lit(None, dtype=pl.String))]
    for (shard,), rows in wanted.group_by("shard", maintain_order=True):
        taken = shards[int(str(shard))].read_text().take(pa.array(rows["row"].to_numpy()))
        parts.append(rows.with_columns(text=pl.Series(pl.from_arrow(taken))))
    return pl.concat(parts).sort("place").drop("place", "shard", "row")


def is_held_out(keys: pl.Series) -> pl.Series:
    """Return whether each document is held out, by a 16-byte key, the digest of its text; equal keys go together."""
    return pl.Series(draws(keys) % HELD_OUT_OF == 0, dtype=pl.Boolean)


def draws(digests: pl.Series) -> np.ndarray:
    """Return a number for each digest, uint64, from its last bytes: the first ones decided already what is taken."""
    return np.frombuffer(b"".join(digest[-8:] for digest in digests), dtype="<u8")
