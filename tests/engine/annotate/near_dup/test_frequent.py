"""Corpus-frequent shingles: what templates and licence headers do by default, and with `ignore_frequent`."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from engine.annotate import exact_dup, near_dup
from engine.annotate.near_dup import Config, frequent
from engine.annotate.near_dup.frequent import frequent_shingles, sample, without
from engine.annotate.near_dup.pairs import Verification
from engine.base.atomic import read_json
from engine.text.words import shingle_sets, split_words

from .corpora import as_sets, runs_of, shingles_of

KEPT, SIMILARITY = "near_dup__kept_id", "near_dup__similarity"
World = Callable[..., Any]


def words(stem: str, count: int) -> str:
    """`count` different words."""
    return " ".join(f"{stem}{number}" for number in range(count))


def config(**options: Any) -> Config:
    return Config(**{"recall": 0.999999, **options})


def run(made: Any, chosen: Config, jobs: int = 1) -> Any:
    return made.run(exact_dup, exact_dup.Config()).run(near_dup, chosen, jobs)


def removals(done: Any) -> dict[str, float]:
    columns = done.columns(KEPT, SIMILARITY)
    rows = zip(columns["doc_id"], columns[KEPT], columns[SIMILARITY], strict=True)
    return {name: similarity for name, kept, similarity in rows if kept is not None}


def chats() -> dict[str, str]:
    """200 chats: a template of 300 words, and a question of 10 words of its own."""
    return {f"chat{number:03}": f"{words('system', 300)} {words(f'question{number}x', 10)}" for number in range(200)}


def source_files() -> dict[str, str]:
    """50 files: a licence header of 200 words, and a body of 20 words of its own."""
    return {f"file{number:02}": f"{words('licence', 200)} {words(f'body{number}x', 20)}" for number in range(50)}


def with_header() -> dict[str, str]:
    """Ten bodies of 150 words under the header, each with a copy that ends with one other word."""
    docs = {}
    for number in range(10):
        body = f"{words('licence', 200)} {words(f'paper{number}x', 150)}"
        docs |= {f"paper{number}": body, f"paper{number}copy": f"{body} again"}
    return docs


def test_chats_of_one_template_fall_by_default_and_stay_with_the_option(world: World) -> None:
    docs = {"chat": chats()}
    # 296 shingles are shared, and each chat has 10 more: 296 of 316.
    assert list(removals(run(world(docs, shard_rows=70), config())).values()) == [0.9367] * 199
    done = run(world(docs, shard_rows=70), config(ignore_frequent=0.1))
    assert removals(done) == {}
    details = read_json(done.artifacts["near_dup"] / "details.json")
    assert {name: details[name] for name in ("frequent_shingles", "frequent_sample_documents", "let_go_pairs")} == {
        "frequent_shingles": 296, "frequent_sample_documents": 200, "let_go_pairs": 200 * 199 // 2
    }  # fmt: skip
    assert pl.read_parquet(done.artifacts["near_dup"] / "pairs.parquet").height == 0


def test_files_under_one_licence_fall_by_default_and_stay_with_the_option(world: World) -> None:
    docs = {"code": source_files()}
    # 196 of 236.
    assert list(removals(run(world(docs, shard_rows=20), config())).values()) == [0.8305] * 49
    assert removals(run(world(docs, shard_rows=20), config(ignore_frequent=0.1))) == {}


def test_near_duplicates_under_a_licence_fall_either_way(world: World) -> None:
    docs = {"code": source_files() | with_header()}
    copies = {f"paper{number}": 0.9971 for number in range(10)}
    assert {
        name: one for name, one in removals(run(world(docs, shard_rows=20), config())).items() if "paper" in name
    } == copies
    # The smaller of two similarities: 346 of 347 shingles with the header, 150 of 151 without.
    done = run(world(docs, shard_rows=20), config(ignore_frequent=0.1))
    assert removals(done) == dict.fromkeys(copies, 0.9933)
    pairs = pl.read_parquet(done.artifacts["near_dup"] / "pairs.parquet")
    assert set(pairs.select("intersection", "union").iter_rows()) == {(150, 151)}


def test_bare_templates_are_duplicates_of_each_other_and_of_nothing_filled_in(world: World) -> None:
    # The same template but for punctuation, which no word holds, five times; and filled in five times.
    bare = {f"bare{number}": words("system", 300) + "." * number for number in range(5)}
    filled = {f"chat{number}": f"{words('system', 300)} {words(f'q{number}x', 10)}" for number in range(5)}
    done = run(world({"chat": bare | filled}), config(ignore_frequent=0.3))
    assert removals(done) == dict.fromkeys(sorted(bare)[:4], 1.0)


def test_two_documents_are_no_template_yet_and_three_may_be_one(world: World) -> None:
    docs = {"a": words("w", 100), "b": words("w", 101), "c": words("other", 50)}
    assert removals(run(world({"web": docs}), config(ignore_frequent=0.0001))) == {"a": 0.9896}
    # What a share below that of a family of copies does: they are compared by what they differ in.
    docs["d"] = words("w", 102)
    assert removals(run(world({"web": docs}), config(ignore_frequent=0.0001))) == {}
    assert set(removals(run(world({"web": docs}), config(ignore_frequent=0.9)))) == {"a", "b"}


def test_copies_that_are_exact_make_no_template(world: World) -> None:
    docs = {**{f"copy{number}": words("w", 100) for number in range(20)}, "near": words("w", 101)}
    docs |= {f"other{number}": words(f"o{number}x", 50) for number in range(10)}
    assert removals(run(world({"web": docs}), config(ignore_frequent=0.25))) == {"copy0": 0.9896}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_pairs_are_those_of_the_definition_for_any_shards_and_jobs(
    world: World, read_pairs: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch, seed: int, share: float
) -> None:
    docs = templated(seed)
    expected = by_definition(docs, share, 0.5, 2)
    chosen = config(ignore_frequent=share, floor=0.5, ngram_words=2)
    names = list(docs)
    random.Random(seed).shuffle(names)
    shuffled = {"web": {name: docs[name] for name in names}}
    for corpus, rows, jobs, most in (({"web": docs}, 100, 1, 1 << 21), (shuffled, 7, 3, 100)):
        monkeypatch.setattr(frequent, "SLICE_SHINGLES", most)
        done = run(world(corpus, shard_rows=rows), chosen, jobs)
        pairs = pl.read_parquet(done.artifacts["near_dup"] / "pairs.parquet")
        assert {
            (bytes(one).rstrip(b"\0").decode(), bytes(other).rstrip(b"\0").decode()): (shared, union)
            for one, other, shared, union, _ in pairs.iter_rows()
        } == expected
    plain = run(world({"web": docs}), config(floor=0.5, ngram_words=2))
    similar = {(one, other): value for one, other, value in read_pairs(plain.artifacts["near_dup"] / "pairs.parquet")}
    assert set(expected) < set(similar)
    assert all(shared * 10_000 // union / 10_000 <= similar[pair] for pair, (shared, union) in expected.items())
    assert set(removals(done)) <= {name for pair in similar for name in pair}


def templated(seed: int) -> dict[str, str]:
    """Documents under three templates of different length or none, a third of them with an edited copy."""
    draw = random.Random(seed)
    templates = [words(f"t{number}x", length).split() for number, length in enumerate((60, 30, 10))] + [[]]
    texts: list[list[str]] = []
    for _ in range(40):
        own = [f"v{draw.randrange(10**5)}" for _ in range(draw.choice((0, 3, 10, 40)))]
        texts.append(draw.choice(templates) + own)
        if own and draw.random() < 0.4:
            texts.append([*texts[-1][:-1], f"e{draw.randrange(10**5)}"])
    unique = {" ".join(text): text for text in texts if text}
    return {f"d{number:02}": text for number, text in enumerate(unique)}


def by_definition(
    docs: dict[str, str], share: float, floor: float, ngram_words: int
) -> dict[tuple[str, str], tuple[int, int]]:
    sets = {name: shingles_of(text.split(), ngram_words) for name, text in docs.items()}
    counts = Counter(shingle for one in sets.values() for shingle in one)
    template = {shingle for shingle, count in counts.items() if count >= max(3, share * len(docs))}
    found = {}
    for one in sorted(docs):
        for other in sorted(docs):
            if one < other:
                both = [(sets[one], sets[other]), (sets[one] - template, sets[other] - template)]
                exact = [(len(left & right), len(left | right)) for left, right in both if left or right]
                shared, union = min(exact, key=lambda pair: pair[0] / pair[1])
                if shared >= floor * union:
                    found[one, other] = (shared, union)
    return found


def test_sample_is_the_documents_of_least_id_that_take_part() -> None:
    ids = pl.Series([b"d", b"a", b"c", b"b"], dtype=pl.Binary)
    takes_part = np.array([True, False, True, True])
    assert sample(ids, takes_part, 2).tolist() == [False, False, True, True]
    assert sample(ids, takes_part).tolist() == takes_part.tolist()
    assert sample(ids.head(0), takes_part[:0]).tolist() == []


@pytest.mark.parametrize(("share", "least"), [(0.1, 3), (0.3, 3), (0.31, 4), (0.5, 5), (1.0, 10)])
def test_share_is_met_exactly_in_whole_documents(tmp_path: Path, share: float, least: int) -> None:
    # Word number n stands in n + 1 of ten documents.
    texts = [" ".join(f"w{number}" for number in range(10) if number >= document) for document in range(10)]
    how = Verification(0.8, 1, 1000, tmp_path, 2)
    found = frequent_shingles(runs_of(texts, 3), np.ones(10, dtype=np.bool_), share, how)
    words_of = {f"w{number}": number + 1 for number in range(10)}
    sets = shingle_sets(split_words(pl.Series(list(words_of)).to_arrow()), 1)
    expected = sorted(int(one) for one, count in zip(sets.hashes, words_of.values(), strict=True) if count >= least)
    assert found.tolist() == expected
    assert list(tmp_path.iterdir()) == []


def test_documents_outside_the_sample_are_not_counted(tmp_path: Path) -> None:
    texts = ["a b", "a c", "a d", "x y", "x z"]
    how = Verification(0.8, 1, 1000, tmp_path, 1)
    assert len(frequent_shingles(runs_of(texts, 2), np.array([1, 1, 1, 0, 0], dtype=np.bool_), 0.5, how)) == 1
    assert len(frequent_shingles(runs_of(texts, 2), np.array([1, 1, 0, 1, 1], dtype=np.bool_), 0.5, how)) == 0
    assert len(frequent_shingles(runs_of(texts, 2), np.zeros(5, dtype=np.bool_), 0.5, how)) == 0


def test_frequent_shingles_are_left_out_of_every_set() -> None:
    left = without(as_sets([[0, 3, 7], [], [7], [1, 9], [2**64 - 1]]), np.array([0, 7, 9], dtype=np.uint64))
    assert left.offsets.tolist() == [0, 1, 1, 1, 2, 3]
    assert left.hashes.tolist() == [3, 1, 2**64 - 1]


def test_option_changes_no_part_and_is_a_share() -> None:
    assert near_dup.part_config(Config(ignore_frequent=0.2)) == near_dup.part_config(Config())
    for wrong in (0, 1.1, 0.00001):
        with pytest.raises(ValidationError):
            Config(ignore_frequent=wrong)
