"""A version never changes, and the same content is the same version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from engine.base.errors import InputError
from engine.base.hashing import digest_file
from engine.formats.manifest import Derivation
from engine.formats.mixture import mixture_versions, open_mixture
from engine.formats.parquet import write_parquet
from engine.formats.receipt import read_receipt
from engine.formats.token_store import CONTROL_TOKENS_FILE, CONTROL_TOKENS_SCHEMA
from engine.mixture.build import documents_digest, order_digest, texts_digest
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
def test_the_digest_covers_what_is_trained_on_and_not_where_it_was_taken_from(built: Built) -> None:
    manifest = built.build({"sources": ["code"]}).manifest
    assert content_digest(manifest, "documents") != content_digest(manifest, "others")
    digests = {content_digest(manifest, "documents")}
    outside = {"name", "version", "digest", "recipe", "recipe_digest", "schedule", "num_steps"}
    outside |= {"token_store", "selection", "audit"}
    values: dict[type, object] = {str: "x", int: 99, float: 0.5, list: [], dict: {"x": 1}, type(None): 0.5}
    for field, value in manifest.model_dump().items():
        changed = manifest.model_copy(update={field: values[type(value)]})
        if field in outside:
            assert content_digest(changed, "documents") in digests
        else:
            digests.add(content_digest(changed, "documents"))
    assert len(digests) == 1 + len(manifest.model_dump()) - len(outside)


def test_counts_over_other_sources_and_the_name_of_the_parent_change_no_digest(built: Built) -> None:
    manifest = built.build({"sources": ["code"]}).manifest
    derived = Derivation(how="takedown", reference="m@v1", digest="1" * 32, removed=["2" * 32], reason="asked")
    sheet = manifest.render | {"objective": {"code": "text"}}
    one = manifest.model_copy(update={"derived_from": derived, "render": sheet})
    same = [
        {"derived_from": derived.model_copy(update={"reference": "n@v7", "reason": None})},
        {"held_out": [row.model_copy(update={"contaminated_documents": 9}) for row in manifest.held_out]},
        {"render": sheet | {"objective": {"code": "text", "chats": "answers"}}},
        {"render": sheet | {"template": "chatml"}},
    ]
    other = [
        {"derived_from": derived.model_copy(update={"digest": "3" * 32})},
        {"derived_from": derived.model_copy(update={"removed": []})},
        {"held_out": [row.model_copy(update={"documents": 9}) for row in manifest.held_out]},
        {"render": sheet | {"objective": {"code": "answers"}}},
        {"render": sheet | {"bos": True}},
        {"template": "chatml", "render": sheet | {"template": "chatml"}},
    ]
    assert {content_digest(one.model_copy(update=change), "x") for change in same} == {content_digest(one, "x")}
    found = {content_digest(one.model_copy(update=change), "x") for change in [{}, *other]}
    assert len(found) == 1 + len(other)


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
    moved = documents.with_columns(pl.col("store_row") + 1)
    assert documents_digest(moved) == documents_digest(documents)
    assert order_digest(moved) != order_digest(documents)


def test_texts_are_the_same_in_any_store_and_another_text_or_tag_is_seen(built: Built, tmp_path: Path) -> None:
    documents = built.build({"sources": ["code"]}).documents()
    whole = built.store.documents()
    said = texts_digest(documents, built.store)
    less = whole.filter(pl.col("doc_id").is_in(documents["doc_id"].implode()))
    rows = documents.join(less.with_row_index("row"), on="doc_id", maintain_order="left")["row"]
    there = replace(built.store, folder=tmp_path / "less")
    tags = pl.DataFrame(schema=CONTROL_TOKENS_SCHEMA)
    write_parquet(there.folder / "documents.parquet", less)
    write_parquet(there.folder / CONTROL_TOKENS_FILE, tags)
    moved = documents.with_columns(store_row=rows)
    assert texts_digest(moved, there) == said
    tagged = pl.DataFrame(
        {"doc_id": [documents["doc_id"][3]], "position": [0], "token": ["<a>"]}, CONTROL_TOKENS_SCHEMA
    )
    found = {said}
    for frame in (tagged, tagged.with_columns(token=pl.lit("<b>")), tagged.with_columns(position=pl.lit(1, pl.Int32))):
        write_parquet(there.folder / CONTROL_TOKENS_FILE, frame)
        found.add(texts_digest(moved, there))
    write_parquet(there.folder / CONTROL_TOKENS_FILE, tags)
    here = pl.col("doc_id") == documents["doc_id"][3]
    changed = pl.when(here).then(pl.lit(bytes(16))).otherwise("text_digest")
    write_parquet(there.folder / "documents.parquet", less.with_columns(text_digest=changed))
    found.add(texts_digest(moved, there))
    assert len(found) == 5
    with pytest.raises(InputError, match="fewer documents"):
        texts_digest(documents.with_columns(store_row=pl.lit(60, pl.UInt32)), built.store)


def test_licences_count_a_document_once_whatever_phases_use_it(built: Built) -> None:
    phases = [{"name": name, "budget_tokens": 900} for name in ("one", "two")]
    manifest = built.build({"sources": ["code"], "max_repeats": 4, "phases": phases}).manifest
    assert manifest.licenses == {"CC0-1.0": manifest.documents}
    assert sum(row.documents for row in manifest.sources) > manifest.documents


def test_a_version_that_awaits_its_audits_is_found_by_who_builds_it_again_alone(built: Built) -> None:
    first = built.build({"sources": ["code"]})
    (first.folder / "unaudited").touch()
    assert mixture_versions(built.workspace, "m") == []
    with pytest.raises(InputError, match="it has no finished version"):
        open_mixture(built.workspace, "m@v1")
    assert built.build({"sources": ["prose"]}).reference == "m@v2"
    again = built.build({"sources": ["code"]})
    assert (again.reference, again.is_unaudited) == ("m@v1", True)


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
