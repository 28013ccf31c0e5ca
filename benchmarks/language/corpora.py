"""Documents whose language is known, out of ../shared/data/corpora: source, language (ISO 639-3), text.

Every document has 200 characters at least. The Declaration of Human Rights is cut at line ends into pieces of 200 and
more, other things are whole: a page, an article, a statute, a book; Bibles come by chapter.
"""

import gzip
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

CORPORA = Path(__file__).parents[3] / "shared/data/corpora"
LEAST_CHARS = 200
TLDR = {
    "pages": "eng", "pages.ar": "arb", "pages.de": "deu", "pages.es": "spa", "pages.fr": "fra", "pages.hi": "hin",
    "pages.it": "ita", "pages.ja": "jpn", "pages.ko": "kor", "pages.pl": "pol", "pages.pt_BR": "por",
    "pages.ru": "rus", "pages.zh": "cmn",
}  # fmt: skip
MANUALS = {
    "de": "deu", "en": "eng", "es": "spa", "fr": "fra", "it": "ita", "ja": "jpn", "pl": "pol", "ru": "rus", "zh": "cmn",
}  # fmt: skip
WIKIPEDIAS = {"enwiki": "eng", "kowiki": "kor", "zhwiki": "cmn"}
BIBLES = {"RusMakarij.txt": "rus", "GerTafel.txt": "deu", "Tyndale.txt": "eng"}
ENGLISH = {"eips": "*.md", "peps": "*.rst", "rust-rfcs": "*.md", "gutenberg": "*.txt"}
_VERSE = re.compile(r"^\[\d+:\d+\] *\n?", re.MULTILINE)
_ARTICLE = re.compile(r"<doc [^>]*>\n(.*?)</doc>", re.DOTALL)


def documents(corpora: Path = CORPORA) -> pl.DataFrame:
    """Return source, language and text of all documents."""
    found = [*_declarations(corpora), *_pages(corpora), *_articles(corpora), *_chapters(corpora), *_english(corpora)]
    frame = pl.DataFrame(found, schema={"source": pl.String, "language": pl.String, "text": pl.String}, orient="row")
    return frame.filter(pl.col("text").str.len_chars() >= LEAST_CHARS)


def _declarations(corpora: Path) -> Iterator[tuple[str, str, str]]:
    with zipfile.ZipFile(corpora / "nltk/udhr2.zip") as archive:
        for name in sorted(archive.namelist()):
            language = Path(name).stem.split("_")[0]
            if name.endswith(".txt") and language.isalpha():
                lines = archive.read(name).decode("utf-8").splitlines()
                yield from (("udhr2", language, piece) for piece in _pieces(lines))


def _pieces(lines: list[str]) -> Iterator[str]:
    """Consecutive lines, joined until they have 200 characters."""
    piece = ""
    for line in lines:
        piece += line.strip() + "\n"
        if len(piece) >= LEAST_CHARS:
            yield piece
            piece = ""


def _pages(corpora: Path) -> Iterator[tuple[str, str, str]]:
    for folder, language in TLDR.items():
        for path in sorted((corpora / "tldr" / folder).rglob("*.md")):
            yield "tldr", language, path.read_text(encoding="utf-8")
    for folder, language in MANUALS.items():
        for path in sorted((corpora / "debian/manpages" / folder).glob("*.gz")):
            yield "manpages", language, gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    for path in sorted((corpora / "gesetze").rglob("*.md")):
        yield "gesetze", "deu", path.read_text(encoding="utf-8")


def _articles(corpora: Path) -> Iterator[tuple[str, str, str]]:
    for name, language in WIKIPEDIAS.items():
        for path in sorted((corpora / name / "text").rglob("wiki_*")):
            for article in _ARTICLE.findall(path.read_text(encoding="utf-8")):
                yield name, language, article


def _chapters(corpora: Path) -> Iterator[tuple[str, str, str]]:
    for name, language in BIBLES.items():
        text = (corpora / "bible/formats/txt" / name).read_text(encoding="utf-8")
        for chapter in re.split(r"\n(?=\[\d+:1\])", text)[1:]:
            # Chapters that were never translated are verse numbers and nothing else.
            yield "bible", language, _VERSE.sub("", chapter)


def _english(corpora: Path) -> Iterator[tuple[str, str, str]]:
    for name, pattern in ENGLISH.items():
        for path in sorted((corpora / name).rglob(pattern)):
            yield name, "eng", path.read_text(encoding="utf-8")
