"""A tokenizer's vocabulary extended for a domain: new pieces are chosen by the tokens they save on its texts.

Its merges go on where they ended (engine.pack.merges), behind all old ones, so a text is tokenised as before and then
some neighbours become one: every new piece stands for the same old ids wherever it occurs. That is the rule for
byte-level BPE and for SentencePiece BPE; a unigram model has no merges and is refused. The finished copy has to prove
it on texts: its ids, with each new piece replaced by its old ids, are the ids of the original.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from pydantic import Field

from engine.base.atomic import atomic_file, read_json
from engine.base.errors import InputError, RecipeError, problem
from engine.base.hashing import digest_bytes, seeded_order
from engine.base.stage import StrictModel
from engine.formats import sentencepiece_model
from engine.formats.huggingface_tokenizer import with_merges
from engine.formats.tokenizer import FILES, Tokenizer, TokenizerMeta, load_tokenizer, write_meta
from engine.pack.merges import Merge, continue_merges
from engine.pack.words import WordCounts, WordTokenizer, pieces_of

PLACE = "tokenizer.extend"
PIECES = "pieces.parquet"
PIECES_SCHEMA: dict[str, Any] = {
    "piece": pl.String,
    "id": pl.Int32,
    "tokens_saved": pl.Int64,
    "old_ids": pl.List(pl.Int32),
}
PROVED_TEXTS = 256


class TokenizerExtension(StrictModel):
    """New pieces for the texts of a domain, behind the vocabulary of a tokenizer."""

    sources: list[str] = Field(min_length=1, description="sources whose kept documents the pieces are chosen on")
    pieces: int = Field(ge=1, le=1_000_000, description="number of new pieces; fewer where no more save a token")
    held_out: float = Field(
        default=0.05, ge=0, lt=1, description="share of these documents that is only measured, not chosen on"
    )
    max_bytes: int = Field(default=100_000_000, ge=1, description="bytes of text to choose on; more is sampled")
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of the sample and of what is held out")


class Extended(NamedTuple):
    """What an extension came to."""

    meta: TokenizerMeta
    details: dict[str, Any]
    pieces: pl.DataFrame
    """PIECES_SCHEMA, in the order of ids."""


def extend_tokenizer(tokenizer: Tokenizer, texts: Sequence[str], config: TokenizerExtension, folder: Path) -> Extended:
    """Write a copy of `tokenizer` with new pieces into `folder`, and return what it is and what it saves.

    The order of the texts changes nothing. Raises InputError for a tokenizer that is no BPE or does not behave like
    one, RecipeError where there is nothing to choose on.
    """
    path = tokenizer.folder / FILES[tokenizer.meta.kind]
    _require_bpe(tokenizer, path)
    chosen_on, held_out = _divided(texts, config)
    if not chosen_on:
        found = f"no text of at most {config.max_bytes:,} bytes in the sources {', '.join(config.sources)}"
        raise RecipeError(problem(PLACE, found, fix="name other sources or raise max_bytes"))
    pieces, barriers = pieces_of(tokenizer)
    counts = WordTokenizer(tokenizer, pieces, barriers).count(chosen_on)
    names = _Names(tokenizer, pieces)
    merges = continue_merges(counts.words, tokenizer.meta.vocab_size, config.pieces, names.accept)
    if not merges:
        raise RecipeError(problem(PLACE, "no new piece saves two tokens on these texts", fix="name more sources"))
    _write_copy(path, tokenizer.meta.kind, merges, names.added, folder / path.name)
    meta = _write_meta(tokenizer, merges, names.added, folder)
    copy = load_tokenizer(folder)
    proved = [*held_out[:PROVED_TEXTS], *chosen_on[:PROVED_TEXTS]]
    require_same_text(copy, tokenizer, proved)
    details = _details(counts, merges, config) | {"held_out": _measured(copy, tokenizer, held_out)}
    return Extended(meta, details, _listed(meta, merges))


def require_same_text(copy: Tokenizer, original: Tokenizer, texts: Sequence[str]) -> None:
    """Raise InputError unless the ids of `copy`, each new one replaced by its old ids, are those of `original`."""
    old = list(copy.meta.pieces.values())
    for mine, theirs in zip(copy.encode(texts), original.encode(texts), strict=True):
        back = [one for number in mine.tolist() for one in _old_ids(number, original.meta.vocab_size, old)]
        if back != theirs.tolist():
            place = original.folder / FILES[original.meta.kind]
            found = "with new pieces it tokenises other parts of a text differently"
            raise InputError(problem(place, found, "merges that follow each other by rank", "leave out extend:"))


def _old_ids(number: int, first: int, old: Sequence[Sequence[int]]) -> Sequence[int]:
    return (number,) if number < first else old[number - first]


class _Names:
    """The texts of pieces, by id; decides which pairs may become one."""

    def __init__(self, tokenizer: Tokenizer, pieces: Mapping[int, str]) -> None:
        self._texts = dict(pieces)
        self.added: list[str] = []
        self._taken = _taken(tokenizer, pieces)

    def accept(self, left: int, right: int, new: int) -> bool:
        """Whether the pair may become the id `new`, which then has its text."""
        text = self._texts[left] + self._texts[right]
        if text in self._taken:
            return False
        self._taken.add(text)
        self._texts[new] = text
        self.added.append(text)
        return True


def _taken(tokenizer: Tokenizer, pieces: Mapping[int, str]) -> set[str]:
    """Return the texts that no new piece may have: those of the vocabulary.

    SentencePiece merges by what comes out, so there a new piece must not lead to an old one that nothing led to.
    """
    path = tokenizer.folder / FILES[tokenizer.meta.kind]
    if tokenizer.meta.kind == "huggingface":
        import tokenizers

        return set(tokenizers.Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True))
    import sentencepiece

    content = path.read_bytes()
    model = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model.without_dummy_prefix(content))
    texts = list(pieces.values())
    alone = model.encode([text.replace("\u2581", " ") for text in texts], num_threads=1)
    unreached = [t for t, number, ids in zip(texts, pieces, alone, strict=True) if ids != [number]]
    parts = {part for text in unreached for cut in range(1, len(text)) for part in (text[:cut], text[cut:])}
    return {piece.text for piece in sentencepiece_model.read_pieces(content)[0]} | parts


def _require_bpe(tokenizer: Tokenizer, path: Path) -> None:
    needed, fix = "BPE, whose merges can go on", "leave out extend:, or train a BPE tokenizer"
    if tokenizer.meta.kind == "sentencepiece":
        kind = sentencepiece_model.model_type(path.read_bytes())
        if kind != "bpe":
            found = f"a SentencePiece {kind} model: each new piece would change how old text is cut"
            raise InputError(problem(path, found, needed, fix))
        return
    model = read_json(path)["model"]
    kind = model.get("type", "BPE" if "merges" in model else "unknown")
    if kind != "BPE":
        raise InputError(problem(path, f"a {kind} model: each new piece would change how old text is cut", needed, fix))
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise InputError(
                problem(path, f"{key} is {model[key]!r}", "pieces whose texts are joined as they are", fix)
            )


def _divided(texts: Sequence[str], config: TokenizerExtension) -> tuple[list[str], list[str]]:
    """Return the texts that pieces are chosen on, and those that are only measured, by their content."""
    parts: tuple[list[str], list[str]] = ([], [])
    for text in texts:
        order = seeded_order(config.seed, digest_bytes(b"held out" + text.encode()))
        parts[order < config.held_out * (1 << 64)].append(text)
    return parts


def _write_copy(path: Path, kind: str, merges: Sequence[Merge], added: Sequence[str], copy: Path) -> None:
    if kind == "sentencepiece":
        content = sentencepiece_model.with_pieces(path.read_bytes(), added)
    else:
        pairs = [(merge.left, merge.right) for merge in merges]
        content = json.dumps(with_merges(read_json(path), pairs, added), ensure_ascii=False).encode()
    copy.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(copy) as temporary:
        temporary.write_bytes(content)


def _write_meta(tokenizer: Tokenizer, merges: Sequence[Merge], added: Sequence[str], folder: Path) -> TokenizerMeta:
    meta = tokenizer.meta
    first = meta.vocab_size
    old: list[list[int]] = []
    for merge in merges:
        old.append([*_old_ids(merge.left, first, old), *_old_ids(merge.right, first, old)])
    changes = {
        "vocab_size": first + len(merges),
        "parent": meta.digest,
        "pieces": dict(zip(added, old, strict=True)),
        # Control tokens the parent has keep their ids.
        "slots": {token: token for token in meta.control_tokens},
    }
    return write_meta(folder, meta.model_copy(update=changes))


def _details(counts: WordCounts, merges: Sequence[Merge], config: TokenizerExtension) -> dict[str, Any]:
    saved = sum(merge.saved for merge in merges)
    return {
        "pieces": len(merges),
        "pieces_asked": config.pieces,
        "sources": list(config.sources),
        "chosen_on": _figures(counts.texts, counts.num_bytes, counts.tokens, counts.tokens - saved),
    }


def _measured(copy: Tokenizer, original: Tokenizer, texts: Sequence[str]) -> dict[str, Any]:
    before, after = (sum(len(ids) for ids in one.encode(texts)) for one in (original, copy))
    return _figures(len(texts), sum(len(text.encode()) for text in texts), before, after)


def _figures(documents: int, num_bytes: int, before: int, after: int) -> dict[str, Any]:
    share = round((before - after) / before, 4) if before else 0.0
    return {
        "documents": documents,
        "bytes": num_bytes,
        "tokens_before": before,
        "tokens_after": after,
        "share_saved": share,
    }


def _listed(meta: TokenizerMeta, merges: Sequence[Merge]) -> pl.DataFrame:
    first = meta.vocab_size - len(merges)
    columns = {
        "piece": list(meta.pieces),
        "id": range(first, meta.vocab_size),
        "tokens_saved": [merge.saved for merge in merges],
        "old_ids": list(meta.pieces.values()),
    }
    return pl.DataFrame(columns, schema=PIECES_SCHEMA)
