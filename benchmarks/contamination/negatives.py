"""Hard negatives: documents that resemble items and hold none of them, in groups, each with what is indexed for it.

A group is a list of (name, text). What is flagged is read by hand: shared data may hold true copies.
"""

import csv
import io
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.contamination.frames import FRAMES, OTHER_INSTRUCTIONS, PUBLIC_TEXTS
from benchmarks.contamination.renamed import renamed_problems
from benchmarks.contamination.world import FOREIGN, Texts, all_items, seeded, shared_corpora
from benchmarks.near_dup.corpora import DATA, LICENCES

INSTRUCTIONS = DATA / "instructions"
FRAGMENT_WORDS = 10


@dataclass(frozen=True)
class Group:
    """Documents of one sort. benchmarks: what is indexed, None for all; has_bar: whether its flags count as false."""

    name: str
    make: Callable[[], Texts]
    benchmarks: tuple[str, ...] | None = None
    has_bar: bool = True


def _rows(path: str) -> Iterator[dict[str, object]]:
    file = INSTRUCTIONS / path
    text = file.read_text("utf-8")
    yield from json.loads(text) if file.suffix == ".json" else map(json.loads, text.splitlines())


def instructions() -> Texts:
    """Every instruction file as training text: Alpaca's template, Vicuna's turns, plain pairs."""
    made: Texts = []
    for path in sorted(INSTRUCTIONS.rglob("*.json*")):
        where = str(path.relative_to(INSTRUCTIONS))
        for number, row in enumerate(_rows(where)):
            made.append((f"{where}#{number}", _as_training_text(row)))
    return [(name, text) for name, text in made if text.strip()]


def _as_training_text(row: dict[str, object]) -> str:
    if "instruction" in row:
        instances = row.get("instances") or [row]
        first = instances[0] if isinstance(instances, list) else row
        answer = first.get("output") or first.get("response") or ""
        given = f"\n\n### Input:\n{first['input']}" if first.get("input") else ""
        return f"{ALPACA}\n\n### Instruction:\n{row['instruction']}{given}\n\n### Response:\n{answer}"
    if "conversations" in row:
        turns = [f"{turn['from'].upper()}: {turn['value']}" for turn in row["conversations"]]  # type: ignore[attr-defined]
        return "\n".join([VICUNA, *turns])
    if "prompt" in row and isinstance(row["prompt"], str):
        return f"{row['prompt']}{row.get('completion', '')}"
    return "\n".join(_texts_in(row))


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for inner in value.values():
            if isinstance(inner, dict | list):
                yield from _texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts_in(inner)


ALPACA = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


def templates() -> Texts:
    """Instruction frames, those of benchmarks among them, filled with sentences of the shared corpora."""
    sentences = _sentences()
    made: Texts = []
    for number, frame in enumerate(FRAMES):
        for copy in range(40):
            draw = random.Random(seeded("template", number, copy))
            fills = [draw.choice(sentences) for _ in range(frame.count("{}"))]
            text = frame.format(*fills)
            made.append((f"frame {number}/{copy}", f"{text}\nAnswer: ({draw.choice('ABCD')})"))
    for copy in range(1_000):
        draw = random.Random(seeded("alpaca", copy))
        head, instruction = draw.choice((ALPACA, VICUNA)), draw.choice(OTHER_INSTRUCTIONS)
        body = f"### Instruction:\n{instruction}\n\n### Input:\n{draw.choice(sentences)}"
        made.append((f"alpaca frame {copy}", f"{head}\n\n{body}\n\n### Response:\n{draw.choice(sentences)}"))
    return made


def _sentences() -> list[str]:
    found: list[str] = []
    for corpus in ("enwiki", "wikitext-2", "gutenberg"):
        for _, text in shared_corpora()[corpus][:600]:
            found += re.findall(r"[A-Z][^.?!\n]{30,180}[.?!]", text)[:8]
    return found


def quotes() -> Texts:
    """Passages of public texts as they stand on many pages: Bible, Shakespeare, novels, speeches, famous texts."""
    corpora = shared_corpora()
    made = [pair for name in ("bible", "tinyshakespeare", "gutenberg") for pair in corpora[name]]
    made += [pair for pair in corpora["nltk"] if "inaugural" in pair[0] or "state_union" in pair[0]]
    return made + [(f"famous {number}", text) for number, text in enumerate(PUBLIC_TEXTS)]


def quoted_by_items() -> Texts:
    """The public texts that items quote, with where they are from, without what the item asks."""
    made: Texts = []
    for row in all_items().filter(all_items()["benchmark"] == "mmlu_dev").iter_rows(named=True):
        question = row["question"] or ""
        if question.startswith("This question refers to the following information."):
            lines = question.split("\n")
            made.append((f"quoted by {row['item']}", "From the sources:\n\n" + "\n".join(lines[1:-1])))
    return made


def quotes_in_questions() -> Texts:
    """What stands in quotation marks in a question (6 words or more), in a sentence of its own."""
    made: Texts = []
    for row in all_items().iter_rows(named=True):
        for number, quote in enumerate(
            re.findall(r"[\"\u201c]([^\"\u201c\u201d]{30,400})[\"\u201d]", row["question"] or "")
        ):
            if len(quote.split()) >= 6 and len(quote) < len(row["question"]) // 2:
                made.append(
                    (f"quote in {row['benchmark']} {row['item']} {number}", f'He once said: "{quote}" And left.')
                )
    return made


def legal() -> Texts:
    """Licence texts and German law."""
    made = [(path.name, path.read_text("utf-8").split("\n---\n", 1)[-1]) for path in sorted(LICENCES.glob("*.RULE"))]
    folder = DATA / "groundtruth" / "choosealicense"
    made += [(path.name, path.read_text("utf-8")) for path in sorted(folder.rglob("*.txt"))]
    return made + shared_corpora()["gesetze"]


def numbers() -> Texts:
    """Lists of numbers and tables, as CSV, as Markdown, as Python lists, as worked sums."""
    made: Texts = []
    for number in range(1_000):
        draw = random.Random(seeded("numbers", number))
        rows = [[draw.randint(0, 10 ** draw.randint(1, 4)) for _ in range(6)] for _ in range(30)]
        count = [list(range(start, start + 10)) for start in range(draw.randint(0, 3), 300, 10)]
        table = draw.choice((rows, count, [[a * b for b in range(1, 13)] for a in range(1, 13)]))
        made.append((f"numbers {number}", draw.choice(_SHEETS)(table)))
    return made


def _as_csv(table: list[list[int]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(table)
    return out.getvalue()


def _as_sums(table: list[list[int]]) -> str:
    return "\n".join(f"{a} + {b} = <<{a}+{b}={a + b}>>{a + b}" for a, b, *_ in table)


_SHEETS: tuple[Callable[[list[list[int]]], str], ...] = (
    _as_csv,
    _as_sums,
    lambda table: "\n".join("| " + " | ".join(map(str, row)) + " |" for row in table),
    lambda table: "\n".join(f"values = {row}" for row in table),
)


def code() -> Texts:
    """Algorithms in Python: the functions that HumanEval and MBPP ask for, in other words."""
    return shared_corpora()["python-code"]


def family(*benchmarks: str) -> Callable[[], Texts]:
    """Return a maker of documents of the items of some benchmarks, whole, as they are trained on."""

    def make() -> Texts:
        rows = all_items().filter(all_items()["benchmark"].is_in(list(benchmarks))).iter_rows(named=True)
        made: Texts = []
        for row in rows:
            parts = (row["passage"], row["question"], *row["choices"], row["answer"])
            made.append((f"{row['benchmark']}/{row['item']}", "\n".join(part for part in parts if part)))
        return made

    return make


def dealt() -> Texts:
    """All items, cut to runs of ten words and dealt anew; no run holds more than half of a question."""
    made: Texts = []
    for (benchmark,), rows in all_items().group_by("benchmark", maintain_order=True):
        pieces: list[str] = []
        for row in rows.head(2_000).iter_rows(named=True):
            words = " ".join(filter(None, (row["passage"], row["question"], *row["choices"], row["answer"]))).split()
            length = max(min(FRAGMENT_WORDS, len((row["question"] or "").split()) // 2), 2)
            pieces += [" ".join(words[at : at + length]) for at in range(0, len(words), length)]
        random.Random(seeded("dealt", benchmark)).shuffle(pieces)
        for number, begin in enumerate(range(0, len(pieces), 8)):
            made.append((f"dealt {benchmark} {number}", " ".join(pieces[begin : begin + 8])))
    return made


def foreign() -> Texts:
    """Wikipedia and German law."""
    return [pair for name in FOREIGN for pair in shared_corpora()[name]]


def other_prose() -> Texts:
    """The other shared corpora: manuals, proposals, medical answers, web text, short command pages."""
    used = (*FOREIGN, "bible", "tinyshakespeare", "gutenberg", "python-code")
    return [
        pair
        for name, documents in shared_corpora().items()
        if name not in used
        for pair in documents
        if "inaugural" not in pair[0] and "state_union" not in pair[0]
    ]


ALL_BUT_BOOLQ = (
    *("gsm8k_test", "gsm8k_train", "HumanEval", "copa", "openbook_qa", "piqa", "lambada_openai", "winogrande"),
    *("arc_challenge", "arc_easy", "mbpp", "mmlu_dev", "mt_bench", "TruthfulQA"),
)
GROUPS = (
    Group("Wikipedia and German law, all but BoolQ indexed", foreign, ALL_BUT_BOOLQ),
    Group("instruction files", instructions),
    Group("instruction templates, other content", templates),
    Group("public texts", quotes),
    Group("public texts that items quote, without the question", quoted_by_items),
    Group("quotations in questions, alone", quotes_in_questions),
    Group("licences and law", legal),
    Group("number lists and tables", numbers),
    Group("Python code", code),
    Group("GSM8K train, test indexed", family("gsm8k_train"), ("gsm8k_test",)),
    Group("ARC easy, challenge indexed", family("arc_easy"), ("arc_challenge",)),
    Group("ARC challenge, easy indexed", family("arc_challenge"), ("arc_easy",)),
    Group("MBPP, HumanEval indexed", family("mbpp"), ("HumanEval",)),
    Group("HumanEval, MBPP indexed", family("HumanEval"), ("mbpp",)),
    Group("same problem, one name or number changed", renamed_problems("one"), None, has_bar=False),
    Group("same problem, half changed", renamed_problems("half"), None, has_bar=False),
    Group("same problem, all names and numbers changed", renamed_problems("all"), None),
    Group("items cut to fragments and dealt anew", dealt),
    Group("manuals, proposals, medicine, chat", other_prose),
)
