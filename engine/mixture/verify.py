"""Checks one version of a mixture against everything it refers to.

First the bytes: each file against the digest in its receipt, of the version, its tokenizer, token store, schedule,
selection, split, benchmarks, the documents of its sources, the search of the decoded token store, and what stages
learnt. Then the names: each artifact's digest against what it was made from. Then the sense: the sums of the manifest,
the tokens of the store, every use of every document in the schedule, no held-out document in the mixture, the items it
was searched for and the coverage sheet. What stands on damaged files is not looked into. Annotations are not: the
selection holds what was decided by them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem
from engine.base.hashing import digest_file, digest_json
from engine.formats.items import benchmark_digest, read_items
from engine.formats.mixture import Mixture, version_folders
from engine.formats.receipt import Receipt
from engine.formats.schedule import open_schedule
from engine.formats.split import Split
from engine.formats.token_store import open_token_store
from engine.formats.tokenizer import FILES as TOKENIZER_FILES
from engine.formats.tokenizer import META as TOKENIZER_META
from engine.formats.tokenizer import TokenizerMeta, meta_digest
from engine.formats.workspace import Workspace
from engine.mixture.accounts import effective_sources
from engine.mixture.build import documents_digest, order_digest, texts_digest
from engine.mixture.recorded import changed, differing, files_of, not_there
from engine.mixture.verify_inputs import audit as decoded
from engine.mixture.verify_inputs import coverage, documents_of_sources, models, selection
from engine.mixture.write import content_digest, with_first_uses

# No JSON and no such model are ValueErrors, pydantic's too.
_UNREADABLE = (InputError, OSError, ValueError, pl.exceptions.PolarsError)


def verify(workspace: Workspace, mixture: Mixture) -> tuple[list[str], list[str]]:
    """Return what was checked, and one message for each thing that does not hold."""
    audit = _Audit()
    if audit.run("version", _version, mixture):
        audit.run("documents and sums", _content, mixture)
    if mixture.manifest.derived_from is not None:
        audit.run("the version it was made from", _derived, workspace, mixture)
    audit.run("tokenizer", _tokenizer, workspace, mixture)
    if audit.run("token store", _token_store, workspace, mixture) and "documents and sums" in audit.checked:
        audit.run("tokens of the documents", _store_rows, workspace, mixture)
    if audit.run("schedule", _schedule, workspace, mixture) and "documents and sums" in audit.checked:
        audit.run("every use of every document scheduled", _placements, workspace, mixture)
    audit.run("selection", selection, workspace, mixture)
    if mixture.manifest.split is not None:
        audit.run("held-out sets", _split, workspace, mixture)
    if mixture.manifest.benchmarks:
        audit.run("benchmarks", _benchmarks, workspace, mixture)
    if mixture.manifest.audit is not None:
        audit.run("search of the decoded tokens", decoded, workspace, mixture)
    if "version" in audit.checked:
        _made_from(audit, workspace, mixture)
    return audit.checked, audit.found


def _made_from(audit: "_Audit", workspace: Workspace, mixture: Mixture) -> None:
    """Look into what state.json names, where there is one."""
    state = mixture.state()
    if state is None:
        return
    audit.run("documents of the sources", documents_of_sources, workspace, mixture, state)
    if mixture.manifest.coverage is not None:
        audit.run("coverage sheet", coverage, workspace, mixture, state)
    if set(mixture.manifest.models) & set(state.models):
        audit.run("models", models, workspace, mixture, state)


@dataclass
class _Audit:
    checked: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def run(self, name: str, check: Callable[..., list[str]], *arguments: object) -> bool:
        """Run a check, which returns its findings; return whether all holds."""
        try:
            found = check(*arguments)
        except _UNREADABLE as error:
            found = [f"{name}: cannot be read ({str(error).splitlines()[0]})"]
        self.found += found
        if not found:
            self.checked.append(name)
        return not found


def _version(mixture: Mixture) -> list[str]:
    manifest = mixture.manifest
    _, found = files_of(mixture.folder)
    if (mixture.folder.parent.name, mixture.folder.name) != (manifest.name, f"v{manifest.version}"):
        found.append(problem(mixture.folder, f"its manifest says {mixture.reference}"))
    return found


def _content(mixture: Mixture) -> list[str]:
    manifest = mixture.manifest
    documents = mixture.documents()
    place = mixture.folder / "manifest.json"
    computed = content_digest(manifest, documents_digest(documents))
    found = differing(place, {"digest": manifest.digest}, {"digest": computed})
    repeats = pl.col("repeats").cast(pl.Int64)
    sums = [
        pl.len().alias("documents"),
        pl.col("num_tokens").cast(pl.Int64).sum().alias("unique_tokens"),
        (pl.col("num_tokens").cast(pl.Int64) * repeats).sum().alias("tokens"),
        (pl.col("supervised_tokens").cast(pl.Int64) * repeats).sum().alias("supervised_tokens"),
        repeats.max().alias("max_repeats"),
    ]
    said = {(row.source, row.is_replay, row.phase): row.model_dump() for row in manifest.sources}
    keys = ["source", "is_replay", "phase"]
    there = {tuple(row[key] for key in keys): row for row in documents.group_by(keys).agg(sums).to_dicts()}
    for key in sorted(said.keys() | there.keys()):
        expected = {name: value for name, value in there.get(key, {}).items() if name in said.get(key, there[key])}
        found += differing(f"{mixture.reference}: source {key[0]}", said.get(key, {}), expected)
    first = {(row.source, row.is_replay, row.phase): row for row in with_first_uses(manifest.sources, documents)}
    for key, row in first.items():
        expected = {name: getattr(row, name) for name in ("first_documents", "first_tokens")}
        found += differing(f"{mixture.reference}: source {key[0]}", said[key], expected)
    return found + _phases(mixture, documents, sums) + _whole(mixture, documents, sums)


def _phases(mixture: Mixture, documents: pl.DataFrame, sums: list[pl.Expr]) -> list[str]:
    """Compare the phases' names, order and sums; the rows of the documents have to follow the phases."""
    phases = mixture.manifest.phases
    place = mixture.folder / "documents.parquet"
    if not documents["phase"].is_sorted() or (
        documents.height and int(documents["phase"].to_numpy().max()) >= len(phases)
    ):
        return [problem(place, "its rows are not sorted by the phases of the manifest")]
    if documents.select(pl.struct("doc_id", "phase").is_duplicated().any()).item():
        return [problem(place, "a document stands twice in one phase")]
    there = {row["phase"]: row for row in documents.group_by("phase").agg(sums).to_dicts()}
    found = []
    for number, phase in enumerate(phases):
        counted = there.get(number, {})
        expected = {name: counted.get(name, 0) for name in ("documents", "tokens", "supervised_tokens")}
        found += differing(f"{mixture.reference}: phase {phase.name}", phase.model_dump(), expected)
    return found


def _whole(mixture: Mixture, documents: pl.DataFrame, sums: list[pl.Expr]) -> list[str]:
    distinct = documents.unique("doc_id")
    whole = documents.select(sums).to_dicts()[0]
    expected: dict[str, object] = {name: whole[name] for name in ("tokens", "supervised_tokens")}
    expected["documents"] = distinct.height
    expected["n_eff_documents_after"] = effective_sources(distinct.group_by("source").len()["len"])
    return differing(mixture.folder / "manifest.json", mixture.manifest.model_dump(), expected)


def _derived(workspace: Workspace, mixture: Mixture) -> list[str]:
    """Compare the version it was made from, where that is still there, and look for what was taken down."""
    derived = mixture.manifest.derived_from
    assert derived is not None
    removed = [bytes.fromhex(doc_id) for doc_id in derived.removed]
    left = mixture.documents().filter(pl.col("doc_id").is_in(removed)) if removed else mixture.documents().clear()
    found = []
    if left.height:
        found.append(problem(mixture.reference, f"{left.height} documents that were taken down are in it"))
    name, _, version = derived.reference.partition("@v")
    folder = version_folders(workspace, name).get(int(version)) if version.isdigit() else None
    if folder is None:
        return [*found, problem(derived.reference, f"{mixture.reference} was made from it, and it is gone")]
    receipt, touched = files_of(folder)
    return found + touched + differing(folder, {"digest": derived.digest}, {"digest": receipt.digest})


def _tokenizer(workspace: Workspace, mixture: Mixture) -> list[str]:
    folder = workspace.tokenizer(mixture.manifest.tokenizer)
    found = _referred(workspace, mixture, folder)
    if found:
        return found
    meta = TokenizerMeta.model_validate(read_json(folder / TOKENIZER_META))
    file = digest_file(folder / TOKENIZER_FILES[meta.kind])
    return differing(folder, {"digest": mixture.manifest.tokenizer}, {"digest": meta_digest(file, meta)})


def _token_store(workspace: Workspace, mixture: Mixture) -> list[str]:
    folder = workspace.tokens(mixture.manifest.token_store)
    receipt, found = files_of(folder)
    if found:
        return found
    meta = open_token_store(folder).meta
    said = {"token_store": mixture.manifest.token_store, "tokenizer": mixture.manifest.tokenizer}
    found += differing(folder, said, {"token_store": _made_digest(receipt), "tokenizer": meta.tokenizer})
    return found + differing(folder / "store.json", meta.model_dump(), {"digest": receipt.digest})


def _store_rows(workspace: Workspace, mixture: Mixture) -> list[str]:
    opened = open_token_store(workspace.tokens(mixture.manifest.token_store))
    store = opened.documents()
    documents = mixture.documents()
    columns = ["doc_id", "source", "num_tokens", "supervised_tokens"]
    inside = documents.filter(pl.col("store_row") < store.height)
    named = store[inside["store_row"]].select(columns)
    if inside.height < documents.height or not inside.select(columns).equals(named):
        return [problem(mixture.folder / "documents.parquet", "not the documents of the token store it names")]
    texts = {"texts": texts_digest(documents, opened)}
    return differing(mixture.folder / "manifest.json", {"texts": mixture.manifest.texts}, texts)


def _schedule(workspace: Workspace, mixture: Mixture) -> list[str]:
    manifest = mixture.manifest
    folder = workspace.schedule(manifest.schedule)
    receipt, found = files_of(folder)
    if found:
        return found
    meta = open_schedule(folder).meta
    names = ("token_store", "row_tokens", "rows_per_step", "num_steps")
    said = {"digest": manifest.schedule} | {name: getattr(manifest, name) for name in names}
    found = differing(folder / "schedule.json", said, {name: getattr(meta, name) for name in said})
    return found + differing(folder, {"digest": manifest.schedule}, {"digest": _made_digest(receipt)})


def _placements(workspace: Workspace, mixture: Mixture) -> list[str]:
    schedule = open_schedule(workspace.schedule(mixture.manifest.schedule))
    documents, spans = mixture.documents(), schedule.spans()
    wide = {name: pl.col(name).cast(pl.Int64) for name in ("start", "length", "num_tokens", "repeats")}
    found = differing(schedule.folder, {"mixture": schedule.meta.mixture}, {"mixture": order_digest(documents)})
    if spans.filter(wide["start"] + wide["length"] > schedule.meta.row_tokens).height:
        found.append(problem(schedule.folder, "a span crosses the end of its row"))
    placed = spans.group_by("document").agg(wide["length"].sum().alias("placed"))
    uses = documents.select("document", (wide["num_tokens"] * wide["repeats"]).alias("wanted"))
    wrong = uses.join(placed, on="document", how="full", coalesce=True).filter(
        pl.col("placed").fill_null(0) != pl.col("wanted").fill_null(0)
    )
    if wrong.height:
        found.append(problem(schedule.folder, f"{wrong.height} documents are not placed as often as the mixture says"))
    return found


def _split(workspace: Workspace, mixture: Mixture) -> list[str]:
    assert mixture.manifest.split is not None
    folder = workspace.split(mixture.manifest.split)
    found = not_there(folder, mixture.manifest.split) or _referred(workspace, mixture, folder)
    if found:
        return found
    split = Split(folder, mixture.manifest.split)
    size = pl.col("text").str.len_bytes().cast(pl.Int64).sum().alias("bytes")
    sets = split.heldout().group_by("set").agg(pl.len().alias("documents"), size)
    there = {row["set"]: row for row in sets.to_dicts()}
    for row in mixture.manifest.held_out:
        expected = {name: there.get(row.set, {}).get(name, 0) for name in ("documents", "bytes")}
        found += differing(folder / f"heldout.parquet: set {row.set}", row.model_dump(), expected)
    inside = mixture.documents().join(split.groups(), on="doc_id", how="semi")
    if inside.height:
        found.append(problem(mixture.reference, f"{inside.height} of its documents belong to a held-out group"))
    return found


def _benchmarks(workspace: Workspace, mixture: Mixture) -> list[str]:
    found = []
    for benchmark in mixture.manifest.benchmarks:
        folder = workspace.benchmark(benchmark.name, benchmark.stored)
        wrong = not_there(folder, benchmark.stored) or _referred(workspace, mixture, folder)
        if not wrong:
            items = read_items(folder / "items.parquet")
            there = {"digest": benchmark_digest(items), "items": items.height}
            wrong = differing(folder / "items.parquet", benchmark.model_dump(), there)
        found += wrong
    return found


def _referred(workspace: Workspace, mixture: Mixture, folder: Path) -> list[str]:
    """Return the files of another artifact that changed since; the version's receipt has their digests."""
    receipt, _ = files_of(mixture.folder)
    named = {workspace.root / name: digest for name, digest in receipt.details.get("refers_to", {}).items()}
    mine = {path: digest for path, digest in named.items() if path.parent == folder}
    return changed(mine) if mine else [problem(folder, "it was not there when the version was written")]


def _made_digest(receipt: Receipt) -> str:
    return digest_json({"made_by": receipt.made_by, "inputs": receipt.inputs, "config": receipt.config})
