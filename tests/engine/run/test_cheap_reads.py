"""What footers say is what the columns hold."""

from pathlib import Path

import polars as pl

from engine.formats.parquet import write_parquet
from engine.run.cheap_reads import doc_id_words, largest_value, null_count
from tests.engine.run.decided_corpus import corpus, row


def test_footer_knows_nulls_and_largest_value_over_all_row_groups(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a_id": [b"x" * 16, None, b"y" * 16, None, None], "n": [3, None, 9, 2, None]})
    write_parquet(tmp_path / "part.parquet", frame, row_group_rows=2)
    assert null_count(tmp_path / "part.parquet", "a_id") == 3
    assert largest_value(tmp_path / "part.parquet", "n") is None  # the last row group has no value, and says nothing
    write_parquet(tmp_path / "part.parquet", frame.head(4), row_group_rows=2)
    assert largest_value(tmp_path / "part.parquet", "n") == 9


def test_ids_as_numbers_order_like_their_bytes(tmp_path: Path) -> None:
    made = corpus(tmp_path, [row(str(number)) for number in range(20)], with_split=False)
    shard = made.state.sources[0].shards[0]
    ids = shard.read_core(["doc_id"])["doc_id"].to_list()
    words = doc_id_words(shard)
    assert [high.to_bytes(8, "big") + low.to_bytes(8, "big") for high, low in words.tolist()] == ids
