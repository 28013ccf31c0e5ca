"""Decisions: every document is kept, dropped or held out, for exactly one reason, the first rule that applies.

Before all rules of a recipe: what was taken down is dropped for `takedown`, of protected sources too; a row that could
not be read for its own reason, one without text for `no_text`. Between reading and writing a decision is a code of two
bytes: balance (engine.select.balance) works on the whole corpus, so the decisions of all documents are in memory at
once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from engine.base.stage import StrictModel
from engine.formats.selection import DROPPED, HELD_OUT, KEPT, OVER_BUDGET, SCHEMA
from engine.formats.takedowns import TAKEDOWN
from engine.select.conditions import condition_columns, holds, parse_condition
from engine.select.filters import DROP, TAG, Action

NO_TEXT = "no_text"
CORE_READS = ("read_problem", "text_digest")
"""What the first two rules read; the digest is null where a text is missing, empty or white space."""
TAKEDOWN_COLUMN = "taken_down"
"""Column of the frame, where it has one, that says what was taken down."""
HELD_OUT_COLUMN = "held_out"
"""Column of the frame that names the held-out set of a document's group, else null."""
Outcome = tuple[str, str | None]
KEPT_CODE, UNREADABLE_CODE, NO_TEXT_CODE, TAKEDOWN_CODE, FIRST_RULE_CODE = range(5)


class Rule(StrictModel):
    """One rule; with neither `drop` nor `keep` it is the rule of the split."""

    reason: str = Field(description="reason of the documents it takes; of the split's rule only its name")
    drop: str | None = Field(default=None, description="SQL condition; true drops")
    keep: str | None = Field(default=None, description="SQL condition; false and null drop")
    action: Action = Field(default=DROP, description="drop, or tag: the document stays, with the reason as a tag")

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Rule":
        if self.drop is not None and self.keep is not None:
            raise ValueError("a rule has drop or keep, not both")
        return self

    @property
    def condition(self) -> str | None:
        """What it says, of drop or of keep; None of the rule of the split."""
        return self.drop if self.drop is not None else self.keep

    @property
    def is_split(self) -> bool:
        """Whether it takes the members of held-out groups."""
        return self.condition is None


def rule_columns(rule: Rule) -> tuple[str, ...]:
    """Return the columns a rule's condition reads, sorted; none for the rule of the split."""
    return condition_columns(rule.condition)


@dataclass(frozen=True)
class Decided:
    """The decisions of some documents in a few bytes each."""

    outcomes: tuple[Outcome, ...]
    """Decision and reason by code; code 0 is that of what is kept."""
    codes: NDArray[np.uint16]
    tag_reasons: tuple[str, ...] = ()
    """Reasons that a document of these may have as a tag."""
    tags: tuple[NDArray[np.uint8], ...] = ()
    """For every eight of these reasons a bit each, of kept and other documents alike; empty where nobody has any."""

    def frame(self) -> pl.DataFrame:
        """Return decision, reason and tags (engine.formats.selection), one row per document."""
        names = pl.DataFrame(self.outcomes, schema={"decision": pl.String, "reason": pl.String}, orient="row")
        return names[self.codes].with_columns(self._tag_lists()).cast(pl.Schema(SCHEMA))

    def table(self) -> pa.Table:
        """Return what `frame` does, its texts as dictionaries, which are written without looking at every row."""
        columns = []
        for position in (0, 1):
            values = [outcome[position] for outcome in self.outcomes]
            known = [value for value in dict.fromkeys(values) if value is not None]
            places = np.array([known.index(value) if value is not None else -1 for value in values], dtype=np.int16)
            of_rows = places[self.codes]
            indices = pa.array(of_rows, mask=of_rows < 0)
            columns.append(pa.DictionaryArray.from_arrays(indices, pa.array(known, pa.large_string())))
        return pa.table([*columns, self._tag_lists().to_arrow()], names=list(SCHEMA))

    def is_tagged(self, reason: str) -> pl.Series:
        """Return whether each document has a reason as a tag, whatever else became of it: Boolean."""
        is_tagged = np.zeros(len(self.codes), dtype=np.bool_)
        for position, name in enumerate(self.tag_reasons if self.tags else ()):
            if name == reason:
                is_tagged |= (self.tags[position // 8] & (1 << position % 8)) > 0
        return pl.Series(is_tagged)

    def tag_counts(self) -> dict[str, int]:
        """Return reason -> kept documents that have it as a tag; reasons that nobody has are left out."""
        is_kept = self.codes == KEPT_CODE
        reasons = dict.fromkeys(self.tag_reasons if self.tags else ())
        counts = {reason: int((self.is_tagged(reason).to_numpy() & is_kept).sum()) for reason in reasons}
        return {reason: documents for reason, documents in counts.items() if documents}

    def going(self, code: int, goes: NDArray[np.bool_], tagged: NDArray[np.bool_], reason: str) -> "Decided":
        """Return the decisions where some documents go for `code` and some others are tagged with a reason."""
        codes = np.where(goes, np.uint16(code), self.codes)
        if not tagged.any():
            return replace(self, codes=codes)
        position = len(self.tag_reasons) - 1 - self.tag_reasons[::-1].index(reason)
        tags = list(self.tags or (np.zeros(len(codes), np.uint8) for _ in range(num_tag_bytes(self.tag_reasons))))
        tags[position // 8] = tags[position // 8] | (tagged.astype(np.uint8) << np.uint8(position % 8))
        return replace(self, codes=codes, tags=tuple(tags))

    def _tag_lists(self) -> pl.Series:
        none = pl.Series("tags", [None], dtype=SCHEMA["tags"])
        if not self.tags:
            return none.new_from_index(0, len(self.codes))
        names = [f"tags_{position}" for position in range(len(self.tags))]
        rows = pl.DataFrame(dict(zip(names, self.tags, strict=True))).with_columns(
            pl.when(pl.Series(self.codes) == KEPT_CODE).then(pl.col(names)).otherwise(pl.lit(0, pl.UInt8))
        )
        sets = rows.unique().sort(names).with_row_index("set")
        lists = [self._reasons_of(bits) for bits in sets.select(names).iter_rows()]
        found = rows.join(sets, on=names, how="left", maintain_order="left")["set"]
        return pl.Series("tags", lists, dtype=SCHEMA["tags"]).gather(found)

    def _reasons_of(self, bits: tuple[int, ...]) -> list[str] | None:
        has = (reason for place, reason in enumerate(self.tag_reasons) if bits[place // 8] >> place % 8 & 1)
        return list(dict.fromkeys(has)) or None


def num_tag_bytes(reasons: Sequence[str]) -> int:
    """Return the bytes that hold a bit for each of these reasons."""
    return (len(reasons) + 7) // 8


def over_budget_code(num_rules: int, position: int) -> int:
    """Return the code of what the rule of balance at a position leaves over, behind so many rules before balance."""
    return FIRST_RULE_CODE + num_rules + position


def decide(
    documents: pl.DataFrame, rules: Sequence[Rule], is_protected: bool = False, balance: Sequence[str] = ()
) -> Decided:
    """Return what becomes of each document before balance; the first rule that applies decides.

    documents: `CORE_READS`, the columns of the rules, `held_out` where one of them is the rule of the split, and
    `taken_down` where something was.
    is_protected: whether they are of a source that no rule drops from; every rule but the split's then only tags.
    balance: reasons of the rules of balance, for which codes (and tags of protected documents) are set aside.

    reason: the rule's, of an unreadable row its own, of a held-out document the set; null where kept.
    tags: the reasons of the rules that only tag and take a kept document.

    Raises RecipeError where a condition fails on a document, as a CAST of a text that is no number does.
    """
    unreadable = pl.col("read_problem").is_not_null()
    taken_down = pl.col(TAKEDOWN_COLUMN) if TAKEDOWN_COLUMN in documents.columns else pl.lit(False)
    code: Any = pl.when(taken_down).then(_code(TAKEDOWN_CODE)).when(unreadable).then(_code(UNREADABLE_CODE))
    code = code.when(pl.col("text_digest").is_null()).then(_code(NO_TEXT_CODE))
    outcomes = [(KEPT, None), (DROPPED, None), (DROPPED, NO_TEXT), (DROPPED, TAKEDOWN)]
    tagging, split_code = list[Rule](), None
    for position, rule in enumerate(rules, FIRST_RULE_CODE):
        outcomes.append((HELD_OUT if rule.is_split else DROPPED, rule.reason))
        if rule.is_split:
            split_code = position
        elif is_protected or rule.action == TAG:
            tagging.append(rule)
            continue
        code = code.when(_takes(rule)).then(_code(position))
    outcomes += [(OVER_BUDGET, reason) for reason in balance]
    bits = [_takes(rule).cast(pl.UInt8) * (1 << place % 8) for place, rule in enumerate(tagging)]
    sums = [pl.sum_horizontal(bits[start : start + 8]).cast(pl.UInt8) for start in range(0, len(bits), 8)]
    try:
        found = documents.select(
            code.otherwise(_code(KEPT_CODE)).cast(pl.UInt16).alias("code"),
            *(one.alias(f"tags_{position}") for position, one in enumerate(sums)),
        )
    except pl.exceptions.PolarsError:
        # All were worked out together; one by one, the first that fails says so itself.
        for rule in rules:
            if rule.condition is not None:
                holds(documents, rule.condition, f"rule {rule.reason}")
        raise
    codes = found["code"].to_numpy(writable=True)
    _name(codes, outcomes, UNREADABLE_CODE, documents["read_problem"])
    if split_code is not None:
        _name(codes, outcomes, split_code, documents[HELD_OUT_COLUMN])
    reasons = (*(rule.reason for rule in tagging), *(balance if is_protected else ()))
    tags = [found[f"tags_{position}"].to_numpy() for position in range(len(sums))]
    if not any(one.any() for one in tags):
        return Decided(tuple(outcomes), codes, reasons)
    more = num_tag_bytes(reasons) - len(tags)
    tags += [np.zeros(len(codes), np.uint8) for _ in range(more)]
    return Decided(tuple(outcomes), codes, reasons, tuple(tags))


def _code(code: int) -> pl.Expr:
    return pl.lit(code, dtype=pl.UInt16)


def _name(codes: NDArray[np.uint16], outcomes: list[Outcome], code: int, reasons: pl.Series) -> None:
    """Give the documents of a code one code for each of their own reasons."""
    rows = np.flatnonzero(codes == code)
    if rows.size:
        own = reasons.gather(rows)
        known = sorted(own.unique())
        codes[rows] = own.replace_strict(known, range(len(outcomes), len(outcomes) + len(known))).to_numpy()
        outcomes += [(outcomes[code][0], reason) for reason in known]


def _takes(rule: Rule) -> pl.Expr:
    if rule.drop is not None:
        return parse_condition(rule.drop).fill_null(False)
    if rule.keep is not None:
        return ~parse_condition(rule.keep).fill_null(False)
    return pl.col(HELD_OUT_COLUMN).is_not_null()
