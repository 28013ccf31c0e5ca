"""A quality score per document: the probability that it belongs to the good examples of the recipe, by fastText.

Trained on the spot from sources the recipe names as positive and negative. One thread and a fixed seed give the same
model from the same documents; one document in ten is held out and says how well the model ranks (AUC) and whether its
probabilities mean what they say (calibration table), both in model.json.

FOLDER/model.bin    the fastText model
FOLDER/model.json   what it was trained on, options, AUC, calibration

Source of the method: Joulin et al. 2016 (arXiv:1607.01759). fastText holds the GIL; about 10 MB/s a core of what it
reads, which is at most three windows of 1,000 characters a document.
"""

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from engine.base.atomic import atomic_file, write_json
from engine.base.errors import RecipeError, problem, unknown
from engine.base.stage import Column, StageConfig
from engine.text.windows import text_windows

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus, ShardView

SCOPE = "shard"
VERSION = 1
HOLDS_GIL = True
READS = ("doc_id", "text", "text_digest", "num_bytes")
ADDS = {
    "quality__score": Column(pl.Float64, "probability of the positive side, 0 to 1, rounded to 1e-4; null without text")
}
UNITS = 10_000
HELD_OUT_OF = 10
LEAST_DOCUMENTS = 20
CALIBRATION_BINS = 10
_LABEL = "__label__"
_SIDES = ("negative", "positive")


class Config(StageConfig):
    """Options of quality."""

    stage: Literal["quality"] = "quality"
    positive: tuple[str, ...] = Field(min_length=1, description="sources of good examples")
    negative: tuple[str, ...] = Field(min_length=1, description="sources of bad examples")
    max_documents: int = Field(default=20_000, ge=1, description="documents per side that are trained on")
    max_bytes: int = Field(default=50_000_000, ge=1, description="bytes of their texts per side")
    dimensions: int = Field(default=16, ge=1, le=1000, description="length of a word vector")
    epochs: int = Field(default=5, ge=1, description="passes over the examples")
    learning_rate: float = Field(default=0.5, gt=0, description="step size at the start")
    word_ngrams: int = Field(default=2, ge=1, le=5, description="words in a row that count as one feature")
    min_word_count: int = Field(default=2, ge=1, description="occurrences below which a word alone is ignored")
    num_buckets: int = Field(default=1 << 17, ge=1, description="hash buckets of word n-grams")
    seed: int = Field(default=1, ge=0, lt=1 << 31, description="seed of the training")

    @model_validator(mode="after")
    def _sides_differ(self) -> "Config":
        if both := sorted(set(self.positive) & set(self.negative)):
            raise ValueError(f"{', '.join(both)}: a source cannot be positive and negative")
        return self


def prepare(texts: pl.Series) -> pl.DataFrame:
    """Return the windows fastText reads of each text: row (UInt32), window (String); a blank text has none.

    In each window (engine.text.windows): lower case, every punctuation character or symbol apart from its
    neighbours, white space of any kind as one space. A label in the text loses its underscores, so that no document can
    name its own.
    """
    clean = (
        pl.col("window")
        .str.to_lowercase()
        .str.replace_all(_LABEL, "label", literal=True)
        .str.replace_all(r"([^\w\s])", " ${1} ")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
    )
    return text_windows(texts).with_columns(clean).filter(pl.col("window").str.len_bytes() > 0)


def train(corpus: "Corpus", config: Config, folder: Path) -> None:
    """Leave model.bin, model.json and details.json in `folder`.

    Per side: the documents of its sources in the order of doc_id, equal texts once, to `max_documents` or `max_bytes`.
    Raises RecipeError where a source does not exist or a side has fewer than 20 different texts.
    """
    examples = pl.concat([_examples(corpus, config, side) for side in _SIDES])
    is_held_out = pl.Series(_draw(examples["doc_id"]) % HELD_OUT_OF == 0)
    learnt = examples.filter(~is_held_out)
    # fastText learns in the order of the file: both sides have to be mixed.
    lines = learnt.with_columns(draw=pl.Series(_draw(learnt["doc_id"]))).sort("draw", "doc_id", "label")
    _fit(
        prepare(lines["text"]).join(lines.select("label").with_row_index("row"), on="row", maintain_order="left"),
        config,
        folder,
    )
    tested = examples.filter(is_held_out)
    measured = _measure(_score_units(_load.__wrapped__(folder), tested["text"]), tested["label"].to_numpy())
    sides = {
        side: {
            "sources": sorted(getattr(config, side)),
            "documents": learnt.filter(pl.col("label") == label).height,
            "held_out_documents": tested.filter(pl.col("label") == label).height,
            "bytes": int(learnt.filter(pl.col("label") == label)["num_bytes"].sum()),
        }
        for label, side in enumerate(_SIDES)
    }
    options = config.model_dump(mode="json", exclude={"stage", "prefix", *_SIDES})
    trained = {"fasttext": version("fasttext-community"), "options": options}
    write_json(folder / "model.json", {**sides, **measured, **trained})
    write_json(
        folder / "details.json",
        {"auc": measured["auc"], "trained_documents": learnt.height, "held_out_documents": tested.height},
    )


def annotate(shard: "ShardView", config: Config, model: Path) -> pl.DataFrame:  # noqa: ARG001 - the contract's
    """Return the score of every document of the shard."""
    units = _score_units(_load(model), pl.Series(pl.from_arrow(shard.text)))
    # Polars divides by a constant through its reciprocal, which can be one digit off; rounding mends that.
    return pl.DataFrame({"quality__score": (units.cast(pl.Float64) / UNITS).round(4)})


def _examples(corpus: "Corpus", config: Config, side: str) -> pl.DataFrame:
    """Return doc_id, num_bytes, text and label (0 negative, 1 positive) of the documents of one side."""
    named: Sequence[str] = getattr(config, side)
    known = [source.name for source in corpus.sources]
    for name in named:
        if name not in known:
            raise RecipeError(unknown(f"quality: {side}", "source", name, known))
    documents = corpus.all_columns(["doc_id", "source", "text_digest", "num_bytes"])
    able = documents.filter(pl.col("source").is_in(list(named)), pl.col("text_digest").is_not_null())
    different = able.sort("doc_id").unique("text_digest", keep="first", maintain_order=True)
    chosen = different.head(config.max_documents).filter(pl.col("num_bytes").cum_sum() <= config.max_bytes)
    if chosen.height < LEAST_DOCUMENTS:
        found = f"{chosen.height} different texts in {', '.join(named)}"
        raise RecipeError(problem(f"quality: {side}", found, f"at least {LEAST_DOCUMENTS}", "name more sources"))
    shards = list(corpus.shards)
    parts = []
    for (shard,), rows in chosen.group_by("shard", maintain_order=True):
        taken = shards[int(str(shard))].read_text().take(pa.array(rows["row"].to_numpy()))
        parts.append(rows.select("doc_id", "num_bytes", text=pl.Series(pl.from_arrow(taken))))
    return pl.concat(parts).sort("doc_id").with_columns(label=pl.lit(_SIDES.index(side), dtype=pl.Int8))


def _draw(doc_ids: pl.Series) -> NDArray[np.uint64]:
    # doc_id is a hash; its last bytes are drawn anew by a side that was cut in the order of its first ones.
    return np.frombuffer(b"".join(doc_id[-8:] for doc_id in doc_ids), dtype="<u8")


def _fit(windows: pl.DataFrame, config: Config, folder: Path) -> None:
    import fasttext

    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder) as scratch:
        examples = Path(scratch) / "examples.txt"
        lines = (
            f"{_LABEL}{_SIDES[label]} {window}\n" for window, label in windows.select("window", "label").iter_rows()
        )
        with examples.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        model = fasttext.train_supervised(
            input=str(examples),
            dim=config.dimensions,
            epoch=config.epochs,
            lr=config.learning_rate,
            wordNgrams=config.word_ngrams,
            minCount=config.min_word_count,
            bucket=config.num_buckets,
            seed=config.seed,
            thread=1,
            verbose=0,
        )
        with atomic_file(folder / "model.bin") as temporary:
            model.save_model(str(temporary))


@lru_cache(maxsize=2)
def _load(folder: Path) -> Any:
    import fasttext

    return fasttext.load_model(str(folder / "model.bin"))


def _score_units(model: Any, texts: pl.Series) -> pl.Series:
    """Return the score of each text in ten-thousandths: Int64, the mean of its windows, null where it has none."""
    windows = prepare(texts)
    labels, probabilities = model.predict(windows["window"].to_list(), k=2) if windows.height else ([], [])
    positive = [
        float(chances[names.index(f"{_LABEL}positive")]) if f"{_LABEL}positive" in names else 0.0
        for names, chances in zip(map(list, labels), probabilities, strict=True)
    ]
    units = np.rint(np.clip(np.array(positive, dtype=np.float64), 0, 1) * UNITS).astype(np.int64)
    # From here on integers, so that the mean is the same in any order.
    total, count = pl.col("units").sum(), pl.len().cast(pl.Int64)
    means = (
        windows.with_columns(units=pl.Series(units))
        .group_by("row")
        .agg(((2 * total + count) // (2 * count)).alias("units"))
    )
    rows = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt32, eager=True)})
    return rows.join(means, on="row", how="left", maintain_order="left")["units"]


def _measure(units: pl.Series, labels: NDArray[np.int8]) -> dict[str, Any]:
    """Return AUC (ties count half; null where a side is empty) and the calibration table of held-out documents."""
    scored = units.is_not_null().to_numpy()
    values, labels = units.drop_nulls().to_numpy(), labels[scored]
    positive, negative = (np.bincount(values[labels == label], minlength=UNITS + 1) for label in (1, 0))
    pairs = int(positive.sum()) * int(negative.sum())
    below = np.cumsum(negative) - negative
    auc = Fraction(int((positive * (2 * below + negative)).sum()), 2 * pairs) if pairs else None
    bins = np.minimum(values * CALIBRATION_BINS // UNITS, CALIBRATION_BINS - 1)
    documents, positives = (np.bincount(bins[labels >= least], minlength=CALIBRATION_BINS) for least in (0, 1))
    table = [
        {
            "score_from": number / CALIBRATION_BINS,
            "documents": int(documents[number]),
            "positive_documents": int(positives[number]),
        }
        for number in range(CALIBRATION_BINS)
    ]
    return {"auc": None if auc is None else round(float(auc), 4), "calibration": table}
