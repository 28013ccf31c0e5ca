"""A tool's decisions beside the truth, by its own definition of words.

Ours is judged by the words of `engine.text.words`, each peer by the words it was fed (lower-cased runs of `\\w`): what
counts is what a tool makes of its own words. A removal is right if a kept document is equal to the removed one or has
J >= 0.8 with it. Which of two like documents stays is the tool's choice, so recall is measured where it ended up: an
exact greedy pass (the longest first) over what it kept would still remove so many. Documents without words are left
out: the tools differ in whether two empty files are duplicates.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.near_dup.judge import Truth, truth_of
from benchmarks.near_dup.peers.shared import NGRAM_WORDS, words
from engine.text.words import ShingleSets, Words, shingle_sets, split_words

OURS, PEERS = "engine", r"\w+"


@dataclass(frozen=True)
class Verdict:
    """Counts of one tool on one corpus; pairs are over distinct texts."""

    documents: int
    removed: int
    right: int
    missed: int
    exact_removals: int
    pairs: int
    kept_pairs: int

    def details(self) -> dict[str, float | int | str]:
        """Return the columns of the table."""
        duplicates = self.right + self.missed
        return {
            "duplicates removed": self.right / duplicates if duplicates else "none",
            "removed / exact greedy": f"{self.removed:,} / {self.exact_removals:,}",
            "false removals": self.removed - self.right,
            "pairs settled": 1 - self.kept_pairs / self.pairs if self.pairs else "none",
            "pairs left": f"{self.kept_pairs:,} of {self.pairs:,}",
        }


@cache
def corpus(folder: Path) -> tuple[list[str], list[str]]:
    """Return (paths, texts) of a corpus."""
    frame = pl.read_parquet(sorted(folder.glob("*.parquet")), columns=["path", "text"])
    return frame["path"].to_list(), frame["text"].to_list()


@cache
def truth(folder: Path, definition: str) -> Truth:
    """Return the truth of a corpus."""
    texts = corpus(folder)[1]
    sets = _engine_sets(texts) if definition == OURS else _peers_sets(texts)
    return truth_of(texts, sets)


def judge(folder: Path, definition: str, removed: Iterable[str]) -> Verdict:
    """Return the verdict on the removed paths."""
    true, gone = truth(folder, definition), set(removed)
    is_removed = np.array([path in gone for path in corpus(folder)[0]])
    if is_removed.sum() != len(gone):
        raise ValueError(f"{len(gone)} ids removed, {is_removed.sum()} of them known")
    is_judged = true.groups >= 0
    kept_copies = np.bincount(true.groups[~is_removed & is_judged], minlength=len(true.lengths))
    kept = kept_copies > 0
    resembles_kept = kept.copy()
    for one, other in (true.pairs.T, true.pairs[:, ::-1].T):
        resembles_kept[one[kept[other]]] = True
    return Verdict(
        documents=int(is_judged.sum()),
        removed=int((is_removed & is_judged).sum()),
        right=int((is_removed & is_judged & resembles_kept[true.groups]).sum()),
        missed=int((kept_copies[kept] - 1).sum()) + true.removals_among(kept),
        exact_removals=true.num_removals,
        pairs=len(true.pairs),
        kept_pairs=int(kept[true.pairs].all(axis=1).sum()),
    )


def pairs_named(folder: Path, named: pl.DataFrame) -> dict[str, float | int | str]:
    """Return how many of the true pairs of distinct texts stand in our pairs.parquet, and how many there are false."""
    true, number = truth(folder, OURS), {path: place for place, path in enumerate(corpus(folder)[0])}
    ends = [true.groups[[number[path] for path in named[column]]] for column in ("id", "other_id")]
    both = np.sort(np.stack(ends, axis=1).reshape(-1, 2), axis=1)
    # Pairs of equal texts are no question of similarity.
    found = _keys(both[both[:, 0] != both[:, 1]])
    wanted = _keys(true.pairs)
    hit = len(np.intersect1d(found, wanted))
    return {"pairs named": hit / len(wanted) if len(wanted) else "none", "false pairs": len(np.unique(found)) - hit}


def _keys(pairs: np.ndarray) -> np.ndarray:
    return pairs[:, 0] << 32 | pairs[:, 1]


def _engine_sets(texts: list[str]) -> ShingleSets:
    return shingle_sets(split_words(pa.array(texts, pa.large_string())), NGRAM_WORDS)


def _peers_sets(texts: list[str]) -> ShingleSets:
    """Return the shingle sets over the words the peers are fed, each word under a 64-bit digest."""
    digests: dict[str, int] = {}
    offsets, parts = np.zeros(len(texts) + 1, np.int64), []
    for place, text in enumerate(texts):
        found = words(text)
        digests.update((word, _digest(word)) for word in set(found) if word not in digests)
        parts.append(np.fromiter((digests[word] for word in found), np.uint64, len(found)))
        offsets[place + 1] = offsets[place] + len(found)
    return shingle_sets(Words(offsets, np.concatenate(parts)), NGRAM_WORDS)


def _digest(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
