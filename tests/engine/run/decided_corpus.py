"""A corpus of literal rows with the columns stages would have written, and plain Python that decides about it.

The oracle is the text of engine.select.balance and engine.select.decide said again, document by document.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl

from engine.base.hashing import digest_bytes, digest_parts
from engine.formats.annotation import Annotation, part_path
from engine.formats.columns import CORE
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.encoder import open_encoder
from engine.formats.split import Split
from engine.formats.workspace import Workspace
from engine.recipe import DataRecipe, Stage
from engine.run.stage_run import Annotated
from engine.run.steps import RunContext
from engine.select.balance import Rule
from engine.select.filters import Filter
from engine.text.spans import without_spans

SPANS = pl.List(pl.Struct({"start": pl.UInt32, "end": pl.UInt32}))
COLUMNS = {
    "m__language": pl.String,
    "m__grade": pl.Int64,
    "m__is_code": pl.Boolean,
    "m__score": pl.Float64,
    "m__cut": SPANS,
    "exact_dup__kept_id": pl.Binary,
    "exact_dup__group_documents": pl.UInt32,
    "tokens__count": pl.UInt32,
}
PROTECTED = "golden"
Row = Mapping[str, Any]
Verdict = tuple[str, str | None, list[str] | None]


def letters(folder: Path) -> Path:
    """A tokenizer.json whose tokens are the words and what stands between them."""
    path = folder / "tokenizer.json"
    if not path.exists():
        vocabulary = {"<unk>": 0, **{letter: place for place, letter in enumerate("abcdefgh .", 1)}, "ab": 11, "cd": 12}
        model = {"type": "BPE", "vocab": vocabulary, "merges": ["a b", "c d"], "unk_token": "<unk>"}
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    return path


def row(name: str, text: str | None = "ab cd", source: str = "web", **columns: Any) -> dict[str, Any]:
    """One document; columns of `m__` are given without that prefix."""
    return {"name": name, "text": text, "source": source, **columns}


def doc_id(name: str) -> bytes:
    return digest_bytes(name.encode())


@dataclass
class Decided:
    """A corpus on disk, ready to be decided about."""

    context: RunContext
    state: Annotated
    rows: list[Row] = field(default_factory=list)


def corpus(
    folder: Path,
    rows: Sequence[Row],
    filters: Sequence[Filter] = (),
    balance: Sequence[Rule] = (),
    cut: Callable[[int], int] = lambda _: 0,
    jobs: int = 1,
    backwards: bool = False,
    with_split: bool = True,
) -> Decided:
    """Write the rows; `cut`: place of a row among those of its source -> number of its shard."""
    tokenizer = letters(folder)
    encode = open_encoder(tokenizer)
    names = sorted({one["source"] for one in rows}, reverse=backwards)
    sources, columns = [], folder / "columns"
    for name in names:
        by_shard: dict[int, list[Row]] = {}
        for place, one in enumerate(one for one in rows if one["source"] == name):
            by_shard.setdefault(cut(place), []).append(one)
        keys = sorted(by_shard, reverse=backwards)
        shards = tuple(_shard(folder, columns, name, f"{name}-{key}", by_shard[key], encode) for key in keys)
        sources.append(SourceDocuments(name, name, folder / name, shards, {"protected": name == PROTECTED}))
    counted = [(one["source"], len(encode([one["text"]])[0])) for one in rows if one["text"] is not None]
    columns.mkdir(parents=True, exist_ok=True)
    fit = pl.DataFrame(counted, schema={"source": pl.String, "tokens": pl.Int64}, orient="row")
    fit.write_parquet(columns / "fit.parquet")
    annotations = [
        Annotation(prefix, prefix, prefix, columns, tuple(one for one in COLUMNS if one.startswith(f"{prefix}__")))
        for prefix in ("m", "exact_dup", "tokens")
    ]
    state = Annotated(tuple(sources), annotations, edit_columns={"m__cut": "cut"})
    if with_split:
        held = [(doc_id(one["name"]), doc_id("group"), one["held_out"]) for one in rows if one.get("held_out")]
        groups = pl.DataFrame(held, schema={"doc_id": pl.Binary, "group_id": pl.Binary, "set": pl.String}, orient="row")
        groups.write_parquet(folder / "groups.parquet")
        state.split = Split(folder, "split")
    stages = tuple(
        Stage(module, SimpleNamespace(stage=name, column_prefix=name, tokenizer=str(tokenizer)))
        for name in ("exact_dup", "tokens")
        for module in [import_module(f"engine.annotate.{name}")]
    )
    recipe = DataRecipe(
        folder / "recipe.yaml", "r", 1, (), annotate=stages, filters=tuple(filters), balance=tuple(balance)
    )
    return Decided(RunContext(recipe, Workspace(folder), jobs, 1 << 30), state, list(rows))


def _shard(folder: Path, columns: Path, source: str, key: str, rows: Sequence[Row], encode: Any) -> Shard:
    texts = [one["text"] for one in rows]
    core = {
        "doc_id": [doc_id(one["name"]) for one in rows],
        "source": [source] * len(rows),
        "url": [one.get("url") for one in rows],
        "text_digest": [digest_bytes(text.encode()) if text and text.strip() else None for text in texts],
        "num_bytes": [len((text or "").encode()) for text in texts],
        "num_chars": [len(text or "") for text in texts],
        "read_problem": [one.get("read_problem") for one in rows],
    }
    core |= {name: [None] * len(rows) for name in CORE if name not in core}
    place = folder / source
    place.mkdir(parents=True, exist_ok=True)
    ids = place / f"{key}.ids.parquet"
    schema = {name: column.dtype for name, column in CORE.items()} | {"text": pl.String}
    pl.DataFrame(core | {"text": texts}, schema=schema).write_parquet(ids)
    path = part_path(columns, Shard(source, key, key, 0, 0, place, place, "text", (0,)))
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "m__cut": [[{"start": start, "end": end} for start, end in one.get("cut", ())] for one in rows],
        "exact_dup__kept_id": [doc_id("kept") if one.get("is_copy") else None for one in rows],
        "exact_dup__group_documents": [one.get("group_documents", 1) for one in rows],
        "tokens__count": [len(encode([text])[0]) if text is not None else None for text in texts],
    }
    values |= {name: [one.get(name.removeprefix("m__")) for one in rows] for name in COLUMNS if name not in values}
    pl.DataFrame(values, schema=COLUMNS).write_parquet(path)
    return Shard(source, key, key, len(rows), sum(core["num_bytes"]), ids, ids, "text", (0,))


def verdicts(frames: Any) -> dict[bytes, Verdict]:
    """doc_id -> decision, reason, tags, of all frames."""
    found = {}
    for shard, frame in frames:
        ids = shard.read_core(["doc_id"])["doc_id"]
        found |= {key: (*rest,) for key, *rest in zip(ids, *(frame[name] for name in frame.columns), strict=True)}
    return {key: (d, r, t.to_list() if t is not None else None) for key, (d, r, t) in found.items()}


def expected(
    rows: Sequence[Row],
    filters: Sequence[Filter],
    passes: Mapping[str, Callable[[Row], bool]],
    balance: Sequence[Rule],
    tokens: Callable[[str], int],
) -> dict[bytes, Verdict]:
    """What becomes of each row, in plain Python; `passes`: reason of a filter -> whether a row passes it."""
    found: dict[str, Verdict] = {}
    tags: dict[str, list[str]] = {}
    for one in rows:
        found[one["name"]], tags[one["name"]] = _judged(one, filters, passes)
    for rule in balance:
        _balanced(rows, rule, found, tags, tokens)
    return {
        doc_id(name): (decision, reason, (tags[name] or None) if decision == "kept" else None)
        for name, (decision, reason, _) in found.items()
    }


def _judged(
    one: Row, filters: Sequence[Filter], passes: Mapping[str, Callable[[Row], bool]]
) -> tuple[Verdict, list[str]]:
    tags: list[str] = []
    if one.get("read_problem"):
        return ("dropped", one["read_problem"], None), tags
    if not (one["text"] or "").strip():
        return ("dropped", "no_text", None), tags
    if one.get("is_copy"):
        if one["source"] != PROTECTED:
            return ("dropped", "exact_duplicate", None), tags
        tags.append("exact_duplicate")
    if one.get("held_out"):
        return ("held_out", one["held_out"], None), tags
    for rule in filters:
        if not passes[rule.reason](one):
            if one["source"] != PROTECTED and rule.action == "drop":
                return ("dropped", rule.reason, None), tags
            tags.append(rule.reason)
    return ("kept", None, None), tags


def _balanced(
    rows: Sequence[Row], rule: Rule, found: dict[str, Verdict], tags: dict[str, list[str]], tokens: Callable[[str], int]
) -> None:
    size = {"documents": lambda one: 1, "bytes": lambda one: len(one["text"].encode())}.get(
        rule.unit, lambda one: tokens(one["text"])
    )
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for one in rows:
        group = tuple(_value(one, name, tags) for name in rule.by)
        if found[one["name"]][0] == "kept" and None not in group and _takes_part(one, rule):
            groups.setdefault(group, []).append(one)
    for group, members in groups.items():
        amounts = [quota.amount for quota in rule.quotas if tuple(quota.group[name] for name in rule.by) == group]
        room = amounts[0] if amounts else rule.cap
        if room is None:
            continue
        members.sort(key=lambda one: _order(one, rule))
        closed = False
        for one in members:
            fits = size(one) <= room and not closed
            if one["source"] == PROTECTED:
                room -= size(one)
                if not fits:
                    closed = True
                    tags[one["name"]].append(rule.reason)
            elif fits:
                room -= size(one)
            else:
                found[one["name"]] = ("over_budget", rule.reason, None)


def _value(one: Row, name: str, tags: Mapping[str, list[str]]) -> Any:
    if name.startswith("tagged__"):
        return name.removeprefix("tagged__") in tags[one["name"]]
    if name == "url_host":
        return one["url"].split("/")[2].lower() if one.get("url") else None
    return one.get(name.removeprefix("m__"))


def _takes_part(one: Row, rule: Rule) -> bool:
    # The only condition the tests use.
    assert rule.where in (None, "m__grade >= 2")
    return rule.where is None or (one.get("grade") is not None and one["grade"] >= 2)


def _order(one: Row, rule: Rule) -> tuple[Any, ...]:
    score = one.get("score") if rule.prefer else None
    has_none = rule.prefer is not None and (score is None or math.isnan(score))
    return (
        one["source"] != PROTECTED, has_none, 0.0 if has_none or score is None else -score,
        order_hash(doc_id(one["name"]), rule), doc_id(one["name"]),
    )  # fmt: skip


def order_hash(identity: bytes, rule: Rule) -> int:
    """The hash of a doc_id under a rule's seed, in whole numbers of any size."""
    most = (1 << 64) - 1
    seed = digest_parts((rule.seed.to_bytes(8, "little"), rule.reason.encode()))[:8]
    state = int.from_bytes(seed, "little")
    for half in (identity[:8], identity[8:]):
        state = (state ^ int.from_bytes(half, "big")) * 0xFF51AFD7ED558CCD & most
        state ^= state >> 32
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        state = (state ^ (state >> 33)) * factor & most
    return state ^ (state >> 33)


def expected_sums(rows: Sequence[Row], found: Mapping[bytes, Verdict], tokens: Callable[[str], int]) -> dict[Any, Any]:
    """(source, outcome, reason) -> documents, bytes, tokens."""
    sums: dict[Any, list[int]] = {}
    for one in rows:
        text, (decision, reason, _) = one["text"] or "", found[doc_id(one["name"])]
        whole = [1, len(text.encode()), tokens(text) if one["text"] is not None else 0]
        cut = [0, 0, 0]
        if decision == "kept" and one.get("cut"):
            without = without_spans(text, one["cut"])
            cut = [0, whole[1] - len(without.encode()), whole[2] - tokens(without)]
            _add(sums, (one["source"], "cut", "m"), cut)
        _add(sums, (one["source"], "in", None), whole)
        _add(sums, (one["source"], decision, reason), [a - b for a, b in zip(whole, cut, strict=True)])
    return {key: tuple(value) for key, value in sums.items()}


def _add(sums: dict[Any, list[int]], key: Any, amounts: list[int]) -> None:
    sums[key] = [a + b for a, b in zip(sums.get(key, [0, 0, 0]), amounts, strict=True)]
