"""What the tools are run on: the text files of this system, licence texts, and text in many languages.

Every corpus is a folder of Parquet files with the columns path and text. Files of the system come in the order of a
digest of their path, so the first megabytes are a random sample.

The languages get planted near-duplicates, since what is at hand has few: of each text, copies in which a seeded share
of the words is replaced, deleted or followed by another, the share drawn so that similarities spread over 0.7 to 1.
"""

import random
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from benchmarks.system_corpus import BYTES_PER_PARQUET, ROOTS, collect

DATA = Path(__file__).parents[2].parent / "shared" / "data"
LICENCES = DATA / "groundtruth" / "scancode-rules"
TEXTS_PER_LANGUAGE, COPIES, MIN_WORDS, MAX_WORDS = 60, 3, 60, 3000
# Scripts without spaces: each character is a word to our splitter, and to the planter.
BY_CHARACTER = ("zh", "ja", "th", "km")
WIKIPEDIAS = {"en": "enwiki", "ko": "kowiki", "zh": "zhwiki"}
PAGES = {code: f"pages.{code}" for code in ("ar", "de", "es", "fr", "hi", "it", "ja", "pl", "pt_BR", "ru")}
BIBLES = {"de": "GerTafel", "ru": "RusMakarij"}
RIGHTS = {
    "ar": "arb", "bn": "ben", "cs": "ces", "de": "deu_1901", "el": "ell_monotonic", "es": "spa", "fa": "pes_1",
    "fi": "fin", "fr": "fra", "he": "heb", "hi": "hin", "hu": "hun", "id": "ind", "it": "ita", "ja": "jpn",
    "km": "khm", "pl": "pol", "pt_BR": "por_BR", "ru": "rus", "sw": "swh", "ta": "tam", "th": "tha", "tr": "tur",
    "uk": "ukr", "vi": "vie",
}  # fmt: skip


def system_corpus(folder: Path, max_bytes: int, roots: Sequence[str] = ROOTS) -> Path:
    """Return the folder of the system's text files; they are collected if it holds none."""
    if not list(folder.glob("*.parquet")):
        print("near_dup: collecting the text files of this system")
        collect(folder, max_bytes, roots)
    return folder


def first_megabytes(corpus: Path, megabytes: int, folder: Path) -> Path:
    """Write the first documents of a corpus, so many megabytes of text, as two files or more; return the folder."""
    most, frames, size = megabytes * 1_000_000, [], 0
    for file in sorted(corpus.glob("*.parquet")):
        frames.append(pl.read_parquet(file, columns=["path", "text"]))
        size += int(frames[-1]["text"].str.len_bytes().sum())
        if size >= most:
            break
    frame = pl.concat(frames).with_columns(until=pl.col("text").str.len_bytes().cast(pl.Int64).cum_sum())
    part = pl.col("until") * 1.0 // min(BYTES_PER_PARQUET, most // 2)
    chosen = frame.filter(pl.col("until") <= most).select("path", "text", part=part)
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(chosen.partition_by("part", maintain_order=True, include_key=False)):
        rows.write_parquet(folder / f"{number:03d}.parquet")
    return folder


def licence_texts(folder: Path) -> Path:
    """Write the licence texts without their YAML heads; return the folder."""
    rows = []
    for path in sorted(LICENCES.glob("*.RULE")):
        rows.append((path.name, path.read_text(encoding="utf-8").split("\n---\n", 1)[-1]))
    return _write(rows, folder)


def languages(folder: Path) -> Path:
    """Write texts in the languages, each with its planted copies; return the folder."""
    rows: list[tuple[str, str]] = []
    for language in sorted({*WIKIPEDIAS, *PAGES, *BIBLES, *RIGHTS}):
        generator = random.Random(f"near_dup/{language}")
        texts = list(dict.fromkeys(_texts(language)))
        generator.shuffle(texts)
        split = list if language in BY_CHARACTER else _words_and_gaps
        chosen = [parts for text in texts if len(parts := split(text)) >= MIN_WORDS][:TEXTS_PER_LANGUAGE]
        pool = [word for parts in chosen for word in parts if word[0].isalnum()]
        for number, parts in enumerate(chosen):
            rows.append((f"{language}/{number}", "".join(parts)))
            copies = (_planted(parts, pool, generator) for _ in range(COPIES))
            rows += [(f"{language}/{number}/{copy}", text) for copy, text in enumerate(copies)]
    random.Random("near_dup").shuffle(rows)
    return _write(rows, folder)


def num_languages() -> int:
    """Return how many languages `languages` writes."""
    return len({*WIKIPEDIAS, *PAGES, *BIBLES, *RIGHTS})


def _texts(language: str) -> Iterator[str]:
    """Yield texts of one language, cut where they are longer than MAX_WORDS characters times five."""
    corpora = DATA / "corpora"
    long = 5 * MAX_WORDS if language not in BY_CHARACTER else MAX_WORDS
    for file in sorted((corpora / WIKIPEDIAS.get(language, "none")).glob("text/AA/wiki_*")):
        for page in re.findall(r"<doc [^>]*>\n(.*?)</doc>", file.read_text(encoding="utf-8"), re.DOTALL)[:200]:
            yield page[:long]
    for file in sorted((corpora / "tldr" / PAGES.get(language, "none")).glob("common/*.md")):
        yield file.read_text(encoding="utf-8")
    bible = corpora / "bible" / "formats" / "txt" / f"{BIBLES.get(language, 'none')}.txt"
    if bible.is_file():
        text = re.sub(r"(?m)^\[[\d:]+\] ", "", bible.read_text(encoding="utf-8"))
        yield from (text[start : start + 3000] for start in range(0, 90_000, 3000))
    if language in RIGHTS:
        with zipfile.ZipFile(corpora / "nltk" / "udhr2.zip") as archive:
            text = archive.read(f"udhr2/{RIGHTS[language]}.txt").decode("utf-8")
        yield from (text[start : start + 1000] for start in range(0, len(text), 1000))


def _words_and_gaps(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)[: MAX_WORDS + 1]


def _planted(parts: list[str], pool: list[str], generator: random.Random) -> str:
    """Return a copy with edits; k of n words changed at random leave about (1 - k / n)^5 of the word 5-grams."""
    similarity = generator.uniform(0.7, 1.0)
    share = 1 - (2 * similarity / (1 + similarity)) ** 0.2
    edited = []
    for part in parts:
        if generator.random() >= share:
            edited.append(part)
            continue
        kind = generator.randrange(3)
        edited += [[generator.choice(pool)], [], [part, generator.choice(pool)]][kind]
    return "".join(edited)


def _write(rows: list[tuple[str, str]], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame(rows, schema={"path": pl.String, "text": pl.String}, orient="row")
    half = (len(frame) + 1) // 2
    for number in range(2):
        frame.slice(number * half, half).write_parquet(folder / f"{number:03d}.parquet")
    return folder
