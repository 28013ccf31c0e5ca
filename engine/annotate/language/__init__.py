"""The language of a document, how sure that is, and how much of the text is in it.

At most three windows of 1,000 characters are read (engine.text.windows), in pieces of 250 characters; two windows of a
text of 1,000 to 2,000 characters overlap, and what both hold counts twice. Every piece gets scores by language from the
embedded detector or from a fastText model (detectors.py) and weighs as much as it has letters (Unicode category L).
The document's language has the highest sum of scores; among equal ones the first code decides. The answer is always
the best guess: a text in a language nobody knows gets a low score (half of such texts are below 0.3 with the embedded
detector, 999 of 1,000 known ones are above 0.5). `und` says that the detector knows nothing of the text at all.

The embedded detector and fastText hold the GIL; figures: benchmarks/language.
"""

from typing import TYPE_CHECKING, Literal

import polars as pl
from pydantic import Field, model_validator

from engine.annotate._units import UNITS, as_fraction
from engine.annotate.language.detectors import Detector, detector, embedded_languages
from engine.base.errors import unknown
from engine.base.stage import Column, StageConfig
from engine.text.language_codes import UNDETERMINED, codes

if TYPE_CHECKING:
    from engine.formats.annotation import ShardView

SCOPE = "shard"
VERSION = 1
HOLDS_GIL = True
READS = ("text",)
FILES = ("model",)
ADDS = {
    "language__top": Column(pl.String, "BCP 47 code without script, und where nothing is known; null without letters"),
    "language__score": Column(pl.Float64, "mean score of that language by letters, 0 to 1, rounded to 1e-4"),
    "language__share": Column(pl.Float64, "share of the letters in pieces where it leads, 0 to 1, rounded to 1e-4"),
    "language__second": Column(
        pl.String, "of the other languages, the one with the largest share; null where none leads"
    ),
    "language__second_share": Column(pl.Float64, "its share, as language__share"),
}
PIECE_CHARS = 250
"""At most 1,000 bytes of UTF-8: what the embedded detector reads of a line."""
PIECES_AT_ONCE = 1 << 14
_PIECES_PER_WINDOW = 4


class Config(StageConfig):
    """Options of language."""

    stage: Literal["language"] = "language"
    model: str | None = Field(
        default=None, description="a fastText language model (lid.176, GlotLID) instead of the embedded detector"
    )
    languages: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="codes; the answer is one of these, or und"
    )

    @model_validator(mode="after")
    def _languages_are_known(self) -> "Config":
        if self.model is None and self.languages is not None:
            known = embedded_languages()
            for language in codes(self.languages):
                if language not in known:
                    raise ValueError(unknown("languages", "language", language, known))
        return self


def check_files(config: Config) -> None:
    """Raise InputError where the model is none, RecipeError where it has no label for one of `languages`."""
    detector(config.model, config.languages)


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:
    """Return the columns of every document of the shard."""
    asked = detector(config.model, config.languages)
    pieces = _pieces(shard.windows)
    decided = _decide(pieces.select("row", "letters"), _answers(pieces["piece"], asked), asked.languages)
    rows = pl.DataFrame({"row": pl.int_range(len(shard.text), dtype=pl.UInt32, eager=True)})
    return rows.join(decided, on="row", how="left", maintain_order="left").select(
        language__top="top",
        language__score=as_fraction(pl.col("score")),
        language__share=as_fraction(pl.col("share")),
        language__second="second",
        language__second_share=as_fraction(pl.col("second_share")),
    )


def _pieces(windows: pl.DataFrame) -> pl.DataFrame:
    """Return row, piece (String) and letters (Int64, 1 or more) of the pieces that have letters."""
    # A character 0 ends a text for a detector written in C.
    plain = pl.col("window").str.replace_all("\0", " ", literal=True)
    parts = [plain.str.slice(PIECE_CHARS * number, PIECE_CHARS) for number in range(_PIECES_PER_WINDOW)]
    pieces = windows.select("row", piece=pl.concat_list(parts)).explode("piece")
    letters = pl.col("piece").str.count_matches(r"\p{L}").cast(pl.Int64)
    return pieces.with_columns(letters=letters).filter(pl.col("letters") > 0)


def _answers(pieces: pl.Series, asked: Detector) -> pl.DataFrame:
    """Return line (position of the piece), language and units (Int64, scores in ten-thousandths)."""
    parts = [
        asked.ask(pieces.slice(first, PIECES_AT_ONCE).to_list()).with_columns(pl.col("line") + first)
        for first in range(0, len(pieces), PIECES_AT_ONCE)
    ]
    found = pl.concat(parts) if parts else asked.ask([])
    units = (pl.col("score").cast(pl.Float64).clip(0, 1) * UNITS).round().cast(pl.Int64)
    return found.select("line", "language", units=units)


def _decide(pieces: pl.DataFrame, answers: pl.DataFrame, languages: tuple[str, ...]) -> pl.DataFrame:
    """Return row, top, score, share, second, second_share of the documents with letters; numbers in ten-thousandths.

    From here on integers, so that the answer is the same in any order; `languages` is sorted, so a tie goes to the code
    that comes first.
    """
    scored = answers.join(pieces.with_row_index("line"), on="line")
    leaders = scored.sort("line", "units", "language", descending=[False, True, False]).unique("line", keep="first")
    led = leaders.group_by("row", "language").agg(led=pl.col("letters").sum())
    of_language = (
        scored.group_by("row", "language")
        .agg(weight=(pl.col("units") * pl.col("letters")).sum())
        .join(led, on=["row", "language"], how="left")
        .with_columns(code=pl.col("language").replace_strict(range(len(languages)), languages, return_dtype=pl.String))
    )
    best = _first_of_row(of_language, "weight")
    others = of_language.filter(pl.col("led") > 0).join(best, on=["row", "language"], how="anti")
    second = _first_of_row(others, "led").select("row", second="code", second_led="led")
    documents = pieces.group_by("row").agg(pl.col("letters").sum())
    return (
        documents.join(best, on="row", how="left")
        .join(second, on="row", how="left")
        .select(
            "row",
            "second",
            top=pl.col("code").fill_null(UNDETERMINED),
            score=_rounded(pl.col("weight").fill_null(0), pl.col("letters")),
            share=_rounded(pl.col("led").fill_null(0) * UNITS, pl.col("letters")),
            second_share=_rounded(pl.col("second_led") * UNITS, pl.col("letters")),
        )
    )


def _first_of_row(of_language: pl.DataFrame, by: str) -> pl.DataFrame:
    """Return the language of each row with the largest value; among equal ones the first code."""
    ranked = of_language.sort("row", by, "language", descending=[False, True, False])
    return ranked.unique("row", keep="first", maintain_order=True)


def _rounded(total: pl.Expr, count: pl.Expr) -> pl.Expr:
    """Return total / count to the nearest integer, halves up."""
    return (2 * total + count) // (2 * count)
