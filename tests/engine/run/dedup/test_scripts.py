"""Words of all scripts: the similarity written for one changed word tells how many words a text has.

One other word in the middle of n words changes 5 of n - 4 5-grams: J = (n - 9) / (n + 1).
"""

from pathlib import Path

import pytest

from .corpora import kept_ids, removed, run, survivors, write
from .oracle import similarity, stored, words

CHINESE = "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。"
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
THAI = "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ"
KOREAN = (
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. "
    "인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다."
)
ARABIC = (
    "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميرًا وعليهم أن يعامل بعضهم بعضًا بروح الإخاء."
)
HINDI = (
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। "
    "उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए।"
)
CASES = {
    "Chinese": (CHINESE, "理", "論", 39),
    "Japanese": (JAPANESE, "自", "她", 38),
    "Thai": (THAI, "ส", "ห", 48),
    "Korean": (KOREAN, "동등하다", "평등하다", 20),
    "Arabic": (ARABIC, "وقد", "ولقد", 19),
    "Hindi": (HINDI, "प्राप्त है।", "मिली है।", 33),
}


@pytest.mark.parametrize("language", CASES)
def test_number_of_words_shows_in_the_similarity_of_one_changed_word(tmp_path: Path, language: str) -> None:
    text, word, other, num_words = CASES[language]
    changed = text.replace(word, other, 1) + "!!!!"
    assert changed[:-4] != text
    assert len(words(text)) == num_words
    run([write(tmp_path / "in.parquet", [text, changed])], tmp_path / "out", id_column="uid", threshold=0.3)
    expected = int((num_words - 9) / (num_words + 1) * 10_000) / 10_000
    assert expected == stored(similarity(text, changed))
    assert removed(tmp_path / "out") == {"d0": ("d1", "near_dup", expected)}


def same_words(folder: Path, one: str, other: str) -> bool:
    """Whether two texts are near-duplicates of similarity 1; they share nothing else if they are not."""
    run([write(folder / "in.parquet", [one, other])], folder / "out", id_column="uid", threshold=0.1)
    found = [row[1:] for row in removed(folder / "out").values()]
    assert found in ([], [("near_dup", 1.0)])
    return bool(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("STRASSE", "stra\u00dfe"),
        ("STRA\u1e9eE", "strasse"),
        ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2"),
        ("o\ufb03ce", "office"),
        ("ISTANBUL", "istanbul"),
        ("\u0130STANBUL", "i\u0307stanbul"),
        ("\u041c\u0418\u0420", "\u043c\u0438\u0440"),
        ("CAFE\u0301", "cafe\u0301"),
        ("\u00c9COLE", "\u00e9cole"),
        ("\u10d0\u10d1", "\u1c90\u1c91"),
    ],
    ids=["sharp s", "capital sharp s", "final sigma", "ligature", "dotted i", "capital I with dot", "Cyrillic",
         "decomposed", "precomposed", "Georgian"],
)  # fmt: skip
def test_case_is_folded_for_all_of_unicode(tmp_path: Path, one: str, other: str) -> None:
    assert same_words(tmp_path, f"the word {one} here", f"The word {other}, here")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I", "\u0131"),
        ("\u0130", "i"),
        ("caf\u00e9", "cafe\u0301"),
        ("caf\u00e9", "cafe"),
        ("\uff21\uff22", "ab"),
        ("\u0915\u093f", "\u0915\u0940"),
        ("\u0e01\u0e48", "\u0e01\u0e49"),
        ("\u304b\u3099", "\u304b"),
        ("\u0661", "1"),
        ("\u00b2", "2"),
    ],
    ids=["dotless i", "I with dot above", "two forms of an accent", "accent", "full width", "Hindi vowel signs",
         "Thai tones", "voicing mark", "Arabic digit", "superscript"],
)  # fmt: skip
def test_nothing_else_is_normalised(tmp_path: Path, one: str, other: str) -> None:
    assert not same_words(tmp_path, f"the word {one} here", f"The word {other}, here")


@pytest.mark.parametrize(
    ("text", "num_words"),
    [
        ("\u4e2d\u6587abc\u4e2d", 4),
        ("\u0e01\u0e48\u0e01", 2),
        ("\u304b\u3099\u304d", 2),
        ("e\u0301a\u0308o", 1),
        ("\ud55c\uad6d\uc5b4", 1),
        ("1\u20442", 2),
        ("a\u200db", 2),
        ("a\u0000b", 2),
        ("x\U0001f600y", 2),
        ("\U00020000\U00020001", 2),
    ],
    ids=["Han beside Latin", "tone", "voicing mark", "accents", "Hangul", "fraction", "joiner", "NUL", "emoji",
         "beyond 16 bits"],
)  # fmt: skip
def test_words_begin_and_end_where_scripts_say(tmp_path: Path, text: str, num_words: int) -> None:
    # Between 20 words on either side, the similarity says how many words the text has.
    before, after = (" ".join(f"{side}{number}" for number in range(20)) for side in "ab")
    one, other = f"{before} {text} {after}", f"{before} other {after}!!!!!!!!"
    assert len(words(text)) == num_words
    run([write(tmp_path / "in.parquet", [one, other])], tmp_path / "out", id_column="uid", threshold=0.5)
    (found,) = removed(tmp_path / "out").values()
    # 32 shared; 4 + num_words around the text, 5 around the other word.
    assert found.similarity == int(32 / (32 + 4 + num_words + 5) * 10_000) / 10_000


def test_emoji_are_no_words(tmp_path: Path) -> None:
    texts = ["\U0001f600\U0001f680", "\U0001f600", "\U0001f600\U0001f680", "\U0001f468\u200d\U0001f469"]
    run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    assert kept_ids(tmp_path / "out") in ({"d0", "d1", "d3"}, {"d1", "d2", "d3"})
    assert [row[1:] for row in removed(tmp_path / "out").values()] == [("exact_dup", 1.0)]


def test_nul_bytes_end_no_text(tmp_path: Path) -> None:
    texts = ["\x00one two three", "\x00four five six", "one\x00two\x00three", "\x00", "\x00\x00", "a\x00", "b\x00"]
    run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    assert removed(tmp_path / "out") == {"d2": ("d0", "near_dup", 1.0)}
    assert {row["text"] for row in survivors(tmp_path / "out")} == set(texts) - {texts[2]}


def test_length_is_counted_in_characters_not_in_bytes(tmp_path: Path) -> None:
    # Three dots against two signs of three bytes each.
    one, other = "\u00e9a\u00e9a b c d e...", "\u00e9a\u00e9a b c d e\u2026\u2026"
    assert len(one) > len(other)
    assert len(one.encode()) < len(other.encode())
    run([write(tmp_path / "in.parquet", [other, one])], tmp_path / "out", id_column="uid")
    assert kept_ids(tmp_path / "out") == {"d1"}
