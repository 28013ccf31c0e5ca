"""An extended version holds all of the old one, and of the new documents those that it does not know yet."""

import json
import random
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from engine.base.errors import AuditError, InputError, RecipeError
from engine.catalog import sql
from engine.formats.documents import read_source
from engine.formats.mixture import Mixture, open_mixture
from engine.formats.schedule import open_schedule
from engine.formats.split import Split
from engine.formats.workspace import Workspace
from engine.mixture.versions import mixture_verify
from engine.run.extend import mixture_extend
from engine.run.pipeline import run
from engine.run.show_derived import show_extend
from engine.run.takedown import mixture_takedown
from tests.engine.run.derived_corpus import corpus, ids, reasons, recipe_in, similar, words, write_rows

NEW = [
    {"uid": "new1", "text": words(500)},
    {"uid": "new2", "text": words(501, 200)},
    {"uid": "again", "text": words(501, 200)},  # a copy within what is new
    {"uid": "copied", "text": words(9)},
    {"uid": "alike", "text": words(11) + " and longer"},  # would win by its length, were the old one not pinned
    {"uid": "short", "text": "too short"},
]
SAME = ["doc_id", "source", "is_replay", "phase", "num_tokens", "supervised_tokens", "repeats"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recipe.yaml and its workspace ws/."""
    folder = tmp_path_factory.mktemp("extend")
    run(recipe_in(folder), folder / "ws")
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it; the recipe is found where it was."""
    shutil.copytree(finished / "ws", tmp_path / "ws")
    return tmp_path


def extend(folder: Path, rows: list[dict[str, Any]], reference: str = "all", **arguments: Any) -> dict[str, Any]:
    path = write_rows(folder / f"{arguments.pop('file', 'new')}.jsonl", rows)
    return mixture_extend(reference, [path], id_column="uid", workspace=folder / "ws", **arguments)


def version(folder: Path, reference: str) -> Mixture:
    return open_mixture(Workspace(folder / "ws"), reference)


def came_in(folder: Path, reference: str, source: str = "new") -> set[str]:
    """Own ids of a source's documents in a version."""
    mixture = version(folder, reference)
    state = mixture.state()
    assert state is not None
    documents = read_source(folder / "ws" / state.sources[source])
    names: dict[bytes, str] = {}
    for shard in documents.shards:
        own = pl.read_parquet(shard.text_path)["uid"]
        names |= dict(zip(shard.read_core(["doc_id"])["doc_id"], own, strict=True))
    return {names[doc_id] for doc_id in mixture.documents().filter(pl.col("source") == source)["doc_id"]}


def test_all_of_the_old_version_stays_and_only_what_is_new_comes_in(folder: Path) -> None:
    old = version(folder, "all@v1")
    result = extend(folder, NEW, license="CC0-1.0")
    assert result["decisions"] == {"kept": 2, "exact_duplicate": 2, "near_duplicate": 1, "too_short": 1}
    assert (result["before"], result["reference"], result["added"]) == ("all@v1", "all@v2", 2)
    new = version(folder, "all@v2")
    # In the same order, with the same uses: what came in stands between them.
    stayed = new.documents().filter(pl.col("source") != "new")
    assert stayed.select(SAME).rows() == old.documents().select(SAME).rows()
    found = came_in(folder, "all@v2")
    assert found in ({"new1", "new2"}, {"new1", "again"})
    assert new.documents().filter(pl.col("source") == "new").select(
        "is_replay", "phase", "repeats"
    ).unique().rows() == [(False, 0, 1)]
    checked = mixture_verify("all@v2", folder / "ws")["checked"]
    assert {"documents and sums", "every use of every document scheduled", "held-out sets"} <= set(checked)
    assert "all@v1 -> all@v2" in show_extend(result)


def test_the_sums_the_licences_and_the_ledger_add_up(folder: Path) -> None:
    extend(folder, NEW, license="CC0-1.0")
    old, new = version(folder, "all@v1").manifest, version(folder, "all@v2").manifest
    row = next(row for row in new.sources if row.source == "new")
    assert (row.documents, row.available_documents, row.max_repeats, row.licenses) == (2, 2, 1, {"CC0-1.0": 2})
    for name in ("documents", "tokens", "supervised_tokens"):
        assert getattr(new, name) - getattr(old, name) == getattr(row, name)
        assert getattr(new.phases[0], name) == getattr(new, name)
    assert [one for one in new.sources if one.source != "new"] == old.sources
    assert new.derived_from is not None
    assert (new.derived_from.how, new.derived_from.added, new.derived_from.digest) == ("extend", 2, old.digest)
    assert new.tokenizer == old.tokenizer
    assert new.held_out[0].searched_documents == new.documents
    assert new.audit is not None
    assert new.audit.documents == new.documents
    ledger = pl.read_parquet(version(folder, "all@v2").folder / "ledger.parquet")
    rows = ledger.filter(pl.col("source") == "new").select("outcome", "documents", "tokens").rows()
    assert rows == [("in", 2, row.tokens), ("kept", 2, row.tokens)]
    spans = open_schedule(Workspace(folder / "ws").schedule(new.schedule)).spans()
    assert spans["length"].cast(pl.Int64).sum() == new.tokens


def test_the_order_is_that_of_the_curriculum(folder: Path) -> None:
    extend(folder, NEW, "books_only")
    lengths = version(folder, "books_only@v2").documents()["num_tokens"].to_list()
    assert lengths == sorted(lengths)
    assert version(folder, "books_only@v2").documents()["source"].to_list()[-1] == "new"


def test_an_old_document_that_is_not_in_the_version_keeps_nothing_out(folder: Path) -> None:
    known = {UUID(doc_id).bytes: uid for uid, doc_id in ids(folder / "ws").items()}
    inside = {known[doc_id] for doc_id in version(folder, "all@v1").documents()["doc_id"]}
    books = {row["uid"]: row["text"] for row in corpus()["books"]}
    left_over, used = min(books.keys() - inside), min(books.keys() & inside)
    result = extend(folder, [{"uid": "x", "text": books[left_over]}, {"uid": "y", "text": books[used]}])
    assert result["decisions"] == {"kept": 1, "exact_duplicate": 1}
    assert came_in(folder, "all@v2") == {"x"}


@pytest.mark.parametrize("reference", ["all@v1", "all@latest"])
def test_extending_with_the_same_again_gives_the_same_version(folder: Path, reference: str) -> None:
    first = extend(folder, NEW)
    again = extend(folder, NEW, reference)
    if reference == "all@v1":
        assert again == first
    else:
        assert again["is_known"]
        assert "no new version" in show_extend(again)
    assert len(list((folder / "ws" / "mixtures" / "all").glob("v*"))) == 2


def test_the_order_of_the_new_rows_and_their_file_change_nothing(folder: Path, finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished / "ws", other / "ws")
    shuffled = random.Random(1).sample(NEW, len(NEW))
    digests = {
        extend(folder, NEW, source="extra")["digest"],
        extend(other, shuffled, source="extra", file="renamed", jobs=1)["digest"],
    }
    assert len(digests) == 1


def test_an_extended_version_can_be_extended_and_taken_down_from(folder: Path) -> None:
    extend(folder, NEW)
    second = extend(folder, [*NEW, {"uid": "later", "text": words(600)}], file="second")
    assert second["decisions"]["kept"] == 1
    assert came_in(folder, "all@v3", "second") == {"later"}
    three, two = version(folder, "all@v3"), version(folder, "all@v2")
    assert three.documents().filter(pl.col("source") != "second").select(SAME).equals(two.documents().select(SAME))
    assert [row.source for row in three.manifest.sources] == ["new", "second", "web", "books"]
    gone = two.documents().filter(pl.col("source") == "new")["doc_id"].to_list()
    result = mixture_takedown([doc_id.hex() for doc_id in gone], workspace=folder / "ws")
    assert [one["sources_gone"] for one in result["mixtures"]] == [["new"]]
    mixture_verify("all@v4", folder / "ws")
    with pytest.raises(InputError, match=r"all@v3: 2 of its documents were taken down"):
        extend(folder, [{"uid": "z", "text": words(700)}], "all@v3", file="third")


def test_what_was_taken_down_does_not_come_in(folder: Path) -> None:
    mixture_takedown([ids(folder / "ws")["w9"]], workspace=folder / "ws")
    result = extend(folder, [{"uid": "c", "text": words(9)}, {"uid": "d", "text": similar(9, 905)}])
    assert result["decisions"] == {"takedown": 2}
    assert result["reference"] is None
    assert not (folder / "ws" / "mixtures" / "all" / "v3").exists()
    assert "nothing new for all@v2; no new version" in show_extend(result)


def test_what_was_held_out_stays_so_and_its_relatives_do_not_come_in(folder: Path) -> None:
    held = next(int(uid[1:]) for uid, reason in reasons(folder / "ws").items() if reason == "held_out")
    rows = [{"uid": "relative", "text": similar(held, 906, 10)}, {"uid": "n", "text": words(500)}]
    result = extend(folder, rows)
    assert result["decisions"] == {"kept": 1, "held_out": 1}
    workspace = Workspace(folder / "ws")
    old, new = (version(folder, reference).manifest.split for reference in ("all@v1", "all@v2"))
    assert old is not None
    assert new is not None
    splits = [Split(workspace.split(digest), digest) for digest in (old, new)]
    assert splits[0].heldout().equals(splits[1].heldout())
    assert splits[1].groups().height == splits[0].groups().height + 1


def test_a_new_document_that_would_hold_out_an_old_one_is_an_error(folder: Path) -> None:
    became = reasons(folder / "ws")
    held = next(int(uid[1:]) for uid, reason in became.items() if reason == "held_out")
    with pytest.raises(AuditError, match=r"1 of its documents would be held out.*leave these new documents out"):
        extend(folder, [{"uid": "bridge", "text": f"{words(held)} {words(9)}"}])
    assert not (folder / "ws" / "mixtures" / "all" / "v2").exists()


def test_a_dry_run_says_what_would_come_in_and_writes_no_version(folder: Path) -> None:
    result = extend(folder, NEW, dry_run=True)
    assert (result["added"], result["reference"]) == (2, None)
    assert not (folder / "ws" / "mixtures" / "all" / "v2").exists()


def test_the_recipe_and_its_views_stay_as_they_were(folder: Path) -> None:
    before = reasons(folder / "ws")
    extend(folder, NEW)
    assert reasons(folder / "ws") == before
    assert sql("SELECT count(*) FROM documents WHERE source = 'new'", folder / "ws")["rows"] == [[0]]


def test_what_cannot_be_extended_is_refused(folder: Path, finished: Path) -> None:
    with pytest.raises(RecipeError, match=r"all@v1 has a source of this name.*--source NAME"):
        extend(folder, NEW, source="web")
    with pytest.raises(InputError, match=r"nowhere\.jsonl: there is no such file"):
        mixture_extend("all", [folder / "nowhere.jsonl"], workspace=folder / "ws")
    changed = json.loads((finished / "recipe.yaml").read_text()) | {"seed": 4}
    (folder / "recipe.yaml").write_text(json.dumps(changed))
    with pytest.raises(RecipeError, match=r"it is not the recipe that made all@v1.*--recipe FILE"):
        extend(folder, NEW, recipe=folder / "recipe.yaml")
    extend(folder, NEW)
    with pytest.raises(RecipeError, match=r"the version has a source of these files, which changed since"):
        extend(folder, [*NEW, {"uid": "more", "text": words(800)}])


def test_other_kinds_of_files_come_in_by_their_reader(folder: Path) -> None:
    pl.DataFrame({"uid": ["p1", "p2"], "body": [words(510), words(2)]}).write_parquet(folder / "more.parquet")
    more = [folder / "more.parquet"]
    result = mixture_extend("all", more, text_column="body", id_column="uid", workspace=folder / "ws")
    assert (result["source"], result["decisions"]) == ("more", {"kept": 1, "exact_duplicate": 1})
    (folder / "notes").mkdir()
    (folder / "notes" / "one.txt").write_text(words(520))
    result = mixture_extend("all", [folder / "notes"], workspace=folder / "ws")
    assert (result["source"], result["reference"], result["added"]) == ("notes", "all@v3", 1)
    mixture_verify("all@v3", folder / "ws")
    with pytest.raises(InputError, match=r"INPUT: files of 2 kinds"):
        mixture_extend("all", [folder / "notes", folder / "more.parquet"], workspace=folder / "ws")
    # A file that is read in place is not what the version was made from any more.
    pl.DataFrame({"uid": ["p1"], "body": [words(511)]}).write_parquet(folder / "more.parquet")
    with pytest.raises(InputError, match=r"source more: its files, which are read in place"):
        extend(folder, NEW)
