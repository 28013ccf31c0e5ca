"""The verb `sample`: documents to read by hand, in the terminal, asked about one by one, or as a page.

Here, above its parts: engine.run.sample chooses the documents and asks, engine.report.sample_page writes the page.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.base.atomic import atomic_file
from engine.base.errors import RecipeError, problem
from engine.report.sample_page import render
from engine.run.sample import TEXT_CHARS, draw_sample
from engine.run.sample.ask import ask_labels
from engine.run.sample.show import AS_READ

PAGE_CHARS = 20_000
"""Characters of a text the page shows at most."""


def sample(
    workspace: Path | str,
    recipe: str | None = None,
    documents: int = 50,
    seed: int = 1,
    reason: str | None = None,
    source: str | None = None,
    by: str | None = None,
    column: Sequence[str] = (),
    html: Path | str | None = None,
    label: bool = False,
) -> dict[str, Any]:
    """Return documents to read by hand, kept ones beside dropped ones (engine.run.sample says how they are chosen).

    Args:
        workspace: Folder of all artifacts.
        recipe: Name of the recipe whose decisions to sample; default: the one that finished last.
        documents: How many; fewer where there are fewer.
        seed: Another seed, other documents.
        reason: Only documents dropped or tagged for this reason (or held out for this set).
        source: Only documents of this source.
        by: Column of numbers over whose range the documents of every source, decision and reason are spread; default:
            the score of the recipe's first stage `quality`, where it has one.
        column: Further columns to show.
        html: File to write the documents to as a page.
        label: Ask after each document whether it is good or bad, and why (engine.run.sample.ask).

    Returns:
        recipe, seed, by, digest (of the documents chosen), strata (source, decision, reason, documents there are,
        documents shown), and documents (doc_id, source, decision, reason, tags, url, num_chars, text_digest, score,
        columns, text: the first 2,000 characters, is_cut, label: the newest one, or null); labels_problem: why no
        labels are shown, where those of the workspace cannot be read; html, the page's path; and
        labelled: what was answered.

    Raises:
        InputError: No finished recipe or selection; a source file is gone. RecipeError: an argument is wrong.
    """
    if html is not None and label:
        raise RecipeError(problem("--label", "--html is there too", "one of the two", "label documents on the page"))
    chars = TEXT_CHARS if html is None else PAGE_CHARS
    drawn = draw_sample(workspace, recipe, documents, seed, reason, source, by, column, chars)
    if html is not None:
        with atomic_file(Path(html)) as temporary:
            temporary.write_text(render(drawn, AS_READ), encoding="utf-8")
    answered = ask_labels(workspace, drawn) if label else None
    shown = [_cut(one) for one in drawn["documents"]]
    return drawn | {"documents": shown, "html": None if html is None else str(html), "labelled": answered}


def _cut(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with no more of its text than the terminal shows; the page shows more."""
    text = document["text"] or ""
    return document if len(text) <= TEXT_CHARS else document | {"text": text[:TEXT_CHARS], "is_cut": True}
