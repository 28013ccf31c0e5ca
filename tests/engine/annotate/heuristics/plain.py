"""The measures of heuristics in plain Python, written from their definitions."""

import re
from collections import Counter
from collections.abc import Sequence

from engine.annotate.heuristics.counts import STOP_WORDS
from engine.annotate.heuristics.kinds import BULLETS, CLOSERS, PUNCTUATION, STOPS, TERMINALS, WIDE_STOPS
from tests.engine.text.test_words import reference_words

POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
BOUNDARY = re.compile(
    f"[{re.escape(STOPS)}][{re.escape(CLOSERS)}]*\\s+(?=[^\\sa-z{re.escape(STOPS + WIDE_STOPS)}])"
    f"|[{WIDE_STOPS}][{re.escape(CLOSERS)}]*\\s*(?=[^\\s{re.escape(STOPS + WIDE_STOPS + CLOSERS)}])"
    f"|[{WIDE_STOPS}][{re.escape(CLOSERS)}]*\\s+(?=[{re.escape(CLOSERS)}])"
)


def fraction(part: int, whole: int) -> float | None:
    """part / whole rounded down to 1e-4."""
    return part * 10_000 // whole / 10_000 if whole else None


def lower(text: str) -> str:
    """ASCII letters in lower case."""
    return re.sub("[A-Z]", lambda found: found[0].lower(), text)


def repeated(items: Sequence[object]) -> list[int]:
    """Places of the items that stood before."""
    return [place for place, item in enumerate(items) if item in items[:place]]


def num_sentences(line: str) -> int:
    """Boundaries inside the line, and its end."""
    return len(BOUNDARY.findall(line)) + 1


def c4_keeps(line: str) -> bool:
    """The rules of C4 for lines."""
    runs = line.split()
    return (
        line.endswith(tuple(TERMINALS))
        and not line.endswith("...")
        and len(runs) >= 5
        and max(map(len, runs)) <= 1000
        and not any(phrase in lower(line) for phrase in ("javascript", *POLICIES))
    )


def measures(text: str) -> dict[str, float | int | None]:
    """All columns, without the prefix."""
    return _of_runs(text) | _of_lines(text) | _of_words([word for word, _, _ in reference_words(text)], text)


def _of_runs(text: str) -> dict[str, float | int | None]:
    runs = text.split()
    hashes, ellipses = text.count("#"), len(re.findall(r"\.{3}|\u2026", text))
    letters = [any(c.isalpha() or (ord(c) > 127 and reference_words(c)) for c in run) for run in runs]
    return {
        "num_chars": len(text),
        "num_runs": len(runs),
        "mean_word_chars": fraction(sum(map(len, runs)), len(runs)),
        "longest_word_chars": max(map(len, runs), default=0),
        "alpha_word_fraction": fraction(sum(letters), len(runs)),
        "symbol_fraction": fraction(hashes + ellipses, len(runs)),
        "hash_fraction": fraction(hashes, len(runs)),
        "ellipsis_fraction": fraction(ellipses, len(runs)),
        "digit_fraction": fraction(len(re.findall("[0-9]", text)), len(text)),
        "num_lorem_ipsum": lower(text).count("lorem ipsum"),
        "num_curly_brackets": text.count("{"),
    }


def _of_lines(text: str) -> dict[str, float | int | None]:
    blocks = [[line.strip() for line in block] for block in _blocks(text.split("\n"))]
    lines = [line for block in blocks for line in block]
    chars = sum(map(len, lines))

    def share(of: list[bool]) -> float | None:
        return fraction(sum(of), len(lines))

    return {
        "num_lines": len(lines),
        "num_paragraphs": len(blocks),
        "num_sentences": sum(map(num_sentences, lines)),
        "bullet_line_fraction": share([line[0] in BULLETS for line in lines]),
        "ellipsis_line_fraction": share([line.endswith(("...", "\u2026")) for line in lines]),
        "terminal_line_fraction": share([line[-1] in TERMINALS for line in lines]),
        "punctuation_line_fraction": share([line[-1] in PUNCTUATION for line in lines]),
        "line_under_3_words_fraction": share([len(line.split()) < 3 for line in lines]),
        "line_under_5_words_fraction": share([len(line.split()) < 5 for line in lines]),
        "line_under_30_chars_fraction": share([len(line) < 30 for line in lines]),
        "javascript_line_fraction": share(["javascript" in lower(line) for line in lines]),
        "policy_line_fraction": share([any(phrase in lower(line) for phrase in POLICIES) for line in lines]),
        "c4_line_fraction": share([c4_keeps(line) for line in lines]),
        "num_c4_sentences": sum(num_sentences(line) for line in lines if c4_keeps(line)),
        "duplicate_line_fraction": fraction(len(repeated(lines)), len(lines)),
        "duplicate_line_char_fraction": fraction(sum(len(lines[place]) for place in repeated(lines)), chars),
        "duplicate_paragraph_fraction": fraction(len(repeated(blocks)), len(blocks)),
        "duplicate_paragraph_char_fraction": fraction(
            sum(len(line) for place in repeated(blocks) for line in blocks[place]), chars
        ),
    }


def _blocks(lines: list[str]) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line)
        else:
            blocks.append([])
    return [block for block in blocks if block]


def _of_words(words: list[str], text: str) -> dict[str, float | int | None]:
    chars = sum(map(len, words))
    found: dict[str, float | int | None] = {
        "num_words": len(words),
        "num_stop_words": len(set(words) & set(STOP_WORDS)),
        "newline_fraction": fraction(text.count("\n"), len(words)),
    }
    for n in range(2, 11):
        ngrams = [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]
        counted = Counter(ngrams)
        again = repeated(ngrams)
        if n == 2:
            found["top_2gram_fraction"] = fraction(max(counted.values(), default=0), len(ngrams))
        if n == 5:
            found["duplicate_5gram_fraction"] = fraction(len(again), len(ngrams))
        if n < 5:
            most = max(counted.values(), default=0)
            longest = max((sum(map(len, ngram)) for ngram in counted if counted[ngram] == most), default=0)
            found[f"top_{n}gram_char_fraction"] = fraction(most * longest if most > 1 else 0, chars)
        else:
            covered = {place + offset for place in again for offset in range(n)}
            within = sum(len(words[place]) for place in covered)
            found[f"duplicate_{n}gram_char_fraction"] = fraction(within, chars)
    return found
