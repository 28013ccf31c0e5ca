"""Balance: how much of a group of documents is kept, by any columns; the rest is left over, and counted.

Rules work on the documents that every filter kept, in the order of the recipe, each on what the rules before it left. A
document goes over budget for the first rule that has no room for it; nothing is ever repeated to fill a quota.

A group is all documents with equal values of the columns `by`. A document with a null in one of them, or for which
`where` is not true, takes no part: it stays, and is counted. A group with a quota keeps documents up to its amount, any
other up to the cap; without a cap all of it stays. Sizes are those of the text as it was read.

Documents are taken one after the other: first those of protected sources, then by `prefer` (higher first; null and NaN
last), then by a hash of the doc_id seeded with `seed` and the rule's reason, then by doc_id. One that does not fit into
what is left of the room is passed over, smaller ones behind it may still fit; so no more is kept than was asked for,
and of documents exactly that many where there are enough. Protected documents always stay and use up room, also where
they are more than it holds: whoever of them does not fit, and all of them behind it, get the reason as a tag.

What a quota asked for and is not kept in the end is reported as `missing`: because too little came, because what came
did not fit (less than one document is missing then), or because a later rule took of it. A quota for a value that no
document of the corpus has, kept or not, is an error.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from engine.base.stage import StrictModel
from engine.select.conditions import Condition, condition_columns
from engine.select.grouping import stored_columns

Value = str | bool | int
"""A value of a column that documents are grouped by."""


class Quota(StrictModel):
    """How much of one group is wanted."""

    group: dict[str, Value] = Field(min_length=1, description="column -> value, for every column of `by`")
    amount: int = Field(ge=1, description="how much of it is kept, in the rule's unit")


class Rule(StrictModel):
    """One rule: the groups, and how much of each is kept."""

    reason: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="reason of the documents it leaves over")
    by: tuple[str, ...] = Field(
        min_length=1,
        description="columns whose values make the groups, of text, whole numbers or truth; url_host works",
    )
    unit: Literal["documents", "bytes", "tokens"] = Field(
        default="documents", description="what is counted; tokens are those of the recipe's first stage tokens"
    )
    cap: int | None = Field(default=None, ge=0, description="the most of every group that has no quota of its own")
    quotas: tuple[Quota, ...] = Field(default=(), description="groups of which a certain amount is wanted")
    prefer: str | None = Field(
        default=None, description="column of numbers, higher first, by which documents are taken; null: drawn by `seed`"
    )
    where: Condition | None = Field(default=None, description="SQL condition; other documents take no part, and stay")
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of the order in which documents are taken")

    @field_validator("quotas", mode="before")
    @classmethod
    def _lists(cls, quotas: Any) -> Any:
        if isinstance(quotas, Mapping):
            needed = "a list of quotas, such as - {group: {language: en}, amount: 1000}"
            raise ValueError(f"got {dict(quotas)!r}. Needed: {needed}")
        return quotas

    @model_validator(mode="after")
    def _is_whole(self) -> "Rule":
        if self.cap is None and not self.quotas:
            raise ValueError("it names neither a cap nor quotas, so it would leave everything as it is")
        repeated = next((name for name in self.by if self.by.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"it groups by {repeated} twice; once each")
        groups = []
        for quota in self.quotas:
            if set(quota.group) != set(self.by):
                raise ValueError(f"a quota names {', '.join(quota.group)}; the rule groups by {', '.join(self.by)}")
            groups.append(tuple(quota.group[name] for name in self.by))
        twice = next((group for group in groups if groups.count(group) > 1), None)
        if twice is not None:
            raise ValueError(f"two quotas for {', '.join(map(str, twice))}; one each")
        return self


def balance_columns(rule: Rule) -> tuple[str, ...]:
    """Return the columns a rule reads, those of its unit left out."""
    preferred = [rule.prefer] if rule.prefer else []
    return tuple(dict.fromkeys([*stored_columns(rule.by), *preferred, *condition_columns(rule.where)]))
