"""toxicity: entries of word lists per 1,000 words, by the list of the language. All lists here are invented."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.annotate import toxicity
from engine.annotate.toxicity import Config
from engine.annotate.toxicity.lists import closest_list, language_code, list_files, read_entries, read_lists, word_list
from engine.annotate.toxicity.matching import count_hits
from engine.base.errors import InputError, RecipeError
from engine.recipe import check_recipe
from engine.text.words import split_words

World = Callable[..., Any]
HITS, RATE, DISTINCT, LIST = (f"toxicity__{name}" for name in ("num_hits", "rate", "num_distinct", "list"))


def lists(folder: Path, **entries: str) -> str:
    folder.mkdir()
    for name, text in entries.items():
        (folder / name.replace("_txt", ".txt")).write_text(text, encoding="utf-8")
    return str(folder)


def counts(entries: list[str], text: str) -> tuple[int, int]:
    import numpy as np

    texts = pa.chunked_array([pa.array([text], pa.large_string())])
    hits, distinct = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    count_hits(split_words(texts), texts, np.ones(1, dtype=np.bool_), word_list(entries), hits, distinct)
    return int(hits[0]), int(distinct[0])


def test_hits_are_per_thousand_words_of_the_list_of_the_language(world: World, tmp_path: Path) -> None:
    path = lists(tmp_path / "lists", en="blarg\nzonk it\n", de="blarg\nknurz\n")
    made = world(
        {"web": {"a": "Blarg, zonk-it! blarg " + "x " * 6, "b": "knurz blarg", "c": "knurz blarg", "d": "blarg"}},
        language={"a": "en", "b": "de-AT", "c": "en_Latn", "d": "fr"},
    ).run(toxicity, Config(lists=path))
    assert made.columns(HITS, RATE, DISTINCT, LIST) == {
        "doc_id": ["a", "b", "c", "d"],
        HITS: [3, 2, 1, None],
        RATE: [300.0, 1000.0, 500.0, None],
        DISTINCT: [2, 2, 1, None],
        LIST: ["en", "de", "en", None],
    }


def test_rate_is_rounded_down_to_its_fourth_digit(world: World, tmp_path: Path) -> None:
    path = lists(tmp_path / "lists", en="blarg")
    made = world({"web": {"a": "blarg x x", "b": "blarg blarg x"}}, language={"a": "en", "b": "en"})
    assert made.run(toxicity, Config(lists=path)).columns(RATE)[RATE] == [333.3333, 666.6666]


def test_document_without_text_or_language_has_null_and_one_without_hits_has_zero(world: World, tmp_path: Path) -> None:
    path = lists(tmp_path / "lists", en="blarg")
    texts = {"a": None, "b": " \n", "c": "blarg", "d": "kind words", "e": "!?"}
    made = world({"web": texts}, language=dict.fromkeys("abde", "en")).run(toxicity, Config(lists=path))
    assert made.columns(HITS)[HITS] == [None, None, None, 0, 0]
    assert made.columns(RATE)[RATE] == [None, None, None, 0.0, None]
    assert made.columns(LIST)[LIST] == [None, None, None, "en", "en"]


def test_fallback_takes_documents_whose_language_has_no_list(world: World, tmp_path: Path) -> None:
    files = {"en": lists(tmp_path / "en", en="blarg") + "/en", "de": lists(tmp_path / "de", de="knurz") + "/de"}
    texts = {"a": "blarg knurz", "b": "blarg knurz", "c": "blarg knurz", "d": None}
    made = world({"web": texts}, language={"a": "de", "b": "fr"}).run(toxicity, Config(lists=files, fallback="en"))
    assert made.columns(LIST)[LIST] == ["de", "en", "en", None]
    assert made.columns(HITS)[HITS] == [1, 1, 1, None]


def test_language_can_come_from_a_stage(world: World, tmp_path: Path) -> None:
    import polars as pl

    made = world({"web": {"a": "blarg", "b": "blarg"}}, language={"a": "en", "b": "en"})
    made = made.add_columns("lang", {"lang__top": {"b": "eng_Latn"}, "lang__score": {"b": 0.5}}, {
        "lang__top": pl.String, "lang__score": pl.Float64,
    })  # fmt: skip
    path = lists(tmp_path / "lists", en="blarg")
    found = made.run(toxicity, Config(lists=path, language_column="lang__top"))
    assert found.columns(HITS)[HITS] == [None, 1]
    with pytest.raises(RecipeError, match=r"other: language_column: column lang__score is Float64\. Needed: text"):
        made.run(toxicity, Config(lists=path, language_column="lang__score", **{"as": "other"}))


@pytest.mark.parametrize(
    ("entries", "text", "found"),
    [
        (["cun"], "Scunthorpe cunning cun", (1, 1)),  # never inside a word
        (["blarg"], "BLARG Blarg's re-blarg blarg_x", (4, 1)),
        (["zonk it"], "zonk-it zonk\nit zonk of it", (2, 1)),
        (["zonk", "zonk it", "it up"], "zonk it up zonk", (2, 2)),  # the longest of those that begin together
        (["a b", "b c"], "a b c", (1, 1)),  # the first of those that overlap
        (["\u5012\u9709"], "\u4ed6\u5012\u9709\u4e86\u5012\u9709", (2, 1)),  # Han: found inside a sentence
        (["a$$"], "a cat, a$$ A$$ $a$$ ma$$", (3, 1)),  # not every "a"; what it begins with is a letter
        (["13."], "13 113. 13. x", (1, 1)),
        (["\U0001f595"], "\U0001f595\U0001f595 x\U0001f595", (3, 1)),
        (["s&m"], "S. M. Smith: s&m, S&M", (2, 1)),
        (["zonk", "ZONK"], "zonk", (1, 1)),
        (["zonk"], "", (0, 0)),
    ],
)
def test_entry_is_found_where_it_stands(entries: list[str], text: str, found: tuple[int, int]) -> None:
    assert counts(entries, text) == found


WORDS = st.lists(st.sampled_from("abc"), max_size=12)


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), min_size=1, max_size=6), WORDS)
def test_counts_are_those_of_plain_python(entries: list[list[str]], text: list[str]) -> None:
    at, found = 0, []
    while at < len(text):
        here = [entry for entry in entries if text[at : at + len(entry)] == entry]
        best = max(here, key=len, default=None)
        found += [tuple(best)] if best else []
        at += len(best) if best else 1
    assert counts([" ".join(entry) for entry in entries], " ".join(text)) == (len(found), len(set(found)))


@pytest.mark.parametrize(
    ("language", "found"),
    [("en", "en"), ("EN-us", "en"), ("eng", "en"), ("eng_Latn", "en"), ("fr-CA", "fr-ca"), ("fr-BE", "fr"),
     ("nb", "no"), ("cmn-Hant", "zh"), ("english", None), ("", None), ("e", None)],
)  # fmt: skip
def test_list_is_that_of_the_closest_code(language: str, found: str | None) -> None:
    assert closest_list(language, {"en", "fr", "fr-ca", "no", "zh"}) == found


@pytest.mark.parametrize("named", ["uk", "ukr", "ukr_Cyrl", "uk-UA", "UKR.txt"])
@pytest.mark.parametrize("stated", ["uk", "ukr", "ukr_Cyrl", "uk-UA"])
def test_list_and_language_may_each_be_called_by_any_code(named: str, stated: str, tmp_path: Path) -> None:
    found = list_files(lists(tmp_path / "lists", **{named.replace("UKR", "ukr"): "blarg", "ron": "zonk"}))
    chosen = closest_list(stated, found)
    assert chosen is not None
    assert found[chosen].name.startswith("uk")


@pytest.mark.parametrize(("one", "other"), [("ron", "ro"), ("srp", "sr"), ("fil", "tl"), ("fil", "tgl"), ("iw", "heb"),
                                            ("cmn", "zh"), ("nob", "no"), ("no", "nb"), ("pes", "fa")])  # fmt: skip
def test_two_codes_of_a_language_find_one_list(one: str, other: str) -> None:
    assert closest_list(one, {language_code(other)}) == language_code(other)
    assert closest_list(other, {language_code(one)}) == language_code(one)


@pytest.mark.parametrize(
    ("language", "known", "found"),
    [
        ("fr", {"fr-ca"}, "fr-ca"),
        ("fr-BE", {"fr-ca"}, None),
        ("fr-BE", {"fr-ca-u-sd-caqc"}, None),
        ("fr-CA-u-sd-caqc", {"fr-ca"}, "fr-ca"),
        ("zh-Hant", {"zh-hans"}, None),
        ("zh-TW", {"zh-hans", "zh-hant"}, None),
        ("zh-TW", {"zh-hant"}, "zh-hant"),
        ("nn", {"nb", "no"}, "no"),
        ("nn", {"nn", "no"}, "nn"),
        ("es-419", {"es-mx"}, None),
        ("sr", {"hr"}, None),
    ],
)
def test_list_of_another_script_or_region_is_not_taken(language: str, known: set[str], found: str | None) -> None:
    assert closest_list(language, known) == found


def test_fallback_may_be_called_by_any_code(world: World, tmp_path: Path) -> None:
    path = lists(tmp_path / "lists", ukr="blarg")
    made = world({"web": {"a": "blarg"}}).run(toxicity, Config(lists=path, fallback="ukr"))
    assert made.columns(LIST)[LIST] == ["uk"]
    assert Config(lists={"uk": "x"}, fallback="ukr").fallback_code == "uk"


def test_folder_takes_files_that_are_called_by_a_language(tmp_path: Path) -> None:
    path = lists(tmp_path / "lists", en="a", de_txt="b", README="c", LICENSE="d", **{"fr-CA": "e", "README.md": "f"})
    assert sorted(read_lists(path)) == ["de", "en", "fr-ca"]


def test_file_may_have_blank_lines_and_a_mark_of_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "en"
    path.write_bytes("\ufeffblarg\r\n\r\n  zonk it \r\nblarg\r\n".encode())
    assert len(word_list(read_entries(path)).offsets) - 1 == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"en": " \n"}, r"en: no entry in it"),
        ({"README": "x"}, r"lists: no list in it\. Needed: files called by a language code"),
        ({"en": "x", "en_txt": "y"}, r"en\.txt: a second list for 'en'"),
    ],
)
def test_bad_list_is_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_lists(lists(tmp_path / "lists", **files))


def test_list_that_is_no_text_and_a_file_in_place_of_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "en").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="en: cannot be read"):
        read_entries(tmp_path / "en")
    with pytest.raises(InputError, match=re.escape("write lists: {en: path}")):
        read_lists(str(tmp_path / "en"))


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"en": b"\xff\xfe\x00"}, {}, r"en: cannot be read \(.* Needed: a UTF-8 file of one entry a line"),
        ({"en": b" \n"}, {}, "en: no entry in it"),
        ({}, {}, "lists: no list in it"),
        ({"en": b"x"}, {"fallback": "fr"}, r"r\.yaml: mild: fallback: no list 'fr' \(have: en\)"),
    ],
)
def test_lists_are_looked_at_when_the_recipe_is_read(
    tmp_path: Path, files: dict[str, bytes], options: dict[str, str], message: str
) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    stage = {"stage": "toxicity", "as": "mild", "lists": "lists", **options}
    content = {"name": "r", "sources": [{"stage": "text", "name": "web", "path": "*.txt"}], "annotate": [stage]}
    with pytest.raises(RecipeError, match=message) as error:
        check_recipe(content, tmp_path / "r.yaml")
    assert str(error.value).startswith("r.yaml: mild: ")
    (folder / "en").write_text("blarg")
    check_recipe(content | {"annotate": [stage | {"fallback": "eng"}]}, tmp_path / "r.yaml")


def test_fallback_has_to_be_a_list(world: World, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="no list 'fr'"):
        Config(lists={"en": "x"}, fallback="fr")
    with pytest.raises(ValidationError, match="several for en"):
        Config(lists={"en": "x", "eng": "y"})
    path = lists(tmp_path / "lists", en="blarg")
    with pytest.raises(RecipeError, match=r"fallback: no list 'fr' \(have: en\)"):
        world({"web": {"a": "x"}}).run(toxicity, Config(lists=path, fallback="fr"))


def test_shared_lists_are_read_and_every_entry_finds_itself(shared_data: Path) -> None:
    folder = shared_data / "groundtruth" / "ldnoobw"
    found = read_lists(str(folder))
    assert len(found) == 28
    assert {"en", "de", "zh", "ja", "th", "fr-ca-u-sd-caqc"} <= set(found)
    lost = {}
    for name in ("en", "fr", "ru", "ko", "zh", "ja", "th", "hi", "ar"):
        entries = [line.strip() for line in (folder / name).read_text(encoding="utf-8").splitlines() if line.strip()]
        lost[name] = [entry for entry in entries if counts(entries, f"x {entry} x")[0] == 0]
    assert not any(lost.values()), lost


def test_shared_lists_say_little_of_specifications(shared_data: Path) -> None:
    entries = (shared_data / "groundtruth/ldnoobw/en").read_text(encoding="utf-8").split("\n")
    texts = [
        path.read_text(encoding="utf-8") for path in sorted((shared_data / "corpora/peps/peps").glob("*.rst"))[:200]
    ]
    hits, _ = counts([entry for entry in entries if entry], "\n".join(texts))
    assert hits / sum(len(text.split()) for text in texts) < 1e-3
