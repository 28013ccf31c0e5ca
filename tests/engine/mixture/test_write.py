"""A version never changes, and the same content is the same version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from engine.base.hashing import digest_file
from engine.formats.manifest import mixture_versions
from engine.formats.receipt import read_receipt
from engine.mixture.build import documents_digest
from engine.mixture.write import content_digest

if TYPE_CHECKING:
    from conftest import Built


def test_the_same_content_is_the_same_version_whatever_the_recipe_is_called(built: Built) -> None:
    first = built.build({"sources": ["code"]})
    before = {path: digest_file(path) for path in sorted(first.folder.iterdir())}
    second = built.build({"sources": ["code"]}, recipe="another")
    assert (first.reference, second.reference) == ("m@v1", "m@v1")
    assert {path: digest_file(path) for path in sorted(first.folder.iterdir())} == before


def test_other_content_is_the_next_version_and_going_back_finds_the_old_one(built: Built) -> None:
    config = {"sources": ["code"], "budget_tokens": 200}
    built.build(config)
    for change in ({"budget_tokens": 150}, {"seed": 2}, {"rows_per_step": 4}, {"sources": ["code", "prose"]}):
        built.build({**config, **change})
    assert built.build(config).reference == "m@v1"
    assert [m.manifest.version for m in mixture_versions(built.workspace, "m")] == [1, 2, 3, 4, 5]


def test_the_same_content_under_another_name_has_the_same_digest(built: Built) -> None:
    one, two = built.build({"sources": ["code"]}, "m"), built.build({"sources": ["code"]}, "n")
    assert one.manifest.digest == two.manifest.digest
    assert two.reference == "n@v1"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # values of no sense stand in for others
def test_the_digest_covers_everything_but_name_version_recipe_and_schedule(built: Built) -> None:
    manifest = built.build({"sources": ["code"]}).manifest
    assert content_digest(manifest, "documents") != content_digest(manifest, "others")
    digests = {content_digest(manifest, "documents")}
    outside = {"name", "version", "digest", "recipe", "recipe_digest", "schedule", "num_steps"}
    values: dict[type, object] = {str: "x", int: 99, float: 0.5, list: [], dict: {"x": 1}, type(None): 0.5}
    for field, value in manifest.model_dump().items():
        changed = manifest.model_copy(update={field: values[type(value)]})
        if field in outside:
            assert content_digest(changed, "documents") in digests
        else:
            digests.add(content_digest(changed, "documents"))
    assert len(digests) == 1 + len(manifest.model_dump()) - len(outside)


def test_the_digest_of_documents_knows_their_order_uses_and_roles(built: Built) -> None:
    documents = built.build({"sources": ["code", "prose"]}).documents()
    changed = [
        documents,
        documents.reverse(),
        documents.with_columns(repeats=pl.lit(2, pl.UInt16)),
        documents.with_columns(is_replay=pl.lit(True)),
        documents.with_columns(source=pl.lit("code")),
        documents.with_columns(source=pl.lit("prose")),
        documents.head(5),
    ]
    assert len({documents_digest(frame) for frame in changed}) == len(changed)


def test_the_files_are_those_of_the_manifest(built: Built) -> None:
    mixture = built.build({"sources": ["code"], "replay": {"share": 0.25, "sources": ["prose"]}, "budget_tokens": 400})
    manifest = mixture.manifest
    documents = mixture.documents()
    assert documents.height == manifest.documents
    assert int((documents["num_tokens"].cast(pl.Int64) * documents["repeats"].cast(pl.Int64)).sum()) == manifest.tokens
    assert (manifest.replay_share, manifest.seed, manifest.curriculum) == (0.25, 1, "shuffled")
    assert (manifest.row_tokens, manifest.rows_per_step) == (16, 2)
    receipt = read_receipt(mixture.folder)
    assert receipt is not None
    assert receipt.inputs["documents"] == documents_digest(documents)
    assert set(receipt.details["files"]) == {"manifest.json", "documents.parquet", "ledger.parquet"}


def test_versions_written_at_once_are_all_kept(built: Built) -> None:
    def build(seed: int) -> str:
        return built.build({"sources": ["code"], "budget_tokens": 100, "seed": seed % 4}).reference

    with ThreadPoolExecutor(4) as pool:
        references = list(pool.map(build, range(8)))
    versions = mixture_versions(built.workspace, "m")
    assert [m.manifest.version for m in versions] == [1, 2, 3, 4]
    assert references[:4] == references[4:]
    assert len({m.manifest.digest for m in versions}) == 4
    assert not [path for path in (built.workspace.root / "mixtures" / "m").iterdir() if path.name.startswith(".tmp-")]
    assert isinstance(versions[0].folder, Path)


def test_models_of_the_stages_are_part_of_the_content(built: Built) -> None:
    first = built.build({"sources": ["code"]})
    other = replace(built, inputs=built.inputs.model_copy(update={"models": {"quality": "0123456789abcdef" * 2}}))
    second = other.build({"sources": ["code"]})
    assert (first.reference, second.reference) == ("m@v1", "m@v2")
    assert second.manifest.models == {"quality": "0123456789abcdef" * 2}
