"""What a version was made from, as its manifest and its state.json name it: are these still the same bytes?"""

from engine.base.errors import problem
from engine.base.hashing import digest_path
from engine.formats.core_of_text import text_columns
from engine.formats.coverage import FILE as COVERAGE
from engine.formats.coverage import coverage_digest
from engine.formats.documents import Shard, read_source
from engine.formats.mixture import Mixture
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace
from engine.mixture.recorded import differing, files_of, not_there


def documents_of_sources(workspace: Workspace, mixture: Mixture, state: RecipeState) -> list[str]:
    """Compare the files of the sources' documents, and the texts of those that are read where they lie."""
    said = {row.source: row.input_digest for row in mixture.manifest.sources}
    found = []
    for source, digest in said.items():
        folder = workspace.root / state.sources[source]
        receipt, changed = files_of(folder, "digests")
        changed += differing(folder, {"digest": digest}, {"digest": receipt.details.get("documents_digest")})
        if not changed:
            outside = [shard for shard in read_source(folder).shards if shard.text_path.parent != folder]
            changed = [text for shard in outside for text in _texts(shard)]
        found += changed
    return found


def _texts(shard: Shard) -> list[str]:
    (digests,) = text_columns(shard.read_text(), ["text_digest"])
    if digests.equals(shard.read_core(["text_digest"])["text_digest"], null_equal=True):
        return []
    return [problem(shard.text_path, f"other texts than when they were read in (shard {shard.name})")]


def selection(workspace: Workspace, mixture: Mixture) -> list[str]:
    """Compare the decisions, the ledger and all else of the selection."""
    folder, digest = workspace.selection(mixture.manifest.selection), mixture.manifest.selection
    return not_there(folder, digest) or files_of(folder)[1]


def coverage(workspace: Workspace, mixture: Mixture, state: RecipeState) -> list[str]:
    """Look for the coverage sheet of the manifest among those of the searches."""
    folders = [workspace.root / folder for folder in state.artifacts.values()]
    paths = [path for folder in folders if (path := folder / COVERAGE).is_file()]
    if mixture.manifest.coverage in [coverage_digest(path) for path in paths]:
        return []
    found = f"no sheet with the digest {mixture.manifest.coverage} ({len(paths)} looked at)"
    return [problem(", ".join(map(str, paths)) or mixture.reference, found, "the coverage sheet the manifest names")]


def audit(workspace: Workspace, mixture: Mixture) -> list[str]:
    """Compare the hits of the search of the decoded token store, and how much of it was decoded."""
    said = mixture.manifest.audit
    assert said is not None
    folder = workspace.audit(said.digest)
    receipt, found = files_of(folder)
    found += differing(folder, {"digest": receipt.digest}, {"digest": said.digest})
    decoded = {name: receipt.details.get(name) for name in ("documents", "tokens")}
    return found + differing(folder, said.model_dump(), decoded)


def models(workspace: Workspace, mixture: Mixture, state: RecipeState) -> list[str]:
    """Compare what stages learnt; models that the recipe brought along lie outside the workspace."""
    found = []
    for prefix, digest in mixture.manifest.models.items():
        if prefix in state.models:
            folder = workspace.root / state.models[prefix]
            there = digest_path(folder) if folder.exists() else "gone"
            found += differing(folder, {"digest": digest}, {"digest": there})
    return found
