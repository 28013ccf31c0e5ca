"""Windows of texts: what models that judge whole documents read of them.

At most three windows of 1,000 characters: at the beginning, at the end and in the middle between them. A text of up to
2,000 characters has two, which overlap where it is shorter than that; one of up to 1,000 has one.
"""

import polars as pl

WINDOW_CHARS = 1000


def text_windows(texts: pl.Series) -> pl.DataFrame:
    """Return the windows of each text, in its order: row (UInt32), window (String); a null or empty text has none."""
    text, chars = pl.col("text"), pl.col("text").str.len_chars().cast(pl.Int64)
    starts = [
        pl.when(chars > 0).then(0),
        pl.when(chars > 2 * WINDOW_CHARS).then((chars - WINDOW_CHARS) // 2),
        pl.when(chars > WINDOW_CHARS).then(chars - WINDOW_CHARS),
    ]
    windows = pl.concat_list(
        [pl.when(start.is_not_null()).then(text.str.slice(start, WINDOW_CHARS)) for start in starts]
    )
    rows = pl.DataFrame({"text": texts}, schema={"text": pl.String}).with_row_index("row")
    return rows.select("row", window=windows).explode("window").drop_nulls("window")
