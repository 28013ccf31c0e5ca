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
whichever recipe made them: a training run names a mixture, not a recipe.

Whoever opens a version has manifest.json compared with its receipt, and whoever reads its documents that file (10 ms
per million documents); `provender mixture verify` compares all the rest. The manifest as a JSON schema:
engine.formats.manifest_schema.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import polars as pl
from pydantic import Field

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem, unknown
from engine.base.hashing import digest_file
from engine.base.stage import StrictModel
from engine.formats.json_model import read_model
from engine.formats.parquet import read_parquet, read_parquet_where
from engine.formats.receipt import NAME as RECEIPT
from engine.formats.receipt import Receipt, read_receipt
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace

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


UNAUDITED = "unaudited"
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


@dataclass(frozen=True)
class Mixture:
    """One version of a mixture."""

    folder: Path
    manifest: Manifest

    @property
    def reference(self) -> str:
        """name@v<version>."""
        return f"{self.manifest.name}@v{self.manifest.version}"

    @cached_property
    def receipt(self) -> Receipt | None:
        """What made it, with the digests of its files."""
        return read_receipt(self.folder)

    def documents(self, columns: list[str] | None = None) -> pl.DataFrame:
        """Return the documents (DOCUMENTS_SCHEMA, or some of its columns), in the order of the curriculum.

        Raises InputError where the file is not the one that was written with the manifest.
        """
        if not self._has_own_documents:
            _refuse(self.folder / "documents.parquet")
        return read_parquet(self.folder / "documents.parquet", columns)

    def documents_where(self, condition: pl.Expr) -> pl.DataFrame:
        """Return the documents for which a condition holds, in their order; raises as `documents`."""
        if not self._has_own_documents:
            _refuse(self.folder / "documents.parquet")
        return read_parquet_where(self.folder / "documents.parquet", condition)

    def require_size_of_documents(self) -> None:
        """Raise InputError where documents.parquet has another size than it was written with; reads none of it."""
        path = self.folder / "documents.parquet"
        size = self.receipt.details.get("bytes", {}).get(path.name) if self.receipt is not None else None
        if size is not None and (not path.is_file() or path.stat().st_size != size):
            _refuse(path)

    @property
    def is_unaudited(self) -> bool:
        """Whether it awaits its audits."""
        return (self.folder / UNAUDITED).exists()

    @cached_property
    def _has_own_documents(self) -> bool:
        return not changed_files(self.folder, self.receipt, ["documents.parquet"])

    def state(self) -> RecipeState | None:
        """Return where the artifacts lie that it was made from, None where it was not written down.

        Raises InputError where the file is damaged.
        """
        path = self.folder / "state.json"
        fix = f"restore it from a copy; or delete {self.folder} and run the recipe again, which builds a version anew"
        return read_model(path, RecipeState, fix) if path.is_file() else None

    def require_state(self) -> RecipeState:
        """Return the same; raises InputError where it was not written down."""
        state = self.state()
        if state is None:
            found, fix = "it does not say where the artifacts lie that it was made from", "run the recipe again"
            raise InputError(problem(self.folder, found, "state.json beside its manifest", fix))
        return state


def role_label(source: str, is_replay: bool) -> str:
    """Return the name of a source in its role: replay is told apart from the same source as domain text."""
    return f"{source} (replay)" if is_replay else source


def mixture_versions(workspace: Workspace, name: str) -> list[Mixture]:
    """Return the finished versions of a mixture, oldest first; raises InputError where a manifest was changed."""
    return [read_mixture(folder) for folder in version_folders(workspace, name).values()]


def readable_versions(
    workspace: Workspace, current: Collection[str] = (), is_audit: bool = False
) -> tuple[list[Mixture], str | None]:
    """Return the versions that are as they were written, and what is wrong with the others, None where nothing is.

    One that awaits its audits is there only where it is in `current` (references), as it is for the audits. To
    them (`is_audit`) it is nothing what is wrong with versions that are not.
    """
    found, damage = [], []
    for name in mixture_names(workspace):
        for number, folder in version_folders(workspace, name, unaudited=True).items():
            is_current = f"{name}@v{number}" in current
            if (folder / UNAUDITED).exists() and not is_current:
                continue
            try:
                mixture = read_mixture(folder)
                mixture.require_size_of_documents()
                found.append(mixture)
            except InputError as error:
                if is_current or not is_audit:
                    damage.append(str(error))
    return found, "\n".join(damage) or None


def version_folders(workspace: Workspace, name: str, unaudited: bool = False) -> dict[int, Path]:
    """Return number -> folder of the finished versions of a mixture, oldest first.

    unaudited: also those that await their audits, which are for the audits and for who builds the same again.
    """
    folder = workspace.root / "mixtures" / name
    numbers = sorted(int(path.name[1:]) for path in folder.glob("v*") if re.fullmatch(r"v[0-9]+", path.name))
    there = {number: folder / f"v{number}" for number in numbers}
    return {
        number: path
        for number, path in there.items()
        if (path / RECEIPT).is_file() and (unaudited or not (path / UNAUDITED).exists())
    }


def mixture_names(workspace: Workspace) -> list[str]:
    """Return the names of all mixtures of the workspace."""
    folder = workspace.root / "mixtures"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def open_mixture(workspace: Workspace, reference: str) -> Mixture:
    """Open `name`, `name@latest`, `name@v<number>` or `name@<digest>`.

    Raises InputError that lists what there is, or says that its manifest was changed since it was written.
    """
    return read_mixture(version_folder(workspace, reference))


def version_folder(workspace: Workspace, reference: str, unaudited: bool = False) -> Path:
    """Return the folder of the version that `reference` names, whatever its files hold; raises as `open_mixture`.

    unaudited: as for `version_folders`.
    """
    name, _, version = reference.partition("@")
    names = mixture_names(workspace)
    if name not in names:
        raise InputError(unknown(workspace.root, "mixture", name, names))
    folders = version_folders(workspace, name, unaudited)
    digests = {number: _digest(folder) for number, folder in folders.items()}
    if version in ("", "latest"):
        matches = list(folders)[-1:]
    elif re.fullmatch(r"v[0-9]+", version):
        matches = [number for number in folders if number == int(version[1:])]
    else:
        matches = [n for n, digest in digests.items() if len(version) >= 6 and digest.startswith(version.lower())]
    if len(matches) != 1:
        if not digests:
            raise InputError(problem(name, "it has no finished version", fix="run the recipe that builds it"))
        have = ", ".join(f"v{number} ({digest[:12] or 'damaged'})" for number, digest in digests.items())
        found = "several versions match" if matches else "there is no such version"
        raise InputError(problem(reference, found, f"one of {have}", f"{name}@v1, {name}@latest or {name}@<digest>"))
    return folders[matches[0]]


def read_mixture(folder: Path, is_checked: bool = True) -> Mixture:
    """Read the version in a folder; raises InputError where its manifest is not the one its receipt names.

    is_checked: False reads whatever is there; a manifest that is no manifest raises ValueError then.
    """
    path = folder / "manifest.json"
    if is_checked and changed_files(folder, read_receipt(folder), [path.name]):
        _refuse(path)
    return Mixture(folder, Manifest.model_validate(read_json(path)))


def changed_files(folder: Path, receipt: Receipt | None, names: Iterable[str]) -> list[str]:
    """Return those of the files whose bytes are not those the receipt names, or that are gone."""
    digests = receipt.details.get("files", {}) if receipt is not None else {}
    sizes = receipt.details.get("bytes", {}) if receipt is not None else {}
    return [
        name
        for name in names
        if name in digests
        and (
            not (folder / name).is_file()
            or (folder / name).stat().st_size != sizes.get(name, (folder / name).stat().st_size)
            or digest_file(folder / name) != digests[name]
        )
    ]


def _refuse(path: Path) -> NoReturn:
    found = "it was changed since the version was written" if path.is_file() else "it is gone"
    needed = "the file that receipt.json beside it names: a version never changes"
    fix = f"restore it from a copy; or delete {path.parent}, change the recipe and run it, which makes a new version"
    raise InputError(problem(path, found, needed, fix))


def _digest(folder: Path) -> str:
    """Return the digest of a version; of one whose receipt is damaged none, so that its number still leads to it."""
    try:
        receipt = read_receipt(folder)
    except InputError:
        return ""
    return receipt.digest if receipt is not None else ""
