"""Plans a mixture: which documents it uses, how often, in which order.

Domain text is budgeted first; replay follows from the supervised tokens it really came to. A document has one role:
what the domain text takes of a source, replay cannot take again. Neither the order of the candidates nor their cut into
shards changes anything. Documents without a supervised token are left over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from engine.base.errors import RecipeError, problem
from engine.base.hashing import digest_parts, seeded_order
from engine.formats.manifest import DOCUMENTS_SCHEMA, MixtureSource
from engine.mixture import accounts, curriculum, weights
from engine.mixture.config import Config
from engine.mixture.replay import replay_tokens, replay_uses

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
Roles = dict[tuple[str, bool], int]
"""(source, is_replay) -> budget in supervised tokens."""


@dataclass(frozen=True)
class MixturePlan:
    """Which documents a mixture uses, how often and in which order, and what that comes to."""

    name: str
    config: Config
    documents: pl.DataFrame
    """DOCUMENTS_SCHEMA, in the order of the curriculum."""
    sources: list[MixtureSource]
    ledger: pl.DataFrame
    """engine.formats.ledger, step `mixture:<name>`."""
    n_eff_before: float
    n_eff_after: float
    n_eff_documents_before: float
    n_eff_documents_after: float

    @cached_property
    def documents_digest(self) -> str:
        """Digest of the documents and their order."""
        return documents_digest(self.documents)


def plan_mixture(name: str, config: Config, candidates: pl.DataFrame, input_digests: Mapping[str, str]) -> MixturePlan:
    """Choose the documents of a mixture.

    Args:
        name: Name of the mixture.
        config: Its part of the recipe.
        candidates: Kept documents (CANDIDATES_SCHEMA, and the column of `config.difficulty`), of its sources at least.
        input_digests: Source -> digest of its documents.

    Raises RecipeError, naming the source, where a source has no kept document, would get none, or has fewer tokens than
    its budget; the message says what is possible.
    """
    pool = _in_seeded_order(candidates.filter(pl.col("source").is_in(config.source_names())), config.seed)
    chosen, budgets = _domain(name, config, pool)
    if config.replay_share:
        rest = pool.join(chosen.select("doc_id"), on="doc_id", how="anti", maintain_order="left")
        replay, replay_budgets = _replay(name, config, rest, _supervised(chosen))
        chosen, budgets = pl.concat([chosen, replay]), budgets | replay_budgets
    rows = accounts.source_rows(chosen, pool, budgets, input_digests)
    if config.difficulty is not None:
        chosen = chosen.with_columns(pl.col(config.difficulty).alias(curriculum.DIFFICULTY))
    documents = curriculum.order(chosen, config.curriculum, config.seed).with_row_index("document")
    documents = documents.with_columns(phase=pl.lit(0))
    before = {row.source: row for row in rows}.values()
    after = [[row for row in rows if row.source == source.source] for source in before]
    schema = pl.Schema(DOCUMENTS_SCHEMA)
    return MixturePlan(
        name=name,
        config=config,
        documents=documents.select(schema.names()).cast(schema),
        sources=rows,
        ledger=accounts.ledger(f"mixture:{name}", pool, chosen),
        n_eff_before=accounts.effective_sources(row.available_tokens for row in before),
        n_eff_after=accounts.effective_sources(sum(row.tokens for row in roles) for roles in after),
        n_eff_documents_before=accounts.effective_sources(row.available_documents for row in before),
        n_eff_documents_after=accounts.effective_sources(sum(row.documents for row in roles) for roles in after),
    )


def documents_digest(documents: pl.DataFrame) -> str:
    """Digest of a mixture's documents (DOCUMENTS_SCHEMA) and their order, whatever file they are stored in."""
    names = documents["source"].unique().sort()
    number = pl.Series(range(names.len()), dtype=pl.Int64)
    numbers = documents.drop("doc_id").with_columns(pl.col("source").replace_strict(names, number)).cast(pl.Int64)
    parts = ["\0".join(names).encode(), b"".join(documents["doc_id"])]
    parts += [numbers[column].to_numpy().tobytes() for column in sorted(numbers.columns)]
    return digest_parts(parts).hex()


def _in_seeded_order(candidates: pl.DataFrame, seed: int) -> pl.DataFrame:
    assert candidates["doc_id"].is_unique().all(), "each candidate once"
    order = [seeded_order(seed, doc_id) for doc_id in candidates["doc_id"]]
    return candidates.with_columns(pl.Series("_order", order, dtype=pl.UInt64)).sort("_order", "doc_id").drop("_order")


def _domain(name: str, config: Config, pool: pl.DataFrame) -> tuple[pl.DataFrame, Roles]:
    """Return the documents of the domain text, with `is_replay` and `repeats`, and the budgets."""
    place = f"mixtures.{name}.sources"
    tokens = _tokens(pool, config.sources)
    wanted = weights.checked_weights(place, config.sources, tokens)
    domain = 1 - config.replay_share
    if config.budget_tokens is None:
        total = weights.most_tokens(wanted, tokens, 1)
    else:
        parts = {"domain": domain, "replay": config.replay_share}
        total = weights.largest_remainder(config.budget_tokens, parts)["domain"]
    budgets = weights.budgets(place, total, wanted, tokens, config.max_repeats, domain)
    uses = {source: weights.uses(tokens[source], budget) for source, budget in budgets.items()}
    return _chosen(place, pool, uses, budgets, is_replay=False)


def _replay(name: str, config: Config, pool: pl.DataFrame, domain_tokens: int) -> tuple[pl.DataFrame, Roles]:
    """Return the same for replay; `pool` lacks the documents of the domain text."""
    assert config.replay is not None
    place = f"mixtures.{name}.replay.sources"
    tokens = _tokens(pool, config.replay.sources)
    for source in config.replay.sources:
        if source in config.sources and not tokens[source].sum():
            found = "it is domain text and replay, and the domain text takes all of its documents"
            fix = "set a smaller budget_tokens, or name another source for replay"
            raise RecipeError(problem(f"{place}.{source}", found, "each document in one role", fix))
    wanted = weights.checked_weights(place, config.replay.sources, tokens)
    total = replay_tokens(domain_tokens, config.replay_share)
    budgets = weights.budgets(place, total, wanted, tokens, config.max_repeats, config.replay_share)
    uses = replay_uses(tokens, budgets, config.max_repeats)
    return _chosen(place, pool, uses, budgets, is_replay=True)


def _tokens(pool: pl.DataFrame, sources: Iterable[str]) -> dict[str, weights.Integers]:
    """Return source -> supervised tokens of its documents, in the order of the pool."""
    return {
        source: pool.filter(pl.col("source") == source)["supervised_tokens"].cast(pl.Int64).to_numpy()
        for source in sources
    }


def _chosen(
    place: str, pool: pl.DataFrame, uses: Mapping[str, weights.Integers], budgets: Mapping[str, int], is_replay: bool
) -> tuple[pl.DataFrame, Roles]:
    """Return the documents in use, with `is_replay` and `repeats`; raises RecipeError where a source has none."""
    frames = []
    for source, counts in uses.items():
        there = pool.filter(pl.col("source") == source).with_columns(
            is_replay=pl.lit(is_replay), repeats=pl.Series(counts, dtype=pl.Int64)
        )
        used = there.filter((pl.col("repeats") > 0) & (pl.col("supervised_tokens") > 0))
        if used.is_empty():
            shortest = int(there["supervised_tokens"].replace(0, None).drop_nulls().to_numpy().min())
            found = f"budget of {budgets[source]} supervised tokens, but its shortest document has {shortest}"
            fix = "raise its weight or the budget, or take it out"
            raise RecipeError(problem(f"{place}.{source}", found, "at least one document", fix))
        frames.append(used)
    return pl.concat(frames), {(source, is_replay): budget for source, budget in budgets.items()}


def _supervised(chosen: pl.DataFrame) -> int:
    return int((chosen["supervised_tokens"].cast(pl.Int64) * chosen["repeats"]).sum())
