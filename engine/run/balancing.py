"""Carries out balance over the whole corpus, one rule after the other, each on what those before it left.

1. Every kept document gets the code of its group; the groups are summed up (reads the columns of `by`)
2. Documents of groups with less room than documents are taken in order (reads doc_ids and `prefer`)
3. The others go over budget; of protected sources they only get the tag

Memory: four bytes a document for the groups and one for the outcome, one more for every rule with quotas but the last,
and a third of the memory ceiling for documents that are ordered at once. A group with more of them than that is taken
in several rounds (engine.run.large_groups).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.errors import RecipeError, unknown
from engine.formats.annotation import read_columns
from engine.formats.documents import Shard
from engine.formats.selection import BALANCE_SCHEMA
from engine.run.cheap_reads import doc_id_words
from engine.run.large_groups import LargeGroup, Members
from engine.run.stage_run import Annotated
from engine.run.steps import RunContext
from engine.run.workers import work
from engine.select.balance import Rule
from engine.select.balance_table import GroupSums, after_later_rules, details_of, table_of, unmet_quotas
from engine.select.conditions import condition_columns, holds
from engine.select.decide import KEPT_CODE, Decided, over_budget_code
from engine.select.filters import TAG, tag_column
from engine.select.group_codes import ABSENT, Codes, GroupCodes
from engine.select.grouping import grouping, stored_columns
from engine.select.taking import COLUMNS, Numbers, count_groups, enter, order_seed, preference_keys, take

LEAST_ENTRIES = 1 << 16
_EACH_IS_ONE = np.empty(0, dtype=np.int64)
_NO_PREFERENCE = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True)
class Corpus:
    """What balance works on."""

    context: RunContext
    state: Annotated
    shards: list[Shard]
    tokens: str | None
    """Column of the tokens of each document."""
    num_rules: int
    """Rules that decide before balance."""

    def columns(self, shard: Shard, decided: Decided, names: Sequence[str]) -> pl.DataFrame:
        """Return columns of a shard; `tagged__<reason>` among them says who has a tag."""
        tags = {tag_column(rule.reason): rule.reason for rule in self.context.recipe.filters if rule.action == TAG}
        stored = read_columns(shard, [name for name in names if name not in tags], self.state.annotations)
        # A frame without columns has no height that others could be set beside.
        tagged = [decided.is_tagged(tags[name]).alias(name) for name in names if name in tags]
        return stored.hstack(tagged) if stored.width else pl.DataFrame(tagged)

    def size_column(self, rule: Rule) -> str | None:
        """Return the column of what a rule counts, None where it counts documents."""
        return {"documents": None, "bytes": "num_bytes", "tokens": self.tokens}[rule.unit]


@dataclass
class Balance:
    """What the rules of balance asked for, and what became of it."""

    table: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=BALANCE_SCHEMA))
    details: list[dict[str, Any]] = field(default_factory=list)
    """Totals of each rule, with the quotas that could not be met."""


def is_protected(state: Annotated, shard: Shard) -> bool:
    """Return whether a shard is of a source that no rule takes documents from; of an extension all old ones are."""
    if state.extends is not None:
        return shard.source != state.extends.source
    return any(source.name == shard.source and source.config.get("protected", False) for source in state.sources)


def balance(corpus: Corpus, decided: list[Decided]) -> Balance:
    """Let all rules of balance of the recipe work; `decided` (one for each shard) is brought up to date.

    Raises RecipeError for a quota of a value that no document of the corpus has.
    """
    done, of_quotas = Balance(), list[list[NDArray[Any]]]()
    tables = list[pl.DataFrame]()
    rules = corpus.context.recipe.balance
    for position, rule in enumerate(rules):
        one = _Balancing(corpus, decided, rule, position)
        one.group()
        rooms = one.rooms()
        one.take(rooms)
        one.apply(rooms)
        tables.append(table_of(rule, one.groups, one.sums, rooms, one.quotas))
        done.details.append(details_of(rule, one.sums) | one.counts)
        of_quotas.append(one.quota_places() if position + 1 < len(rules) else [])
        one.free()
    for position, places in enumerate(of_quotas):
        if places:
            tables[position] = after_later_rules(tables[position], _lost_later(corpus, decided, position, places))
        done.details[position]["unmet"] = unmet_quotas(tables[position])
    done.table = pl.concat([done.table, *tables])
    return done


def _lost_later(corpus: Corpus, decided: list[Decided], position: int, places: list[NDArray[Any]]) -> Numbers:
    """Return what later rules took of the quotas of the rule at a position: int64[quotas, 2], amounts and documents.

    places: of each shard, the number of the quota each document is in, at least as many as quotas for none.
    """
    rules = corpus.context.recipe.balance
    first, end = (over_budget_code(corpus.num_rules, one) for one in (position + 1, len(rules)))
    size, lost = corpus.size_column(rules[position]), np.zeros((2, len(rules[position].quotas)), np.int64)
    for shard, one, in_quota in zip(corpus.shards, decided, places, strict=True):
        goes = (one.codes >= first) & (one.codes < end) & (in_quota < lost.shape[1])
        if goes.any():
            codes = np.where(goes, in_quota, ABSENT).astype(np.uint32)
            sizes = _sizes(read_columns(shard, [size], corpus.state.annotations), size) if size else _EACH_IS_ONE
            count_groups(codes, sizes, lost[0], lost[1])
    return lost.T


class _Balancing:
    """One rule on its way over the corpus."""

    def __init__(self, corpus: Corpus, decided: list[Decided], rule: Rule, position: int) -> None:
        self.corpus, self.decided, self.rule, self.position = corpus, decided, rule, position
        self.groups = GroupCodes(rule.by)
        self.quotas = [
            (self.groups.code([quota.group[name] for name in rule.by]), quota.amount) for quota in rule.quotas
        ]
        self.sums = GroupSums()
        self.counts = {"outside_documents": 0, "null_documents": 0, "tagged_documents": 0}
        self._lock = Lock()
        self._unseen = {name: {quota.group[name] for quota in rule.quotas} for name in rule.by}
        self._firsts = np.cumsum([0, *(shard.num_rows for shard in corpus.shards)])
        self._codes: list[Codes] = []
        self._left = np.zeros(self._firsts[-1], dtype=np.uint8)

    def group(self) -> None:
        """Give every document that takes part the code of its group, and sum the groups up."""
        self._codes = self._each_shard("groups", self._group)
        self.sums.grow(1 + max([code for code, _ in self.quotas], default=0))
        for name, values in self._unseen.items():
            for value in sorted(values, key=str):
                self._refuse(name, value)

    def rooms(self) -> Numbers:
        """Return the most that may be kept of each group: int64[groups], below 0 where everything may."""
        rooms = np.full(self.sums.amounts.size, -1 if self.rule.cap is None else self.rule.cap, dtype=np.int64)
        for code, amount in self.quotas:
            rooms[code] = amount
        return rooms

    def take(self, rooms: Numbers) -> None:
        """Take documents in order in every group that is larger than its room; note who is left over."""
        sums = self.sums
        exceeds = (rooms >= 0) & (sums.amounts > rooms)
        # Where protected documents alone are too many, their order says who is tagged, and no other stays.
        is_closed = exceeds & (sums.protected_amounts > rooms)
        counts = np.where(is_closed, sums.protected_documents, sums.documents - sums.protected_documents)
        sums.kept_amounts = np.where(exceeds, sums.protected_amounts, sums.amounts)
        sums.kept_documents = np.where(exceeds, sums.protected_documents, sums.documents)
        for closed in (False, True):
            free = rooms if closed else rooms - sums.protected_amounts
            groups, most = (
                np.flatnonzero(exceeds & (is_closed == closed)),
                most_entries(self.corpus.context.memory_bytes),
            )
            for batch in _batches(groups[counts[groups] <= most], counts, most):
                self._take_batch(batch, counts[batch], free[batch], closed)
            for group in groups[counts[groups] > most].tolist():
                self._take_large(group, int(counts[group]), int(free[group]), closed, most)

    def apply(self, rooms: Numbers) -> None:
        """Bring the decisions up to date."""
        is_closed = (rooms >= 0) & (self.sums.protected_amounts > rooms)
        code = over_budget_code(self.corpus.num_rules, self.position)
        for position, shard in enumerate(self.corpus.shards):
            is_left = self._left[self._firsts[position] : self._firsts[position + 1]].astype(np.bool_)
            nobody = np.zeros_like(is_left)
            if is_protected(self.corpus.state, shard):
                self.counts["tagged_documents"] += int(is_left.sum())
                self.decided[position] = self.decided[position].going(code, nobody, is_left, self.rule.reason)
                continue
            if is_closed.any():
                codes = self._codes[position]
                is_left |= np.append(is_closed, False)[np.minimum(codes, is_closed.size)]
            self.decided[position] = self.decided[position].going(code, is_left, nobody, self.rule.reason)

    def free(self) -> None:
        """Free what the rule needed for every document."""
        self._codes, self._left = [], np.empty(0, dtype=np.uint8)

    def quota_places(self) -> list[NDArray[Any]]:
        """Return the number of the quota each document is in, by shard and as small as it can be; last for none."""
        codes = np.array([code for code, _ in self.quotas], dtype=np.int64)
        if not codes.size:
            return []
        place_of = np.full(self.sums.amounts.size + 1, codes.size, dtype=np.min_scalar_type(codes.size))
        place_of[codes] = np.arange(codes.size)
        return [place_of[np.minimum(of_shard, place_of.size - 1)] for of_shard in self._codes]

    def _group(self, position: int) -> Codes:
        rule, shard, decided = self.rule, self.corpus.shards[position], self.decided[position]
        size = self.corpus.size_column(rule)
        reads = [*stored_columns(rule.by), *condition_columns(rule.where)]
        frame = self.corpus.columns(shard, decided, list(dict.fromkeys([*reads, *([size] if size else [])])))
        self._look_for_quotas(frame)
        is_kept = decided.codes == KEPT_CODE
        kept = frame.filter(pl.Series(is_kept))
        values = kept.select(*(grouping(name).alias(name) for name in rule.by))
        has_group = values.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
        inside = has_group if rule.where is None else has_group & holds(kept, rule.where, f"{self._place()}.where")
        rows = np.flatnonzero(is_kept)[inside.to_numpy()]
        codes = np.full(shard.num_rows, ABSENT, dtype=np.uint32)
        codes[rows] = self.groups.codes(values.filter(inside))
        with self._lock:
            self.counts["outside_documents"] += kept.height - len(rows)
            self.counts["null_documents"] += int((~has_group).sum())
            sizes = _sizes(frame, size)
            self.sums.add(codes, sizes, is_protected(self.corpus.state, shard))
        return codes

    def _look_for_quotas(self, frame: pl.DataFrame) -> None:
        for name in [name for name, values in self._unseen.items() if values]:
            values = frame.select(grouping(name)).to_series()
            found = {value for value in list(self._unseen[name]) if (values == value).any()}
            with self._lock:
                self._unseen[name] -= found

    def _refuse(self, name: str, value: str | bool | int) -> None:
        """Raise RecipeError for a value of a quota that nobody has, with those that there are."""
        known = set[str]()
        for shard, decided in zip(self.corpus.shards, self.decided, strict=True):
            values = self.corpus.columns(shard, decided, stored_columns([name])).select(grouping(name)).to_series()
            known |= set(values.unique().drop_nulls().cast(pl.String))
        text = str(value).lower() if isinstance(value, bool) else str(value)
        raise RecipeError(unknown(f"{self._place()}: quotas", f"document with {name} =", text, known))

    def _place(self) -> str:
        return f"{self.corpus.context.recipe.path.name}: balance[{self.position}] ({self.rule.reason})"

    def _take_batch(self, batch: NDArray[np.int64], counts: Numbers, free: Numbers, of_protected: bool) -> None:
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        cursors = np.full(self.sums.amounts.size, -1, dtype=np.int64)
        cursors[batch] = starts[:-1]
        is_in = np.append(cursors >= 0, False)
        entries = np.empty((int(starts[-1]), COLUMNS), dtype=np.uint64)
        seed = order_seed(self.rule.seed, self.rule.reason)

        def fill(position: int) -> None:
            shard, codes = self.corpus.shards[position], self._codes[position]
            if is_protected(self.corpus.state, shard) != of_protected:
                return
            if not is_in[np.minimum(codes, cursors.size)].any():
                return
            prefer, sizes = self._order_of(shard, self.decided[position])
            words = doc_id_words(shard)
            with self._lock:
                enter(codes, cursors, words, prefer, sizes, int(self._firsts[position]), seed, entries)

        self._each_shard("order", fill)
        taken = np.zeros((batch.size, 2), dtype=np.int64)

        def take_some(part: NDArray[np.int64]) -> None:
            if part.size:
                first, end = part[0], part[-1] + 1
                take(entries, starts[first : end + 1], free[first:end], of_protected, self._left, taken[first:end])

        with ThreadPoolExecutor(self.corpus.context.jobs) as executor:
            list(executor.map(take_some, _even_parts(starts, self.corpus.context.jobs)))
        if not of_protected:
            self.sums.kept_amounts[batch] += taken[:, 0]
            self.sums.kept_documents[batch] += taken[:, 1]

    def _take_large(self, group: int, count: int, free: int, of_protected: bool, most: int) -> None:
        shards = []
        for position, (shard, codes) in enumerate(zip(self.corpus.shards, self._codes, strict=True)):
            is_member = codes == group
            if is_protected(self.corpus.state, shard) == of_protected and is_member.any():
                shards.append(position)
                self._left[self._firsts[position] : self._firsts[position + 1]][is_member] = 1
        seed = order_seed(self.rule.seed, self.rule.reason)

        def read(position: int, every: int) -> Members:
            codes = self._codes[position]
            rows = np.flatnonzero(codes == group)[::every]
            is_read = np.full(len(codes), ABSENT, dtype=np.uint32)
            is_read[rows] = 0
            shard = self.corpus.shards[position]
            prefer, sizes = self._order_of(shard, self.decided[position])
            entries = np.empty((len(rows), COLUMNS), dtype=np.uint64)
            start = int(self._firsts[position])
            enter(is_read, np.zeros(1, np.int64), doc_id_words(shard), prefer, sizes, start, seed, entries)
            return Members(entries)

        def each(function: Callable[[int], None], positions: Sequence[int]) -> None:
            work(f"balance {self.rule.reason}: order", function, positions, self.corpus.context.jobs)

        large = LargeGroup(shards, count, read, each, most)
        amount, documents = large.take(free, of_protected, self._left)
        if not of_protected:
            self.sums.kept_amounts[group] += amount
            self.sums.kept_documents[group] += documents

    def _order_of(self, shard: Shard, decided: Decided) -> tuple[NDArray[np.uint64], Numbers]:
        size, prefer = self.corpus.size_column(self.rule), self.rule.prefer
        frame = self.corpus.columns(
            shard, decided, [name for name in dict.fromkeys([size, prefer]) if name is not None]
        )
        keys = preference_keys(frame[prefer]) if prefer is not None else _NO_PREFERENCE
        return keys, _sizes(frame, size)

    def _each_shard(self, what: str, function: Any) -> list[Any]:
        name = f"balance {self.rule.reason}: {what}"
        return work(name, function, range(len(self.corpus.shards)), self.corpus.context.jobs)


def _sizes(frame: pl.DataFrame, column: str | None) -> Numbers:
    if column is None:
        return _EACH_IS_ONE
    return frame[column].cast(pl.Int64).fill_null(0).to_numpy(writable=True)


def most_entries(memory_bytes: int) -> int:
    """Return how many documents may be put in order at once: a third of the memory ceiling."""
    return max(LEAST_ENTRIES, memory_bytes // 3 // (COLUMNS * 8))


def _batches(groups: NDArray[np.int64], counts: Numbers, most: int) -> list[NDArray[np.int64]]:
    """Return the groups, none of them larger, in batches of at most so many documents."""
    batches, size = list[list[int]](), most + 1
    for group, count in zip(groups.tolist(), counts[groups].tolist(), strict=True):
        if size + count > most:
            batches.append([])
            size = 0
        batches[-1].append(group)
        size += count
    return [np.array(batch, dtype=np.int64) for batch in batches]


def _even_parts(starts: Numbers, parts: int) -> list[NDArray[np.int64]]:
    """Return the numbers of the groups in runs with about as many documents each."""
    num_groups = len(starts) - 1
    share = np.minimum((starts[:-1] * parts) // max(int(starts[-1]), 1), parts - 1)
    return [np.arange(num_groups)[share == part] for part in range(parts)]
