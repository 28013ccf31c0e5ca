"""Decisions: every document is kept, dropped or held out, for exactly one reason, the first rule that applies.

Before all rules of a recipe: a row that could not be read is dropped for its own reason, one without text for
`no_text`.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
from pydantic import Field, model_validator

from engine.base.stage import StrictModel
from engine.formats.ledger import SCHEMA as LEDGER
from engine.formats.selection import DROPPED, HELD_OUT, KEPT, SCHEMA
from engine.select.filters import DROP, TAG, Action, condition_columns, parse_condition

NO_TEXT = "no_text"
CORE_READS = ("read_problem", "text_digest")
"""What the first two rules read; the digest is null where a text is missing, empty or white space."""
HELD_OUT_COLUMN = "held_out"
"""Column of the frame that names the held-out set of a document's group, else null."""
STEP = "selection"


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
    def is_split(self) -> bool:
        """Whether it takes the members of held-out groups."""
        return self.drop is None and self.keep is None


def rule_columns(rule: Rule) -> tuple[str, ...]:
    """Return the columns a rule's condition reads, sorted; none for the rule of the split."""
    condition = rule.drop if rule.drop is not None else rule.keep
    return condition_columns(condition) if condition is not None else ()


def decide(documents: pl.DataFrame, rules: Sequence[Rule], is_protected: bool = False) -> pl.DataFrame:
    """Return `decision`, `reason` and `tags` of each document (engine.formats.selection); the first rule decides.

    documents: `CORE_READS`, the columns of the rules, and `held_out` where one of them is the rule of the split.
    is_protected: whether they are of a source that no rule drops from; every rule but the split's then only tags.

    reason: the rule's, of an unreadable row its own, of a held-out document the set; null where kept.
    tags: the reasons of the rules that only tag and take a kept document; null where there are none.
    """
    unreadable, no_text = pl.col("read_problem").is_not_null(), pl.col("text_digest").is_null()
    decision: Any = pl.when(unreadable | no_text).then(pl.lit(DROPPED))
    reason: Any = pl.when(unreadable).then("read_problem").when(no_text).then(pl.lit(NO_TEXT))
    tagging = []
    for rule in rules:
        takes = _takes(rule)
        if not rule.is_split and (is_protected or rule.action == TAG):
            tagging.append(pl.when(takes).then(pl.lit(rule.reason)))
            continue
        decision = decision.when(takes).then(pl.lit(HELD_OUT if rule.is_split else DROPPED))
        reason = reason.when(takes).then(pl.col(HELD_OUT_COLUMN) if rule.is_split else pl.lit(rule.reason))
    decided = documents.select(
        decision.otherwise(pl.lit(KEPT)).alias("decision"),
        reason.otherwise(pl.lit(None, dtype=pl.String)).alias("reason"),
        (pl.concat_list(tagging).list.drop_nulls() if tagging else pl.lit(None)).alias("tags"),
    ).cast(SCHEMA)  # type: ignore[arg-type]
    has_tags = (pl.col("decision") == KEPT) & (pl.col("tags").list.len() > 0)
    return decided.with_columns(tags=pl.when(has_tags).then("tags"))


def ledger_rows(
    decisions: pl.DataFrame, num_bytes: pl.Series, source: str, cut_bytes: pl.Series, cut_by: str
) -> pl.DataFrame:
    """Return the ledger of some documents of one source: what came in, and what became of it by decision and reason.

    num_bytes, cut_bytes: integers, bytes of the text of each document and how many of them are cut out of a kept one.
    cut_by: what stands as the reason of `cut`, which has bytes and no documents. Rows are sorted; tokens are null.
    """
    is_kept = pl.col("decision") == KEPT
    documents = decisions.with_columns(bytes=num_bytes, cut=pl.when(is_kept).then(cut_bytes).otherwise(0))
    counts = [pl.len().alias("documents"), pl.col("bytes").sum()]
    came_in = documents.select(pl.lit("in").alias("outcome"), pl.lit(None, dtype=pl.String).alias("reason"), *counts)
    left = [pl.len().alias("documents"), (pl.col("bytes") - pl.col("cut")).sum()]
    outcomes = documents.group_by(pl.col("decision").alias("outcome"), "reason").agg(left)
    cut = documents.select(pl.lit("cut").alias("outcome"), pl.lit(cut_by).alias("reason"), pl.col("cut").sum())
    cut = cut.select("outcome", "reason", pl.lit(0).alias("documents"), pl.col("cut").alias("bytes"))
    rows = pl.concat(
        [came_in, outcomes.sort("outcome", "reason"), cut.filter(pl.col("bytes") > 0)], how="vertical_relaxed"
    )
    return rows.select(
        pl.lit(STEP).alias("step"), pl.lit(source).alias("source"), pl.all(), pl.lit(None).alias("tokens")
    ).cast(LEDGER)  # type: ignore[arg-type]


def final_survivors(documents: pl.DataFrame) -> pl.Series:
    """Return for each document the doc_id of the one that stays for it in the end, null where it stays itself.

    documents: doc_id, exact_dup__kept_id, near_dup__kept_id of the whole corpus. An exact duplicate names its
    representative, which may itself have gone for a near-duplicate; that one always stays, so two steps are enough.
    """
    onward = documents.select(pl.col("doc_id").alias("exact_dup__kept_id"), pl.col("near_dup__kept_id").alias("final"))
    return (
        documents.join(onward, on="exact_dup__kept_id", how="left", maintain_order="left")
        .select(pl.coalesce("final", "exact_dup__kept_id", "near_dup__kept_id").alias("final_survivor"))
        .to_series()
    )


def _takes(rule: Rule) -> pl.Expr:
    if rule.drop is not None:
        return parse_condition(rule.drop).fill_null(False)
    if rule.keep is not None:
        return ~parse_condition(rule.keep).fill_null(False)
    return pl.col(HELD_OUT_COLUMN).is_not_null()
