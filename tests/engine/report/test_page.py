"""The page: one file, nothing from outside, everything escaped, the same bytes for the same files."""

import re
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from engine.base.atomic import read_json, write_json
from engine.base.errors import InputError
from engine.formats.parquet import write_parquet
from engine.report import report, show_report

VOID = {"meta", "wbr", "br", "img", "link", "input"}


class Page(HTMLParser):
    """Collects tags, attributes, headings and text; fails on tags that are not closed in order."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\u00a0", " ").split())


@pytest.fixture(scope="module")
def html(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "page.html"
    return Path(report(finished, out=out)["path"]).read_text(encoding="utf-8")


def test_every_section_is_there_and_every_tag_is_closed(html: str) -> None:
    assert Page(html).headings == [
        "Funnel", "Sources", "Duplicates", "Quality", "Held-out text and contamination", "Mixtures", "Forgetting",
        "Training runs", "How to get each number again",
    ]  # fmt: skip


def test_page_refers_to_nothing_outside_itself(html: str) -> None:
    for tag, attributes in Page(html).tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
        assert not {"src", "srcset", "action", "xlink:href"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in style


def test_every_link_of_the_contents_has_its_section(html: str) -> None:
    tags = Page(html).tags
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert links == [f"#{attributes['id']}" for tag, attributes in tags if tag == "section"]


def test_document_text_is_shown_and_never_becomes_markup(html: str) -> None:
    assert '<script>alert("1")</script> & <img src="http://example.com/x.png"> opening' in Page(html).text
    assert "<script" not in html
    assert "<img" not in html


def test_names_from_recipes_and_runs_are_escaped(workspace: Path) -> None:
    run = read_json(workspace / "runs" / "replay_0" / "run.json")
    write_json(workspace / "runs" / "replay_0" / "run.json", {**run, "note": "<script>1<script>"})
    content = Path(report(workspace)["path"]).read_text(encoding="utf-8")
    assert "<script" not in content
    assert "&lt;script&gt;1&lt;script&gt;" in content


def test_every_chart_is_well_formed_and_holds_only_finite_numbers(html: str) -> None:
    charts = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(charts) > 20
    for chart in charts:
        for element in ET.fromstring(chart).iter():
            for name, value in element.attrib.items():
                if name not in {"class", "aria-label", "role", "text-anchor"}:
                    assert re.fullmatch(r"[-0-9. ,MLHVv]*", value), (name, value)


def test_every_chart_stays_inside_its_frame(html: str) -> None:
    for chart in re.findall(r"<svg class=\"(?:wide|narrow)\".*?</svg>", html, flags=re.DOTALL):
        svg = ET.fromstring(chart)
        _, _, width, height = map(float, svg.attrib["viewBox"].split())
        for box in svg.iter("rect"):
            x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
            assert -0.1 <= x <= x + w <= width + 1.6
            assert -0.1 <= y <= y + h <= height + 0.1


def test_page_says_recipe_date_versions_and_digests(html: str) -> None:
    text = Page(html).text
    assert "Recipe finished 2026-11-20 09:30 UTC" in text
    for name in ("selection", "split", "tokenizer", "token store", "demo_replay_0@v1", "demo_replay_10@v1"):
        assert re.search(rf"{re.escape(name)} [0-9a-f]{{12}}", text), name


def test_same_files_give_the_same_bytes(workspace: Path, html: str) -> None:
    first = Path(report(workspace)["path"]).read_bytes()
    assert Path(report(workspace)["path"]).read_bytes() == first == html.encode()


def test_workspace_without_runs_has_a_page_without_training(without_runs: Path) -> None:
    result = report(without_runs)
    page = Page(Path(result["path"]).read_text(encoding="utf-8"))
    assert "Training runs" not in page.headings
    assert "Forgetting" not in page.headings
    assert "Funnel" in page.headings
    assert not [finding for finding in result["findings"] if "forgetting" in finding]


def test_recipe_that_only_read_documents_has_a_page(without_runs: Path) -> None:
    path = without_runs / "recipes" / "demo.json"
    nothing = {
        "annotations": [],
        "artifacts": {},
        "split": None,
        "selection": None,
        "token_store": None,
        "mixtures": {},
    }
    write_json(path, {**read_json(path), **nothing})
    result = report(without_runs)
    page = Page(Path(result["path"]).read_text(encoding="utf-8"))
    assert page.headings == ["Sources", "How to get each number again"]
    assert "300 documents" in result["findings"][0]


def test_only_the_named_runs_are_shown(workspace: Path) -> None:
    text = Path(report(workspace, runs=["replay_10"])["path"]).read_text(encoding="utf-8")
    assert "replay_10" in text
    assert "replay_0 " not in Page(text).text


def test_out_names_the_file_and_the_default_is_in_the_workspace(workspace: Path, tmp_path: Path) -> None:
    assert report(workspace)["path"] == str(workspace / "report.html")
    assert report(str(workspace), out=str(tmp_path / "there" / "x.html"))["path"] == str(tmp_path / "there" / "x.html")
    assert (tmp_path / "there" / "x.html").is_file()


def test_text_of_a_source_that_moved_is_said_to_be_missing(workspace: Path) -> None:
    for shard in sorted((workspace / "documents" / "licenses").glob("*/0000[01].parquet")):
        shard.unlink()
    assert "(no excerpt: " in Path(report(workspace)["path"]).read_text(encoding="utf-8")


def test_run_of_a_missing_or_unknown_name_is_an_input_error(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run 'replay_1'"):
        report(workspace, runs=["replay_1"])
    with pytest.raises(InputError, match="demo"):
        report(workspace, recipe="dem")
    with pytest.raises(InputError, match="no such workspace"):
        report(tmp_path / "nowhere")
    shutil.rmtree(workspace / "recipes")
    with pytest.raises(InputError, match="no recipe has finished"):
        report(workspace)


def test_damaged_artifact_is_named(workspace: Path) -> None:
    ledger = next(workspace.glob("selections/*/ledger.parquet"))
    ledger.write_bytes(b"half a file")
    with pytest.raises(InputError, match=r"ledger\.parquet"):
        report(workspace)


def test_terminal_text_lists_findings_and_path() -> None:
    shown = show_report({"path": "w/report.html", "findings": ["One.", "Two."]})
    assert shown == "- One.\n- Two.\n\nreport: w/report.html"


def test_source_without_documents_has_its_row(workspace: Path) -> None:
    folder = next((workspace / "documents" / "licenses").glob("*"))
    source = read_json(folder / "source.json")
    write_json(folder / "source.json", {**source, "shards": []})
    ledger = next(workspace.glob("selections/*/ledger.parquet"))
    write_parquet(ledger, pl.read_parquet(ledger).filter(pl.col("source") != "licenses"))
    row = "<td>0</td><td>0 B</td><td>0.0\u00a0%</td>"
    assert f'<td class="name"><span>licenses</span></td>{row}' in Path(report(workspace)["path"]).read_text(
        encoding="utf-8"
    )
