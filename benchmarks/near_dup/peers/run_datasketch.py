"""datasketch 2 as documented: MinHash (its default scheme affine32, SHA-1 tokens) and MinHashLSH, 128 permutations.

MinHashLSH chooses the bands for 0.8 itself (9 x 13). A document whose query names a kept one is removed, the others are
inserted: one pass, the first document stays, and no chain of likenesses.
"""

from datasketch import MinHash, MinHashLSH
from shared import THRESHOLD, arguments, documents, ngrams, write_removed

files, out = arguments()
index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
empty = MinHash(num_perm=128)
removed = []
for path, text in documents(files):
    tokens = {token.encode() for token in ngrams(text)}
    if not tokens:
        continue
    sketch = empty.copy()
    sketch.update_batch(tokens)
    if index.query(sketch):
        removed.append(path)
    else:
        index.insert(path, sketch)
write_removed(out, removed)
