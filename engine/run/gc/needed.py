"""What a workspace needs: every artifact that a mixture version, a finished recipe, a training run or a model names.

Artifacts are named by digest, and their folders by the first twelve digits. So an artifact is needed where the JSON of
anything that stays holds these digits: too much may stay that way, never too little. Where such a file is damaged
nobody knows what it named, so nothing goes at all.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.base.atomic import TEMPORARY_PREFIX, read_json
from engine.base.errors import InputError, problem
from engine.formats.base_model import META
from engine.formats.documents import read_source
from engine.formats.receipt import NAME as RECEIPT
from engine.formats.receipt import read_receipt
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace

_DIGEST = re.compile(r"(?<![0-9a-f])([0-9a-f]{12})(?:[0-9a-f]{20})?(?![0-9a-f])")
STATE = "state.json"
FOLDER_NAME = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Needed:
    """Folder names of all artifacts that are needed, and the shards of the documents among them."""

    names: frozenset[str]
    shards: frozenset[tuple[str, str]]
    """(source, shard key)"""

    def holds(self, folder: Path) -> bool:
        """Whether the artifact in this folder is needed."""
        return folder.name in self.names


def needed(workspace: Workspace, doomed: Iterable[Path] = ()) -> Needed:
    """Return what is needed once the versions in `doomed` (their folders) are gone.

    Raises InputError for a damaged file that names artifacts.
    """
    names = _mentioned(_roots(workspace, set(doomed)))
    # Of what is needed, stages name models they were given and models or tokenizers name others.
    while True:
        found = names | _mentioned(_of_needed(workspace, names))
        if found == names:
            break
        names = found
    return Needed(frozenset(names), frozenset(_shards(workspace, names)))


def all_version_folders(workspace: Workspace) -> list[Path]:
    """Return the folders of all mixture versions, also of those that await their audits or lost their receipt."""
    return sorted(path for path in workspace.root.glob("mixtures/*/v*") if path.is_dir() and path.name[1:].isdigit())


def is_users_model(folder: Path) -> bool:
    """Whether a model was added or trained by a verb of its own: a base model, or not made by a stage of a recipe."""
    receipt = read_receipt(folder)
    return (folder / META).is_file() or receipt is None or "stage" not in receipt.config


def _roots(workspace: Workspace, doomed: set[Path]) -> Iterator[Path]:
    for folder in all_version_folders(workspace):
        if folder not in doomed:
            yield from folder.glob("*.json")
    for pattern in ("recipes/*.json", "runs/*/*.json", f"models/*/{META}"):
        yield from (path for path in workspace.root.glob(pattern) if not path.name.startswith(TEMPORARY_PREFIX))


def _of_needed(workspace: Workspace, names: set[str]) -> Iterator[Path]:
    for path in workspace.root.glob(f"tokenizers/*/{META}"):
        if path.parent.name in names:
            yield path
    for path in workspace.root.glob(f"annotations/*/*/{RECEIPT}"):
        if path.parent.name in names:
            yield path
    for path in workspace.root.glob(f"annotations/*/*/_corpus/*/{RECEIPT}"):
        if path.parent.name in names:
            yield path


def _mentioned(paths: Iterable[Path]) -> set[str]:
    return {name for path in paths for name in _DIGEST.findall(json.dumps(json_of(path), ensure_ascii=False))}


def json_of(path: Path) -> Any:
    """Return the JSON of a file; raises InputError where it does not hold any."""
    try:
        content = read_json(path)
        if path.name == STATE:
            RecipeState.model_validate(content)
    except ValueError as error:  # JSON's, UTF-8's and pydantic's errors
        raise _damaged(path, str(error).splitlines()[0]) from error
    return content


def _damaged(path: Path, reason: str) -> InputError:
    found = f"cannot be read ({reason}), so it is not known what it needs"
    return InputError(problem(path, found, fix="put the file back, or delete what it belongs to; nothing was removed"))


def _shards(workspace: Workspace, names: set[str]) -> Iterator[tuple[str, str]]:
    for path in workspace.root.glob("documents/*/*/source.json"):
        if path.parent.name in names:
            json_of(path)
            source = read_source(path.parent)
            yield from ((source.name, shard.key) for shard in source.shards)


def pointed(path: Path) -> str:
    """Return the folder name of the tokenizer that a pointer leads to; raises InputError where it is damaged."""
    content = json_of(path)
    digest = content.get("tokenizer") if isinstance(content, dict) else None
    if not isinstance(digest, str):
        raise _damaged(path, "no `tokenizer`")
    return digest[:12]
