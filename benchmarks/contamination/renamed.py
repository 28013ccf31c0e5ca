"""The same problem with other names and numbers: items of GSM8K with one, half or all of them replaced."""

import random
import re
from collections import Counter
from collections.abc import Callable
from functools import cache

from benchmarks.contamination.world import Texts, all_items, seeded

NAMES = (
    *("Anouk", "Baptiste", "Chiara", "Dmitri", "Eszter", "Fatoumata", "Giacomo", "Hanneke", "Ignacio", "Jadwiga"),
    *("Kenzo", "Lorcan", "Matyas", "Nanami", "Oluwaseun", "Priyanka", "Quirin", "Ragnhild", "Svetlana", "Tariq"),
)
SPELLED: tuple[str, ...] = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
SPELLED += ("thirteen", "fifteen", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
MIN_CHANGES = 3
_PARTS_AND_GAPS = re.compile(r"\d[\d,]*(?:\.\d+)?|\b[A-Za-z]+\b|[\s\S]")
_PART = re.compile(r"\d[\d,]*(?:\.\d+)?|\b[A-Za-z]+\b")


def renamed_problems(how: str) -> Callable[[], Texts]:
    """Return a maker of problems with `one`, `half` or `all` of their different names and numbers changed."""

    def make() -> Texts:
        names, made = _names(), []
        rows = all_items().filter(all_items()["benchmark"].is_in(["gsm8k_test", "gsm8k_train"]))
        for row in rows.iter_rows(named=True):
            draw = random.Random(seeded("renamed", row["benchmark"], row["item"]))
            asked = dict.fromkeys(part for part in _PART.findall(row["question"]) if _can_change(part, names))
            parts = list(asked)
            if len(parts) < MIN_CHANGES:
                continue
            changed = parts if how == "all" else draw.sample(parts, 1 if how == "one" else (len(parts) + 1) // 2)
            others = draw.sample(NAMES, len(NAMES))
            to = {part: _other(part, others, place, draw) for place, part in enumerate(changed)}
            text = f"{row['question']}\n{row['answer']}"
            renamed = "".join(to.get(part, part) for part in _PARTS_AND_GAPS.findall(text))
            made.append((f"{row['benchmark']}/{row['item']}", renamed))
        return made

    return make


@cache
def _names() -> frozenset[str]:
    """Return the words that stand with a capital in the middle of sentences, and never without."""
    questions = all_items().filter(all_items()["benchmark"].is_in(["gsm8k_test", "gsm8k_train"]))["question"]
    capital: Counter[str] = Counter()
    small: set[str] = set()
    for question in questions:
        capital.update(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", question))
        small.update(re.findall(r"\b[a-z]+\b", question))
    return frozenset(name for name in capital if name.lower() not in small)


def _can_change(part: str, names: frozenset[str]) -> bool:
    return part[0].isdigit() or part in names or part.lower() in SPELLED


def _other(part: str, others: list[str], place: int, draw: random.Random) -> str:
    if part.lower() in SPELLED:
        return draw.choice([word for word in SPELLED if word != part.lower()])
    if not part[0].isdigit():
        return others[place % len(others)]
    while True:
        digits = re.sub(r"\d", lambda _: str(draw.randint(1, 9)), part)
        if digits != part:
            return digits
