"""Real texts against comparing everything with everything: licences, and one declaration in twenty languages."""

import random
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from .corpora import pairs, removed, run, write
from .oracle import greedy, longest_first, shingles, similarity, stored, words

LANGUAGES = """
    amh arb ben cmn_hans ell_monotonic eng fra heb hin hye jpn kat khm kor lao mya rus spa tam tha tur urd vie
"""


def similar_by_brute_force(texts: Sequence[str]) -> set[frozenset[str]]:
    """All pairs of different texts at 0.8 and above, by intersections of all with all."""
    numbers: dict[tuple[str, ...], int] = {}
    members = [[numbers.setdefault(shingle, len(numbers)) for shingle in shingles(text)] for text in texts]
    sizes = np.array([len(one) for one in members])
    rows = np.repeat(np.arange(len(texts)), sizes)
    table = csr_matrix((np.ones(len(rows), np.int32), (rows, np.concatenate([*map(np.array, members)]).astype(int))))
    shared = (table @ table.T).tocoo()
    union = sizes[shared.row] + sizes[shared.col] - shared.data
    similar = (shared.row < shared.col) & (10 * shared.data >= 8 * union)
    return {
        frozenset((texts[one], texts[other]))
        for one, other in zip(shared.row[similar], shared.col[similar], strict=True)
    }


def check(folder: Path, texts: Sequence[str]) -> tuple[int, int]:
    """Return how many pairs there are, and how many documents an exact greedy pass removes."""
    documents = {f"d{row}": text for row, text in enumerate(texts)}
    different = longest_first(texts)
    exact = similar_by_brute_force(different)
    run([write(folder / "in.parquet", texts, rows_per_group=500)], folder / "out", id_column="uid")
    found = {frozenset(documents[name] for name in pair): value for pair, value in pairs(folder / "out").items()}
    assert set(found) <= exact
    assert len(found) >= 0.99 * len(exact)
    draw = random.Random(1)
    for one, other in draw.sample(sorted(map(sorted, found)), min(500, len(found))):
        assert found[frozenset((one, other))] == stored(similarity(one, other))
    gone = removed(folder / "out")
    for name, row in gone.items():
        pair = frozenset((documents[name], documents[row.kept_id]))
        assert len(pair) == 1 or pair in exact
    by_exact_pass = len(texts) - len(greedy(different, exact))
    assert len(gone) >= 0.99 * by_exact_pass
    kept = {documents[name] for name in documents if name not in gone}
    missed = [pair for pair in exact if pair <= kept]
    assert len(missed) <= 0.01 * len(exact)
    return len(exact), by_exact_pass


def unequal_lengths(texts: Sequence[str]) -> list[str]:
    """Different texts with line ends added, so that no order hangs on a doc_id."""
    found: list[str] = []
    lengths: set[int] = set()
    for text in dict.fromkeys(texts):
        longer = text
        while len(longer) in lengths:
            longer += "\n"
        lengths.add(len(longer))
        found.append(longer)
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_licence_texts(tmp_path: Path, shared_data: Path) -> None:
    files = sorted((shared_data / "groundtruth" / "scancode-rules").glob("*.RULE"))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files[::3]]
    num_pairs, num_removed = check(tmp_path, unequal_lengths(texts))
    assert num_pairs > 1000
    assert num_removed > 100


def test_one_declaration_in_twenty_languages(tmp_path: Path, shared_data: Path) -> None:
    draw = random.Random(2)
    texts: list[str] = []
    with zipfile.ZipFile(shared_data / "corpora" / "nltk" / "udhr2.zip") as archive:
        for language in LANGUAGES.split():
            lines = archive.read(f"udhr2/{language}.txt").decode("utf-8").splitlines()
            full = " ".join(lines)
            for start in range(0, len(full) - 600, 700):
                passage = full[start : start + 600]
                letters = sorted(set(passage))
                copies = [passage]
                for rate in (0.0005, 0.001, 0.002, 0.003, 0.005):
                    copies.append("".join(draw.choice(letters) if draw.random() < rate else c for c in passage))
                texts += copies
    texts = unequal_lengths(texts)
    assert sum(bool(words(text)) for text in texts) > 600
    num_pairs, num_removed = check(tmp_path, texts)
    assert num_pairs > 1000
    assert num_removed > 500
