"""What the configurations of all readers share: which column is what, where files are, what becomes of bad rows."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.base.errors import InputError, problem, unknown
from engine.base.stage import SourceConfig
from engine.formats.columns import STATED, ReadProblem

MAPPABLE = ("text", "id", *STATED)
"""Core columns that `columns:` may take from a column of the source."""

_LIKELY = {
    "text": ("body", "content", "document", "article", "raw_content", "markdown"),
    "id": ("uid", "uuid", "doc_id", "key"),
}


class ReaderConfig(SourceConfig):
    """A source of ours: what `columns` says is checked against itself when the recipe is read."""

    @model_validator(mode="after")
    def _columns_make_sense(self) -> Self:
        for name in self.columns:
            if name not in MAPPABLE:
                raise ValueError(unknown("columns", "core column", name, MAPPABLE))
            if name in STATED and getattr(self, name) is not None:
                found = f"taken from column '{self.columns[name]}' and stated as '{getattr(self, name)}' for all"
                raise ValueError(problem(name, found, "one of the two", f"remove {name} from columns, or the constant"))
        return self

    @property
    def default_columns(self) -> dict[str, str]:
        """Core column -> column of the source, where the recipe's `columns` does not say otherwise."""
        return {"text": "text"}

    @property
    def has_messages(self) -> bool:
        """Whether the reader yields chats: a column `messages` (engine.formats.messages) beside the text."""
        return False

    @property
    def mapping(self) -> dict[str, str]:
        """Core column -> column of the source, defaults included."""
        return self.default_columns | self.columns


class FileConfig(ReaderConfig):
    """A source that is made of files."""

    path: str | list[str] = Field(
        description="file pattern or list of patterns (*, ?, ** for any depth), relative to the recipe's folder, "
        "or where nothing is there to the current folder"
    )
    on_bad_row: Literal["error", "drop"] = Field(
        default="error",
        description="error: stop at the first row that cannot be read; drop: keep it as a document without text, "
        "which the selection drops and the ledger counts by its problem",
    )

    @field_validator("path")
    @classmethod
    def _some_path(cls, value: str | list[str]) -> str | list[str]:
        if not value or not all([value] if isinstance(value, str) else value):
            raise ValueError("an empty path; write a file pattern such as data/*.jsonl")
        return value

    @property
    def patterns(self) -> list[str]:
        """The patterns of `path` as a list."""
        return [self.path] if isinstance(self.path, str) else list(self.path)


def row_problem(place: object, found: str, kind: ReadProblem, config: FileConfig) -> str:
    """Return `kind` where the recipe lets bad rows go; else raise InputError that names the place and the way out."""
    if config.on_bad_row == "drop":
        return kind
    raise InputError(problem(place, found, fix=f"mend it, or set on_bad_row: drop to leave such rows out as '{kind}'"))


def missing_column(path: Path, core: str, column: str, columns: list[str]) -> InputError:
    """Return the error for a file without the column that `core` is taken from."""
    listed = ", ".join(columns) if columns else "none"
    if core == "text" and "messages" in columns:
        return InputError(
            problem(
                path,
                f"no column '{column}', but 'messages': these are chat records",
                "documents of one text each",
                "read them with stage: chat",
            )
        )
    needed = f"the column that '{core}' is taken from (have: {listed})"
    return InputError(problem(path, f"no column '{column}'", needed, f"columns: {{{core}: {_likely(core, columns)}}}"))


def _likely(core: str, columns: list[str]) -> str:
    likely = next((name for name in _LIKELY.get(core, ()) if name in columns), None)
    return likely or ("<one of these>" if columns else "<column>")
