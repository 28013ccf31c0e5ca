"""judge: what share of a target is contamination, what is common, and which of several hits is told."""

import numpy as np
import polars as pl
import pytest

from engine.annotate.contamination.judge import document_counts, judge, weights
from engine.annotate.contamination.search import search
from tests.engine.annotate.contamination.makers import array, hits, index_of, item, scores, words


@pytest.mark.parametrize(
    ("documents", "num_documents", "weight"),
    [
        (0, 0, 1), (0, 1, 1), (0, 2, 2), (0, 3, 2), (0, 4, 3), (0, 1000, 10), (0, 1023, 10), (0, 1024, 11),
        (1, 1000, 9), (499, 1000, 2), (500, 1000, 1), (999, 1000, 1), (1000, 1000, 1), (0, 10**12, 40),
    ],
)  # fmt: skip
def test_weight_is_the_binary_digits_of_documents_per_document_that_has_it(
    documents: int, num_documents: int, weight: int
) -> None:
    assert weights(np.array([documents]), num_documents).tolist() == [weight]


def test_documents_are_counted_per_ngram() -> None:
    index = index_of(item(words(0, 9)), item(words(20, 28)))
    found = search(array(words(0, 9), words(0, 9), words(20, 28), words(20, 28) + " x " + words(20, 28)), index)
    assert sorted(document_counts(found.ngrams["ngram"], index.num_ngrams).tolist()) == [2, 2]
    assert document_counts(found.ngrams["ngram"].head(0), 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("found_words", "wanted"), [(17, [1.0]), (15, [0.8]), (14, [])])
def test_eight_tenths_of_a_question_are_a_hit(found_words: int, wanted: list[float]) -> None:
    # 17 words have ten 8-grams; in a corpus of one document all weigh the same.
    found = scores(index_of(item(words(0, 17))), words(0, found_words))
    assert [score for *_, score in found] == wanted


@pytest.mark.parametrize(("found_words", "wanted"), [(47, [0.7]), (46, [])])
def test_seven_tenths_of_a_long_question_are_a_hit(found_words: int, wanted: list[float]) -> None:
    # 62 words have fifty 13-grams.
    found = scores(index_of(item(words(0, 62))), words(62 - found_words, 62))
    assert [score for *_, score in found] == wanted


@pytest.mark.parametrize(("num_words", "needed"), [(49, 34), (50, 27)])
def test_a_question_is_long_from_fifty_words_on(num_words: int, needed: int) -> None:
    # 49 words: 34 of 42 8-grams are 0.8095; 50 words: 27 of 38 13-grams are 0.7105.
    ngram = 8 if num_words < 50 else 13
    index = index_of(item(words(0, num_words)))
    first = num_words - needed - ngram + 1
    assert len(scores(index, words(first, num_words))) == 1
    assert scores(index, words(first + 1, num_words)) == []


@pytest.mark.parametrize(("last_word", "wanted"), [(62, 1), (59, 1), (58, 0)])
def test_a_long_question_without_its_end_is_only_what_it_quotes(last_word: int, wanted: int) -> None:
    assert len(scores(index_of(item(words(0, 62))), words(0, last_word))) == wanted


def test_a_long_question_without_its_end_is_one_with_an_answer_or_two_choices() -> None:
    index = index_of(item(words(0, 62), ["it is so"], ["it is so", "it never was", "nobody knows"]))
    quoted = words(0, 57)
    assert len(scores(index, f"{quoted} it is so")) == 1
    assert len(scores(index, f"{quoted} nobody knows or it never was")) == 1
    assert scores(index, f"{quoted} nobody knows") == []


@pytest.mark.parametrize(("found_words", "wanted"), [(19, [0.5]), (18, [])])
def test_half_of_a_passage_is_a_hit(found_words: int, wanted: list[float]) -> None:
    # 26 words have fourteen 13-grams.
    found = scores(index_of(item(passage=words(0, 26))), words(0, found_words))
    assert [score for *_, score in found] == wanted


def test_the_share_of_a_passage_that_counts_can_be_set() -> None:
    index = index_of(item(passage=words(0, 26)))
    assert scores(index, words(0, 18), min_passage=0.42) == [(0, 0, "passage", 0.4285)]
    assert scores(index, words(0, 18), min_passage=0.43) == []
    assert scores(index, words(0, 25), min_passage=1.0) == []


def test_scores_are_rounded_down() -> None:
    # 18 words have eleven 8-grams, of which nine are 0.81818...
    assert scores(index_of(item(words(0, 18))), words(0, 16)) == [(0, 0, "question", 0.8181)]


def test_a_passage_weighs_all_its_ngrams_the_same() -> None:
    index = index_of(item(passage=words(0, 26)))
    common = [900] * 7 + [0] * 7
    assert len(scores(index, words(0, 19), counts=common, num_documents=1000)) == 1


def test_a_question_found_in_its_common_part_alone_is_no_hit() -> None:
    # Ten 8-grams; the eight found weigh 1 each where everybody has them, the two others 10.
    index = index_of(item(words(0, 17)))
    found = search(array(words(0, 15)), index)
    counts = np.zeros(10, np.int64)
    counts[found.ngrams["ngram"].to_numpy()] = 900
    assert scores(index, words(0, 15), counts=counts, num_documents=1000) == []
    assert scores(index, words(0, 17), counts=counts, num_documents=1000) == [(0, 0, "question", 1.0)]


NUMBERED = f"{words(0, 13)} has 11 {words(20, 33)} has 12 {words(40, 53)} has 13 {words(60, 73)} has 14"


@pytest.mark.parametrize(("changed", "is_hit"), [((), True), (("14",), True), (("13", "14"), False)])
def test_three_quarters_of_the_numbers_must_be_there(changed: tuple[str, ...], is_hit: bool) -> None:
    text = NUMBERED
    for number in changed:
        text = text.replace(number, "99")
    counts = None
    index = index_of(item(NUMBERED))
    score = 1.0 if not changed else None
    found = scores(index, text, counts=counts)
    if score is None and is_hit:
        assert 0.7 <= found[0][3] < 1
    assert bool(found) == is_hit


def test_two_of_three_numbers_are_too_few() -> None:
    question = f"{words(0, 40)} 11 {words(50, 90)} 12 {words(100, 140)} 13 the end"
    index = index_of(item(question))
    assert len(scores(index, question)) == 1
    assert scores(index, question.replace("13", "99")) == []


def test_the_same_problem_with_other_numbers_is_another_problem() -> None:
    question = f"{words(0, 30)} pays 12 dollars {words(30, 60)}"
    index = index_of(item(question))
    assert scores(index, question.replace("12", "13")) == []
    # Other words in their place are another matter.
    assert len(scores(index, question.replace("w59", "other"))) == 1


RUN = words(0, 8)
"""Found whole in more than max(10, N / 1000) documents it is common."""


@pytest.mark.parametrize(
    ("documents", "num_documents", "is_hit"),
    [(10, 20, True), (11, 20, False), (10, 10_999, True), (11, 11_000, True), (12, 11_999, False), (50, 50_000, True)],
)
def test_a_common_run_is_no_hit(documents: int, num_documents: int, is_hit: bool) -> None:
    found = scores(index_of(item(RUN)), RUN, counts=[documents], num_documents=num_documents)
    assert found == ([(0, 0, "question", 1.0)] if is_hit else [])


@pytest.mark.parametrize(
    ("behind", "wanted"),
    [
        ("", []),
        ("dark blue", ["question+answer"]),
        ("red", []),
        ("red green", ["question"]),
        ("red red", []),
    ],
)
def test_a_common_run_is_a_hit_with_its_answer_or_two_choices(behind: str, wanted: list[str]) -> None:
    index = index_of(item(RUN, ["dark blue"], ["red", "green", "dark blue"]))
    found = scores(index, f"{RUN} {behind}", counts=[500], num_documents=1000)
    assert [kind for _, _, kind, _ in found] == wanted


SHORT = item("what are they", ["all of them are birds"], ["all of them are birds", "fish", "cats"])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("what are they", []),
        ("all of them are birds", []),
        ("what are they all of them are birds", ["question+answer"]),
        ("All of them are birds! What are they?", ["question+answer"]),
        ("what are we all of them are birds", []),
    ],
)
def test_a_short_question_is_a_hit_with_its_answer(text: str, wanted: list[str]) -> None:
    assert [kind for _, _, kind, _ in scores(index_of(SHORT), text)] == wanted


@pytest.mark.parametrize(("behind", "wanted"), [("red green blue", 1), ("blue green red", 1), ("red green", 0)])
def test_a_short_question_without_answer_is_a_hit_with_all_choices(behind: str, wanted: int) -> None:
    index = index_of(item("which colour is that one", [], ["red", "green", "blue"]))
    assert len(scores(index, f"which colour is that one {behind}")) == wanted


def test_a_question_found_with_its_answer_says_so() -> None:
    index = index_of(item(words(0, 20), ["forty two"]))
    assert scores(index, words(0, 20), f"{words(0, 20)} forty-two") == [
        (0, 0, "question", 1.0),
        (1, 0, "question+answer", 1.0),
    ]


def test_question_and_passage_are_two_hits() -> None:
    index = index_of(item(words(0, 9), passage=words(20, 40)))
    assert scores(index, words(0, 9), words(20, 40), f"{words(0, 9)} {words(20, 40)}") == [
        (0, 0, "question", 1.0),
        (1, 0, "passage", 1.0),
        (2, 0, "passage", 1.0),
        (2, 0, "question", 1.0),
    ]


def test_of_several_wordings_the_best_is_told() -> None:
    index = index_of(item([words(0, 17), f"{words(0, 15)} other end"]))
    ((row, number, kind, score),) = scores(index, f"{words(0, 15)} other end")
    assert (row, number, kind, score) == (0, 0, "question", 1.0)


def test_equal_items_of_two_benchmarks_are_both_hit() -> None:
    assert scores(index_of(item(words(0, 9)), item(words(0, 9))), words(0, 9)) == [
        (0, 0, "question", 1.0),
        (0, 1, "question", 1.0),
    ]


def test_evidence_is_the_pieces_of_the_text_joined() -> None:
    (hit,) = hits(index_of(item(words(0, 62))), f"A: {words(0, 31)}; OR, {words(31, 62)}!")
    assert hit["evidence"] == f"{words(0, 31)} ... {words(31, 62)}"
    # Ten words of two characters, others of three, spaces between them; less than a line apart the spans are one.
    assert [(span["start"], span["end"]) for span in hit["spans"]] == [(3, 245)]


def test_no_match_is_no_hit() -> None:
    index = index_of(item(words(0, 9)))
    assert hits(index, "nothing", None) == []


def test_documents_may_be_named_by_several_columns() -> None:
    index = index_of(item(words(0, 9)))
    found = search(array("x", words(0, 9)), index)
    named = found.matches.select(pl.lit("web").alias("source"), pl.col("row").alias("place"), pl.exclude("row"))
    judged = judge(named, index, np.zeros(1, np.int64), 2)
    assert judged.select("source", "place", "item").rows() == [("web", 1, 0)]


def test_documents_in_another_order_give_the_same_hits() -> None:
    index = index_of(item(words(0, 17)), item(RUN, ["yes"]), SHORT)
    texts = [words(0, 15), words(0, 17), RUN, f"{RUN} yes", "what are they all of them are birds", "x"] * 3
    forward = scores(index, *texts)
    backward = scores(index, *texts[::-1])
    assert sorted(forward) == sorted((len(texts) - 1 - row, *rest) for row, *rest in backward)
