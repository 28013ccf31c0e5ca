"""The files of the Python environment we run in: whose they are, under which licence, from where.

A member's name (distribution or `stdlib`, then the path inside) is the same wherever the environment is installed.
"""

import re
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution, PackageMetadata, distributions
from pathlib import Path, PurePosixPath

STDLIB, PYTHON_LICENSE, PYTHON_URL = "stdlib", "PSF-2.0", "https://docs.python.org/3/"
_LICENSE_NAME = re.compile(r"(un)?licen[cs]e|copying|notice|copyright", re.IGNORECASE)
_NOT_TEXT = frozenset((".py", ".pyi", ".pyc", ".so", ".js", ".json", ".yaml", ".toml", ".html", ".h", ".xml", ".spdx"))
_MAX_LICENSE_CHARS = 100
"""Some distributions put the whole text of their licence into the field for its name."""


@dataclass(frozen=True)
class Member:
    """One file of the environment; `is_metadata` marks the METADATA of a distribution."""

    name: str
    path: Path
    distribution: str
    license: str | None
    url: str | None
    is_metadata: bool = False


def installed_names() -> list[str]:
    """Return the normalised names of all installed distributions, sorted."""
    return sorted(_installed(tuple(sys.path)))


def normalised(name: str) -> str:
    """Return a distribution's name as indexes compare it: lower case, one dash for any run of - _ and dot."""
    return re.sub(r"[-_.]+", "-", name).lower()


@lru_cache(maxsize=1)
def stdlib_members() -> tuple[Member, ...]:
    """Return the Python files of the standard library and, where it lies beside them, Python's licence."""
    folder = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in folder.rglob("*.py") if _is_ours(PurePosixPath(path.relative_to(folder).as_posix()))]
    license_file = folder / "LICENSE.txt"
    paths += [license_file] if license_file.is_file() else []
    names = {path: f"{STDLIB}/{path.relative_to(folder).as_posix()}" for path in paths}
    return tuple(Member(names[path], path, STDLIB, PYTHON_LICENSE, PYTHON_URL) for path in sorted(paths))


def distribution_members(names: Iterable[str]) -> list[Member]:
    """Return the files of these distributions (normalised names), as their installers recorded them."""
    return [member for name in sorted(set(names)) for member in _members(name, tuple(sys.path))]


def is_license(member: Member) -> bool:
    """Whether the file holds the text of a licence."""
    path = PurePosixPath(member.name)
    in_licenses = ".dist-info/licenses/" in member.name
    return path.suffix.lower() not in _NOT_TEXT and (in_licenses or _LICENSE_NAME.match(path.name) is not None)


def is_source(member: Member) -> bool:
    """Whether the file is Python source."""
    return member.name.endswith(".py")


@lru_cache(maxsize=4096)
def _members(name: str, search_path: tuple[str, ...]) -> tuple[Member, ...]:
    distribution = _installed(search_path)[name]
    license_name, url = _license(distribution), _url(distribution)
    found = []
    for file in distribution.files or ():
        if file.suffix == ".pyc" or not _is_ours(file):
            continue
        path = Path(str(distribution.locate_file(file)))
        is_metadata = file.name in ("METADATA", "PKG-INFO") and _is_info_folder(file.parent.as_posix())
        if path.is_file():
            found.append(Member(f"{name}/{file.as_posix()}", path, name, license_name, url, is_metadata))
    return tuple(found)


def _is_info_folder(folder: str) -> bool:
    # At the top: packages that carry others inside carry their METADATA too.
    return "/" not in folder and folder.endswith((".dist-info", ".egg-info"))


def _is_ours(path: PurePosixPath) -> bool:
    # Scripts lie outside (../../bin), and site-packages may lie inside the folder of the standard library.
    return not {"..", "__pycache__", "site-packages", "dist-packages"} & set(path.parts) and not path.is_absolute()


def _license(distribution: Distribution) -> str | None:
    metadata = distribution.metadata
    for field in ("License-Expression", "License"):
        value = (_field(metadata, field) or "").strip()
        if value and value.upper() != "UNKNOWN" and len(value) <= _MAX_LICENSE_CHARS and "\n" not in value:
            return value
    classifiers = [str(value) for value in metadata.get_all("Classifier") or () if str(value).startswith("License ::")]
    return "; ".join(value.rpartition(" :: ")[2] for value in classifiers) or None


def _url(distribution: Distribution) -> str | None:
    metadata = distribution.metadata
    home = (_field(metadata, "Home-page") or "").strip()
    if home and home.upper() != "UNKNOWN":
        return home
    pairs = [str(value).partition(",") for value in metadata.get_all("Project-URL") or ()]
    urls = {re.sub(r"[^a-z]", "", label.lower()): url.strip() for label, _, url in pairs}
    known = ("homepage", "home", "source", "sourcecode", "repository", "github", "code")
    return next((urls[label] for label in known if label in urls), next(iter(urls.values()), None))


def _field(metadata: PackageMetadata, name: str) -> str | None:
    return str(metadata[name]) if name in metadata else None


@lru_cache(maxsize=2)
def _installed(_search_path: tuple[str, ...]) -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for distribution in distributions():
        # A broken installation has no name; the first on the search path is the one Python imports.
        if name := _field(distribution.metadata, "Name"):
            found.setdefault(normalised(name), distribution)
    return found
