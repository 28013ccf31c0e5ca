"""rensa as its README uses it: RMinHashDeduplicator with LSH, 128 permutations, its default bands, add_pairs.

It keeps the first document and checks candidates by the similarity that the signatures estimate. Tokens are the word
5-grams; documents without words are left out.
"""

from collections.abc import Iterator

from rensa import RMinHashDeduplicator
from shared import THRESHOLD, arguments, documents, ngrams, write_removed

files, out = arguments()
deduplicator = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=128, use_lsh=True)
added: list[str] = []


def entries() -> Iterator[tuple[str, list[str]]]:
    """Yield (path, tokens) and remember the paths in their order."""
    for path, text in documents(files):
        if tokens := ngrams(text):
            added.append(path)
            yield path, tokens


kept = deduplicator.add_pairs(entries())
write_removed(out, [path for path, stays in zip(added, kept, strict=True) if not stays])
