"""Language codes: one form for the labels of every model."""

import pytest

from engine.annotate.language.detectors import embedded_languages
from engine.text.language_codes import codes


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("en", "en"),
        ("eng", "en"),
        ("eng_Latn", "en"),
        ("en-US", "en"),
        ("EN", "en"),
        ("cmn_Hani", "zh"),
        ("zh-Hant", "zh"),
        ("arb_Arab", "ar"),
        ("als_Latn", "sq"),
        ("ekk", "et"),
        ("iw", "he"),
        ("mly_Latn", "ms"),
        ("fil_Latn", "tl"),
        ("ceb", "ceb"),
        ("yue_Hani", "yue"),
        ("nob_Latn", "nb"),
    ],
)
def test_labels_take_one_form(label: str, code: str) -> None:
    assert codes([label]) == [code]


def test_a_label_for_the_macrolanguage_leaves_its_members_their_own() -> None:
    """lid.176 has Albanian as `sq`, and `als`, as Wikipedia does, for Alemannic."""
    assert codes(["sq", "als"]) == ["sq", "als"]
    assert codes(["als", "zho_Hans", "cmn_Hani"]) == ["sq", "zh", "cmn"]


def test_scripts_of_a_language_share_its_code() -> None:
    assert codes(["srp_Cyrl", "srp_Latn"]) == ["sr", "sr"]


def test_codes_of_the_embedded_detector_are_in_that_form() -> None:
    known = embedded_languages()
    assert len(known) == 60
    assert codes(known) == list(known)
