"""search and judge beside the same rules in a few lines of plain Python, on small random worlds."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.annotate.contamination.makers import array, index_of, item, scores

LETTERS = "abcdefghijk"
WORD = st.sampled_from([*LETTERS, *LETTERS, "1", "2", "30"])
REACH = 32
Words = list[str]
Hit = tuple[int, int, str, float]


def split(text: str | None) -> Words:
    return re.findall(r"\w+", text or "")


def grams(words: Words, length: int) -> set[tuple[str, ...]]:
    """The n-grams that say something."""
    every = (tuple(words[at : at + length]) for at in range(len(words) - length + 1))
    return {gram for gram in every if len(set(gram)) >= 3 and not all(word.isdigit() for word in gram)}


def places_of(words: Words, wanted: set[tuple[str, ...]], length: int) -> list[int]:
    return [at for at in range(len(words) - length + 1) if tuple(words[at : at + length]) in wanted]


def starts_near(words: Words, run: Words, near: set[int], but: set[int]) -> bool:
    return any(words[at : at + len(run)] == run for at in near - but)


def judged(items: list[dict[str, Any]], texts: list[str | None]) -> list[Hit]:
    """Every hit of the rules in the docstrings of targets and judge."""
    documents = [split(text) for text in texts]
    best: dict[tuple[int, int, str], tuple[int, str]] = {}
    for number, one in enumerate(items):
        for kind, rule in rules(one, documents):
            for row, words in enumerate(documents):
                found = rule(words)
                if found is not None and found > best.get((row, number, kind), (-1, "")):
                    best[row, number, kind] = found
    return sorted((row, number, kind, units / 10_000) for (row, number, _), (units, kind) in best.items())


def rules(one: dict[str, Any], documents: list[Words]) -> Iterator[tuple[str, Any]]:
    for question in one["questions"]:
        words = split(question)
        if len(words) >= 13:
            yield "question", long_question(one, words, documents)
        elif len(words) >= 8:
            yield "question", run_question(one, words, documents)
    if one["passage"] and len(split(one["passage"])) >= 8:
        yield "passage", passage(split(one["passage"]))


def near_of(places: list[int], length: int, reach: int, size: int) -> set[int]:
    return {at for place in places for at in range(max(place - reach, 0), min(place + length + reach, size))}


def covered_by(places: list[int], length: int) -> set[int]:
    return {place for begin in places for place in range(begin, begin + length)}


def last_of(question: Words, length: int) -> set[Any]:
    """The four different n-grams that stand last."""
    found: list[Any] = []
    for begin in range(len(question) - length, -1, -1):
        gram = tuple(question[begin : begin + length])
        if gram in grams(question, length) and gram not in found:
            found.append(gram)
    return set(found[:4])


def long_question(one: dict[str, Any], question: Words, documents: list[Words]) -> Any:
    length = 13 if len(question) >= 50 else 8
    wanted = grams(question, length)
    holders = Counter(gram for words in documents for gram in grams(words, length))
    weight = {gram: max((len(documents) // (holders[gram] + 1)).bit_length(), 1) for gram in wanted}
    numbers = {word for word in question if word.isdigit()}
    answers = [split(answer) for answer in dict.fromkeys(one["answers"])]
    reach = len(question) + sum(map(len, answers)) + sum(len(split(c)) for c in one["choices"]) + REACH
    places = len(question) - length + 1

    def rule(words: Words) -> tuple[int, str] | None:
        held = wanted & grams(words, length)
        if 2 * len(wanted) < places or 4 * len(held) < len(wanted):
            return None
        units = sum(weight[gram] for gram in held) * 10_000 // sum(weight.values())
        at = places_of(words, wanted, length)
        near = near_of(at, length, reach, len(words))
        right = sum(starts_near(words, [number], near, set()) for number in numbers)
        if units < (7_000 if length == 13 else 8_000) or (units < 10_000 and 4 * right < 3 * len(numbers)):
            return None
        answered = any(starts_near(words, answer, near, covered_by(at, length)) for answer in answers if answer)
        choices = [split(choice) for choice in dict.fromkeys(one["choices"])]
        offered = sum(starts_near(words, choice, near, covered_by(at, length)) for choice in choices if choice)
        if length == 13 and not answered and offered < 2 and not last_of(question, length) & held:
            return None
        covered = {place for begin in at for place in range(begin, begin + length)}
        has_answer = any(starts_near(words, answer, near, covered) for answer in answers if answer)
        return units, "question+answer" if has_answer else "question"

    return rule


def run_question(one: dict[str, Any], question: Words, documents: list[Words]) -> Any:
    wanted = grams(question, len(question))
    common = sum(bool(wanted & grams(words, len(question))) for words in documents) > max(10, len(documents) // 1000)
    answers = [split(answer) for answer in dict.fromkeys(one["answers"])]
    choices = [split(choice) for choice in one["choices"]]
    reach = len(question) + sum(map(len, answers + choices)) + REACH

    def rule(words: Words) -> tuple[int, str] | None:
        at = places_of(words, wanted, len(question))
        if not at:
            return None
        near = near_of(at, len(question), reach, len(words))
        covered = {place for begin in at for place in range(begin, begin + len(question))}
        has_answer = any(starts_near(words, answer, near, covered) for answer in answers if answer)
        num_choices = sum(starts_near(words, choice, near, covered) for choice in choices if choice)
        needed = min(2, len(choices)) or 1 << 20
        if common and not has_answer and num_choices < needed:
            return None
        return 10_000, "question+answer" if has_answer else "question"

    return rule


def passage(words_of: Words) -> Any:
    length = min(len(words_of), 13)
    wanted = grams(words_of, length)
    places = len(words_of) - length + 1

    def rule(words: Words) -> tuple[int, str] | None:
        held = len(wanted & grams(words, length))
        if not held or 2 * len(wanted) < places or 4 * held < len(wanted):
            return None
        units = held * 10_000 // len(wanted)
        return (units, "passage") if units >= 5_000 else None

    return rule


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[str | None]]:
    items = []
    for _ in range(draw(st.integers(1, 4))):
        question = draw(st.lists(WORD, min_size=8, max_size=draw(st.sampled_from([12, 20, 70]))))
        answers = draw(st.lists(st.lists(WORD, min_size=1, max_size=3).map(" ".join), max_size=2, unique=True))
        choices = draw(st.lists(st.lists(WORD, min_size=1, max_size=2).map(" ".join), max_size=3, unique=True))
        held_out = draw(st.none() | st.lists(WORD, min_size=8, max_size=40).map(" ".join))
        items.append(item(" ".join(question), answers, choices, held_out))
    parts = [
        part for one in items for part in (*one["questions"], *one["answers"], *one["choices"], one["passage"] or "")
    ]
    texts: list[str | None] = []
    for _ in range(draw(st.integers(1, 14))):
        pieces = []
        for _ in range(draw(st.integers(0, 4))):
            words = split(draw(st.sampled_from(parts)))
            begin = draw(st.integers(0, max(len(words) // 4, 0)))
            end = len(words) - draw(st.integers(0, len(words) // 4))
            pieces += [*words[begin:end], *["z"] * draw(st.sampled_from([0, 1, 30, 60]))]
        texts.append(" ".join(pieces))
    return items, [*texts, *texts[:1] * draw(st.sampled_from([0, 12]))]


@settings(deadline=None, max_examples=150)
@given(worlds())
def test_hits_are_those_of_plain_python(world: tuple[list[dict[str, Any]], list[str | None]]) -> None:
    items, texts = world
    assert sorted(scores(index_of(*items), *texts)) == judged(items, texts)


def test_the_worlds_hold_hits_and_misses_of_every_rule() -> None:
    """A reference that never sees a hit proves nothing."""
    questions = [
        "a b c d e f g h",
        " ".join(f"{letter}{n}" for n in range(2) for letter in LETTERS),
        "a b 1 c d e f g h 2 i j 30 k",
    ]
    items = [item(question, ["k"], ["i", "j"]) for question in questions] + [item(passage=" ".join(LETTERS * 2))]
    texts: list[str | None] = [*questions, "a b c d e f g h k", " ".join(LETTERS * 3), questions[2].replace("30", "31")]
    found = judged(items, texts)
    assert {kind for *_, kind, _ in found} == {"question", "question+answer", "passage"}
    assert found == sorted(scores(index_of(*items), *texts))
    assert array(*texts).null_count == 0
