"""A version that was touched anywhere does not verify, and the message says where."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from engine.base.atomic import read_json, write_json
from engine.base.errors import AuditError
from engine.base.hashing import digest_file, digest_json
from engine.formats.mixture import Mixture
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.mixture.versions import mixture_verify

if TYPE_CHECKING:
    from conftest import Built

CHECKED = [
    "version",
    "documents and sums",
    "tokenizer",
    "token store",
    "tokens of the documents",
    "schedule",
    "every use of every document scheduled",
    "selection",
    "held-out sets",
    "benchmarks",
    "search of the decoded tokens",
]


@pytest.fixture
def mixture(built: Built) -> Mixture:
    return built.build({"sources": ["code"], "replay": {"share": 0.2, "sources": ["prose"]}, "budget_tokens": 900})


def split_of(built: Built, mixture: Mixture) -> Path:
    assert mixture.manifest.split is not None
    return built.workspace.split(mixture.manifest.split)


def benchmark_of(built: Built, mixture: Mixture) -> Path:
    (benchmark,) = mixture.manifest.benchmarks
    return built.workspace.benchmark(benchmark.name, benchmark.digest)


def verify(built: Built) -> dict[str, object]:
    return mixture_verify("m@v1", built.workspace.root)


def files_of(built: Built, mixture: Mixture) -> list[Path]:
    folders = [
        mixture.folder,
        built.workspace.tokens(mixture.manifest.token_store),
        built.workspace.schedule(mixture.manifest.schedule),
        built.workspace.tokenizer(mixture.manifest.tokenizer),
        split_of(built, mixture),
        benchmark_of(built, mixture),
        built.workspace.selection(mixture.manifest.selection) / "code",
        built.workspace.audit("7" * 32),
    ]
    return [path for folder in folders for path in sorted(folder.iterdir())]


def test_an_untouched_version_verifies(built: Built, mixture: Mixture) -> None:
    assert verify(built) == {"reference": "m@v1", "digest": mixture.manifest.digest, "checked": CHECKED}


@pytest.mark.parametrize("place", [0.03, 0.3, 0.7, 0.98])
def test_one_changed_byte_in_any_file_is_found(built: Built, mixture: Mixture, place: float) -> None:
    # Receipts stand outside the digests: only what they say of their artifact is compared (next but one).
    for path in files_of(built, mixture):
        if path.name == "receipt.json":
            continue
        content = path.read_bytes()
        position = int(place * len(content))
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        try:
            with pytest.raises(AuditError) as caught:
                verify(built)
            assert caught.value.exit_code == 2
            assert (
                path.name in str(caught.value) or path.parent.name in str(caught.value) or "m@v1" in str(caught.value)
            )
        finally:
            path.write_bytes(content)
    verify(built)


def test_a_missing_file_is_found(built: Built, mixture: Mixture) -> None:
    for path in files_of(built, mixture):
        if path == mixture.folder / "receipt.json" or path.name == "manifest.json":
            continue  # then there is no such version
        path.rename(path.with_suffix(".away"))
        with pytest.raises(AuditError):
            verify(built)
        path.with_suffix(".away").rename(path)


@pytest.mark.parametrize("field", ["digest", "made_by", "inputs", "config"])
def test_a_receipt_that_says_another_origin_is_found(built: Built, mixture: Mixture, field: str) -> None:
    for folder in (
        built.workspace.tokens(mixture.manifest.token_store),
        built.workspace.schedule(mixture.manifest.schedule),
    ):
        content = (folder / "receipt.json").read_bytes()
        receipt = read_receipt(folder)
        assert receipt is not None
        value = {"tokenizer": "x"} if field in ("inputs", "config") else "x"
        write_receipt(folder, receipt.model_copy(update={field: value}))
        if field != "digest" or folder.parent.name == "tokens":
            with pytest.raises(AuditError, match=folder.name):
                verify(built)
        (folder / "receipt.json").write_bytes(content)


def resign(folder: Path) -> None:
    """Make the receipt agree with the files as they are now, as a careful forger would."""
    receipt = read_receipt(folder)
    assert receipt is not None
    files = {name: digest_file(folder / name) for name in receipt.details["files"]}
    details = receipt.details | {"files": files}
    if "refers_to" in details:
        root = folder.parents[2]
        details["refers_to"] = {name: digest_file(root / name) for name in details["refers_to"]}
    write_receipt(folder, receipt.model_copy(update={"details": details}))


def change(path: Path, edit: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    write_parquet(path, edit(read_parquet(path)))
    resign(path.parent)


def test_a_signed_change_of_the_documents_is_found(built: Built, mixture: Mixture) -> None:
    change(mixture.folder / "documents.parquet", lambda frame: frame.with_columns(repeats=pl.lit(3, pl.UInt16)))
    with pytest.raises(AuditError, match=r"manifest\.json: digest is said to be"):
        verify(built)


def test_a_signed_change_of_the_manifest_is_found(built: Built, mixture: Mixture) -> None:
    path = mixture.folder / "manifest.json"
    for field, value in (("tokens", 1), ("n_eff_after", 9.0), ("texts", "0" * 32), ("curriculum", "by_length")):
        content = path.read_bytes()
        write_json(path, read_json(path) | {field: value})
        resign(mixture.folder)
        with pytest.raises(AuditError, match=r"manifest\.json: digest is said to be"):
            verify(built)
        path.write_bytes(content)


def test_a_signed_change_of_the_schedule_is_found(built: Built, mixture: Mixture) -> None:
    folder = built.workspace.schedule(mixture.manifest.schedule)
    original = read_parquet(folder / "schedule.parquet")
    change(folder / "schedule.parquet", lambda frame: frame.head(-1))
    with pytest.raises(AuditError, match="1 documents are not placed as often as the mixture says"):
        verify(built)
    change(folder / "schedule.parquet", lambda _: original.with_columns(pl.col("start") + 16))
    with pytest.raises(AuditError, match="a span crosses the end of its row"):
        verify(built)


def test_a_schedule_of_another_shape_is_found(built: Built, mixture: Mixture) -> None:
    other = built.build({"sources": ["code"], "row_tokens": 32}, "n")
    folder = built.workspace.schedule(mixture.manifest.schedule)
    shutil.rmtree(folder)
    shutil.copytree(built.workspace.schedule(other.manifest.schedule), folder)
    with pytest.raises(AuditError, match=r"row_tokens is said to be 16\. Needed: 32"):
        verify(built)


def test_a_held_out_document_in_the_mixture_is_found(built: Built, mixture: Mixture) -> None:
    folder = split_of(built, mixture)
    inside = mixture.documents()["doc_id"][:2]
    groups = pl.DataFrame({"doc_id": inside, "group_id": inside, "set": ["general"] * 2})
    write_parquet(folder / "groups.parquet", groups)
    resign(mixture.folder)
    with pytest.raises(AuditError, match="2 of its documents belong to a held-out group"):
        verify(built)


def test_a_held_out_set_of_another_size_is_found(built: Built, mixture: Mixture) -> None:
    folder = split_of(built, mixture)
    heldout = read_parquet(folder / "heldout.parquet")
    write_parquet(folder / "heldout.parquet", heldout.with_columns(text=pl.lit("abc")))
    resign(mixture.folder)
    with pytest.raises(AuditError, match=r"set general: bytes is said to be 7\. Needed: 3"):
        verify(built)
    write_parquet(folder / "heldout.parquet", heldout.head(0))
    resign(mixture.folder)
    with pytest.raises(AuditError, match="set general: documents is said to be 1"):
        verify(built)


def test_items_that_are_not_those_searched_for_are_found(built: Built, mixture: Mixture) -> None:
    path = benchmark_of(built, mixture) / "items.parquet"
    items = read_parquet(path)
    write_parquet(path, items.with_columns(question=pl.lit("What else is asked?")))
    with pytest.raises(AuditError, match=r"items\.parquet: its bytes changed since it was written"):
        verify(built)
    resign(mixture.folder)
    with pytest.raises(AuditError, match=r"items\.parquet: digest is said to be "):
        verify(built)
    write_parquet(path, items.head(1))
    resign(mixture.folder)
    with pytest.raises(AuditError, match=r"items is said to be 2\. Needed: 1"):
        verify(built)
    path.unlink()
    with pytest.raises(AuditError, match=r"items\.parquet: it is gone"):
        verify(built)


def test_everything_that_does_not_hold_is_listed_at_once(built: Built, mixture: Mixture) -> None:
    shutil.rmtree(split_of(built, mixture))
    selection = built.workspace.selection(mixture.manifest.selection)
    write_receipt(selection, Receipt(made_by="test/1", digest=digest_json("another"), rows=0, seconds=0))
    (built.workspace.tokenizer(mixture.manifest.tokenizer) / "provender.json").unlink()
    with pytest.raises(AuditError) as caught:
        verify(built)
    lines = str(caught.value).splitlines()
    assert lines[0] == "m@v1: does not hold, 3 found:"
    assert [
        word for line, word in zip(lines[1:], ("provender.json", "selections", "splits"), strict=True) if word in line
    ] == [
        "provender.json",
        "selections",
        "splits",
    ]
