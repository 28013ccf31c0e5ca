"""Turns public corpora as they are downloaded into the JSON lines that medical.yaml reads.

    python -m engine.recipes.medical_sources CORPORA OUT

CORPORA is a folder that holds (itself or in `corpora/`): medquad/ (MedQuAD XML), enwiki/ (WikiExtractor files),
gutenberg/ (books as text), peps/, rust-rfcs/ and eips/ (their sources). Each row has id, text, url, license; OUT gets
medquad.jsonl, wikipedia.jsonl, books.jsonl and technical.jsonl. What belongs together has one url: the questions of a
page, the pieces of a book.
"""

import argparse
import html
import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from engine.base.atomic import atomic_file
from engine.base.errors import InputError, ProvenderError, problem
from engine.sources import text
from engine.sources._files import find_files, located

PIECE_CHARS = 8_000
"""A book is cut into pieces of about this many characters, at ends of lines."""
Row = dict[str, str | None]


def medquad(folder: Path) -> Iterator[Row]:
    """Yield one document per answered question: the question, then the answer."""
    for path in sorted(folder.glob("**/*.xml")):
        try:
            page = ET.parse(path).getroot()
        except ET.ParseError as error:
            raise InputError(problem(path, f"broken XML ({error})", "a MedQuAD file", "download it again")) from error
        for pair in page.iter("QAPair"):
            question, answer = (_tidy(pair.findtext(name) or "") for name in ("Question", "Answer"))
            if question and answer:
                name = f"{path.parent.name}/{path.stem}/{pair.get('pid')}"
                yield _row(name, f"{question}\n\n{answer}\n", page.get("url"), "CC-BY-4.0")


def wikipedia(folder: Path) -> Iterator[Row]:
    """Yield one document per article of WikiExtractor files."""
    config = located(text.Config(name="wikipedia", path="**/wiki_*", document="wikiextractor"), folder)
    for path in find_files(config, folder):
        for table in text.read(path, config):
            for article in table.select(["id", "text"]).to_pylist():
                url = f"https://en.wikipedia.org/?curid={article['id']}"
                yield _row(article["id"], html.unescape(article["text"]) + "\n", url, "CC-BY-SA-3.0")


def books(folder: Path) -> Iterator[Row]:
    """Yield the pieces of every book; spaces that a tokenizer left before punctuation are taken out."""
    for path in sorted(folder.glob("*.txt")):
        piece: list[str] = []
        pieces: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            piece.append(_closed_up(line))
            if sum(map(len, piece)) >= PIECE_CHARS:
                pieces.append("\n".join(piece) + "\n")
                piece = []
        pieces += ["\n".join(piece) + "\n"] if piece else []
        for number, content in enumerate(pieces):
            yield _row(f"{path.stem}/{number:04}", content, f"urn:book:{path.stem}", "LicenseRef-public-domain")


def technical(peps: Path, rust_rfcs: Path, eips: Path) -> Iterator[Row]:
    """Yield one document per proposal: Python, Rust, Ethereum."""
    series: list[tuple[Path, str, str, Callable[[str], str]]] = [
        (peps, "**/pep-*.rst", "CC0-1.0", lambda stem: f"https://peps.python.org/{stem}/"),
        (rust_rfcs, "text/**/*.md", "MIT OR Apache-2.0", lambda stem: f"https://rust-lang.github.io/rfcs/{stem}.html"),
        (eips, "EIPS/*.md", "CC0-1.0", lambda stem: f"https://eips.ethereum.org/EIPS/{stem}"),
    ]
    for folder, pattern, license_name, url in series:
        for path in sorted(folder.glob(pattern)):
            name = f"{folder.name}/{path.relative_to(folder).with_suffix('').as_posix()}"
            yield _row(name, path.read_text(encoding="utf-8"), url(path.stem), license_name)


def write_sources(corpora: Path, out: Path) -> dict[str, int]:
    """Write the four files and return how many rows each has; raises InputError naming the folders that are missing."""
    inner = corpora / "corpora"
    corpora = inner if inner.is_dir() else corpora
    folders = {name: corpora / name for name in ("medquad", "enwiki", "gutenberg", "peps", "rust-rfcs", "eips")}
    missing = [name for name, folder in folders.items() if not folder.is_dir()]
    if missing:
        needed = f"the folders {', '.join(folders)}"
        raise InputError(problem(corpora, f"no {', '.join(missing)}", needed, "download them, see the documentation"))
    out.mkdir(parents=True, exist_ok=True)
    proposals = technical(folders["peps"], folders["rust-rfcs"], folders["eips"])
    return {
        "medquad.jsonl": _write(out / "medquad.jsonl", medquad(folders["medquad"])),
        "wikipedia.jsonl": _write(out / "wikipedia.jsonl", wikipedia(folders["enwiki"])),
        "books.jsonl": _write(out / "books.jsonl", books(folders["gutenberg"])),
        "technical.jsonl": _write(out / "technical.jsonl", proposals),
    }


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.recipes.medical_sources", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("corpora", type=Path, help="folder of the downloaded corpora")
    parser.add_argument("out", type=Path, help="folder to write the JSON lines to, for medical.yaml: data/medical")
    arguments = parser.parse_args()
    try:
        for name, rows in write_sources(arguments.corpora, arguments.out).items():
            print(f"{arguments.out / name}: {rows:,} documents")
    except ProvenderError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _row(name: str, content: str, url: str | None, license_name: str) -> Row:
    return {"id": name, "text": content, "url": url, "license": license_name}


def _write(path: Path, rows: Iterable[Row]) -> int:
    count = 0
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _tidy(content: str) -> str:
    """Bullets that were pushed into one line get lines of their own; runs of blanks become one."""
    lines = (re.sub(r"\s+", " ", line).strip() for line in re.sub(r"\s{3,}- ", "\n- ", content).splitlines())
    return "\n".join(line for line in lines if line)


def _closed_up(line: str) -> str:
    line = re.sub(r" (?=[,.;:!?)\]])|(?<=[(\[]) ", "", line)
    return re.sub(r" ?' ?(s|ll|re|ve|d|m|t)\b", r"'\1", line)


if __name__ == "__main__":
    sys.exit(main())
