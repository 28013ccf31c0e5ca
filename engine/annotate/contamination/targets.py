"""What of an item is searched for, and what has to be found before a text counts as holding it.

All in loose words (engine.text.loose). A target is the question or the passage of an item:

question of 13 words or more    the share of its n-grams (13 words from 50 words on, else 8), each weighted by how rare
                                it is in the corpus at hand; and three quarters of its numbers, because the same
                                problem with other numbers is another problem. From 50 words on also one of its last
                                four n-grams, an answer or two choices: what it quotes is no question yet
question of 8 to 12 words       all of it in one run; where the corpus has that run often, its answer or two choices
                                near by as well
shorter question                all of it in one run, and near by an answer with which it has 8 words, or all choices
passage                         the share of its 13-grams; a shorter one, of 5 words at least, all of it in one run

Questions and answers are also searched for without the punctuation inside their words (dont, 350). N-grams of numbers
alone, or of fewer than three different words, say nothing and are left out. A target with fewer different n-grams than
half of its places for them is no target, for what is left of it is no proof. What then cannot be found at all has no
target: `why_not` says why, and the coverage sheet lists it.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.text.loose import split_loose
from engine.text.words import Words, ngram_hashes

SHARE, RUN, RUN_AND_ANSWER = 0, 1, 2
"""Rules: share of n-grams; one whole run; one whole run with its answer or choices near by."""
QUESTION, PASSAGE = "question", "passage"
LONG_WORDS, LONG_NGRAM = 50, 13
SHARE_WORDS, SHARE_NGRAM = 13, 8
RUN_WORDS = 8
SEED_WORDS, MOST_SEED_WORDS = 4, 12
"""A run is looked up by its first words: at least and at most so many."""
PASSAGE_NGRAM, PASSAGE_WORDS = 13, 5
MIN_DIFFERENT_WORDS = 3
NEVER = 1 << 20
"""Choices needed where choices are no evidence."""
REACH_WORDS = 32
"""Words around a question in which its answer and choices are looked for, besides as many as the item has."""
IS_QUESTION, IS_ANSWER, IS_CHOICE, IS_NUMBER = 0, 1, 2, 3
"""What a run of words near a match is."""

NUMBER_WORDS = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half third quarter twice"
)
"""Words that are numbers of a problem as digits are; one is too much else."""
SAYS_NOTHING = "its words are mostly numbers, or the same again and again"

PARTS = {
    "questions": pl.List(pl.String),
    "answers": pl.List(pl.String),
    "choices": pl.List(pl.String),
    "passage": pl.String,
}
"""What of an item is read here: any wording of its question counts, and any of its right answers."""

_LABEL_BEFORE = re.compile(r"^\s*(?:question|q|problem|passage|exercise)\s*\d*\s*[:.]\s*", re.IGNORECASE)
_APOSTROPHES = re.compile(r"(?<=\w)['\u2019](?=\w)")
_INSIDE_WORDS = re.compile(r"(?<=[^\W_])(?:[^\w\s]|_)+(?=[^\W_])")
_LABEL_BEHIND = re.compile(r"\s*(?:answer|a)\s*:\s*$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of words to look for near a match: run r is words[offsets[r]:offsets[r + 1]], of kinds[r]; those of target t
    are of_target[t]:of_target[t + 1]."""

    of_target: NDArray[np.int64]
    kinds: NDArray[np.int64]
    offsets: NDArray[np.int64]
    words: NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Targets:
    """All targets, their n-grams and the runs to look for near them.

    table: TARGETS, one row per target; ngrams: NGRAMS, each once per target, by length, hash and target (start:
    hash of the first SEED_WORDS words; place: where it stands last in the target); why_not: string, why an item
    has no target, null where it has one: one per item.
    """

    table: pl.DataFrame
    ngrams: pl.DataFrame
    runs: Runs
    why_not: pl.Series


TARGETS = {
    "item": pl.UInt32,
    "kind": pl.String,
    "rule": pl.UInt8,
    "num_words": pl.UInt32,
    "ngram_words": pl.UInt8,
    "num_ngrams": pl.UInt32,
    "num_numbers_right": pl.UInt32,
    "needed_choices": pl.UInt32,
    "reach": pl.UInt32,
    "seed_is_question": pl.Boolean,
}
NGRAMS: dict[str, Any] = {
    "ngram_words": pl.UInt8,
    "hash": pl.UInt64,
    "start": pl.UInt64,
    "target": pl.UInt32,
    "place": pl.UInt32,
}


def targets_of(items: pl.DataFrame, min_words: int = PASSAGE_WORDS) -> Targets:
    """Return what is searched for of `items` (PARTS and any other columns).

    min_words: words below which a passage is too common to be searched for, at least SEED_WORDS (else ValueError).
    """
    if min_words < SEED_WORDS:
        raise ValueError(f"min_words: got {min_words}. Needed: at least {SEED_WORDS}.")
    texts = _Texts(items)
    made: list[_Target] = []
    why_not: list[str | None] = []
    for item in range(items.height):
        found, reason = _of_item(item, texts, min_words)
        made += found
        why_not.append(None if found else reason)
    return _assembled(made, texts, pl.Series("why_not", why_not, dtype=pl.String))


@dataclass
class _Target:
    """A target being made. seed: the text its n-grams are of; runs: (kind, text) to look for near a match."""

    item: int
    kind: str
    rule: int
    seed: int
    num_words: int
    ngram_words: int
    needed_choices: int
    runs: list[tuple[int, int]]
    seed_is_question: bool = True
    stands_for: int = -1
    """The question as it stands, by its text, where this is another wording of it."""


class _Texts:
    """The texts of all items, split into words at once: text t has words[offsets[t]:offsets[t + 1]]."""

    def __init__(self, items: pl.DataFrame) -> None:
        texts: list[str] = []

        def number(text: str) -> int:
            texts.append(text)
            return len(texts) - 1

        self.questions: list[list[list[int]]] = []
        """Of each item its questions, of each question its wordings, as it stands first."""
        self.answers: list[list[int]] = []
        self.choices: list[list[int]] = []
        self.passages: list[int | None] = []
        for questions, answers, choices, passage in items.select(list(PARTS)).iter_rows():
            self.questions.append(
                [[number(one) for one in wordings(undressed(question))] for question in questions or []]
            )
            self.answers.append([number(one) for answer in dict.fromkeys(answers or []) for one in wordings(answer)])
            self.choices.append([number(choice) for choice in dict.fromkeys(choices or [])])
            self.passages.append(number(passage) if passage else None)
        array = pa.array(texts, type=pa.large_string())
        self.words = split_loose(array, with_positions=True)
        self.num_words = self.words.num_words.tolist()
        self.is_number = _numbers(array, self.words)
        for of_items in (self.answers, self.choices):
            # What has no words cannot be found, and must not be asked for.
            of_items[:] = [[text for text in of_item if self.num_words[text]] for of_item in of_items]

    def longest(self, texts: list[int]) -> int:
        """Return the text with most words, the first of them."""
        return max(texts, key=lambda text: self.num_words[text])


def wordings(text: str) -> list[str]:
    """Return a text, and where that differs the text without apostrophes, and without any punctuation, inside words."""
    return list(dict.fromkeys((text, _APOSTROPHES.sub("", text), _INSIDE_WORDS.sub("", text))))


def undressed(question: str) -> str:
    """Return a question without the labels that a prompt puts around it (`Question:` before, `Answer:` behind)."""
    return _LABEL_BEHIND.sub("", _LABEL_BEFORE.sub("", question))


def _numbers(texts: pa.Array, words: Words) -> NDArray[np.bool_]:
    """Return which words are ASCII digits alone: bool[all words]."""
    assert words.starts is not None
    assert words.ends is not None
    _, offsets, data = texts.buffers()
    if data is None:
        return np.zeros(0, dtype=np.bool_)
    characters = np.frombuffer(data, dtype=np.uint8)
    digits_before = np.concatenate([[0], np.cumsum((characters >= ord("0")) & (characters <= ord("9")))])
    first = np.repeat(np.frombuffer(offsets, dtype=np.int64)[: len(texts)], words.num_words)
    starts, ends = first + words.starts, first + words.ends
    return np.asarray(digits_before[ends] - digits_before[starts] == ends - starts)


def _of_item(item: int, texts: _Texts, min_words: int) -> tuple[list[_Target], str]:
    """Return the targets of an item, and why it has none if so."""
    found, reason = [], "no question and no passage"
    for as_it_stands, *others in texts.questions[item]:
        targets, reason = _of_question(item, as_it_stands, texts)
        found += targets
        if targets:
            # What cannot be found as it stands is not searched for in other wordings either.
            more = (target for other in others for target in _of_question(item, other, texts)[0])
            found += [replace(target, stands_for=as_it_stands) for target in more]
    passage = texts.passages[item]
    if passage is not None:
        num_words = texts.num_words[passage]
        ngram = min(num_words, PASSAGE_NGRAM)
        if num_words >= min_words:
            rule = SHARE if num_words >= PASSAGE_NGRAM else RUN
            found.append(_Target(item, PASSAGE, rule, passage, num_words, ngram, NEVER, []))
        elif not texts.questions[item]:
            reason = f"a passage of {num_words} words, fewer than {min_words}"
    return found, reason


def _of_question(item: int, question: int, texts: _Texts) -> tuple[list[_Target], str]:
    """Return the targets of one wording of a question, and why it has none if so."""
    num_words, answers, choices = texts.num_words[question], texts.answers[item], texts.choices[item]
    runs = [(IS_ANSWER, text) for text in answers] + [(IS_CHOICE, text) for text in choices]
    if num_words >= SHARE_WORDS:
        ngram = LONG_NGRAM if num_words >= LONG_WORDS else SHARE_NGRAM
        return [_Target(item, QUESTION, SHARE, question, num_words, ngram, NEVER, runs)], ""
    if num_words >= RUN_WORDS:
        return [_Target(item, QUESTION, RUN, question, num_words, num_words, min(2, len(choices)) or NEVER, runs)], ""
    if num_words == 0:
        return [], "a question without words"
    answers = [text for text in answers if num_words + texts.num_words[text] >= RUN_WORDS]
    all_words = num_words + sum(texts.num_words[text] for text in choices)
    needed_choices = len(choices) if len(choices) > 1 and all_words >= RUN_WORDS else NEVER
    if not answers and needed_choices == NEVER:
        return [], f"a question of {num_words} words; {RUN_WORDS} are needed with the answer or all choices"
    runs = [(IS_ANSWER, text) for text in answers] + [(IS_CHOICE, text) for text in choices] + [(IS_QUESTION, question)]
    # A question too short to be looked up is found by way of any answer, or of the longest choice.
    seeds = [question] if num_words >= SEED_WORDS else answers
    if num_words < SEED_WORDS and needed_choices != NEVER:
        seeds = [*seeds, texts.longest(choices)]
    lengths = {seed: min(texts.num_words[seed], MOST_SEED_WORDS) for seed in seeds}
    found = [
        _Target(item, QUESTION, RUN_AND_ANSWER, seed, num_words, length, needed_choices, runs, seed == question)
        for seed, length in lengths.items()
        if length >= SEED_WORDS
    ]
    return found, f"no run of {SEED_WORDS} words in question, answer or choices"


def _assembled(made: list[_Target], texts: _Texts, why_not: pl.Series) -> Targets:
    ngrams = pl.concat([pl.DataFrame(schema=NGRAMS), *_ngrams(made, texts)]).sort("ngram_words", "hash", "target")
    counts = np.bincount(ngrams["target"].to_numpy(), minlength=len(made))
    is_left = np.array(counts >= [_least_ngrams(target) for target in made])
    standing = {target.seed for target, stays in zip(made, is_left.tolist(), strict=True) if stays}
    standing |= {text for target in made for kind, text in target.runs if kind == IS_QUESTION} | {-1}
    is_left &= np.array([target.stands_for in standing for target in made], dtype=np.bool_)
    ngrams = ngrams.filter(pl.Series(is_left[ngrams["target"].to_numpy()], dtype=pl.Boolean))
    spelled = frozenset(split_loose(pa.array([NUMBER_WORDS])).hashes.tolist())
    numbers = [_distinct_numbers(target, texts, spelled) for target in made]
    table = pl.DataFrame(
        {
            "item": [target.item for target in made],
            "kind": [target.kind for target in made],
            "rule": [target.rule for target in made],
            "num_words": [target.num_words for target in made],
            "ngram_words": [target.ngram_words for target in made],
            "num_ngrams": counts,
            "num_numbers_right": [len(distinct) for distinct in numbers],
            "needed_choices": [target.needed_choices for target in made],
            "reach": [_reach(target, texts) for target in made],
            "seed_is_question": [target.seed_is_question for target in made],
        },
        schema=TARGETS,
        strict=False,
    )
    new_number = np.cumsum(is_left) - 1
    ngrams = ngrams.with_columns(target=pl.Series(new_number[ngrams["target"].to_numpy()]).cast(pl.UInt32))
    kept: list[int] = np.flatnonzero(is_left).tolist()
    has_target = pl.Series(np.bincount(table["item"].gather(kept).to_numpy(), minlength=len(why_not)) > 0)
    return Targets(
        table.filter(pl.Series(is_left, dtype=pl.Boolean)),
        ngrams,
        _runs([made[number] for number in kept], [numbers[number] for number in kept], texts),
        pl.select(pl.when(~has_target).then(pl.coalesce(why_not, pl.lit(SAYS_NOTHING))).alias("why_not")).to_series(),
    )


def _least_ngrams(target: _Target) -> int:
    """Return how many different n-grams a target needs: half of those it has places for."""
    return (target.num_words - target.ngram_words + 2) // 2 if target.rule == SHARE else 1


def _ngrams(made: list[_Target], texts: _Texts) -> list[pl.DataFrame]:
    """Return the n-grams of all targets that say something (NGRAMS), a frame per length."""
    seeds = np.array([target.seed for target in made], dtype=np.int64)
    lengths = np.array([target.ngram_words for target in made], dtype=np.int64)
    is_share = np.array([target.rule == SHARE for target in made], dtype=np.bool_)
    start_offsets, starts = ngram_hashes(texts.words, SEED_WORDS)
    frames = []
    for length in np.unique(lengths).tolist():
        offsets, hashes = ngram_hashes(texts.words, length)
        targets = np.flatnonzero(lengths == length)
        begins = offsets[seeds[targets]]
        # A run is known by its first words alone; what follows is looked for near a match.
        counts = np.where(is_share[targets], offsets[seeds[targets] + 1] - begins, 1)
        of_target = np.repeat(targets, counts)
        within = np.arange(len(of_target)) - np.repeat(np.cumsum(counts) - counts, counts)
        places = within + np.repeat(begins, counts)
        start = starts[start_offsets[seeds[of_target]] + within]
        frame = pl.DataFrame({"hash": hashes[places], "start": start, "target": of_target, "place": within})
        first = texts.words.offsets[seeds[of_target]] + within
        frame = frame.filter(pl.Series(_says_something(texts, first, length)))
        frames.append(_unique(frame.with_columns(pl.lit(length).alias("ngram_words"))))
    return frames


def _unique(frame: pl.DataFrame) -> pl.DataFrame:
    """Return each n-gram of a target once (NGRAMS), at the last place where it stands."""
    last = frame.group_by("ngram_words", "hash", "start", "target").agg(pl.col("place").max())
    return last.select(list(NGRAMS)).cast(NGRAMS)  # type: ignore[arg-type]


def _says_something(texts: _Texts, first: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    """Return which n-grams have a word besides numbers, and several different words; first: their first words."""
    numbers_before = np.concatenate([[0], np.cumsum(texts.is_number)])
    has_letters = numbers_before[first + length] - numbers_before[first] < length
    # Different words are counted as far as it matters: the first, the first unlike it, the first unlike both.
    one = texts.words.hashes[first]
    other, num_different = one.copy(), np.ones(len(first), dtype=np.int64)
    for place in range(1, length):
        word = texts.words.hashes[first + place]
        is_new = (word != one) & ((word != other) | (num_different == 1))
        other = np.where(is_new & (num_different == 1), word, other)
        num_different += is_new
    return np.asarray(has_letters & (num_different >= MIN_DIFFERENT_WORDS))


def _distinct_numbers(target: _Target, texts: _Texts, spelled: frozenset[int]) -> list[int]:
    if target.rule != SHARE or target.kind != QUESTION:
        return []
    first, last = texts.words.offsets[target.seed : target.seed + 2]
    words = texts.words.hashes[first:last]
    return sorted({*words[texts.is_number[first:last]].tolist(), *spelled.intersection(words.tolist())})


def _reach(target: _Target, texts: _Texts) -> int:
    return target.num_words + sum(texts.num_words[text] for _, text in target.runs) + REACH_WORDS


def _runs(made: list[_Target], numbers: list[list[int]], texts: _Texts) -> Runs:
    kinds: list[int] = []
    of_target, words = [0], [np.empty(0, dtype=np.uint64)]
    for target, distinct in zip(made, numbers, strict=True):
        for kind, text in target.runs:
            kinds.append(kind)
            words.append(texts.words.hashes[texts.words.offsets[text] : texts.words.offsets[text + 1]])
        kinds += [IS_NUMBER] * len(distinct)
        words += [np.array([number], dtype=np.uint64) for number in distinct]
        of_target.append(len(kinds))
    offsets = np.cumsum([len(run) for run in words])
    return Runs(np.array(of_target), np.array(kinds, dtype=np.int64), offsets, np.concatenate(words))
