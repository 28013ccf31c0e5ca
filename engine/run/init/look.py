"""Which files of a folder belong together, and which of their columns is what; a few rows of each are read."""

import codecs
import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import from_json

from engine.base.errors import InputError
from engine.formats.messages import RESPONDS
from engine.sources import csv as csv_reader
from engine.sources import jsonl, parquet, text
from engine.sources._files import read_chunks, read_lines
from engine.sources.chat import chat_of

SAMPLE_ROWS = 50
SAMPLE_CHUNKS = 4
"""Chunks of a list in JSON that are looked at."""
MAX_SOURCES_A_FOLDER = 8
COMPRESSION = 4
"""Bytes of text we expect in a byte of a compressed file, for sizes in the recipe only."""
CODE = (".py", ".js", ".ts", ".c", ".h", ".cc", ".cpp", ".java", ".go", ".rs", ".rb", ".sh", ".sql", ".jl", ".r")
FAMILIES = {
    "parquet": parquet.SUFFIXES,
    "jsonl": tuple(suffix for suffix in jsonl.SUFFIXES if suffix != ".json"),
    "csv": csv_reader.SUFFIXES,
    "text": text.SUFFIXES,
    "code": CODE,
}
LIKELY = {
    "text": ("text", "content", "body", "raw_content", "document", "article", "passage", "markdown", "story", "code"),
    "id": ("id", "uid", "uuid", "doc_id", "document_id", "docid", "key", "pmid", "guid"),
    "url": ("url", "source_url", "link", "uri", "href", "permalink", "page_url", "webpage"),
    "license": ("license", "licence", "license_name", "rights"),
    "date": ("date", "published", "publish_date", "created", "created_at", "timestamp", "crawl_date", "year"),
    "language": ("language", "lang", "lang_code", "language_code"),
}
CHATS = ({"messages"}, {"conversations"}, {"instruction", "output"}, {"instruction", "response"})
"""Columns that instruction data is known by: OpenAI's messages, ShareGPT, Alpaca, Dolly."""
_SHARD_NUMBER = re.compile(r"([-_.]?\d+)+([-_]of[-_]\d+)?$")
_SKIPPED_FOLDERS = frozenset(("__pycache__", "node_modules", "provender-workspace"))
Row = dict[str, Any]


@dataclass
class FoundSource:
    """Files that can be one source of a recipe."""

    name: str
    stage: str
    paths: list[Path]
    patterns: list[str]
    """Relative to the folder."""
    num_bytes: int
    columns: list[str] = field(default_factory=list)
    mapping: dict[str, str] = field(default_factory=dict)
    """Core column -> column of the source, where the names differ or an id was found."""
    options: dict[str, str] = field(default_factory=dict)
    has_license: bool = False


@dataclass
class Found:
    """What a folder holds."""

    sources: list[FoundSource]
    passed_over: dict[str, int]
    """Suffix or reason -> files in no source."""

    @property
    def text_bytes(self) -> int:
        """About how much text there is."""
        return sum(s.num_bytes * (COMPRESSION if _is_compressed(s.paths[0]) else 1) for s in self.sources)


def look_at(folder: Path) -> Found:
    """Return the sources a folder could be read as, sorted by name."""
    families: dict[tuple[str, str], list[Path]] = {}
    passed_over: Counter[str] = Counter()
    for path in _walk(folder):
        family = _family(path)
        if family is None:
            passed_over[path.suffix.lower() or "without suffix"] += 1
        else:
            relative = path.relative_to(folder)
            top = relative.parts[0] if len(relative.parts) > 1 else ""
            families.setdefault((top, family), []).append(path)
    sources: list[FoundSource] = []
    for (top, family), paths in sorted(families.items()):
        for stem, group in _groups(family, paths).items():
            source = _source(folder, top, family, stem, group)
            reason = _describe(source)
            if reason is None:
                sources.append(source)
            else:
                passed_over[reason] += len(group)
    _name_apart(sources)
    return Found(sorted(sources, key=lambda s: s.name), dict(sorted(passed_over.items())))


def guess_columns(rows: Sequence[Row]) -> dict[str, str]:
    """Return core column -> column, as far as names and a sample tell; without `text` where nothing is text."""
    found: dict[str, str] = {}
    names = list(dict.fromkeys(name for row in rows for name in row))
    strings = {name: [row[name] for row in rows if isinstance(row.get(name), str)] for name in names}
    lengths = {name: sum(map(len, values)) for name, values in strings.items() if 2 * len(values) >= len(rows)}
    likely = [name for name in LIKELY["text"] if lengths.get(name)]
    if likely or any(lengths.values()):
        found["text"] = likely[0] if likely else max(lengths, key=lambda name: lengths[name])
    for core in ("id", "url", "license", "date", "language"):
        by_name = [n for wanted in LIKELY[core] for n in names if n.lower() == wanted and n != found.get("text")]
        if core == "id":
            by_name = [name for name in by_name if _is_key([row.get(name) for row in rows])]
        if core == "url":
            by_name += [n for n in names if strings[n] and all(re.match(r"https?://\S+$", v) for v in strings[n])]
        if by_name:
            found[core] = by_name[0]
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n not in _SKIPPED_FOLDERS)
        yield from (Path(root) / name for name in sorted(names) if not name.startswith("."))


def _family(path: Path) -> str | None:
    name = path.name.lower()
    for family, suffixes in FAMILIES.items():
        if name.endswith(suffixes):
            return family
    if name.endswith(".json"):
        return "json" if _first_bytes(path).lstrip().startswith(b"[") else None
    if not re.match(r"wiki_\d+$", name):
        return None
    with path.open("rb") as file:
        return "wikiextractor" if file.read(5) == b"<doc " else None


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64).removeprefix(codecs.BOM_UTF8)


def _groups(family: str, paths: list[Path]) -> dict[str, list[Path]]:
    """Files with columns are sources by their names less the shard numbers; texts of one folder are one source."""
    if family not in ("parquet", "jsonl", "csv", "json"):
        return {"": paths}
    groups: dict[str, list[Path]] = {}
    for path in paths:
        stem = path.name.lower().split(".")[0]
        groups.setdefault(_SHARD_NUMBER.sub("", stem) or stem, []).append(path)
    return groups if 1 < len(groups) <= MAX_SOURCES_A_FOLDER else {"": paths}


def _source(folder: Path, top: str, family: str, stem: str, paths: list[Path]) -> FoundSource:
    stage = "text" if family in ("code", "wikiextractor") else family
    name = "_".join(part for part in (top, stem) if part) or family
    if not stem and len(paths) == 1:
        name = paths[0].name.split(".")[0]
    options = {"wikiextractor": {"document": "wikiextractor"}, "code": {"domain": "code"}}.get(family, {})
    return FoundSource(
        name=slug(name),
        stage=stage,
        paths=paths,
        patterns=_patterns(folder, top, stem, paths),
        num_bytes=sum(path.stat().st_size for path in paths),
        options=options,
    )


def _patterns(folder: Path, top: str, stem: str, paths: list[Path]) -> list[str]:
    if len(paths) == 1 or stem:
        # Names in full: a pattern for some files of a folder could take in others.
        return [path.relative_to(folder).as_posix() for path in paths]
    is_deep = any(len(path.relative_to(folder).parts) > 1 + bool(top) for path in paths)
    start = f"{top}/" * bool(top) + "**/" * is_deep
    if all(path.suffix == "" for path in paths):
        return [f"{start}wiki_*"]
    suffixes = sorted({"".join(path.suffixes[-2:] if _is_compressed(path) else path.suffixes[-1:]) for path in paths})
    return [f"{start}*{suffix}" for suffix in suffixes]


def _describe(source: FoundSource) -> str | None:
    """Fill in what a few rows tell; return why the files cannot be a source, or None."""
    if source.stage == "text":
        return None
    try:
        rows = list(islice(_sample(source.stage, source.paths[0]), SAMPLE_ROWS))
    except (InputError, pa.ArrowException, OSError, csv.Error, ValueError):
        return f"{source.stage} files that cannot be read"
    source.columns = list(dict.fromkeys(name for row in rows for name in row))
    guessed = guess_columns(rows)
    if any(names <= set(source.columns) for names in CHATS) and guessed.get("text") not in LIKELY["text"]:
        if source.stage == "csv" or not _are_answered(rows):
            return f"{source.stage} files of chat records (stage: chat reads them)"
        guessed.pop("text", None)
        source.stage = "chat"
        source.mapping = {core: name for core, name in guessed.items() if core != name or core == "id"}
        source.has_license = "license" in guessed
        return None
    if source.stage == "json":
        return "json files that hold no list of chats"
    if "text" not in guessed:
        return f"{source.stage} files without a column of text"
    # A column that is called like the core column needs no mapping, except an own id, which has to be asked for.
    source.mapping = {core: name for core, name in guessed.items() if core != name or core == "id"}
    source.has_license = "license" in guessed
    return None


def _are_answered(rows: Sequence[Row]) -> bool:
    """Whether the records can be read as chats, and in some of them somebody answers."""
    try:
        read = [chat_of({name: value for name, value in row.items() if value is not None}, {})[0] for row in rows]
    except ValueError:
        return False
    return any(message["role"] == RESPONDS for messages in read for message in messages)


def _sample(stage: str, path: Path) -> Iterable[Row]:
    if stage == "parquet":
        with pq.ParquetFile(path) as file:
            yield from next(iter(file.iter_batches(batch_size=SAMPLE_ROWS)), pa.RecordBatch.from_pylist([])).to_pylist()
    elif stage == "csv":
        lines = (line.decode() + "\n" for line in read_lines(path))
        yield from csv.DictReader(lines, delimiter="\t" if ".tsv" in path.suffixes else ",")
    elif stage == "json":
        start = b"".join(islice(read_chunks(path), SAMPLE_CHUNKS)).removeprefix(codecs.BOM_UTF8)
        # The last record may be cut; one that is not is missed where there are others.
        *others, last = from_json(start.decode(errors="ignore"), allow_partial=True) or [None]
        yield from (row for row in others or [last] if isinstance(row, dict))
    else:
        for line in read_lines(path):
            try:
                row = from_json(line) if line.strip() else None
            except ValueError:
                continue  # the run will name it; here we only want to know the columns
            if isinstance(row, dict):
                yield row


def _is_key(values: list[Any]) -> bool:
    return all(isinstance(value, str | int) for value in values) and len({str(v) for v in values}) == len(values)


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() in (".gz", ".zst", ".parquet", ".pq")


def slug(name: str) -> str:
    """Return a name that recipes accept: lower case letters, digits and underscores, a letter first."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "source"
    return plain if plain[0].isalpha() else f"s_{plain}"


def _name_apart(sources: list[FoundSource]) -> None:
    count = Counter(source.name for source in sources)
    seen: Counter[str] = Counter()
    for source in sources:
        if count[source.name] > 1:
            seen[source.name] += 1
            source.name = f"{source.name}_{source.stage}_{seen[source.name]}"
