"""The verb `sample`: documents to read by hand, in the terminal, asked about one by one, or as a page.

The page is one HTML file that needs no network: every document with what became of it, buttons good and bad and a field
for the reason. The choices stay in the browser (localStorage), and a button saves them as a file for
`provender label --from`. Texts are escaped and never become markup; a Content-Security-Policy lets nothing but the
page's own script run, by its digest, and nothing be loaded.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import engine
from engine.base.atomic import atomic_file
from engine.base.errors import RecipeError, problem
from engine.formats.labels import in_words
from engine.formats.selection import KEPT
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
            temporary.write_text(render(drawn), encoding="utf-8")
    answered = ask_labels(workspace, drawn) if label else None
    shown = [_cut(one) for one in drawn["documents"]]
    return drawn | {"documents": shown, "html": None if html is None else str(html), "labelled": answered}


def render(drawn: dict[str, Any]) -> str:
    """Return the page of what `draw_sample` returned; the same documents give the same bytes."""
    environment = Environment(
        loader=PackageLoader("engine.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["in_words"] = in_words
    folder = files("engine.report")
    style = "\n".join((folder / name).read_text(encoding="utf-8") for name in ("page.css", "sample_page.css"))
    script = (folder / "sample_page.js").read_text(encoding="utf-8")
    return environment.get_template("sample_page.html.j2").render(
        version=engine.__version__,
        drawn=drawn,
        sources=_by_source(drawn["documents"]),
        outcomes=list(dict.fromkeys(outcome(one) for one in drawn["documents"])),
        as_read=AS_READ,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; "
        "form-action 'none'",
        outcome=outcome,
    )


def outcome(document: dict[str, Any]) -> str:
    """Return decision and reason of a document in one string."""
    return document["decision"] if document["reason"] is None else f"{document['decision']}: {document['reason']}"


def _by_source(documents: Sequence[dict[str, Any]]) -> list[tuple[str, list[tuple[str, list[dict[str, Any]]]]]]:
    """Return (source, [("Kept", documents), ("Not kept", documents)]), sides without documents left out."""
    found = []
    for source in dict.fromkeys(one["source"] for one in documents):
        own = [one for one in documents if one["source"] == source]
        sides = [("Kept", [one for one in own if one["decision"] == KEPT])]
        sides.append(("Not kept", [one for one in own if one["decision"] != KEPT]))
        found.append((source, [side for side in sides if side[1]]))
    return found


def _cut(document: dict[str, Any]) -> dict[str, Any]:
    text = document["text"]
    return (
        document
        if text is None
        else document
        | {
            "text": text[:TEXT_CHARS],
            "is_cut": document["is_cut"] or len(text) > TEXT_CHARS,
        }
    )


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
