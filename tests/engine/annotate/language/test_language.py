"""language: the best guess, how sure it is, and how much of the text it holds for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.annotate import language
from engine.annotate.language import Config
from engine.base.errors import InputError, RecipeError
from engine.text.windows import text_windows

World = Callable[..., Any]
ENGLISH = "The children walked along the river and talked about what they would do in the summer. "
GERMAN = "Die Kinder gingen am Fluss entlang und sprachen davon, was sie im Sommer tun wollten. "
FRENCH = "Les enfants marchaient le long de la rivière et parlaient de ce qu'ils feraient cet été. "
RUNES = "ᚠᚢᚦᚨᚱᚲ ᚷᚹᚺᚾᛁᛃ ᛇᛈᛉᛊᛏᛒ ᛖᛗᛚᛜᛞᛟ "
TOP, SCORE, SHARE = "language__top", "language__score", "language__share"
SECOND, SECOND_SHARE = "language__second", "language__second_share"


class View:
    """What the stage reads of a ShardView."""

    def __init__(self, *texts: str | None) -> None:
        self.text = pl.Series(texts, dtype=pl.String).to_arrow()
        self.windows = text_windows(pl.Series(texts, dtype=pl.String))


def found(*texts: str | None, **config: Any) -> dict[str, list[Any]]:
    return language.annotate(View(*texts), Config(**config)).to_dict(as_series=False)  # type: ignore[arg-type]


def test_top_language_score_and_share(world: World) -> None:
    documents = {"web": {"a": ENGLISH, "b": GERMAN, "c": FRENCH, "d": "我们今天去公园。明天去学校。", "e": None}}
    made = world(documents).run(language, Config()).columns(TOP, SCORE, SHARE, SECOND, SECOND_SHARE)
    assert made[TOP] == ["en", "de", "fr", "zh", None]
    assert made[SHARE] == [1, 1, 1, 1, None]
    assert all(0.5 < score <= 1 for score in made[SCORE][:4])
    assert made[SCORE][4] is None
    assert made[SECOND] == made[SECOND_SHARE] == [None] * 5


@pytest.mark.parametrize("text", [None, "", " \n\t", "1234 567 -- !?", "\0", "\U0001f600" * 300])
def test_a_text_without_letters_has_no_language(text: str | None) -> None:
    assert {values[0] for values in found(text).values()} == {None}


def test_letters_nobody_knows_are_undetermined() -> None:
    made = found(RUNES * 10)
    assert (made[TOP], made[SCORE], made[SHARE], made[SECOND]) == (["und"], [0], [0], [None])


def test_a_language_the_detector_does_not_know_scores_low() -> None:
    quechua = "Llapan runakunam qespisqa kanku, hinaspa kikin hatun kayniyoq hayniyoqpas kanku, yuyayniyoq, nunayoq. "
    assert found(quechua * 3)[SCORE][0] < 0.5 < found(ENGLISH * 3)[SCORE][0]


def test_short_texts_are_scored_as_they_are() -> None:
    assert found("hello there", "x")[TOP][0] == "en"
    assert found("x")[SCORE][0] is not None


def test_share_is_that_of_the_letters_in_its_pieces() -> None:
    """Twelve pieces of 250 characters, three of them German."""
    german, english = (text * 12 for text in (GERMAN, ENGLISH))
    made = found(german[:750] + english[:250] + english[:1000] + english[:1000])
    letters = [sum(map(str.isalpha, text)) for text in (german[:750], english[:250] + 2 * english[:1000])]
    assert made[TOP] == ["en"]
    assert made[SHARE] == [pytest.approx(letters[1] / sum(letters), abs=1e-4)]
    assert made[SECOND] == ["de"]
    assert made[SECOND_SHARE] == [pytest.approx(letters[0] / sum(letters), abs=1e-4)]


def test_only_three_windows_of_a_text_are_read() -> None:
    long = (ENGLISH * 20)[:1000] + GERMAN * 1000
    assert len(long) > 50_000
    assert found(long)[SHARE][0] == pytest.approx(2 / 3, abs=0.05)
    # What lies between the windows is not read.
    assert found(long) == found(long[:1000] + FRENCH[:80] * 10 + long[1800:])


def test_a_nul_does_not_end_the_text() -> None:
    assert found("123\0" + GERMAN)[TOP] == ["de"]
    assert found(f"Tag\0{ENGLISH}") == found(f"Tag {ENGLISH}")


def test_languages_limit_the_answer() -> None:
    made = found(ENGLISH, FRENCH, GERMAN, languages=["deu", "fr"])
    assert set(made[TOP]) == {"de", "fr"}
    assert made[TOP][1:] == ["fr", "de"]
    assert set(made[SECOND]) <= {"de", "fr", None}
    assert found(GERMAN)[TOP] == ["de"]


def test_unknown_languages_of_the_recipe_are_named() -> None:
    with pytest.raises(ValidationError, match="no language 'xx'"):
        Config(languages=("en", "xx"))
    with pytest.raises(ValidationError):
        Config(languages=())


letters = st.text(st.characters(codec="utf-8"), max_size=300)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), letters, st.sampled_from([ENGLISH, GERMAN * 40, RUNES])), max_size=6))
def test_documents_are_independent_and_values_stay_in_range(texts: list[str | None]) -> None:
    together = language.annotate(View(*texts), Config())  # type: ignore[arg-type]
    alone = [language.annotate(View(text), Config()) for text in texts]  # type: ignore[arg-type]
    assert together.rows() == [frame.row(0) for frame in alone]
    for top, score, share, second, second_share in together.rows():
        assert (top is None) == (score is None) == (share is None)
        assert (second is None) == (second_share is None)
        if top is not None:
            assert second != top
            assert 0 <= score <= 1
            assert 0 <= share + (second_share or 0) <= 1.0001
            assert round(score, 4) == score


def test_many_pieces_are_asked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = (ENGLISH * 30, GERMAN, None, FRENCH * 9, "12", RUNES)
    whole = found(*texts)
    monkeypatch.setattr(language, "PIECES_AT_ONCE", 3)
    assert found(*texts) == whole


# ---- fastText models by path


LABELS = {
    "eng_Latn": ENGLISH,
    "deu_Latn": GERMAN,
    "fra_Latn": FRENCH,
    "srp_Cyrl": "деца шетају поред реке и говоре о лету ",  # noqa: RUF001 - Cyrillic is meant
}
LABELS |= {"srp_Latn": "deca šetaju pored reke i govore o letu "}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    import fasttext

    folder = tmp_path_factory.mktemp("language-model")
    words = {label: text.lower().split() for label, text in LABELS.items()}
    lines = [
        f"__label__{label} {' '.join(text[start : start + 5])}\n"
        for start in range(8)
        for _ in range(10)
        for label, text in words.items()
    ]
    (folder / "lines.txt").write_text("".join(lines), encoding="utf-8")
    options = {"dim": 16, "epoch": 30, "lr": 0.5, "minn": 2, "maxn": 4, "bucket": 2000, "seed": 1, "thread": 1}
    trained = fasttext.train_supervised(input=str(folder / "lines.txt"), verbose=0, **options)
    trained.save_model(str(folder / "model.bin"))
    return str(folder / "model.bin")


def test_a_fasttext_model_answers_in_the_same_codes(model: str, world: World) -> None:
    texts = {label: text.lower() * 5 for label, text in LABELS.items()}
    made = world({"web": texts | {"none": "12 34"}}).run(language, Config(model=model))
    tops = made.by_name(TOP)
    assert tops == {
        "deu_Latn": "de",
        "eng_Latn": "en",
        "fra_Latn": "fr",
        "srp_Cyrl": "sr",
        "srp_Latn": "sr",
        "none": None,
    }
    scores = made.by_name(SCORE)
    assert all(score > 0.8 for name, score in scores.items() if name != "none")


def test_scripts_of_one_language_are_added_up(model: str) -> None:
    from engine.text import fasttext_model

    text = (LABELS["srp_Latn"] + LABELS["srp_Cyrl"]) * 2
    loaded = fasttext_model.load(Path(model))
    chances = dict(zip(loaded.labels, loaded.probabilities([text])[0].tolist(), strict=True))
    expected = min(chances["srp_Latn"] + chances["srp_Cyrl"], 1)
    assert found(text, model=model)[SCORE][0] == pytest.approx(expected, abs=1e-4)


def test_line_feeds_do_not_end_what_a_model_reads(model: str) -> None:
    lines = GERMAN.lower().replace(" ", "\n") * 3
    assert found(lines, model=model)[TOP] == ["de"]
    assert found("das\n" + ENGLISH.lower() * 3, model=model)[TOP] == ["en"]


def test_languages_limit_the_answer_of_a_model(model: str) -> None:
    assert found(ENGLISH.lower(), GERMAN.lower(), model=model, languages=["fr", "deu"])[TOP][1] == "de"
    assert set(found(ENGLISH.lower(), RUNES, model=model, languages=["fr", "deu"])[TOP]) <= {"fr", "de", "und"}
    with pytest.raises(RecipeError, match=r"^languages: no language 'es'"):
        found(ENGLISH, model=model, languages=["es"])


def test_a_language_the_model_does_not_know_is_no_error(model: str) -> None:
    made = found(RUNES * 5, "我们今天去公园" * 5, model=model)
    assert None not in made[TOP]
    assert all(0 <= score <= 1 for score in made[SCORE])


def test_a_file_that_is_no_model_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "lid.bin").write_bytes(b"version https://git-lfs.example/spec")
    with pytest.raises(InputError, match=r"lid\.bin: is no fastText model"):
        found(ENGLISH, model=str(tmp_path / "lid.bin"))
    with pytest.raises(InputError, match="cannot be read"):
        found(ENGLISH, model=str(tmp_path / "none.bin"))
