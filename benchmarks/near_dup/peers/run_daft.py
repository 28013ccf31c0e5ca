r"""Daft as its tutorial (docs/examples/minhash-dedupe.md): minhash, bands, group, star contraction, smallest id stays.

The bands are the optimum that the tutorial computes for 0.8 and 128 permutations (9 x 13, so 117 are made): a pair of
similarity 0.8 shares one with a chance of 0.40. `--recall` takes 26 x 8 instead, which find 0.99 of these, as ours do.
`--words` replaces the tutorial's `normalize` (which deletes ASCII punctuation and splits at spaces) by runs of `\w`.
"""

import sys

import daft
from daft import DataFrame, col, lit
from daft.functions import (
    chunk,
    list_min,
    lower,
    minhash,
    monotonically_increasing_id,
    normalize,
    regexp_replace,
    seq,
    to_struct,
    when,
)
from shared import NGRAM_WORDS, arguments, write_removed

TUTORIAL, RECALL = (9, 13), (26, 8)


def edges(files: list[str], by_words: bool, bands: int, rows: int) -> tuple[DataFrame, DataFrame]:
    """Return (node_id to path, edges from the smallest node of each bucket to its others)."""
    if by_words:
        text = regexp_replace(lower(col("text")), r"\W+", " ")
    else:
        text = normalize(col("text"), remove_punct=True, lowercase=True, nfd_unicode=True, white_space=True)
    hashes = minhash(text, num_hashes=bands * rows, ngram_size=NGRAM_WORDS, seed=42, hash_function="xxhash")
    signed = (
        daft.read_parquet(files)
        .select("path", hashes.alias("min_hashes"))
        .with_column("node_id", monotonically_increasing_id())
        .collect()
    )
    buckets = (
        signed.with_column("bands", chunk(col("min_hashes"), rows))
        .with_column("band_idx", seq(lit(bands)))
        .explode("bands", "band_idx")
        .groupby("band_idx", "bands")
        .agg(col("node_id").list_agg().alias("nodes"))
    )
    found = (
        buckets.with_column("u", list_min(col("nodes")))
        .explode("nodes")
        .select("u", col("nodes").alias("v"))
        .where(col("u") != col("v"))
        .distinct()
        .collect()
    )
    return signed.select("node_id", "path"), found


def large_star(pairs: DataFrame) -> DataFrame:
    """Connect each larger neighbour of a node to the smallest of its neighbourhood."""
    both = pairs.select("u", "v").union_all(pairs.select(col("v").alias("u"), col("u").alias("v"))).collect()
    near = both.groupby("u").agg(col("v").list_agg().alias("nbrs")).with_column("m", list_min(col("nbrs")))
    near = near.with_column("m", when(col("u") < col("m"), col("u")).otherwise(col("m")))
    larger = near.explode("nbrs").where(col("nbrs") > col("u")).select(col("nbrs").alias("u"), col("m").alias("v"))
    return larger.where(col("u") != col("v")).distinct().collect()


def small_star(pairs: DataFrame) -> DataFrame:
    """Connect a node and its smaller neighbours to the smallest of them.

    After Kiveris et al. 2014. The tutorial's own small star (as of Daft 0.7) loses every edge it should keep.
    """
    here, there = to_struct(col("u"), col("v")), to_struct(col("v").alias("u"), col("u").alias("v"))
    directed = (
        pairs.select(when(col("u") > col("v"), here).otherwise(there).alias("e")).select(col("e")["*"]).distinct()
    )
    near = (
        directed.groupby("u").agg(col("v").list_agg().alias("nbrs")).with_column("m", list_min(col("nbrs"))).collect()
    )
    smaller = near.explode("nbrs").select(col("nbrs").alias("u"), col("m").alias("v"))
    star = smaller.union_all(near.select("u", col("m").alias("v")))
    return star.where(col("u") != col("v")).distinct().collect()


def canonical(pairs: DataFrame) -> set[tuple[int, int]]:
    """Return the edges as a set, the smaller node first."""
    columns = pairs.to_pydict()
    return {(min(pair), max(pair)) for pair in zip(columns["u"], columns["v"], strict=True)}


def main() -> None:
    """Contract stars until nothing changes; every node but the smallest of its component goes."""
    by_words, for_recall = sys.argv[1] == "--words", sys.argv[1] == "--recall"
    if by_words or for_recall:
        del sys.argv[1]
    files, out = arguments()
    nodes, pairs = edges(files, by_words, *(RECALL if for_recall else TUTORIAL))
    before = canonical(pairs)
    while before:
        pairs = small_star(large_star(pairs))
        after = canonical(pairs)
        if before == after:
            break
        before = after
    removed = pairs.select(col("u").alias("node_id")).distinct()
    paths = nodes.join(removed, on="node_id", how="semi").to_pydict()["path"]
    write_removed(out, paths)


if __name__ == "__main__":
    main()
