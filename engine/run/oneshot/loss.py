"""The removal guard of the one-shot verbs: it warns where most of the documents go, and stops nothing."""

from fractions import Fraction

from engine.base.errors import problem
from engine.base.progress import say
from engine.recipe import GuardConfig


def warned_of_loss(num_lost: int, num_documents: int, table: str) -> list[str]:
    """Return the warning, said on stderr too, where more go than a recipe allows a source to lose; else nothing.

    table: the file that says which documents, and why.
    """
    limit = GuardConfig().max_source_loss
    if not num_documents or Fraction(num_lost, num_documents) <= Fraction(str(limit)):
        return []
    found = f"{num_lost:,} of {num_documents:,} documents go"
    warning = problem("removal guard", found, f"a loss of at most {limit:.0%}", f"look at some of them in {table}")
    say(f"warning: {warning}")
    return [warning]
