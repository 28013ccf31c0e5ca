"""How hard each document is, by one measure the recipe chooses, and whether that is easy, medium or hard.

    {stage: difficulty, by: words}

by: chars             characters of the text
by: words             words of engine.text.words
by: reading_grade     Flesch-Kincaid grade (Kincaid et al. 1975), see engine.annotate.difficulty.reading: made for
                      English prose; null where fewer than 20 words or 9 in 10 of them are of Latin letters
by: reasoning_steps   lines and sentences that carry a step of reasoning, see `count_steps`
by: <column>          any column of numbers: perplexity__bits_per_byte, a grader's score joined by `scores`

The bins are shares of all documents that have a value (`shares`), or fixed by two values (`cuts`). A cut lies between
two different values, at the place nearest to the share, so that equal documents share a bin; where many are equal, the
bins differ from the shares: details.json says what they came to. Values are rounded to 1e-4 before anything is
compared. Documents without text, and those whose column is null or not finite, have neither value nor bin.

The shares are those of the documents that were read. What selection keeps of them can have others.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from engine.base.atomic import write_json
from engine.base.errors import RecipeError, problem
from engine.base.stage import Column, StageConfig
from engine.formats.documents import Shard

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus, ShardView

SCOPE = "corpus"
VERSION = 1
ADDS = {
    "difficulty__value": Column(pl.Float64, "the measure `by` names, rounded to 1e-4; null where it has none"),
    "difficulty__bin": Column(pl.String, "easy, medium, hard; null without a value"),
}
BINS = ("easy", "medium", "hard")
OF_TEXT = ("words", "reading_grade", "reasoning_steps")


class Config(StageConfig):
    """Options of difficulty."""

    stage: Literal["difficulty"] = "difficulty"
    by: str = Field(description="chars, words, reading_grade, reasoning_steps, or a column of numbers")
    hardest: Literal["highest", "lowest"] = Field(
        default="highest", description="which end of the measure is hard: lowest for a rate of success, say"
    )
    shares: tuple[int, int, int] = Field(
        default=(1, 1, 1), description="easy, medium and hard documents in proportion, as [50, 30, 20]"
    )
    cuts: tuple[float, float] | None = Field(
        default=None, description="last value of easy and of medium, in place of shares"
    )

    @model_validator(mode="after")
    def _can_be_cut(self) -> "Config":
        if min(self.shares) < 0 or not sum(self.shares):
            raise ValueError("shares: needs three whole numbers, none below 0 and one above")
        if self.cuts is not None:
            if "shares" in self.model_fields_set:
                raise ValueError("shares and cuts: one of them decides, not both")
            easy, medium = (self.key(cut) for cut in self.cuts)
            if not easy < medium:
                order = "rise" if self.hardest == "highest" else "fall"
                raise ValueError(f"cuts: they have to {order} from easy to hard, as hardest is {self.hardest}")
        return self

    def key(self, value: Any) -> Any:
        """What bins are ordered by: the value, or its negative where the lowest is hardest."""
        return value if self.hardest == "highest" else -value


def READS(config: Config) -> tuple[str, ...]:  # noqa: N802 - the name is the contract's
    """Columns read: the text only where it is measured."""
    if config.by == "chars":
        return ("text_digest", "num_chars")
    return ("text_digest", "text") if config.by in OF_TEXT else (config.by,)


def part_config(config: Config) -> dict[str, object]:
    """What a shard part depends on: the measure alone, so that other bins are cut without reading text."""
    return {"by": config.by}


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:
    """Return the value of each document: `value`, Float64 rounded to 1e-4.

    Raises RecipeError for a column that holds no numbers.
    """
    if config.by not in ("chars", *OF_TEXT):
        return pl.DataFrame({"value": _numbers(shard.columns([config.by])[config.by], config)})
    has_text = shard.columns(["text_digest"])["text_digest"].is_not_null()
    value = shard.columns(["num_chars"])["num_chars"] if config.by == "chars" else _of_text(shard, config.by)
    return pl.select(value=pl.when(has_text).then(_rounded(value)))


def combine(corpus: "Corpus", config: Config, folder: Path) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Yield the columns of every shard; leaves details.json (documents per bin, the cuts) in `folder`.

    Only the different values are held in memory, and how many documents have each.
    """
    num_documents = sum(shard.num_rows for shard in corpus.shards)
    counts = _counts(corpus).sort(config.key(pl.col("value")))
    cuts = config.cuts if config.cuts is not None else cuts_of_shares(counts, config.shares)
    with_bins = _binned(counts, config, cuts)
    in_bin = {name: int(with_bins.filter(pl.col("bin") == name)["documents"].sum()) for name in BINS}
    details = {f"{name}_documents": count for name, count in in_bin.items()}
    without = num_documents - sum(in_bin.values())
    write_json(folder / "details.json", {**details, "documents_without_value": without, "cuts": list(cuts)})
    for shard in corpus.shards:
        frame = _binned(corpus.part(shard), config, cuts)
        yield shard, frame.select(difficulty__value="value", difficulty__bin="bin")


def cuts_of_shares(counts: pl.DataFrame, shares: tuple[int, int, int]) -> tuple[float | None, float | None]:
    """Return the last value of easy and of medium, None where no value is that easy.

    counts: value, documents (Int64), each value once, from easy to hard. Of the places between two values, the one
    whose number of documents is nearest to the share is taken, of two equally near the easier one.
    """
    ends = [0, *counts["documents"].cum_sum().to_list()]
    values = [None, *counts["value"].to_list()]
    total = ends[-1]
    found = []
    for wanted in (shares[0], shares[0] + shares[1]):
        # In integers: documents times the sum of the shares.
        distances = [abs(end * sum(shares) - total * wanted) for end in ends]
        found.append(values[distances.index(min(distances))])
    return found[0], found[1]


def _counts(corpus: "Corpus") -> pl.DataFrame:
    """Return each value once, with the number of its documents."""
    counts, pending, num_pending = pl.DataFrame(schema={"value": pl.Float64, "documents": pl.Int64}), [], 0
    for shard in corpus.shards:
        here = corpus.part(shard).drop_nulls().group_by("value").agg(pl.len().cast(pl.Int64).alias("documents"))
        pending.append(here)
        num_pending += here.height
        if num_pending > max(counts.height, 1 << 20):
            counts, pending, num_pending = _merged([counts, *pending]), [], 0
    return _merged([counts, *pending])


def _merged(counts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(counts).group_by("value").agg(pl.col("documents").sum())


def _binned(values: pl.DataFrame, config: Config, cuts: tuple[float | None, float | None]) -> pl.DataFrame:
    value = config.key(pl.col("value"))
    easy, medium = (pl.lit(False) if cut is None else value <= config.key(cut) for cut in cuts)
    bins = pl.when(value.is_null()).then(None).when(easy).then(pl.lit("easy"))
    return values.with_columns(bin=bins.when(medium).then(pl.lit("medium")).otherwise(pl.lit("hard")).cast(pl.String))


def _of_text(shard: "ShardView", by: str) -> pl.Series:
    if by == "words":
        return pl.Series(shard.words.num_words)
    if by == "reading_grade":
        from engine.annotate.difficulty.reading import reading_grades

        return reading_grades(shard.text)
    from engine.annotate.difficulty.steps import count_steps

    return count_steps(pl.Series(pl.from_arrow(shard.text)))


def _numbers(column: pl.Series, config: Config) -> pl.Series:
    if not column.dtype.is_numeric():
        found = f"column {column.name} is {column.dtype}"
        raise RecipeError(problem(f"{config.column_prefix}: by", found, "a column of numbers"))
    return _rounded(column)


def _rounded(values: pl.Series) -> pl.Series:
    # Adding zero makes -0.0 and 0.0 the same value.
    rounded = values.cast(pl.Float64).round(4) + 0.0
    return pl.select(pl.when(rounded.is_finite()).then(rounded)).to_series()
