"""How well the target tokenizer fits each domain, and the words it breaks into most pieces."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.formats.parquet import read_parquet
from engine.report.evidence import Evidence
from engine.report.table import Table, table
from engine.report.wording import MISSING, count, decimal

NUM_WORDS = 12
_FIT, _SHATTERED = "fit.parquet", "shattered.parquet"


@dataclass(frozen=True)
class TokenizerFit:
    """What one instance of the tokens stage left."""

    prefix: str
    tokenizer: str
    """The tokenizer as the recipe names it, without its folder."""
    groups: pl.DataFrame
    """fit.parquet, most tokens over the general text first."""
    words: pl.DataFrame
    """shattered.parquet; in each group the words that cost most first."""


def tokenizer_fit(evidence: Evidence) -> list[TokenizerFit]:
    """Return the fit of every tokens stage of the recipe; empty where there is none or no document has text."""
    found = []
    for annotation in evidence.instances("tokens"):
        folder = evidence.artifact(annotation.prefix)
        if folder is None or not all((folder / name).is_file() for name in (_FIT, _SHATTERED)):
            continue
        groups = read_parquet(folder / _FIT).sort(
            ["tokens_over_general", "tokens", "source", "domain"],
            descending=[True, True, False, False],
            nulls_last=True,
        )
        if groups.height:
            receipt = evidence.receipt(annotation.prefix)
            name = Path(str(receipt.config["tokenizer"])).name if receipt is not None else MISSING
            found.append(TokenizerFit(annotation.prefix, name, groups, read_parquet(folder / _SHATTERED)))
    return found


def fit_tables(numbers: TokenizerFit) -> list[Table]:
    """Return the groups, and the words that shatter in each, where there are any."""
    tables = [_groups(numbers)]
    words = _words(numbers)
    return [*tables, words] if words.rows else tables


def _groups(numbers: TokenizerFit) -> Table:
    rows = []
    for row in numbers.groups.iter_rows(named=True):
        ratio, over = row["ratio_per_byte"], row["tokens_over_general"]
        rows.append([
            row["source"] + (" (general)" if row["is_general"] else ""),
            row["domain"] or "unknown",
            count(row["documents"]),
            count(row["tokens"]),
            decimal(row["tokens_per_word"]),
            decimal(row["bytes_per_token"]),
            decimal(ratio, 3),
            count(over),
        ])  # fmt: skip
    headings = ["source", "domain", "documents", "tokens", "tokens/word", "bytes/token", "per byte to general"]
    caption = f"Tokens under {numbers.tokenizer} ({numbers.prefix})"
    return table([*headings, "tokens over general"], rows, 2, caption)


def _words(numbers: TokenizerFit) -> Table:
    rows = []
    for (source, domain), words in numbers.words.group_by("source", "domain", maintain_order=True):
        named = [
            f"{word} {pieces:.1f}"
            for word, pieces in words.head(NUM_WORDS).select("word", "pieces_per_occurrence").iter_rows()
        ]
        rows.append([str(source), str(domain or "unknown"), ", ".join(named), count(int(words["extra_tokens"].sum()))])
    headings = ["source", "domain", "words that cost most, pieces each", "extra tokens of all listed"]
    return table(headings, rows, 3, "Words that shatter, in a sample of the texts")
