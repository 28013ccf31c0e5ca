"""What a run does with documents that hold questions of a benchmark, from the ledger to the tokens."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from engine.base.errors import AuditError
from engine.catalog import sql
from engine.cli import main
from engine.explain import explain
from engine.formats.items import read_items
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.workspace import Workspace
from engine.mixture.versions import mixture_verify
from engine.run import decoded_search
from tests.engine.run.searched import (
    EGGS,
    TRAIN,
    made,
    mixture_of,
    prose,
    recipe,
    run_in,
    states,
    trained_texts,
    write_corpus,
    write_lines,
)

PLANTED = ("asked", "bare", "solved")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path)


def outcomes(result: dict[str, Any], unit: str = "documents") -> dict[tuple[str, str | None], int]:
    return {(row["outcome"], row["reason"]): row[unit] for row in result["ledger"]}


def doc_ids(corpus: Path) -> dict[str, str]:
    """The own id of each planted document -> its doc_id, as 32 hexadecimal digits."""
    found = sql("SELECT uid, doc_id FROM source_web WHERE uid NOT LIKE 'd%'", corpus / "ws")
    return {uid: str(doc_id).replace("-", "") for uid, doc_id in found["rows"]}


# drop


def test_contaminated_documents_are_dropped_and_the_ledger_balances(corpus: Path) -> None:
    result = run_in(corpus, recipe())
    assert outcomes(result) == {("in", None): 203, ("kept", None): 200, ("dropped", "contaminated"): 3}
    sizes = outcomes(result, "bytes")
    assert sizes["in", None] == sizes["kept", None] + sizes["dropped", "contaminated"]
    (benchmark,) = mixture_of(corpus).manifest.benchmarks
    assert benchmark.model_dump(exclude={"digest", "stored", "control_flag_rate"}) == {
        "name": "quiz",
        "items": 2,
        "matchable_items": 2,
        "searched_documents": 200,
        "found": [],
        "planted_recall": 1.0,
    }
    assert mixture_of(corpus).manifest.documents == 200


def test_tokens_are_decoded_and_searched_and_the_manifest_says_so(corpus: Path) -> None:
    run_in(corpus, recipe())
    found = mixture_of(corpus).manifest.audit
    assert found is not None
    assert found.documents == 200
    assert read_parquet(Workspace(corpus / "ws").audit(found.digest) / "hits.parquet").is_empty()


# cut


def test_cut_leaves_the_rest_of_the_text_and_not_the_question(corpus: Path) -> None:
    result = run_in(corpus, recipe("cut"))
    # The document that was nothing but a question is dropped.
    cut = ("cut", "contamination")
    assert outcomes(result) == {("in", None): 203, ("kept", None): 202, ("dropped", "contaminated"): 1, cut: 0}
    texts = trained_texts(corpus)
    sizes = outcomes(result, "bytes")
    assert sizes["kept", None] == sum(len(text.removesuffix("</s>").encode()) for text in texts)
    assert sizes[cut] == sizes["in", None] - sizes["kept", None] - sizes["dropped", "contaminated"] > len(EGGS + TRAIN)
    (asked,) = [text for text in texts if prose(1003) in text]
    before, _, behind = asked.partition(prose(1003))
    assert before.strip() == ""
    # Spans are of words, so signs of the question may stay.
    assert not any(character.isalnum() for character in behind.partition(prose(1004))[0])
    assert prose(1004) in behind
    (solved,) = [text for text in texts if prose(1001) in text]
    assert prose(1002) in solved
    for gone in ("eggs", "hens", "182", "train", "TRAIN"):
        assert not any(gone in text for text in texts), gone
    manifest = mixture_of(corpus).manifest
    assert manifest.documents == 202
    assert [(one.searched_documents, one.found) for one in manifest.benchmarks] == [(202, [])]


def test_documents_without_a_hit_have_the_same_tokens_whatever_is_cut_elsewhere(corpus: Path) -> None:
    run_in(corpus, recipe("cut"), "cut")
    run_in(corpus, recipe("tag"), "tag")
    clean = [{text for text in trained_texts(corpus, name) if "eggs" not in text} for name in ("cut", "tag")]
    assert len(clean[0] & clean[1]) >= 200


def test_another_benchmark_makes_another_token_store_of_what_is_cut(corpus: Path) -> None:
    # The same documents are kept, with the same doc_ids; only the text that is left tells the stores apart.
    run_in(corpus, recipe("cut", benchmarks=["quiz.jsonl"]))
    first = mixture_of(corpus).manifest
    write_lines(corpus / "other.jsonl", [{"question": TRAIN, "answer": "13"}])
    result = run_in(corpus, recipe("cut", benchmarks=["other.jsonl"]))
    second = mixture_of(corpus).manifest
    assert first.documents == second.documents == 202
    assert first.token_store != second.token_store
    assert "token store" in made(result)
    assert any("16 eggs" in text for text in trained_texts(corpus))


# tag


def test_tag_keeps_the_documents_and_the_manifest_names_them(corpus: Path) -> None:
    result = run_in(corpus, recipe("tag"))
    assert outcomes(result) == {("in", None): 203, ("kept", None): 203}
    manifest = mixture_of(corpus).manifest
    assert [(one.searched_documents, one.found) for one in manifest.benchmarks] == [
        (203, sorted(doc_ids(corpus).values()))
    ]
    assert manifest.audit is not None
    assert read_parquet(Workspace(corpus / "ws").audit(manifest.audit.digest) / "hits.parquet").height == 3
    assert sum("16 eggs" in text for text in trained_texts(corpus)) == 1


def test_tagged_copies_of_held_out_text_are_named_with_their_set(corpus: Path) -> None:
    general = {"general": {"sources": ["web"], "max_bytes": 3000}}
    heldout = {"heldout": general, "where": "heuristics__num_words BETWEEN 30 AND 50"}
    run_in(corpus, recipe("tag", split=heldout), "first")
    (texts,) = (corpus / "first" / "splits").glob("*/heldout.parquet")
    held = read_parquet(texts)["text"][0]
    write_lines(corpus / "more.jsonl", [{"text": f"{prose(2001)} {prose(2002)}\n{held}\n{prose(2003)}"}])
    sources = [*recipe()["sources"], {"stage": "jsonl", "name": "more", "path": "more.jsonl"}]
    run_in(corpus, recipe("tag", split=heldout, sources=sources))
    manifest = mixture_of(corpus).manifest
    assert manifest.sources[0].source == "web"
    assert manifest.held_out[0].found == []
    both = {"all": {"sources": ["web", "more"], "row_tokens": 64, "rows_per_step": 4}}
    run_in(corpus, recipe("tag", split=heldout, sources=sources, mixtures=both))
    (row,) = sql("SELECT doc_id FROM documents WHERE source = 'more'", corpus / "ws")["rows"]
    assert mixture_of(corpus).manifest.held_out[0].found == [str(row[0]).replace("-", "")]


def test_tagged_documents_that_a_filter_leaves_out_are_not_found_in_the_mixture(corpus: Path) -> None:
    clean = {"reason": "quiz", "keep": "contamination__benchmark IS NULL"}
    result = run_in(corpus, recipe("tag", filters=[clean]))
    assert outcomes(result)["dropped", "quiz"] == 3
    (benchmark,) = mixture_of(corpus).manifest.benchmarks
    assert (benchmark.searched_documents, benchmark.found) == (200, [])


def test_what_one_search_left_in_another_one_does_not_stop_the_run_for(corpus: Path) -> None:
    stages = [
        {"stage": "exact_dup"},
        {"stage": "heuristics"},
        {"stage": "contamination", "as": "tagged", "action": "tag"},
        {"stage": "contamination", "as": "answers", "action": "cut", "field": "response"},
    ]
    run_in(corpus, recipe(annotate=stages))
    (benchmark,) = mixture_of(corpus).manifest.benchmarks
    assert benchmark.searched_documents == 203
    assert benchmark.found == sorted(doc_ids(corpus).values())


def test_another_action_searches_nothing_again(corpus: Path) -> None:
    run_in(corpus, recipe("drop"))
    part = next((corpus / "ws" / "annotations" / "contamination").glob("*/web/*.parquet"))
    before = part.stat().st_mtime_ns
    again = run_in(corpus, recipe("tag"))
    assert states(again)["contamination (model)"] == "fresh"
    assert "contamination" in made(again)
    assert part.stat().st_mtime_ns == before


def test_a_new_relative_of_a_held_out_document_leaves_the_search_of_all_others_as_it_is(corpus: Path) -> None:
    heldout = {"heldout": {"general": {"sources": ["web"], "max_bytes": 3000}}, "where": "heuristics__num_words > 30"}
    run_in(corpus, recipe(split=heldout))
    workspace = corpus / "ws"
    (texts,) = (workspace / "splits").glob("*/heldout.parquet")
    (part,) = (workspace / "annotations" / "contamination").glob("*/web/*.parquet")
    before = part.stat().st_mtime_ns
    # Most of its words, none of them 13 in a row.
    held = read_parquet(texts)["text"][0].split()
    alike = " ".join(word for start in range(0, len(held), 10) for word in [*held[start : start + 10], "other"])
    write_lines(corpus / "more.jsonl", [{"text": alike}])
    sources = [*recipe()["sources"], {"stage": "jsonl", "name": "more", "path": "more.jsonl"}]
    again = run_in(corpus, recipe(split=heldout | {"min_similarity": 0.2}, sources=sources))
    (row,) = sql("SELECT decision, reason FROM decisions WHERE source = 'more'", workspace)["rows"]
    assert list(row) == ["held_out", "general"]
    assert states(again)["contamination (model)"] == "fresh"
    assert part.stat().st_mtime_ns == before


# The audit


def test_a_run_stops_where_the_tokens_still_hold_an_item(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A cut that fails to be applied is what the audit is for.
    monkeypatch.setattr("engine.text.edits.Edits.applied", lambda _edits, text: text)
    with pytest.raises(AuditError) as caught:
        run_in(corpus, recipe("cut"))
    message = str(caught.value)
    assert "recipe.yaml: token store: 2 documents still hold items of quiz when decoded" in message
    ids = doc_ids(corpus)
    assert all(str(UUID(ids[name])) in message for name in ("asked", "solved"))
    assert not (corpus / "ws" / "mixtures").exists()
    # And it stops again: what was found is an artifact.
    monkeypatch.setattr(decoded_search, "_search", None)
    with pytest.raises(AuditError, match="2 documents still hold items of quiz"):
        run_in(corpus, recipe("cut"))


def test_another_coverage_sheet_or_other_hits_do_not_verify(corpus: Path) -> None:
    run_in(corpus, recipe())
    checked = mixture_verify("all", corpus / "ws")["checked"]
    assert {"coverage sheet", "search of the decoded tokens"} <= set(checked)
    (sheet,) = (corpus / "ws").rglob("coverage.parquet")
    content = sheet.read_bytes()
    write_parquet(sheet, read_parquet(sheet).with_columns(matchable_items=pl.lit(999)))
    with pytest.raises(AuditError, match="no sheet with the digest"):
        mixture_verify("all", corpus / "ws")
    sheet.write_bytes(content)
    (hits,) = (corpus / "ws").glob("audits/*/hits.parquet")
    hits.write_bytes(b"broken")
    with pytest.raises(AuditError, match=r"hits\.parquet: its bytes changed"):
        mixture_verify("all", corpus / "ws")


# Where it can be seen


def test_hits_and_coverage_are_views(corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    run_in(corpus, recipe())
    hits = sql("SELECT item, kind, score FROM hits ORDER BY item, kind, score DESC", corpus / "ws")["rows"]
    assert [tuple(row) for row in hits] == [
        ("0", "question+answer", 1.0),
        ("1", "question", 1.0),
        ("1", "question", 1.0),
    ]
    sheet = sql(
        "SELECT benchmark, items, matchable_items, searched_documents, flagged_documents FROM coverage", corpus / "ws"
    )
    assert [tuple(row) for row in sheet["rows"]] == [("quiz", 2, 2, 203, 3)]
    monkeypatch.chdir(corpus)
    for view, shown in (("hits", EGGS[:20]), ("coverage", "planted_recall")):
        assert main(["sql", f"FROM {view}", "--workspace", "ws", "--json"]) == 0
        assert shown in json.dumps(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("action", ["drop", "cut", "tag"])
def test_explain_shows_the_hit(corpus: Path, action: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    run_in(corpus, recipe(action))
    ids = doc_ids(corpus)
    result = explain(ids["solved"], corpus / "ws")
    (hit,) = result["hits"]["contamination"]
    assert (hit["benchmark"], hit["item"], hit["kind"], hit["score"]) == ("quiz", "0", "question+answer", 1.0)
    assert hit["evidence"].startswith(EGGS[:60])
    assert result["annotations"]["contamination"]["contamination__action"] == action
    assert result["decision"]["decision"] == ("dropped" if action == "drop" else "kept")
    monkeypatch.chdir(corpus)
    assert main(["explain", ids["solved"], "--workspace", "ws"]) == 0
    shown = capsys.readouterr().out
    assert "benchmark quiz, item 0, kind question+answer, score 1.0" in shown
    assert main(["explain", ids["solved"], "--workspace", "ws", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"] == result["hits"]


def test_verify_notices_changed_items(corpus: Path) -> None:
    run_in(corpus, recipe())
    assert "benchmarks" in mixture_verify("all@v1", corpus / "ws")["checked"]
    (path,) = (corpus / "ws" / "benchmarks" / "quiz").glob("*/items.parquet")
    write_parquet(path, read_items(path).with_columns(question=pl.lit("Something else?")))
    with pytest.raises(AuditError, match=r"items\.parquet: its bytes changed since it was written"):
        mixture_verify("all@v1", corpus / "ws")
