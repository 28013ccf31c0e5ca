"""Real text that every Python environment carries: descriptions, licences, documentation strings, source code.

The input of the demo; nothing is downloaded and no module is imported. Only packages with a list of their files (all
that pip and its like install) are read; editable installations have none. The own id of a document is its distribution
(or `stdlib`) with the path inside, so it does not depend on where the environment is. Files that are no text stay as
documents without text and with the problem `invalid_utf8`, source that this Python cannot parse with `broken_source`.
A file that holds nothing of its kind (an empty module, a module without documentation strings) is no document.

    {stage: python_env, name: docs, kind: docstrings, packages: stdlib}
"""

import ast
import email
import inspect
import io
import sys
import textwrap
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from engine.base.errors import InputError, problem, unknown
from engine.base.hashing import digest_bytes
from engine.sources._columns import to_table
from engine.sources._config import ReaderConfig
from engine.sources._environment import (
    STDLIB,
    Member,
    distribution_members,
    installed_names,
    is_license,
    is_source,
    normalised,
    stdlib_members,
)

VERSION = 1
IN_PLACE = False
Kind = Literal["descriptions", "licenses", "docstrings", "source"]


class Config(ReaderConfig):
    """Text of the Python environment."""

    stage: Literal["python_env"] = "python_env"
    kind: Kind = Field(description="descriptions and licenses of packages; docstrings or source of their modules")
    packages: Literal["stdlib", "installed"] | list[str] = Field(
        description="stdlib: the standard library; installed: all packages (licenses: Python's too); or package names"
    )
    exclude: list[str] = Field(
        default=["provender", "test"],
        description="packages to leave out; of the standard library, top-level modules (test: its own tests)",
    )
    max_bytes: int | None = Field(
        default=None,
        ge=1,
        description="bytes of files to read at most; files are taken in the order of a hash of their name, up to the "
        "first that no longer fits",
    )

    @model_validator(mode="after")
    def _has_such_files(self) -> Self:
        if self.kind == "descriptions" and self.packages == STDLIB:
            raise ValueError("the standard library has no descriptions. Needed: packages: installed, or package names")
        return self

    @property
    def default_columns(self) -> dict[str, str]:
        """The columns this reader makes of the environment."""
        return {"text": "text", "id": "id", "license": "license", "url": "url"}


def files(config: Config, base: Path) -> list[Path]:  # noqa: ARG001 - the contract of readers
    """Return the files that are read, in the order of their names, METADATA of licence and home page included.

    Raises InputError for a package that is not installed, or where nothing is left to read.
    """
    members = _members(config.kind, _key(config), tuple(config.exclude), tuple(sys.path))
    wanted = [member for member in members.values() if _is_wanted(member, config.kind)]
    chosen = set(_within_budget(wanted, config.max_bytes))
    if not chosen:
        left = f" within {config.max_bytes:,} bytes" if wanted else ""
        found = f"no file of kind '{config.kind}'{left} in packages: {config.packages}"
        raise InputError(
            problem(f"source {config.name}", found, "at least one", "choose other packages or another kind")
        )
    used = {member.distribution for member in chosen}
    return [m.path for m in members.values() if m in chosen or (m.is_metadata and m.distribution in used)]


def read(path: Path, config: Config) -> Iterator[pa.Table]:
    """Yield the one document of a file, if it holds one: id, text, license, url, distribution, file."""
    member = _members(config.kind, _key(config), tuple(config.exclude), tuple(sys.path)).get(path)
    if member is None:
        raise InputError(problem(path, "it is no file of this environment any more", fix="run the recipe again"))
    if not _is_wanted(member, config.kind):
        return
    text, trouble = _text(path, config.kind)
    if trouble is None and (text is None or not text.strip()):
        return
    row = {
        "id": member.name,
        "text": text,
        "license": member.license,
        "url": member.url,
        "distribution": member.distribution,
        "file": member.name.partition("/")[2],
    }
    yield to_table(path, [row], [trouble])


def file_name(path: Path, config: Config) -> str:
    """Return the name of a file that does not depend on where the environment is."""
    return _members(config.kind, _key(config), tuple(config.exclude), tuple(sys.path))[path].name


def _key(config: Config) -> str | tuple[str, ...]:
    return config.packages if isinstance(config.packages, str) else tuple(config.packages)


@lru_cache(maxsize=16)
def _members(
    kind: Kind, packages: str | tuple[str, ...], exclude: tuple[str, ...], _search_path: tuple[str, ...]
) -> dict[Path, Member]:
    """Return path -> member for everything that may be read, in the order of names; each file once."""
    excluded = {normalised(name) for name in exclude}
    found: list[Member] = []
    if packages == STDLIB or (packages == "installed" and kind == "licenses"):
        found += [m for m in stdlib_members() if normalised(m.name.split("/")[1].removesuffix(".py")) not in excluded]
    if packages == "installed":
        found += distribution_members(name for name in installed_names() if name not in excluded)
    elif packages != STDLIB:
        known = installed_names()
        for name in packages:
            if normalised(name) not in known:
                raise InputError(unknown("packages", "installed package", name, known))
        found += distribution_members(name for name in map(normalised, packages) if name not in excluded)
    by_path: dict[Path, Member] = {}
    for member in sorted(found, key=lambda m: m.name):
        by_path.setdefault(member.path, member)
    return by_path


def _is_wanted(member: Member, kind: Kind) -> bool:
    match kind:
        case "descriptions":
            return member.is_metadata
        case "licenses":
            return is_license(member)
        case _:
            return is_source(member)


def _within_budget(members: Sequence[Member], max_bytes: int | None) -> list[Member]:
    if max_bytes is None:
        return list(members)
    chosen, left = [], max_bytes
    for member in sorted(members, key=lambda m: digest_bytes(m.name.encode())):
        size = member.path.stat().st_size
        if size > left:
            # Going on with smaller files would fill the sample with empty modules.
            break
        chosen.append(member)
        left -= size
    return chosen


def _text(path: Path, kind: Kind) -> tuple[str | None, str | None]:
    """Return the text of a file, and why it could not be read."""
    data = path.read_bytes()
    try:
        if kind in ("source", "docstrings"):
            # Python files may state another encoding in their first lines.
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            text = data.decode(encoding)
        else:
            text = data.decode("utf-8-sig")
    except (UnicodeDecodeError, SyntaxError):  # the latter: an unknown encoding
        return None, "invalid_utf8"
    if kind == "docstrings":
        return _docstrings(text)
    return (_description(text) if kind == "descriptions" else text), None


def _description(metadata: str) -> str | None:
    message = email.message_from_string(metadata)
    text = message["Description"]
    if text is None:
        text = str(message.get_payload())
    else:  # the old place; continuation lines are indented, the newest of the old way with a bar
        first, _, rest = str(text).partition("\n")
        text = f"{first}\n{textwrap.dedent(rest)}"
    return None if text.strip() in ("", "UNKNOWN") else text.strip() + "\n"


def _docstrings(source: str) -> tuple[str | None, str | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # ValueError: null bytes
        return None, "broken_source"
    texts = (ast.get_docstring(node, clean=False) for node in _definitions(tree))
    return "\n\n".join(inspect.cleandoc(text) for text in texts if text and text.strip()) or None, None


def _definitions(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield what can have a documentation string, in the order of the source; expressions are not entered."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        blocks = (getattr(node, name, None) for name in ("body", "handlers", "cases", "orelse", "finalbody"))
        inner = [statement for block in blocks if isinstance(block, list) for statement in block]
        waiting += reversed(inner)
