"""Nothing that is like a held-out document, or holds half of one, is trained on; a random split would not see to that.

Six pairs of Jaccard similarity 0.6, and six long documents that hold most of a short one, among sixty others.
"""

import json
import random
import runpy
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.base.errors import RecipeError
from engine.catalog import sql
from engine.run.pipeline import run
from engine.run.show import show_run

PAIRS, PASSAGES = range(6), range(6)
RANDOM_SPLITS = 100


def words(seed: int, count: int) -> list[str]:
    numbers = random.Random(seed)
    return [f"w{numbers.randrange(5000)}" for _ in range(count)]


@cache
def ngrams(text: str, length: int) -> set[tuple[str, ...]]:
    found = text.split()
    return {tuple(found[start : start + length]) for start in range(len(found) - length + 1)}


def jaccard(one: str, other: str) -> float:
    first, second = ngrams(one, 5), ngrams(other, 5)
    return len(first & second) / len(first | second)


def corpus() -> dict[str, str]:
    """Own id -> text. Of a pair 120 of 160 word 5-grams are shared; `long` holds 78 of the 108 13-grams of `short`."""
    docs = {f"other{n:02}": words(n, 150) for n in range(60)}
    for n in PAIRS:
        shared = words(1000 + n, 124)
        docs |= {f"pair{n}a": shared + words(2000 + n, 40), f"pair{n}b": shared + words(3000 + n, 40)}
    for n in PASSAGES:
        short, around = words(4000 + n, 120), words(5000 + n, 400)
        docs |= {f"short{n}": short, f"long{n}": around[:200] + short[20:110] + around[200:]}
    return {name: " ".join(found) for name, found in docs.items()}


def crossings(held_out: dict[str, str], trained: dict[str, str]) -> list[tuple[str, str]]:
    """Pairs of a held-out and a trained document that are alike, or of which the second holds half of the first."""
    found = []
    for held, text in held_out.items():
        passages = ngrams(text, 13)
        for name, other in trained.items():
            holds_half = 2 * len(passages & ngrams(other, 13)) >= len(passages)
            if holds_half or jaccard(text, other) >= 0.5:
                found.append((held, name))
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe's workspace ws/, and what the run said in run.json."""
    folder = tmp_path_factory.mktemp("split")
    docs = corpus()
    (folder / "web.jsonl").write_text("".join(json.dumps({"uid": u, "text": t}) + "\n" for u, t in docs.items()))
    recipe = {
        "name": "held",
        "sources": [{"stage": "jsonl", "name": "web", "path": "web.jsonl", "columns": {"id": "uid"}}],
        "annotate": [{"stage": "exact_dup"}, {"stage": "near_dup", "threshold": 0.8}, {"stage": "contamination"}],
        "split": {"heldout": {"general": {"sources": ["web"], "max_bytes": sum(map(len, docs.values())) // 3}}},
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    (folder / "run.json").write_text(json.dumps(run(folder / "recipe.yaml", folder / "ws")))
    return folder


def decided(folder: Path) -> dict[str, dict[str, str]]:
    """Decision, or reason where dropped -> own id -> text."""
    became = "coalesce(nullif(decision, 'dropped'), decisions.reason)"
    rows = sql(f"SELECT uid, {became} FROM source_web JOIN decisions USING (doc_id)", folder / "ws")["rows"]
    docs, found = corpus(), dict[str, dict[str, str]]()
    for uid, decision in rows:
        found.setdefault(decision, {})[uid] = docs[uid]
    return found


def test_the_planted_documents_are_what_they_are_meant_to_be() -> None:
    docs = corpus()
    assert {jaccard(docs[f"pair{n}a"], docs[f"pair{n}b"]) for n in PAIRS} == {0.6}
    for n in PASSAGES:
        short, long = docs[f"short{n}"], docs[f"long{n}"]
        assert len(ngrams(short, 13) & ngrams(long, 13)) == 78
        assert len(ngrams(short, 13)) == 108
        assert jaccard(short, long) < 0.2
    others = [text for name, text in docs.items() if name.startswith("other")]
    assert max(jaccard(one, other) for one, other in combinations(others, 2)) == 0


def test_no_pair_and_no_passage_straddles_the_border(finished: Path) -> None:
    found = decided(finished)
    held_out, kept = found["held_out"], found["kept"]
    assert crossings(held_out, kept) == []
    # The border was put to the test: pairs are on both sides, and a document went for the passage it holds.
    sides = {name in held_out for name in found["held_out"] | kept if name.startswith("pair")}
    assert sides == {True, False}
    assert {name for name in corpus() if f"short{name[-1]}" in held_out and name.startswith("long")} - set(held_out)
    expected = {f"long{n}" for n in PASSAGES if f"short{n}" in held_out and f"long{n}" not in held_out}
    assert set(found["contaminated"]) == expected


def test_nearly_every_random_split_of_the_same_size_fails_the_same_check(finished: Path) -> None:
    docs, size = corpus(), len(decided(finished)["held_out"])
    planted = {name: text for name, text in docs.items() if not name.startswith("other")}
    crossing = [(held, trained) for held, trained in crossings(planted, planted) if held != trained]
    assert len(crossing) == 2 * len(PAIRS) + len(PASSAGES)
    fails = 0
    for seed in range(RANDOM_SPLITS):
        drawn = set(random.Random(seed).sample(sorted(docs), size))
        fails += any(held in drawn and trained not in drawn for held, trained in crossing)
    assert fails == 99


def test_the_run_says_how_large_each_held_out_set_is(finished: Path) -> None:
    result = json.loads((finished / "run.json").read_text())
    held_out = decided(finished)["held_out"]
    size = sum(map(len, held_out.values()))
    (step,) = [step for step in result["steps"] if step["name"] == "split"]
    expected = {"set": "general", "documents": len(held_out), "bytes": size, "tokens": None}
    assert step["details"]["sets"] == [expected | {"group_documents": len(held_out)}]
    assert f"held out for general: {len(held_out)} documents, {size:,} bytes\n" in show_run(result)


def letters(text: str) -> int:
    return len(text.replace(" ", ""))


def test_a_set_in_tokens_holds_what_the_stage_tokens_counts_and_says_both_sizes(tmp_path: Path) -> None:
    # Every letter and digit is a token.
    made = runpy.run_path(str(Path(__file__).parents[1] / "annotate" / "tokens" / "tokenizers_made.py"))
    made["character_file"](tmp_path / "tokenizer.json")
    docs = {f"d{n:02}": " ".join(words(n, 20 + n)) for n in range(40)}
    (tmp_path / "web.jsonl").write_text("".join(json.dumps({"uid": u, "text": t}) + "\n" for u, t in docs.items()))
    recipe: dict[str, Any] = {
        "name": "counted",
        "sources": [{"stage": "jsonl", "name": "web", "path": "web.jsonl", "columns": {"id": "uid"}}],
        "annotate": [
            {"stage": "exact_dup"},
            {"stage": "near_dup", "threshold": 0.8},
            {"stage": "tokens", "as": "letters", "tokenizer": "tokenizer.json"},
        ],
        "split": {"heldout": {"general": {"sources": ["web"], "max_tokens": 1000}}},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    result = run(tmp_path / "recipe.yaml", tmp_path / "ws")
    (path,) = (tmp_path / "ws" / "splits").glob("*/heldout.parquet")
    held_out = pl.read_parquet(path)
    assert held_out["num_tokens"].to_list() == [letters(text) for text in held_out["text"]]
    total = held_out["num_tokens"].sum()
    assert 800 < total <= 1000
    assert f"{held_out['num_bytes'].sum():,} bytes, {total:,} tokens\n" in show_run(result)
    # What filters would keep is told in tokens too.
    recipe["filters"] = [{"reason": "short", "keep": "letters__count >= 150"}]
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    found = run(tmp_path / "recipe.yaml", tmp_path / "ws", dry_run=True)["what_if"]
    left = [letters(text) for text in docs.values() if text not in set(held_out["text"])]
    assert found["total"]["kept_before"]["tokens"] == sum(left)
    assert found["total"]["kept_now"]["tokens"] == sum(size for size in left if size >= 150)


def test_a_split_larger_than_the_corpus_stops_the_run_before_anything_is_selected(finished: Path) -> None:
    recipe = json.loads((finished / "recipe.yaml").read_text())
    recipe["split"]["heldout"]["general"]["max_bytes"] = 10**9
    (finished / "larger.yaml").write_text(json.dumps(recipe))
    whole = sum(map(len, corpus().values()))
    with pytest.raises(RecipeError) as caught:
        run(finished / "larger.yaml", finished / "ws")
    assert str(caught.value).startswith(
        f"split.heldout.general: it asks for 1,000,000,000 bytes where {whole:,} can stand in it (84 documents in 78 "
        "groups), so nothing of them would be left to train on. Needed: at most 50% of them"
    )
