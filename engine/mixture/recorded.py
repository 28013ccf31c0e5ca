"""Artifacts against what their receipts, or those that refer to them, recorded of their files and digests."""

from collections.abc import Mapping
from pathlib import Path

from engine.base.errors import InputError, problem
from engine.base.hashing import digest_file
from engine.formats.receipt import Receipt, read_receipt


def files_of(folder: Path, key: str = "files") -> tuple[Receipt, list[str]]:
    """Return the receipt, and a message for each file whose bytes are not those it names under `key` of its details.

    Raises InputError where there is no receipt, or it names no files.
    """
    receipt = read_receipt(folder)
    if receipt is None:
        raise InputError(problem(folder, "it is not there, or not finished"))
    if key not in receipt.details:
        raise InputError(problem(folder / "receipt.json", "it names no files"))
    return receipt, changed({folder / name: digest for name, digest in receipt.details[key].items()})


def changed(digests: Mapping[Path, str]) -> list[str]:
    """Return a message for each file that is gone, or has another digest."""
    return [
        problem(path, "its bytes changed since it was written" if path.is_file() else "it is gone")
        for path, digest in digests.items()
        if not path.is_file() or digest_file(path) != digest
    ]


def not_there(folder: Path, digest: str) -> list[str]:
    """Return a message where a folder has no receipt, or one with another digest."""
    receipt = read_receipt(folder)
    if receipt is None:
        return [problem(folder, "it is not there, or not finished", "what the mixture was made from")]
    return differing(folder, {"digest": receipt.digest}, {"digest": digest})


def differing(place: object, said: Mapping[str, object], computed: Mapping[str, object]) -> list[str]:
    """Return a message for each name whose computed value is not the one said."""
    return [
        problem(place, f"{name} is said to be {said.get(name)}", f"{value}, as computed from what is there")
        for name, value in computed.items()
        if said.get(name) != value
    ]
