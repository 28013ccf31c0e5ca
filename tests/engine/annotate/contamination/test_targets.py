"""targets: which part of an item is searched for, by which rule, and which items cannot be found."""

import string
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate.contamination.targets import NEVER, RUN, RUN_AND_ANSWER, SHARE, targets_of, undressed
from tests.engine.annotate.contamination.makers import frame_of, item, words


def only(**parts: Any) -> dict[str, Any]:
    """The one target of an item."""
    table = targets_of(frame_of(item(**parts))).table
    assert table.height == 1
    return table.row(0, named=True)


def why_not(min_words: int = 8, **parts: Any) -> str | None:
    return targets_of(frame_of(item(**parts)), min_words).why_not.to_list()[0]


@pytest.mark.parametrize(
    ("num_words", "rule", "ngram_words", "num_ngrams"),
    [
        (8, RUN, 8, 1),
        (12, RUN, 12, 1),
        (13, SHARE, 8, 6),
        (49, SHARE, 8, 42),
        (50, SHARE, 13, 38),
        (51, SHARE, 13, 39),
    ],
)
def test_questions_of_eight_words_and_more_need_no_answer(
    num_words: int, rule: int, ngram_words: int, num_ngrams: int
) -> None:
    target = only(question=words(0, num_words))
    assert target["kind"] == "question"
    assert (target["rule"], target["ngram_words"], target["num_ngrams"]) == (rule, ngram_words, num_ngrams)
    assert target["num_words"] == num_words


def test_seven_words_need_an_answer_with_which_they_are_eight() -> None:
    target = only(question=words(0, 7), answers=["yes"])
    assert (target["rule"], target["ngram_words"], target["needed_choices"]) == (RUN_AND_ANSWER, 7, NEVER)
    assert why_not(question=words(0, 6), answers=["yes"]) == (
        "a question of 6 words; 8 are needed with the answer or all choices"
    )


def test_any_of_several_answers_is_long_enough_or_none() -> None:
    assert only(question=words(0, 6), answers=["yes", "oh yes"])["rule"] == RUN_AND_ANSWER
    assert why_not(question=words(0, 6), answers=["yes", "no"]) is not None


def test_all_choices_stand_for_the_answer() -> None:
    target = only(question=words(0, 4), choices=["a b", "c d"])
    assert (target["rule"], target["needed_choices"]) == (RUN_AND_ANSWER, 2)
    assert why_not(question=words(0, 4), choices=["a b", "c"]) is not None


def test_one_choice_alone_is_no_evidence_for_a_short_question() -> None:
    assert why_not(question=words(0, 5), choices=["a b c"]) is not None


def test_question_without_answer_and_choices_needs_eight_words() -> None:
    assert why_not(question=words(0, 8)) is None
    assert why_not(question=words(0, 7)) is not None


@pytest.mark.parametrize(("num_choices", "needed"), [(0, NEVER), (1, 1), (2, 2), (5, 2)])
def test_a_run_that_is_common_needs_two_choices(num_choices: int, needed: int) -> None:
    target = only(question=words(0, 8), choices=[f"c{number} d{number}" for number in range(num_choices)])
    assert target["needed_choices"] == needed


def test_a_question_too_short_to_look_up_is_looked_up_by_each_answer() -> None:
    table = targets_of(frame_of(item(words(0, 3), ["a b c d e", "a b c d e f"]))).table
    assert table.select("rule", "seed_is_question", "ngram_words").rows() == [
        (RUN_AND_ANSWER, False, 5), (RUN_AND_ANSWER, False, 6)
    ]  # fmt: skip
    assert only(question=words(0, 4), answers=["a b c d"])["seed_is_question"]


def test_at_most_twelve_words_of_an_answer_are_looked_up() -> None:
    assert only(question="why", answers=[words(0, 12)])["ngram_words"] == 12
    assert only(question="why", answers=[words(0, 13)])["ngram_words"] == 12


def test_nothing_of_four_words_cannot_be_looked_up() -> None:
    reason = why_not(question="a b c", choices=["d e f", "g h i"])
    assert reason == "no run of 4 words in question, answer or choices"


@pytest.mark.parametrize(("num_words", "rule", "ngram_words"), [(8, RUN, 8), (12, RUN, 12), (13, SHARE, 13)])
def test_passages_are_searched_by_thirteen_words_or_whole(num_words: int, rule: int, ngram_words: int) -> None:
    target = only(passage=words(0, num_words))
    assert (target["kind"], target["rule"], target["ngram_words"]) == ("passage", rule, ngram_words)


def test_a_passage_of_too_few_words_is_not_searched_for() -> None:
    assert why_not(passage=words(0, 7)) == "a passage of 7 words, fewer than 8"
    assert why_not(passage=words(0, 5), min_words=5) is None
    assert why_not(passage=words(0, 4), min_words=5) == "a passage of 4 words, fewer than 5"


def test_an_item_with_question_and_passage_has_two_targets() -> None:
    table = targets_of(frame_of(item(words(0, 9), passage=words(20, 40)))).table
    assert table["kind"].to_list() == ["question", "passage"]
    assert table["item"].to_list() == [0, 0]


def test_a_findable_passage_makes_up_for_a_question_that_is_too_short() -> None:
    assert why_not(question="is it so", answers=["yes"], passage=words(0, 20)) is None


def test_every_wording_of_a_question_is_a_target() -> None:
    table = targets_of(frame_of(item([words(0, 13), words(20, 29)]))).table
    assert table["rule"].to_list() == [SHARE, RUN]


def test_equal_items_have_a_target_each() -> None:
    targets = targets_of(frame_of(item(words(0, 13)), item(words(0, 13))))
    assert targets.table["item"].to_list() == [0, 1]
    assert targets.ngrams.height == 12


@pytest.mark.parametrize("question", ["", "?!", "\u200b"])
def test_a_question_without_words_is_listed(question: str) -> None:
    assert why_not(question=question) in ("a question without words", "no question and no passage")


def test_an_item_of_nothing_is_listed() -> None:
    assert why_not() == "no question and no passage"


SAYS_NOTHING = "its words are mostly numbers, or the same again and again"


@pytest.mark.parametrize(
    "question",
    [
        " ".join(map(str, range(8))),
        " ".join(map(str, range(60))),
        "ha " * 20,
        "tick tock " * 10,
        "1, 2, 3; 4 - 5 6 7 8 9",
    ],
)
def test_numbers_alone_or_fewer_than_three_words_say_nothing(question: str) -> None:
    assert why_not(question=question) == SAYS_NOTHING


@pytest.mark.parametrize("question", ["1 2 3 4 5 6 7 x", "a b c a b c a b", "a 1 2 a 1 2 a 1"])
def test_three_different_words_one_of_them_no_number_say_something(question: str) -> None:
    assert why_not(question=question) is None


def test_ngrams_that_say_nothing_are_left_out_of_a_longer_question() -> None:
    # 21 words: 14 8-grams, of which the one of numbers alone goes.
    target = only(question=f"1 2 3 4 5 6 7 8 {words(0, 13)}")
    assert target["num_ngrams"] == 13


@pytest.mark.parametrize(("num_numbers", "reason"), [(11, None), (12, SAYS_NOTHING)])
def test_a_target_that_loses_more_than_half_of_its_ngrams_is_none(num_numbers: int, reason: str | None) -> None:
    # 15 words have eight 8-grams; of eleven numbers in a row four are numbers alone, of twelve five.
    numbers = " ".join(map(str, range(num_numbers)))
    assert why_not(question=f"{numbers} {words(0, 15 - num_numbers)}") == reason


def test_an_ngram_that_repeats_counts_once() -> None:
    assert only(question="a b c d e f g h a b c d e f g h")["num_ngrams"] == 8


def test_numbers_are_words_of_ascii_digits_each_counted_once() -> None:
    # "3 50" is two numbers; 3rd and the fullwidth 4 are none.
    question = f"{words(0, 13)} pays 12 and 12 and $3 50 and 3rd and \uff14"
    assert only(question=question)["num_numbers_right"] == 3


def test_numbers_in_words_are_numbers_but_one_is_not() -> None:
    assert only(question=f"{words(0, 13)} pays twelve and Twenty and one and once")["num_numbers_right"] == 2


def test_punctuation_inside_words_makes_a_second_wording() -> None:
    table = targets_of(frame_of(item(f"{words(0, 13)} don't pay $3.50"))).table
    assert table["num_words"].to_list() == [18, 17, 16]


def test_only_long_questions_guard_their_numbers() -> None:
    assert only(question=f"1 2 3 {words(0, 9)}")["num_numbers_right"] == 0
    assert only(passage=f"1 2 3 {words(0, 19)}")["num_numbers_right"] == 0


def test_reach_is_the_words_of_the_item_and_thirty_two() -> None:
    # The question, its answer, its choices.
    assert only(question=words(0, 8), answers=["a b"], choices=["a b", "c d e"])["reach"] == 8 + 2 + 2 + 3 + 32


@pytest.mark.parametrize(
    ("dressed", "plain"),
    [
        ("Question: Is it?\nAnswer:", "Is it?"),
        ("Q: Is it? A:", "Is it?"),
        ("Question 12. Is it?", "Is it?"),
        ("problem: Is it?", "Is it?"),
        ("Questions are hard. Answer: no", "Questions are hard. Answer: no"),
        ("Is it a: b", "Is it a: b"),
    ],
)
def test_labels_around_a_question_are_not_of_it(dressed: str, plain: str) -> None:
    assert undressed(dressed) == plain


def test_ngrams_are_sorted_by_length_hash_and_target() -> None:
    ngrams = targets_of(frame_of(item(words(0, 20)), item(words(0, 9)), item(words(5, 70)))).ngrams
    assert ngrams.rows() == sorted(ngrams.rows())


@settings(deadline=None)
@given(st.lists(st.sampled_from([*string.ascii_lowercase[:5], "1", "2"]), max_size=60), st.integers(0, 3))
def test_every_item_has_a_target_or_a_reason(letters: list[str], num_choices: int) -> None:
    choices: Sequence[str] = [f"choice {number} of all" for number in range(num_choices)]
    targets = targets_of(frame_of(item(" ".join(letters), choices[:1], choices)))
    assert (targets.table.height == 0) == (targets.why_not.null_count() == 0)
    assert set(targets.ngrams["target"]) == set(range(targets.table.height))
