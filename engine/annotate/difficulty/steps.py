"""Steps of reasoning in a text, counted by marks that solutions and proofs leave."""

import polars as pl

CONNECTIVES = (
    *("therefore", "thus", "hence", "so", "because", "since", "then", "consequently", "accordingly", "implies"),
    *(
        "means that",
        "it follows",
        "we get",
        "we have",
        "we obtain",
        "this gives",
        "which gives",
        "which means",
        "in total",
    ),
)
"""Whole words of a line or sentence that draw one thing from another."""
_SENTENCE_END = r"([.!?]+[)\"'\u{201d}\u{2019}]*)[ \t]+"
_NUMBER = r"(?im)^([ \t]*(?:[-*#>]+[ \t]*)?\(?(?:step[ \t]+)?[0-9]{1,2})\.[ \t]+"
_IMPLIES = r"=|\u{21d2}|\u{27f9}|\u{2234}|\\implies\b|\\Rightarrow\b|\\therefore\b"
_STEP = "|".join(
    (
        r"[ \t]*(?:[-*#>]+[ \t]*)?(?:step|case|part)[ \t]+(?:[0-9]+|[ivx]+|[a-d])\b",
        r"[ \t]*\(?[0-9]{1,2}[.):][ \t]*[^\s0-9]",  # 2. ...; but 2.5 is a number
        rf".*\b(?:{'|'.join(CONNECTIVES)})\b",
        rf".*[^\s=<>!:][ \t]*(?:{_IMPLIES})(?:[^=]|$)",
    )
)
_SEGMENT = rf"(?im)^(?:{_STEP}).*$"


def count_steps(texts: pl.Series) -> pl.Series:
    """Return how many lines and sentences of each text carry a step of reasoning: UInt32, null of null.

    A line, or a sentence within one, is a step where it begins with a number or "Step 2", holds an equation or an
    implication, or one of the connectives (therefore, so, because, ...); however many of these, it is one. The words
    are English, numbers and equations are not bound to a language. In code every assignment counts, so compare texts
    of one kind. Source: our own rule; on the solutions of GSM8K (calculator notes taken out) its rank correlation with
    the number of calculations is tested.
    """
    # The full stop of "2. Add." ends no sentence.
    return texts.str.replace_all(_NUMBER, "${1}) ").str.replace_all(_SENTENCE_END, "${1}\n").str.count_matches(_SEGMENT)
