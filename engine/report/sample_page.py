"""The page of `sample`: documents to read by hand.

One HTML file that needs no network: every document with what became of it, buttons good and bad and a field for the
reason. The choices stay in the browser (localStorage), and a button saves them as a file for `provender label --from`.
Texts are escaped and never become markup; a Content-Security-Policy lets nothing but the page's own script run, by its
digest, and nothing be loaded.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup

import engine
from engine.formats.labels import in_words
from engine.formats.selection import KEPT
from engine.report.environment import environment


def render(drawn: dict[str, Any], note: str) -> str:
    """Return the page of what `engine.run.sample.draw_sample` returned; the same documents give the same bytes.

    note: one sentence above them all.
    """
    templates = environment()
    templates.filters["in_words"] = in_words
    folder = files("engine.report")
    style = "\n".join((folder / name).read_text(encoding="utf-8") for name in ("page.css", "sample_page.css"))
    script = (folder / "sample_page.js").read_text(encoding="utf-8")
    return templates.get_template("sample_page.html.j2").render(
        version=engine.__version__,
        drawn=drawn,
        sources=_by_source(drawn["documents"]),
        outcomes=list(dict.fromkeys(outcome(one) for one in drawn["documents"])),
        note=note,
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


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
