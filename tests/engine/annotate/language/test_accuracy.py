"""language on real texts: the bar of 0.95, and the languages the embedded detector misses, by name.

Pieces of 200 characters and more of the Universal Declaration of Human Rights, and manual pages of tldr. Right is the
code the detector has for the language; pieces in languages it has no code for must score lower than those it has.
"""

import zipfile
from pathlib import Path

import polars as pl
import pytest

from engine.annotate import language
from engine.annotate.language import Config
from engine.annotate.language.detectors import embedded_languages
from engine.text.language_codes import codes
from engine.text.windows import text_windows

PIECES = 8
PAGES = 40
TLDR = {"pages": "en", "pages.ar": "ar", "pages.de": "de", "pages.es": "es", "pages.fr": "fr", "pages.hi": "hi"}
TLDR |= {"pages.it": "it", "pages.ja": "ja", "pages.ko": "ko", "pages.pl": "pl", "pages.pt_BR": "pt", "pages.ru": "ru"}
TLDR |= {"pages.zh": "zh"}
MISSED = {"azj_cyrl", "mly_arab", "srp_latn"}
"""Files of languages the detector has a code for, in a script it does not know them in."""


class View:
    """What the stage reads of a ShardView."""

    def __init__(self, texts: pl.Series) -> None:
        self.text, self.windows = texts.to_arrow(), text_windows(texts)


def declarations(corpora: Path) -> list[tuple[str, str, str]]:
    """(file, code, text) of pieces of whole lines that have 200 characters together."""
    rows = []
    with zipfile.ZipFile(corpora / "nltk/udhr2.zip") as archive:
        for name in sorted(archive.namelist()):
            file, piece, count = Path(name).stem, "", 0
            for line in (
                archive.read(name).decode().splitlines() if file[:3].isalpha() and name.endswith(".txt") else ()
            ):
                piece += line.strip() + "\n"
                if len(piece) >= 200 and count < PIECES:
                    rows.append((file, codes([file])[0], piece))
                    piece, count = "", count + 1
    return rows


def pages(corpora: Path) -> list[tuple[str, str, str]]:
    return [
        (folder, code, text)
        for folder, code in TLDR.items()
        for path in sorted((corpora / "tldr" / folder).rglob("*.md"))[:PAGES]
        if len(text := path.read_text(encoding="utf-8")) >= 200
    ]


@pytest.fixture(scope="module")
def answered(shared_data: Path) -> pl.DataFrame:
    """file, code, text and the stage's columns; is_known: whether the detector has the code."""
    corpora = shared_data / "corpora"
    rows = pl.DataFrame([*declarations(corpora), *pages(corpora)], schema=["file", "code", "text"], orient="row")
    found = language.annotate(View(rows["text"]), Config())  # type: ignore[arg-type]
    is_known = pl.col("code").is_in(embedded_languages())
    return pl.concat([rows, found], how="horizontal").with_columns(
        is_known=is_known, is_right=pl.col("code") == pl.col("language__top")
    )


def test_accuracy_is_at_least_95_percent(answered: pl.DataFrame) -> None:
    known = answered.filter("is_known")
    assert known.height > 700
    assert known["code"].n_unique() > 50
    assert float(known["is_right"].mean()) >= 0.95  # type: ignore[arg-type]
    by_language = known.group_by("code").agg(pl.col("is_right").mean())
    assert float(by_language["is_right"].mean()) >= 0.95  # type: ignore[arg-type]


def test_pages_with_commands_are_told_as_well(answered: pl.DataFrame) -> None:
    found = answered.filter(pl.col("file").str.starts_with("pages"))
    assert float(found["is_right"].mean()) >= 0.99  # type: ignore[arg-type]


def test_what_is_missed_is_known(answered: pl.DataFrame) -> None:
    by_file = answered.filter("is_known").group_by("file").agg(pl.col("is_right").mean())
    assert set(by_file.filter(pl.col("is_right") < 0.75)["file"]) == MISSED


def test_languages_without_a_code_score_lower(answered: pl.DataFrame) -> None:
    right = answered.filter("is_known", "is_right")["language__score"]
    unknown = answered.filter(~pl.col("is_known"))["language__score"]
    assert unknown.len() > 1500
    assert float((right >= 0.5).mean()) >= 0.99  # type: ignore[arg-type]
    assert float((unknown < 0.5).mean()) >= 0.7  # type: ignore[arg-type]
