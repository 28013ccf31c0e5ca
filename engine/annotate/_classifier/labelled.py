"""Examples that somebody read: the newest labels of a workspace, beside documents of sources or files.

A label decides over a file that holds the same text, on whichever side, so a text is one example and either trained on
or held out, never both. Two labels that contradict each other over one text leave it out, as `choose` does. Labelled
texts are taken before all others, so that no ceiling of the training cuts them off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from engine.annotate._classifier.examples import CANDIDATES, LEAST_DOCUMENTS, choose
from engine.annotate._classifier.options import TrainingOptions
from engine.base.errors import RecipeError, problem
from engine.base.hashing import digest_bytes
from engine.formats.core_of_text import is_blank
from engine.formats.labels import GOOD, newest, read_labels

SOURCE = "labels"
"""What figures call the source of these examples."""
NONE_LABELLED = pl.DataFrame(schema=CANDIDATES | {"text": pl.String, "repeats": pl.UInt32})


@dataclass(frozen=True)
class Chosen:
    """What is trained on and held out."""

    of_files: pl.DataFrame
    """Rows of the candidates."""
    labelled: pl.DataFrame
    """CANDIDATES with text and repeats."""
    shared: int
    """Texts that stand on both sides."""
    figures: dict[str, Any]
    """good, bad (labelled texts taken), weight, also_in_files (texts of files a label decided over)."""

    def rows(self) -> pl.DataFrame:
        """Return CANDIDATES of all of it."""
        return pl.concat([self.of_files.select(list(CANDIDATES)), self.labelled.select(list(CANDIDATES))])

    def examples(self, texts_of_files: pl.DataFrame) -> pl.DataFrame:
        """Return the examples of the training; texts_of_files: `of_files` with their texts."""
        repeated = texts_of_files.with_columns(repeats=pl.lit(1, dtype=pl.UInt32))
        return pl.concat([repeated.select(self.labelled.columns), self.labelled])


def labelled_candidates(path: Path, field: str = "text") -> pl.DataFrame:
    """Return CANDIDATES and `text` of the newest labels of a file or folder; those without this field are left out.

    The label of a candidate is 1 for good and 0 for bad. Raises InputError where the file holds something else.
    """
    rows = [
        {
            "label": int(one.label == GOOD),
            "source": SOURCE,
            "name": one.doc_id,
            "text_digest": digest_bytes(text.encode()),
            "num_bytes": len(text.encode()),
            "text": text,
        }
        for one in newest(read_labels(path))
        if (text := one.text_of(field)) is not None
    ]
    frame = pl.DataFrame(rows, schema=CANDIDATES | {"text": pl.String})
    return frame.filter(~is_blank(frame["text"]))


def choose_with_labels(
    candidates: pl.DataFrame | None,
    labelled: pl.DataFrame,
    weight: int,
    sides: Sequence[str],
    options: TrainingOptions,
    place: str,
) -> Chosen:
    """Return the examples; candidates: CANDIDATES and whatever else, of files or sources, or None.

    Raises RecipeError where a side has fewer than 20 different texts: what there is, and what is missing.
    """
    files = pl.DataFrame(schema=CANDIDATES) if candidates is None else candidates
    others = files.join(labelled.select("text_digest").unique(), on="text_digest", how="anti", maintain_order="left")
    both = [others.with_columns(is_other=True), labelled.drop("text").with_columns(is_other=False)]
    together = pl.concat(both, how="diagonal")
    _require_both(labelled, others, together, sides, place)
    chosen, shared = choose(together, sides, options, [place] * len(sides), first="is_other")
    texts = labelled.select("text_digest", "text").unique("text_digest", keep="first", maintain_order=True)
    own = (
        chosen.filter(~pl.col("is_other"))
        .select(list(CANDIDATES))
        .join(texts, on="text_digest", how="left", maintain_order="left")
    )
    figures = {
        "good": own.filter(pl.col("label") == 1).height,
        "bad": own.filter(pl.col("label") == 0).height,
        "weight": weight,
        "also_in_files": files.join(labelled, on="text_digest", how="semi")["text_digest"].n_unique(),
    }
    of_files = chosen.filter("is_other").select(files.columns)
    return Chosen(of_files, own.with_columns(repeats=pl.lit(weight, dtype=pl.UInt32)), shared, figures)


def _require_both(
    labelled: pl.DataFrame, others: pl.DataFrame, together: pl.DataFrame, sides: Sequence[str], place: str
) -> None:
    different = together.filter(pl.col("text_digest").is_not_null()).unique(["label", "text_digest"])
    alone = different.filter(pl.len().over("text_digest") == 1)
    counts = [alone.filter(pl.col("label") == side).height for side in range(len(sides))]
    if min(counts) >= LEAST_DOCUMENTS:
        return
    said = [labelled.filter(pl.col("label") == side).height for side in range(len(sides))]
    found = f"{said[1]:,} documents are labelled good and {said[0]:,} bad"
    if others.height:
        found += f"; with the files {counts[1]:,} different texts are good and {counts[0]:,} bad"
    missing = [
        f"{LEAST_DOCUMENTS - count:,} more {word}"
        for word, count in (("good", counts[1]), ("bad", counts[0]))
        if count < LEAST_DOCUMENTS
    ]
    needed = f"{LEAST_DOCUMENTS} different texts of each side"
    fix = f"label {' and '.join(missing)} documents (`provender sample --label`), or give files or sources of that side"
    raise RecipeError(problem(place, found, needed, fix))
