"""How often entries of word lists occur in a text, by the list of its language: a rate, not a judgement.

A list says nothing about meaning. Clinical, legal and educational texts use the same words, and so do quotations, names
and places; a text that hurts without any of the words has a rate of 0. So nothing is dropped here: the columns are for
filters, for weights and for reading samples.

Entries are compared as words (engine.text.words: case folded), never inside a longer word: Scunthorpe is no hit. An
entry of several words is a hit where they stand in a row, whatever separates them. In scripts without spaces (Han,
kana, Thai) every character is a word, so an entry is found inside longer words too, and a rate there is per 1,000
characters. Words that take endings (Korean, Finnish, Turkish) are found only in the forms that are listed.

An entry that holds another symbol than white space, hyphens, apostrophes, commas or middle dots ("a$$", "13.", an
emoji) would lose it as words. It is searched for as it is written, but for case; where it begins or ends with a letter
or number, no other letter, number or underscore may touch it. Where two hits of words would overlap, the first, and of
those that begin together the longest, counts.

A list is a file of one entry a line (UTF-8); a folder of lists has one file per language, called by its code (`en`,
`de.txt`, `fr-CA`), as the collection LDNOOBW has them. The list of a document is that of its language, however either
is called (engine.text.language_codes): `en-GB`, `en_Latn`, `eng` and `EN` all take `en`, and `fil` and `tl` are one.
Documents of a language without a list have null, not 0, unless `fallback` names a list.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from engine.annotate._units import UNITS
from engine.base.errors import RecipeError, problem
from engine.base.stage import Column, StageConfig

if TYPE_CHECKING:
    from engine.formats.annotation import ShardView

SCOPE = "shard"
VERSION = 2
FILES = ("lists",)
ADDS = {
    "toxicity__num_hits": Column(pl.UInt32, "occurrences of entries of the list; null without text or list"),
    "toxicity__rate": Column(
        pl.Float64,
        "hits per 1,000 words (characters where a script has no spaces), rounded down to 1e-4; null without words",
    ),
    "toxicity__num_distinct": Column(pl.UInt32, "different entries that occur; null without text or list"),
    "toxicity__list": Column(pl.String, "language code of the list that was used; null where none was"),
}
PER_WORDS = 1000
NO_FALLBACK = "none"


class Config(StageConfig):
    """Options of toxicity."""

    stage: Literal["toxicity"] = "toxicity"
    lists: str | dict[str, str] = Field(
        description="language code -> file of one entry a line, or a folder of files called by their language code"
    )
    language_column: str = Field(
        default="language", description="column that holds the language code: language, or what a stage found out"
    )
    fallback: str = Field(
        default=NO_FALLBACK,
        description="code of the list for documents whose language is not known or has none; none: they have null",
    )

    @model_validator(mode="after")
    def _lists_are_named(self) -> "Config":
        from engine.annotate.toxicity.lists import language_code

        if isinstance(self.lists, dict):
            if not self.lists:
                raise ValueError("lists: there is none")
            codes = [language_code(name) for name in self.lists]
            if double := sorted({code for code in codes if codes.count(code) > 1}):
                raise ValueError(f"lists: several for {', '.join(double)}")
            if self.fallback_code not in (None, *codes):
                raise ValueError(f"fallback: no list '{self.fallback}' (have: {', '.join(sorted(codes))})")
        return self

    @property
    def fallback_code(self) -> str | None:
        """Code of the fallback in the spelling of the lists; None for none."""
        from engine.annotate.toxicity.lists import language_code

        return None if self.fallback == NO_FALLBACK else language_code(self.fallback)


def READS(config: Config) -> tuple[str, ...]:  # noqa: N802 - the name is the contract's
    """Columns read: the text, and the one that holds its language."""
    return ("text", "text_digest", config.language_column)


def check_files(config: Config) -> None:
    """Raise InputError for a list that cannot be read, RecipeError where there is none for `fallback`."""
    from engine.annotate.toxicity.lists import list_files, read_entries

    files = list_files(config.lists)
    for path in files.values():
        read_entries(path)
    _require_fallback(config, files, "fallback")


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:
    """Return the columns, one row per document.

    Raises InputError for a list that cannot be read, RecipeError for a fallback or a column that will not do.
    """
    from engine.annotate.toxicity.lists import closest_list, read_lists
    from engine.annotate.toxicity.matching import count_hits

    lists = read_lists(config.lists)
    _require_fallback(config, lists, f"{config.column_prefix}: fallback")
    documents = shard.columns(["text_digest", config.language_column])
    language = documents[config.language_column]
    if language.dtype != pl.String:
        found = f"column {config.language_column} is {language.dtype}"
        raise RecipeError(problem(f"{config.column_prefix}: language_column", found, "text: a language code"))
    code = {name: closest_list(name, lists) for name in language.unique().to_list() if name is not None}
    used = language.replace_strict(code, default=None, return_dtype=pl.String)
    if config.fallback_code is not None:
        used = used.fill_null(config.fallback_code)
    used = used.zip_with(documents["text_digest"].is_not_null(), pl.Series([None], dtype=pl.String))
    hits, distinct = (np.zeros(len(used), dtype=np.int64) for _ in range(2))
    for name in sorted(used.drop_nulls().unique()):
        count_hits(shard.words, shard.text, (used == name).fill_null(False).to_numpy(), lists[name], hits, distinct)
    return _columns(used, hits, distinct, shard.words.num_words)


def _require_fallback(config: Config, lists: Iterable[str], place: str) -> None:
    if config.fallback_code not in (None, *lists):
        found = f"no list '{config.fallback}' (have: {', '.join(sorted(lists))})"
        raise RecipeError(problem(place, found, "the code of a list, or none"))


def _columns(
    used: pl.Series, hits: NDArray[np.int64], distinct: NDArray[np.int64], num_words: NDArray[np.int64]
) -> pl.DataFrame:
    # The rate in integers, so that it is the same on any machine.
    rate = (hits * PER_WORDS * UNITS // np.maximum(num_words, 1)) / UNITS
    frame = pl.DataFrame({"used": used, "hits": hits, "rate": rate, "distinct": distinct, "words": num_words})
    has_list = pl.col("used").is_not_null()
    return frame.select(
        pl.when(has_list).then("hits").cast(pl.UInt32).alias("toxicity__num_hits"),
        pl.when(has_list & (pl.col("words") > 0)).then("rate").alias("toxicity__rate"),
        pl.when(has_list).then("distinct").cast(pl.UInt32).alias("toxicity__num_distinct"),
        pl.col("used").alias("toxicity__list"),
    )
