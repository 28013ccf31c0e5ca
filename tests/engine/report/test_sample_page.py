"""The page of `sample` shows other people's text and runs nothing but its own script."""

import base64
import hashlib
import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.report.sample_page import render as render_with
from engine.run.sample import draw_sample
from engine.run.sample.show import AS_READ
from engine.sample import PAGE_CHARS
from engine.verbs import label, sample

small_workspace = runpy.run_path(str(Path(__file__).parents[1] / "small_workspace.py"))["small_workspace"]
FORGED = "\n</pre><script>alert(1)</script><img src=x onerror=alert(1)>\" onclick='x' {{ drawn }} &lt;b&gt;"


def render(drawn: dict[str, Any]) -> str:
    return render_with(drawn, AS_READ)


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert set(self.open) <= {"meta", "input"}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "pre":
            self.texts.append("")
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "pre":
            self.texts[-1] += data


def forged(root: Path) -> str:
    drawn = draw_sample(root, column=["license__spdx"])
    for one in drawn["documents"]:
        one |= {"text": FORGED, "url": "javascript:alert(1)", "columns": {"a": FORGED}, "source": "<i>" + one["source"]}
        one["reason"] = one["reason"] and '"><script>' + one["reason"]
    return render(drawn)


def test_text_and_names_never_become_markup(small_workspace: SimpleNamespace) -> None:
    page = Page(forged(Path(small_workspace.root)))
    assert page.texts == ["\n" + FORGED] * 8  # the first line break behind <pre> is not part of it
    for tag, attributes in page.tags:
        assert tag not in {"img", "i", "b", "a", "link", "iframe", "form", "base", "object"}
        assert not {"src", "href", "action", "style"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert [tag for tag, _ in page.tags].count("script") == 1


def test_the_policy_lets_only_the_own_script_and_style_through(small_workspace: SimpleNamespace) -> None:
    html = forged(Path(small_workspace.root))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;;" in policy
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|url\(|@import|https?:", content)
    assert policy.startswith("default-src &#39;none&#39;;")
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_every_document_has_its_outcome_score_columns_text_and_buttons(small_workspace: SimpleNamespace) -> None:
    here = small_workspace
    label(here.root, here.id["b1"], "bad", why="<b>dark</b>")
    out = Path(here.root) / "new" / "page.html"
    result = sample(here.root, html=out, by="difficulty__value", column=["license__spdx"])
    assert result["html"] == str(out)
    html = out.read_text(encoding="utf-8")
    page = Page(html)
    articles = [attributes for tag, attributes in page.tags if tag == "article"]
    assert {one["data-id"]: one["data-outcome"] for one in articles} == {
        one["doc_id"]: one["decision"] + (f": {one['reason']}" if one["reason"] else "") for one in result["documents"]
    }
    assert page.texts == ["\n" + one["text"] for one in result["documents"]]
    assert [tag for tag, _ in page.tags].count("button") == 2 * 8 + 1
    assert html.count('role="status" hidden>choose good or bad</span></div>') == 8
    assert "In the workspace: labelled bad on " in html
    assert "&lt;b&gt;dark&lt;/b&gt;" in html
    assert "license__spdx <code>CC0-1.0</code>" in html
    assert '<span class="score"><span>difficulty__value</span> 31.0</span>' in html


def test_the_same_documents_give_the_same_page_and_another_sample_another_key(
    small_workspace: SimpleNamespace,
) -> None:
    first, again, other = (draw_sample(small_workspace.root, documents=number) for number in (4, 4, 3))
    assert render(first) == render(again)
    assert first["digest"] != other["digest"]
    assert f'data-recipe="small" data-sample="{first["digest"]}"' in render(first)


def test_document_without_text_has_no_buttons(small_workspace: SimpleNamespace) -> None:
    page = render(draw_sample(small_workspace.root, reason="no_text"))
    assert "so there is nothing to label" in page
    assert "<pre" not in page


def test_a_long_text_is_cut_and_says_so(small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.sample.PAGE_CHARS", 10)
    out = Path(small_workspace.root) / "page.html"
    sample(small_workspace.root, html=out)
    html = out.read_text(encoding="utf-8")
    assert "The first 10 characters of 31." in html
    assert "dark and stormy" not in html
    assert PAGE_CHARS > 10
