"""The mixture manifest: the contract between curation and training, and the list of its documents.

mixtures/<name>/v<version>/
    manifest.json       Manifest
    documents.parquet   DOCUMENTS_SCHEMA, in the order of the curriculum; `document` is the position
    ledger.parquet      what the budget took and left, per source (engine.formats.ledger)
    state.json          where the artifacts lie that it was made from (engine.formats.state); no content
    receipt.json        with the digest and the size of each of the others
    unaudited           empty; there until the audits of a new version hold, and nobody finds the version before

A version never changes; building the same content again returns the old number. `name@v2`, `name@latest` (the highest
number; also plain `name`) and `name@<digest>` (at least 6 hex digits) name one version. Versions are numbered per name,
whichever recipe made them: a training run names a mixture, not a recipe. engine.formats.mixture opens them; the
manifest as a JSON schema: engine.formats.manifest_schema.
"""

from typing import Any

import polars as pl
from pydantic import Field

from engine.base.stage import StrictModel

DOCUMENTS_SCHEMA = {
    "document": pl.UInt32,
    "doc_id": pl.Binary,
    "source": pl.String,
    "is_replay": pl.Boolean,
    "phase": pl.UInt8,  # position in the manifest's phases; a document used in two phases stands twice
    "store_row": pl.UInt32,  # row in the token store's documents.parquet
    "num_tokens": pl.Int32,  # of one use, EOS and control tokens included
    "supervised_tokens": pl.Int32,  # of one use, when not cut
    "repeats": pl.UInt16,  # how often the document is used in this phase, at least 1
}

OBJECTIVES = ("text", "answers", "last_answer")
"""What of a document is supervised: every token; of chats the assistant's turns, or the last of them."""


class Phase(StrictModel):
    """A part of the training with weights and an order of its own; phases follow one another, row by row."""

    name: str
    curriculum: str = Field(description="order of its documents, with the column it goes by")
    budget_tokens: int = Field(description="supervised tokens planned, repeats and replay included")
    documents: int = Field(description="distinct documents used")
    tokens: int = Field(description="tokens, repeats included")
    supervised_tokens: int = Field(description="labels, repeats included")

    @property
    def is_ordered(self) -> bool:
        """Whether the order of its documents is more than one of many shuffled ones."""
        return self.curriculum != "shuffled"


class Derivation(StrictModel):
    """The version a version was made from, where it was not built by a recipe alone."""

    how: str = Field(description="takedown or extend")
    reference: str = Field(description="name@v<version>")
    digest: str = Field(description="digest of that version")
    removed: list[str] = Field(default_factory=list, description="doc_ids that left, in hex")
    added: int = Field(default=0, description="documents that came in")
    reason: str | None = Field(default=None, description="what the user gave as the reason")


class MixtureSource(StrictModel):
    """One source in one phase; a source used as domain text and as replay stands twice."""

    source: str
    is_replay: bool
    phase: int = Field(description="position in `phases`")
    objective: str = Field(description="text, answers or last_answer: what is supervised")
    input_digest: str = Field(description="digest of the source's documents")
    budget_tokens: int = Field(
        description="supervised tokens planned, repeats included; what one source of replay leaves of it another gives"
    )
    available_documents: int = Field(description="kept by the selection")
    available_tokens: int
    documents: int = Field(description="distinct documents used")
    unique_tokens: int = Field(description="tokens of the distinct documents")
    first_documents: int = Field(description="documents that no row before this one uses; they add up")
    first_tokens: int = Field(description="tokens of those; over all rows, tokens of distinct documents")
    tokens: int = Field(description="tokens, repeats included")
    supervised_tokens: int = Field(description="labels, repeats included")
    max_repeats: int = Field(description="the most often any document is used")
    licenses: dict[str, int] = Field(
        default_factory=dict, description="licence -> documents; 'unknown' where none is stated"
    )


class HeldOutSet(StrictModel):
    """A held-out set that every document of the mixture was searched for."""

    set: str
    documents: int
    bytes: int
    searched_documents: int = Field(description="documents of the mixture searched for passages of it, replay included")
    contaminated_documents: int = Field(description="documents that hold a passage of it, over all sources")
    matchable_documents: int | None = Field(default=None, description="its documents that a search can find at all")
    planted_recall: float | None = Field(default=None, description="share of planted copies the search found, 0 to 1")
    found: list[str] = Field(
        default_factory=list, description="doc_ids of documents of the mixture that hold a passage of it all the same"
    )


class SearchedBenchmark(StrictModel):
    """A benchmark that every document of the mixture was searched for."""

    name: str
    digest: str = Field(description="digest of its items (engine.formats.items)")
    stored: str = Field(description="digest of its items with their names and order: where they lie")
    items: int
    matchable_items: int = Field(description="items that a search can find at all")
    searched_documents: int = Field(description="documents of the mixture searched for it, replay included")
    found: list[str] = Field(default_factory=list, description="doc_ids of documents of the mixture that hold an item")
    planted_recall: float | None = Field(default=None, description="share of planted copies the search found, 0 to 1")
    control_flag_rate: float | None = Field(
        default=None, description="share of documents of its shuffled items flagged"
    )


class Audit(StrictModel):
    """The token store decoded and searched again for all of `held_out` and `benchmarks`."""

    digest: str
    documents: int = Field(description="documents of the token store that were decoded and searched: all of them")
    tokens: int


class Manifest(StrictModel):
    """Everything a training run must know about its data; sums are integers, digests 32 hex digits."""

    format: int = 2
    name: str
    version: int
    digest: str = Field(description="digest of the content: what is trained on, and what is promised of it")
    recipe: str = Field(description="name of the data recipe")
    recipe_digest: str = Field(description="digest of the whole recipe, defaults written out")
    derived_from: Derivation | None = Field(default=None, description="null where a recipe built it")
    tokenizer: str
    token_store: str
    template: str | None = Field(default=None, description="chat template that rendered it; null without chats")
    render: dict[str, Any] = Field(
        default_factory=dict, description="how documents became ids: BOS, template and its digest, control tokens"
    )
    control_tokens: dict[str, int] = Field(default_factory=dict, description="control token -> its id")
    selection: str
    split: str | None = None
    seed: int
    curriculum: str = Field(description="order of the documents; of several phases, theirs one after the other")
    phases: list[Phase] = Field(min_length=1)
    replay_share: float | None = Field(description="asked for, as a share of supervised tokens")
    sources: list[MixtureSource]
    held_out: list[HeldOutSet] = Field(default_factory=list)
    benchmarks: list[SearchedBenchmark] = Field(default_factory=list)
    coverage: str | None = Field(default=None, description="digest of the coverage sheet of the search")
    audit: Audit | None = Field(default=None, description="null where no stage searches for anything")
    models: dict[str, str] = Field(
        default_factory=dict, description="column prefix -> digest of the files of the model its stage asked"
    )
    documents: int = Field(description="distinct documents used")
    tokens: int = Field(description="tokens, repeats included")
    supervised_tokens: int = Field(description="labels, repeats included")
    licenses: dict[str, int] = Field(
        default_factory=dict, description="licence -> distinct documents used; 'unknown' where none is stated"
    )
    texts: str = Field(default="", description="digest of the texts and control tokens of the documents, in order")
    n_eff_before: float = Field(description="effective number of sources exp(H) of the kept tokens, rounded to 1e-4")
    n_eff_after: float = Field(description="the same of the mixture's tokens")
    n_eff_documents_before: float = Field(description="n_eff_before of the kept documents")
    n_eff_documents_after: float = Field(description="n_eff_after of the distinct documents used")
    schedule: str = Field(description="digest of the schedule built with it")
    row_tokens: int
    rows_per_step: int
    num_steps: int
    config: dict[str, Any] = Field(
        default_factory=dict, description="the mixture's part of the recipe, defaults included"
    )


def role_label(source: str, is_replay: bool) -> str:
    """Return the name of a source in its role: replay is told apart from the same source as domain text."""
    return f"{source} (replay)" if is_replay else source
