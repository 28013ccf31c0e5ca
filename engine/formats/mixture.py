"""Versions of mixtures as they lie in a workspace: which there are, and one of them opened.

Whoever opens a version has manifest.json compared with its receipt, and whoever reads its documents that file (10 ms
per million documents); `provender mixture verify` compares all the rest. engine.formats.manifest says what is in them.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import polars as pl

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem, unknown
from engine.base.hashing import digest_file
from engine.formats.json_model import read_model
from engine.formats.manifest import Manifest
from engine.formats.parquet import read_parquet, read_parquet_where
from engine.formats.receipt import NAME as RECEIPT
from engine.formats.receipt import Receipt, read_receipt
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace

UNAUDITED = "unaudited"
"""File of a version that awaits its audits."""


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
