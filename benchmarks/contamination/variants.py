"""What copying and re-formatting make of an item: each variant is a function of its parts and a number."""

import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WORDS_PER_LINE = 8
NO_BREAK, ZERO_WIDTH, SOFT_HYPHEN = "\u00a0", "\u200b", "\u00ad"
CODE = ("HumanEval", "mbpp")
MATHS = ("gsm8k_test", "gsm8k_train", "mmlu_dev")
BLANKS = ("winogrande",)


@dataclass(frozen=True)
class Parts:
    """An item as its authors wrote it."""

    benchmark: str
    passage: str
    question: str
    choices: tuple[str, ...]
    gold: int | None
    answer: str
    blank: int | None

    def whole(self) -> str:
        """Return all of it, one part after the other."""
        parts = (self.passage, self.question, *self.choices, self.answer)
        return "\n".join(part for part in parts if part)


Variant = Callable[[Parts, int], str]


def _of_text(change: Callable[[str], str]) -> Variant:
    return lambda parts, _number: change(parts.whole())


def rewrapped(text: str) -> str:
    """Return the text in lines of eight words."""
    words = text.split()
    return "\n".join(" ".join(words[at : at + WORDS_PER_LINE]) for at in range(0, len(words), WORDS_PER_LINE))


def unpunctuated(text: str) -> str:
    """Return the text without punctuation; a space stays where it stood inside a word."""
    return re.sub(r"[ \t]+", " ", re.sub(r"[^\w\s]|_", " ", text))


def squeezed(text: str) -> str:
    """Return the text without punctuation as SQuAD's scorer strips it: don't becomes dont."""
    return re.sub(r"[^\w\s]|_", "", text)


def without_apostrophes(text: str) -> str:
    """Return the text with dont for don't."""
    return re.sub(r"(?<=\w)['\u2019](?=\w)", "", text)


def plain_html(text: str) -> str:
    """Return the text as simple HTML: paragraphs and entities, nothing inside the lines."""
    return "\n".join(f"<p>{html.escape(line)}</p>" for line in text.split("\n") if line.strip())


_OTHER_MARKS = {ord(mark): other for mark, other in {".": ";", ",": " -", "?": "...", ":": " =", "!": "?"}.items()}


def repunctuated(text: str) -> str:
    """Return the text with other marks in place of its own, and some more."""
    changed = text.translate(_OTHER_MARKS)
    return re.sub(r"(\w+ \w+ \w+ \w+ \w+) ", r"\1, ", changed)


def typographic(text: str) -> str:
    """Return the text with curly quotes, long dashes and one character for an ellipsis."""
    text = re.sub(r'(^|[\s(])"', "\\1\u201c", text).replace('"', "\u201d")
    text = re.sub(r"(^|[\s(])'", "\\1\u2018", text).replace("'", "\u2019")
    return text.replace(" - ", " \u2014 ").replace("--", "\u2014").replace("-", "\u2010").replace("...", "\u2026")


def invisible(text: str) -> str:
    """Return the text with no-break spaces, and zero-width spaces or soft hyphens inside long words."""
    spaced = re.sub(r"(\w) (\w)", f"\\1{NO_BREAK}\\2", text)
    words = re.sub(r"\b(\w{3})(\w{4,})", f"\\1{ZERO_WIDTH}\\2", spaced)
    return re.sub(r"(\w{2})(ing|ed|er)\b", f"\\1{SOFT_HYPHEN}\\2", words)


def markdown(text: str) -> str:
    """Return the text as Markdown: list markers, bold and slanted words, a quotation."""
    lines = []
    for number, line in enumerate(text.split("\n")):
        words = line.split(" ")
        for place, word in enumerate(words):
            if word.isalnum() and place % 4 == 1:
                words[place] = f"**{word}**"
            elif word.isalnum() and place % 7 == 3:
                words[place] = f"*{word}*"
        lines.append(("- ", "> ", "### ")[number % 3] + " ".join(words) if line.strip() else line)
    return "\n\n".join(lines)


def as_html(text: str) -> str:
    """Return the text as HTML: paragraphs, line breaks, bold words, entities."""
    lines = []
    for line in text.split("\n"):
        words = html.escape(line).replace("&#x27;", "&#39;").split(" ")
        for place, word in enumerate(words):
            if word.isalnum() and place % 5 == 2:
                words[place] = f'<b class="x{place}">{word}</b>' if place % 2 else f"<em>{word}</em>"
        joined = " ".join(words)
        lines.append("<p>" + re.sub(r"(\w) (\w+) (\w)", r"\1&nbsp;\2 \3", joined).replace(". ", ".<br />") + "</p>")
    return "\n".join(lines)


def latex(text: str) -> str:
    """Return the text as LaTeX sets it: numbers in maths, ties and thin spaces, escaped signs."""
    text = text.replace("%", r"\%").replace("&", r"\&").replace("$", r"\$").replace("_", r"\_").replace("#", r"\#")
    text = re.sub(r"(?<=\d),(?=\d{3})", "{,}", text)
    text = re.sub(r"(?<![\w.{}])(\d[\d.{},]*\d|\d)(?![\w}])", r"$\1$", text)
    text = re.sub(r" ?([*+=/]) ?", r"\\,\1\\;", text)
    return re.sub(r"(\w) (\w+) (\w+) (\w)", r"\1~\2 \3\\ \4", text)


def commented(text: str) -> str:
    """Return code with tabs for four spaces, comment lines before statements and comments behind definitions."""
    lines, in_string = [], False
    for number, line in enumerate(text.replace("\r", "").split("\n")):
        indent = line[: len(line) - len(line.lstrip())]
        is_code = bool(re.match(r"\s*(def|for|while|if|return|import|from|class|else|elif)\b.*", line))
        if number and is_code and not in_string:
            lines.append(f"{indent}# step {number}: keep this simple")
        is_noted = is_code and not in_string and line.lstrip().startswith(("def", "for"))
        if line.count('"""') % 2 or line.count("'''") % 2:
            in_string = not in_string
        lines.append(f"{line}  # see the notes above" if is_noted else line)
    return "\n".join(lines).replace("    ", "\t")


def indented(text: str) -> str:
    """Return the text as it stands in a block of code or a quotation: each line two tabs in, line ends of Windows."""
    return "\r\n".join("\t\t" + line.replace("    ", "\t") for line in text.split("\n"))


def labelled(parts: Parts, number: int) -> str:
    """Return the item as a multiple choice in another order, the letter of the right one behind it."""
    turn = 1 + number % max(len(parts.choices) - 1, 1)
    order = [*range(len(parts.choices))][turn:] + [*range(len(parts.choices))][:turn]
    lines = [f"({chr(65 + place % 26)}) {parts.choices[choice]}" for place, choice in enumerate(order)]
    letter = chr(65 + order.index(parts.gold) % 26) if parts.gold is not None else ""
    return "\n".join([parts.passage, f"Question: {parts.question}", *lines, f"Answer: ({letter})"]).strip()


def filled_in(parts: Parts, _number: int) -> str:
    """Return a sentence with the right choice in its blank, and nothing else."""
    blank, gold = parts.blank or 0, parts.gold or 0
    return parts.question[:blank] + parts.choices[gold] + parts.question[blank + 1 :]


def _applies(benchmarks: Sequence[str]) -> Callable[[Parts], bool]:
    return lambda parts: parts.benchmark in benchmarks


def _always(_parts: Parts) -> bool:
    return True


def _is_prose(parts: Parts) -> bool:
    return parts.benchmark not in CODE


def _has_choices(parts: Parts) -> bool:
    return len(parts.choices) > 1 and parts.gold is not None


@dataclass(frozen=True)
class Kind:
    """A variant: for which items it is made, whether a bar is on it, and how many items at most (0: all)."""

    name: str
    make: Variant
    is_for: Callable[[Parts], bool] = _always
    has_bar: bool = True
    at_most: int = 0
    host_chars: int = 1_500


VARIANTS = (
    Kind("verbatim", _of_text(str)),
    Kind("lines of 8 words", _of_text(rewrapped)),
    Kind("upper case", _of_text(str.upper)),
    Kind("title case", _of_text(str.title)),
    Kind("punctuation taken out", _of_text(unpunctuated)),
    Kind("other punctuation", _of_text(repunctuated)),
    Kind("Unicode quotes and dashes", _of_text(typographic)),
    Kind("NBSP and zero-width", _of_text(invisible)),
    Kind("Markdown", _of_text(markdown)),
    Kind("HTML, paragraphs and entities", _of_text(plain_html)),
    Kind("HTML, bold words and NBSP too", _of_text(as_html)),
    Kind("LaTeX spacing", _of_text(latex), _applies(MATHS)),
    Kind("indented", _of_text(indented)),
    Kind("code with comments", _of_text(commented), _applies(CODE)),
    Kind("options in another order, labelled", labelled, _has_choices),
    Kind("blank filled in", filled_in, _applies(BLANKS)),
    Kind("JSON-escaped", _of_text(lambda text: json.dumps(text, ensure_ascii=False)[1:-1])),
    Kind("JSON-escaped, ASCII", _of_text(lambda text: json.dumps(typographic(text))[1:-1])),
    Kind("in a document of 1 MB", _of_text(str), at_most=500, host_chars=1_000_000),
    Kind("apostrophes inside words taken out", _of_text(without_apostrophes), has_bar=False),
    Kind("punctuation taken out as SQuAD's scorer does", _of_text(squeezed), _is_prose, has_bar=False),
    Kind("question alone", lambda parts, _number: parts.question, has_bar=False),
)
