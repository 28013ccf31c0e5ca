"""Plans a mixture: which documents it uses, how often, in which order.

The phases follow one another (engine.mixture.phases); within each the curriculum orders the documents. Neither the
order of the candidates nor their cut into shards changes anything. Documents without a supervised token are left over.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.errors import InputError, problem
from engine.base.hashing import digest_parts
from engine.formats.manifest import DOCUMENTS_SCHEMA, MixtureSource, Phase
from engine.formats.parquet import read_parquet
from engine.formats.token_store import CONTROL_TOKENS_FILE, TokenStore
from engine.mixture import accounts, curriculum
from engine.mixture.config import Config, PhaseConfig
from engine.mixture.phases import Cell, choose_phase
from engine.mixture.pool import stocks

CANDIDATES_SCHEMA = {
    "doc_id": pl.Binary,
    "source": pl.String,
    "license": pl.String,
    "store_row": pl.UInt32,
    "num_tokens": pl.Int32,
    "supervised_tokens": pl.Int32,
    "num_bytes": pl.Int64,
}
"""What `plan_mixture` wants to know of every kept document; the rows may stand in any order."""


@dataclass(frozen=True)
class MixturePlan:
    """Which documents a mixture uses, how often and in which order, and what that comes to."""

    name: str
    config: Config
    documents: pl.DataFrame
    """DOCUMENTS_SCHEMA, by phase, then in the order of its curriculum."""
    phases: list[Phase]
    sources: list[MixtureSource]
    ledger: pl.DataFrame
    """engine.formats.ledger, step `mixture:<name>`."""
    n_eff_before: float
    n_eff_after: float
    n_eff_documents_before: float
    n_eff_documents_after: float
    licenses: dict[str, int]
    """Licence -> distinct documents in use; "unknown" where none is stated."""

    @property
    def curriculum(self) -> str:
        """The order of the documents; of several phases, theirs one after the other."""
        return ", then ".join(phase.curriculum for phase in self.phases)

    @property
    def replay_share(self) -> float | None:
        """Replay asked for, as a share of the supervised tokens; where phases differ, of their budgets together."""
        asked = [phase.replay_share for phase in self.config.phase_list()]
        if all(phase.replay is None for phase in self.config.phase_list()):
            return None
        if len(set(asked)) == 1:
            return float(asked[0])
        budgets = [phase.budget_tokens for phase in self.phases]
        whole = sum(share * budget for share, budget in zip(asked, budgets, strict=True))
        return round(float(whole / sum(budgets)), 4)

    @cached_property
    def order_digest(self) -> str:
        """What a schedule is made from."""
        return order_digest(self.documents)


def plan_mixture(
    name: str,
    config: Config,
    candidates: pl.DataFrame,
    input_digests: Mapping[str, str],
    objectives: Mapping[str, str] | None = None,
) -> MixturePlan:
    """Choose the documents of a mixture.

    Args:
        name: Name of the mixture.
        config: Its part of the recipe.
        candidates: Kept documents (CANDIDATES_SCHEMA, and the columns of `config.difficulties()`), of its sources at
            least, each once.
        input_digests: Source -> digest of its documents.
        objectives: Source -> what of it is supervised (engine.formats.manifest.OBJECTIVES); "text" where it is silent.

    Raises RecipeError, naming the source, where a source has no kept document, would get none, or has fewer tokens than
    its budget; the message says what is possible.
    """
    sources, phases = config.source_names(), config.phase_list()
    pool = candidates.filter(pl.col("source").is_in(sources))
    there = stocks(pool, sources, config.seed)
    cells: list[Cell] = []
    for number, phase in enumerate(phases):
        place = _place(name, config, phase)
        cells += choose_phase(place, number, phase, there, config.max_repeats, bool(config.phases))
    del there
    rows = accounts.source_rows(cells, pool, input_digests, objectives or {})
    before = {row.source: row for row in rows}.values()
    after = [[row for row in rows if row.source == source.source] for source in before]
    ledger = accounts.ledger(f"mixture:{name}", pool, cells)
    used = pl.Series(np.unique(np.concatenate([cell.rows for cell in cells])))
    return MixturePlan(
        name=name,
        config=config,
        documents=_ordered(pool, cells, name, config),
        phases=accounts.phase_rows([(phase.name, _order_of(phase)) for phase in phases], rows),
        sources=rows,
        ledger=ledger,
        n_eff_before=accounts.effective_sources(row.available_tokens for row in before),
        n_eff_after=accounts.effective_sources(sum(row.tokens for row in roles) for roles in after),
        n_eff_documents_before=accounts.effective_sources(row.available_documents for row in before),
        # Of the ledger, where a document of two phases counts once.
        n_eff_documents_after=accounts.effective_before_and_after(ledger)["documents"]["after"],
        licenses=_licenses(pool["license"][used]),
    )


def _licenses(stated: pl.Series) -> dict[str, int]:
    """Return licence -> documents, by name."""
    return dict(stated.fill_null("unknown").value_counts(name="documents").sort("license").iter_rows())


def order_digest(documents: pl.DataFrame) -> str:
    """Digest of a mixture's documents (DOCUMENTS_SCHEMA), their order and their rows in the token store."""
    return digest_parts(_bytes_of(documents)).hex()


def documents_digest(documents: pl.DataFrame) -> str:
    """Digest of a mixture's documents, their order and uses, wherever in a token store they stand."""
    return order_digest(documents.drop("store_row"))


def texts_digest(documents: pl.DataFrame, store: TokenStore) -> str:
    """Digest of what the documents of a mixture say: of each its text and its control tokens.

    A document says the same in any token store that has it, whatever else is in there. Raises InputError where the
    documents are not those of the store.
    """
    stored = store.documents(["doc_id", "text_digest"])
    if documents.height and int(documents["store_row"].to_numpy().max()) >= stored.height:
        raise InputError(problem(store.folder, "it has fewer documents than the mixture names"))
    texts = stored[documents["store_row"]]
    tags = read_parquet(store.folder / CONTROL_TOKENS_FILE).join(texts, on="doc_id", how="semi")
    parts = [*_bytes_of(texts), *_bytes_of(tags.sort("doc_id", "position"))]
    return digest_parts(parts).hex()


def _bytes_of(frame: pl.DataFrame) -> Iterator[bytes | memoryview]:
    """Yield the distinct strings, the ids, and column by column the rest as integers."""
    kinds = frame.schema
    for column in sorted(name for name in frame.columns if kinds[name] == pl.String):
        yield "\0".join(frame[column].unique().sort()).encode()
    for column in sorted(name for name in frame.columns if kinds[name] == pl.Binary):
        values = frame[column].rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
        _, ends, data = values.buffers()
        count = len(values)
        bounds = np.frombuffer(ends, dtype=np.int64, count=count + 1, offset=8 * values.offset) if count else [0, 0]
        yield memoryview(data)[bounds[0] : bounds[-1]] if data is not None else b""
    for column in sorted(name for name in frame.columns if kinds[name] != pl.Binary):
        numbers = frame[column]
        if kinds[column] == pl.String:
            names = numbers.unique().sort()
            positions = pl.Series(range(names.len()), dtype=pl.Int64)
            numbers = numbers.replace_strict(names, positions, return_dtype=pl.Int64)
        yield np.ascontiguousarray(numbers.cast(pl.Int64).to_numpy()).view(np.uint8).data


def _order_of(phase: PhaseConfig) -> str:
    name = str(phase.curriculum)
    name += f" in {phase.stages}" if phase.stages is not None else ""
    name += f" from {float(phase.curriculum_of().initial_competence)}" if phase.curriculum == "competence" else ""
    return name + (f" by {phase.difficulty}" if phase.difficulty is not None else "")


def _place(name: str, config: Config, phase: PhaseConfig) -> str:
    """Return where in the recipe the keys of a phase stand."""
    return f"mixtures.{name}" + (f".phases.{phase.name}" if config.phases else "")


def _ordered(pool: pl.DataFrame, cells: Sequence[Cell], name: str, config: Config) -> pl.DataFrame:
    """Return the documents in use (DOCUMENTS_SCHEMA), phase after phase."""
    parts: list[tuple[NDArray[np.uint32], NDArray[np.bool_], NDArray[np.uint8], NDArray[np.uint16]]] = []
    for number, phase in enumerate(config.phase_list()):
        mine = [cell for cell in cells if cell.phase == number]
        rows = np.concatenate([cell.rows for cell in mine])
        repeats = np.concatenate([cell.repeats for cell in mine])
        is_replay = np.repeat([cell.is_replay for cell in mine], [cell.rows.size for cell in mine])
        columns = ["doc_id", "num_tokens", "supervised_tokens"]
        if phase.difficulty is not None:
            columns.append(phase.difficulty)
        known = pool.select(columns)[rows].with_columns(repeats=repeats)
        if phase.difficulty is not None:
            known = known.rename({phase.difficulty: curriculum.DIFFICULTY})
        order = curriculum.order(known, phase.curriculum_of(), config.seed, _place(name, config, phase))
        parts.append((rows[order], is_replay[order], np.full(rows.size, number, np.uint8), repeats[order]))
    rows, is_replay, numbers, repeats = (np.concatenate(column) for column in zip(*parts, strict=True))
    schema = pl.Schema(DOCUMENTS_SCHEMA)
    documents = pool.select("doc_id", "source", "store_row", "num_tokens", "supervised_tokens")[rows]
    documents = documents.with_columns(
        pl.Series("is_replay", is_replay), pl.Series("phase", numbers), pl.Series("repeats", repeats)
    )
    return documents.with_row_index("document").select(schema.names()).cast(schema)
