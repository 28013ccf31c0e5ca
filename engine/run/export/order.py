"""Which row of an export is which document: the order of the mixture, and where each of its documents lies."""

from collections.abc import Iterator, Sequence

import polars as pl

from engine.base.errors import InputError, problem
from engine.formats.doc_ids import id_text
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.mixture import Mixture
from engine.formats.token_store import TokenStore

STATED = ("license", "url", "date")
TEXT, MESSAGES = "text", "messages"
BUCKET_BYTES = 64 << 20
_ROW_BYTES = 200  # about what the other columns of a row take


def rows_in_order(mixture: Mixture, store: TokenStore, kinds: dict[str, str], is_repeated: bool) -> pl.DataFrame:
    """Return the rows of the export in their order.

    Of every kind the mixture's documents, phase by phase; repeated ones come again after all that come as often, as in
    a schedule.

    Args:
        mixture: The version.
        store: Its token store.
        kinds: Source -> TEXT or MESSAGES.
        is_repeated: Whether a document stands as often as it is used, else once in every phase.

    Returns:
        doc_id, source, is_replay, phase (name), repeats, text_digest, kind, position (within the kind, from 0) and
        bucket (runs of positions with about BUCKET_BYTES of text).
    """
    documents = mixture.documents().drop("num_tokens", "supervised_tokens")
    documents = documents.with_columns(use=pl.int_ranges("repeats") if is_repeated else pl.lit([0]))
    documents = documents.explode("use").sort("phase", "use", "document")
    stored = store.documents()[documents["store_row"]].select("text_digest", "num_bytes")
    names = pl.Series([phase.name for phase in mixture.manifest.phases])
    size = (pl.col("num_bytes") + _ROW_BYTES).cum_sum().over("kind")
    return (
        documents.select("doc_id", "source", "is_replay", phase=names[documents["phase"]], repeats="repeats")
        .with_columns(*stored, kind=pl.col("source").replace_strict(kinds, return_dtype=pl.String))
        .with_columns(position=pl.int_range(pl.len()).over("kind"), bucket=(size - 1) // BUCKET_BYTES)
        .drop("num_bytes")
    )


def kinds_of(sources: Sequence[SourceDocuments]) -> dict[str, str]:
    """Return source -> MESSAGES where its documents are chats, else TEXT."""
    return {s.name: MESSAGES if any(shard.has_messages for shard in s.shards) else TEXT for s in sources}


def rows_by_shard(rows: pl.DataFrame, sources: Sequence[SourceDocuments]) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Yield each shard that holds documents of the export, with their rows and `row` (in the shard), by position.

    The ids of one source are in memory at a time. Raises InputError that names a document which no shard holds.
    """
    for source in sources:
        of_source = rows.filter(pl.col("source") == source.name)
        if not of_source.height:
            continue
        ids = [
            shard.read_core(["doc_id"]).with_row_index("row").with_columns(shard=pl.lit(number))
            for number, shard in enumerate(source.shards)
        ]
        found = of_source.join(pl.concat(ids), on="doc_id", how="left")
        missing = found.filter(pl.col("shard").is_null())
        if missing.height:
            doc_id = id_text(missing["doc_id"][0])
            fix = "export the version in the workspace it was built in"
            raise InputError(problem(source.folder, f"document {doc_id} is not among its documents", fix=fix))
        for (number,), part in found.sort("shard", "position").group_by("shard", maintain_order=True):
            yield source.shards[int(str(number))], part.drop("shard")


def stated_columns(rows: pl.DataFrame, sources: Sequence[SourceDocuments]) -> tuple[str, ...]:
    """Return those of STATED that any shard of the export's sources has a value of."""
    used = set(rows["source"].unique())
    stated: set[str] = set()
    for shard in (shard for source in sources if source.name in used for shard in source.shards):
        missing = [name for name in STATED if name not in stated]
        core = shard.read_core(missing) if missing else pl.DataFrame()
        stated |= {name for name in missing if core[name].null_count() < core.height}
    return tuple(name for name in STATED if name in stated)
