"""Whoever opens a version that was touched is told which file, and what to do; nobody else is disturbed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from engine.base.atomic import read_json, write_json
from engine.base.errors import AuditError, InputError
from engine.catalog import sql
from engine.formats.mixture import Mixture, mixture_versions, open_mixture
from engine.formats.schedule import open_schedule
from engine.formats.token_store import open_token_store
from engine.formats.tokenizer import load_tokenizer
from engine.mixture.show import show_mixture_list
from engine.mixture.versions import mixture_list, mixture_show, mixture_verify

if TYPE_CHECKING:
    from conftest import Built

CONFIG = {"sources": ["code"], "budget_tokens": 300}
CHANGED = r"manifest\.json: it was changed since the version was written\. Needed: .*receipt\.json.*\. Fix: restore it"


@pytest.fixture
def two(built: Built) -> Built:
    for seed in (1, 2):
        built.build(CONFIG | {"seed": seed})
    return built


def edit(mixture: Mixture, **fields: object) -> None:
    path = mixture.folder / "manifest.json"
    write_json(path, read_json(path) | fields)


def test_a_hand_edited_manifest_is_refused_by_whoever_opens_the_version(two: Built) -> None:
    root = two.workspace.root
    edit(open_mixture(two.workspace, "m@v1"), tokens=1)
    opens: list[Callable[[], object]] = [
        lambda: open_mixture(two.workspace, "m@v1"),
        lambda: mixture_versions(two.workspace, "m"),
        lambda: mixture_show("m@v1", root),
        lambda: sql("SELECT * FROM mixtures", root),
        lambda: sql("SELECT count(*) FROM schedule", root),
        lambda: two.build(CONFIG),  # this content again would be that version
    ]
    for opened in opens:
        with pytest.raises(InputError, match=CHANGED):
            opened()
    with pytest.raises(AuditError, match=r"manifest\.json: its bytes changed"):
        mixture_verify("m@v1", root)


@pytest.mark.parametrize("file", ["manifest.json", "documents.parquet"])
def test_a_list_has_the_other_versions_and_says_what_is_wrong_with_one(two: Built, file: str) -> None:
    path = open_mixture(two.workspace, "m@v1").folder / file
    path.write_bytes(path.read_bytes()[:-9])
    listed = mixture_list(two.workspace.root)
    assert [row["reference"] for row in listed["mixtures"]] == ["m@v2"]
    (damage,) = listed["damaged"]
    assert f"v1/{file}: it was changed since the version was written" in damage
    assert "v1" in show_mixture_list(listed)


@pytest.mark.parametrize("damage", ["{", '{"made_by": 3}'])
def test_a_damaged_receipt_is_named_and_other_versions_are_not_disturbed(two: Built, damage: str) -> None:
    (open_mixture(two.workspace, "m@v1").folder / "receipt.json").write_text(damage)
    found = r"v1/receipt\.json: cannot be read .*Fix: restore it from a copy; or delete it"
    assert open_mixture(two.workspace, "m").reference == "m@v2"
    listed = mixture_list(two.workspace.root)
    assert [row["reference"] for row in listed["mixtures"]] == ["m@v2"]
    assert re.search(found, listed["damaged"][0])
    for opened in (lambda: open_mixture(two.workspace, "m@v1"), lambda: two.build(CONFIG | {"seed": 3})):
        with pytest.raises(InputError, match=found):
            opened()
    with pytest.raises(AuditError, match=r"receipt\.json: cannot be read"):
        mixture_verify("m@v1", two.workspace.root)


def test_other_versions_and_other_views_are_not_disturbed_by_one_that_was_edited(two: Built) -> None:
    edit(open_mixture(two.workspace, "m@v1"), name="forged")
    later = open_mixture(two.workspace, "m@latest")
    assert later.reference == "m@v2"
    assert open_mixture(two.workspace, f"m@{later.manifest.digest[:8]}").reference == "m@v2"
    assert two.build(CONFIG | {"seed": 2}).reference == "m@v2"
    assert two.build(CONFIG | {"seed": 3}).reference == "m@v3"
    assert sql("SELECT count(*) FROM runs", two.workspace.root)["rows"] == [[0]]
    assert mixture_verify("m@v2", two.workspace.root)["checked"]


def test_a_manifest_with_other_white_space_is_another_file(two: Built) -> None:
    path = open_mixture(two.workspace, "m@v1").folder / "manifest.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(InputError, match=CHANGED):
        open_mixture(two.workspace, "m@v1")


def test_documents_that_are_not_those_of_the_manifest_are_refused_where_they_are_read(two: Built) -> None:
    one, other = (open_mixture(two.workspace, f"m@v{number}") for number in (1, 2))
    good = (one.folder / "documents.parquet").read_bytes()
    for bad in ((other.folder / "documents.parquet").read_bytes(), good[:-9], good[:99] + b"x" + good[100:], None):
        if bad is None:
            (one.folder / "documents.parquet").unlink()
        else:
            (one.folder / "documents.parquet").write_bytes(bad)
        with pytest.raises(InputError, match=r"documents\.parquet: it (was changed|is gone).*Fix: restore it"):
            open_mixture(two.workspace, "m@v1").documents()
        if bad is None or len(bad) != len(good):
            with pytest.raises(InputError, match=r"v1/documents\.parquet: it (was changed|is gone)"):
                sql("SELECT count(*) FROM mixture_documents", two.workspace.root)
    (one.folder / "documents.parquet").write_bytes(good)
    assert open_mixture(two.workspace, "m@v1").documents().height == one.manifest.documents


@pytest.mark.parametrize("name", ["ids.bin", "supervised.bin", "store.json", "documents.parquet"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_token_store_is_named_by_whoever_opens_it_and_by_verify(two: Built, name: str, damage: str) -> None:
    mixture = open_mixture(two.workspace, "m@v1")
    path = two.workspace.tokens(mixture.manifest.token_store) / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match=rf"{name}: .*Fix: delete"):
        open_token_store(path.parent).documents()
    with pytest.raises(AuditError, match=name):
        mixture_verify("m@v1", two.workspace.root)


@pytest.mark.parametrize("name", ["schedule.json", "schedule.parquet"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_schedule_is_named_by_whoever_opens_it_and_by_verify(two: Built, name: str, damage: str) -> None:
    mixture = open_mixture(two.workspace, "m@v1")
    path = two.workspace.schedule(mixture.manifest.schedule) / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match=rf"{name}: .*Fix: "):
        open_schedule(path.parent).spans()
    with pytest.raises(AuditError, match=name):
        mixture_verify("m@v1", two.workspace.root)


def test_a_tokenizer_that_changed_is_noticed_by_whoever_loads_it_and_by_verify(two: Built) -> None:
    mixture = open_mixture(two.workspace, "m@v1")
    path = two.workspace.tokenizer(mixture.manifest.tokenizer) / "tokenizer.model"
    content = path.read_bytes()
    path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    with pytest.raises(InputError, match=r"tokenizer\.model: missing, or not the file that was described"):
        load_tokenizer(path.parent)
    with pytest.raises(AuditError, match=r"tokenizer\.model: its bytes changed"):
        mixture_verify("m@v1", two.workspace.root)
