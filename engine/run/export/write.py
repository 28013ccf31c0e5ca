"""Writes the rows of an export: gathered shard by shard into buckets on disk, then bucket by bucket in their order.

The order of a mixture jumps between all shards, but a shard is read as a whole. So each shard is read once and its
documents are appended to the bucket of their place (a run of about 64 MB of text in the order of the export); then each
bucket is read, sorted and written. Memory: the texts of a shard, a bucket, and a table of all rows without texts. Disk:
the texts once more while it works.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.base.hashing import digest_file
from engine.base.progress import progress
from engine.formats.doc_ids import id_texts
from engine.formats.documents import Shard, SourceDocuments
from engine.run.export.order import BUCKET_BYTES, MESSAGES, STATED, TEXT, rows_by_shard
from engine.run.export.texts import exported_texts
from engine.text.edits import Edits

_BUCKETS_PER_FILE = (512 << 20) // BUCKET_BYTES
_CONTENT = {
    TEXT: pa.string(),
    MESSAGES: pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
}
_ABOUT = {
    "doc_id": pa.string(),
    "source": pa.string(),
    "is_replay": pa.bool_(),
    "phase": pa.string(),
    "repeats": pa.int32(),
    **dict.fromkeys(STATED, pa.string()),
}


@dataclass(frozen=True)
class WrittenFile:
    """One file of an export."""

    path: str
    """Relative to the export's folder."""
    rows: int | None
    bytes: int
    digest: str


def schema_of(kind: str, stated: Sequence[str]) -> pa.Schema:
    """Return the columns of a file of this kind (TEXT or MESSAGES)."""
    about = {name: dtype for name, dtype in _ABOUT.items() if name not in STATED or name in stated}
    return pa.schema({kind: _CONTENT[kind], **about})


def gather(
    rows: pl.DataFrame,
    sources: Sequence[SourceDocuments],
    edits_of: Callable[[Shard], Mapping[int, Edits]],
    stated: Sequence[str],
    scratch: Path,
) -> None:
    """Append the documents of every shard to their buckets in `scratch`; `rows`: of `order`, with control besides."""
    with progress("export: reading", sum(len(source.shards) for source in sources), "shards") as bar:
        for shard, wanted in rows_by_shard(rows, sources):
            kind = wanted["kind"][0]
            schema = _with_position(kind, stated)
            content = exported_texts(shard, wanted, edits_of(shard))
            core = shard.read_core(stated)[wanted["row"]] if stated else pl.DataFrame()
            about = wanted.with_columns(core, doc_id=id_texts(pl.col("doc_id"))).select(
                "bucket", "position", *schema_of(kind, stated).names[1:]
            )
            table = about.to_arrow().append_column(kind, content)
            table = table.select(schema.names).cast(schema)
            # Rows come by position, so those of a bucket stand together.
            start = 0
            for length, bucket in about["bucket"].rle().struct.unnest().iter_rows():
                _append(_bucket(scratch, kind, bucket), table.slice(start, length))
                start += length
            bar.advance()


def write_kind(kind: str, stated: Sequence[str], scratch: Path, folder: Path, form: str) -> list[WrittenFile]:
    """Write the buckets of a kind to files of about 512 MB of text: folder/<kind>/train-00000.<form>."""
    buckets = sorted(scratch.glob(f"{kind}-*.arrow"))
    (folder / kind).mkdir()
    written = []
    for number, start in enumerate(range(0, len(buckets), _BUCKETS_PER_FILE)):
        path = folder / kind / f"train-{number:05}.{form}"
        tables = (_ordered(bucket) for bucket in buckets[start : start + _BUCKETS_PER_FILE])
        rows = write_tables(path, tables, schema_of(kind, stated), form)
        written.append(described(path, folder, rows))
    return written


def write_tables(path: Path, tables: Iterator[pa.Table], schema: pa.Schema, form: str) -> int:
    """Write tables of one schema one after the other as Parquet or JSON lines, null strings as ""; return the rows."""
    rows = 0
    if form == "parquet":
        with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
            for table in tables:
                writer.write_table(table)
                rows += table.num_rows
        return rows
    with path.open("wb") as file:
        for table in tables:
            lines = io.BytesIO()
            # datasets takes the types of JSON from its first 10 MB, and a column of nulls there for one without values.
            pl.DataFrame(pl.from_arrow(table)).with_columns(pl.col(pl.String).fill_null("")).write_ndjson(lines)
            file.write(lines.getbuffer())
            rows += table.num_rows
    return rows


def described(path: Path, folder: Path, rows: int | None = None) -> WrittenFile:
    """Return what the result says of a file."""
    return WrittenFile(path.relative_to(folder).as_posix(), rows, path.stat().st_size, digest_file(path))


def _bucket(scratch: Path, kind: str, number: int) -> Path:
    return scratch / f"{kind}-{number:09}.arrow"


def _with_position(kind: str, stated: Sequence[str]) -> pa.Schema:
    return pa.schema([pa.field("position", pa.int64()), *schema_of(kind, stated)])


def _append(path: Path, table: pa.Table) -> None:
    # Arrow streams one after the other: no file stays open, however many buckets there are.
    with path.open("ab") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def _ordered(path: Path) -> pa.Table:
    tables = []
    with path.open("rb") as file:
        while file.peek(1):
            with pa.ipc.open_stream(file) as stream:
                tables.append(stream.read_all())
    path.unlink()
    table = pa.concat_tables(tables)
    return table.take(pc.sort_indices(table["position"])).drop_columns(["position"])
