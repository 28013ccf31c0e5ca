"""What fastText is fed of a document: its windows, each as one line.

separated   lower case, every punctuation character or symbol apart from its neighbours, white space of any kind as one
            space; a label in the text loses its underscores, so that no document can name its own. Ours are trained
            so.
plain       the text as it stands, line breaks as spaces: what the classifiers of DCLM and FineWeb-Edu expect.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from engine.text.fasttext_model import LABEL

if TYPE_CHECKING:
    from engine.formats.annotation import ShardView

Preparation = Literal["separated", "plain"]
_LINE_BREAKS = r"[\n\r\x0b\x0c\x1c-\x1e\x{85}\x{2028}\x{2029}]+"
"""What Python's str.splitlines breaks at."""


def shard_lines(shard: "ShardView", how: Preparation) -> pl.DataFrame:
    """Return the lines of a shard's windows, made once for all classifiers that read them so."""
    windows = shard.windows
    return shard.shared(f"{how} windows", lambda: prepare(windows, how))


def prepare(windows: pl.DataFrame, how: Preparation) -> pl.DataFrame:
    """Return row (UInt32) and line (String) of the windows (row, window) that hold anything but white space."""
    window = windows["window"]
    lines = separated(window) if how == "separated" else window.str.replace_all(_LINE_BREAKS, " ").str.strip_chars()
    return windows.select("row", lines.alias("line")).filter(pl.col("line").str.len_bytes() > 0)


def separated(texts: pl.Series) -> pl.Series:
    """Return the texts (String, without nulls) separated: those of ASCII, most as a rule, by a compiled loop."""
    from engine.annotate._classifier.separating import separate

    lines, is_ascii = separate(texts)
    order, others = np.arange(len(texts)), np.flatnonzero(~is_ascii)
    order[others] = len(texts) + np.arange(len(others))
    return pl.concat([lines, separated_by_patterns(texts.gather(others))]).gather(order)


def separated_by_patterns(texts: pl.Series) -> pl.Series:
    """Return texts of any characters separated."""
    return (
        texts.str.to_lowercase()
        .str.replace_all(LABEL, "label", literal=True)
        .str.replace_all(r"([^\w\s])", " ${1} ")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
    )
