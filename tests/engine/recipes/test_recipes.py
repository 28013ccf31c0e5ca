"""Every recipe that ships is valid and runs; the medical one on corpora in the form they are downloaded in."""

import json
import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine.recipes
from engine.base.errors import InputError
from engine.formats.mixture import open_mixture
from engine.formats.workspace import Workspace
from engine.recipe import load_recipe
from engine.recipes.medical_sources import write_sources
from engine.run.pipeline import run

FOLDER = Path(engine.recipes.__path__[0])
DATA_RECIPES = sorted(path for path in FOLDER.glob("*.yaml") if "sources:" in path.read_text())


def prose(seed: int, words: int = 120) -> str:
    numbers = random.Random(seed)
    return f"Text {seed}. " + " ".join(f"word{numbers.randrange(3000)}" for _ in range(words))


@pytest.mark.parametrize("path", DATA_RECIPES, ids=lambda p: p.stem)
def test_recipe_is_valid_and_says_what_it_is(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.mixtures
    assert path.read_text().startswith("# ")


def ledger(recipe: Path, workspace: Path) -> pl.DataFrame:
    return pl.DataFrame(run(recipe, workspace, mixtures=[])["ledger"])


def copied(name: str, folder: Path) -> Path:
    """The recipe in a folder; of little text less is held out."""
    (folder / name).write_text((FOLDER / name).read_text().replace("max_bytes: 200_000", "max_bytes: 10_000"))
    return folder / name


def test_the_jsonl_recipe_runs_on_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = [json.dumps({"text": prose(n)}) for n in range(80)]
    (tmp_path / "data" / "a.jsonl").write_text("\n".join([*rows, rows[0], "{broken", json.dumps({"text": "short"})]))
    found = ledger(copied("jsonl.yaml", tmp_path), tmp_path / "ws")
    reasons = {row["reason"]: row["documents"] for row in found.filter(pl.col("outcome") == "dropped").to_dicts()}
    assert reasons == {"broken_json": 1, "exact_duplicate": 1, "too_short": 1}


def test_the_parquet_recipe_runs_and_the_source_of_higher_priority_keeps_its_duplicates(tmp_path: Path) -> None:
    def write(name: str, table: dict[str, list[object]]) -> None:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), tmp_path / "data" / name)

    articles = [prose(n) for n in range(60)]
    write("articles-0.parquet", {"content": articles[:30], "article_id": list(range(30))})
    write("articles-1.parquet", {"content": articles[30:], "article_id": list(range(30, 60))})
    posts = [articles[7], *(prose(n + 1000) for n in range(60))]
    links = [f"https://forum.example{n}/{n}" for n in range(61)]
    write("forum/a.parquet", {"body": posts[:40], "link": links[:40]})
    write("forum_old/a.parquet", {"body": posts[40:], "link": links[40:]})
    found = ledger(copied("parquet.yaml", tmp_path), tmp_path / "ws")
    dropped = found.filter(pl.col("outcome") == "dropped").select("source", "reason", "documents").rows()
    assert dropped == [("forum", "exact_duplicate", 1)]


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """A few documents of each corpus, as it is downloaded."""
    root = tmp_path / "downloads" / "corpora"

    def write(name: str, content: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")

    for n in range(250):
        answer = f"Key Points\n          - {prose(n + 1000)}    - And   more.\n"
        pairs = f'<QAPair pid="1"><Question qid="q{n}">What is {n} ?</Question><Answer>{answer}</Answer></QAPair>'
        pairs += '<QAPair pid="2"><Question>Unanswered?</Question><Answer> </Answer></QAPair>'
        write(
            f"medquad/1_X_QA/{n:07}.xml",
            f'<Document id="{n}" url="https://x/{n}"><QAPairs>{pairs}</QAPairs></Document>',
        )
    articles = (f'<doc id="{n}" url="?curid={n}" title="T">\nT &amp; {prose(n + 100)}\n</doc>\n' for n in range(60))
    write("enwiki/text/AA/wiki_00", "".join(articles))
    write("gutenberg/a-book.txt", "\n".join(f"{prose(n + 200)} , she 's here !" for n in range(60)))
    for n in range(60):
        write(f"peps/peps/pep-{n:04}.rst", prose(n + 300))
        write(f"eips/EIPS/eip-{n}.md", prose(n + 400))
        write(f"rust-rfcs/text/{n:04}-x.md", prose(n + 500))
    return root


def test_downloaded_corpora_become_rows(corpora: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    counts = write_sources(corpora.parent, out)
    rows = {name: [json.loads(line) for line in (out / name).read_text().splitlines()] for name in counts}
    assert {name: len(found) for name, found in rows.items()} == counts
    assert counts | {"books.jsonl": 0} == {
        "medquad.jsonl": 250,
        "wikipedia.jsonl": 60,
        "books.jsonl": 0,
        "technical.jsonl": 180,
    }
    assert rows["medquad.jsonl"][3] == {
        "id": "1_X_QA/0000003/1",
        "text": f"What is 3 ?\n\nKey Points\n- {prose(1003)}\n- And more.\n",
        "url": "https://x/3",
        "license": "CC-BY-4.0",
    }
    assert rows["wikipedia.jsonl"][0]["text"] == f"T & {prose(100)}\n"
    assert len({row["url"] for row in rows["books.jsonl"]}) == 1
    assert rows["books.jsonl"][0]["text"].splitlines()[0] == f"{prose(200)}, she's here!"
    assert all(8_000 <= len(row["text"]) <= 10_000 for row in rows["books.jsonl"][:-1])
    assert {row["license"] for row in rows["technical.jsonl"]} == {"CC0-1.0", "MIT OR Apache-2.0"}


def test_missing_corpora_are_named(corpora: Path, tmp_path: Path) -> None:
    (corpora / "eips").rename(corpora / "moved")
    with pytest.raises(InputError, match=r"no eips\. Needed: the folders medquad"):
        write_sources(corpora, tmp_path / "out")


def test_the_medical_recipe_runs_from_the_folder_that_holds_the_data(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sources(corpora, tmp_path / "data" / "medical")
    monkeypatch.chdir(tmp_path)
    found = ledger(FOLDER / "medical.yaml", tmp_path / "ws")
    kept = {row["source"]: row["documents"] for row in found.filter(pl.col("outcome") == "kept").to_dicts()}
    held_out = {row["reason"] for row in found.filter(pl.col("outcome") == "held_out").to_dicts()}
    assert set(kept) == {"medquad", "wikipedia", "books", "technical"}
    assert held_out == {"medical", "general"}


def test_the_medical_recipe_replays_a_quarter_and_measures_text_it_does_not_replay() -> None:
    recipe = load_recipe(FOLDER / "medical.yaml")
    mixture = recipe.mixtures["medical"]
    assert mixture.replay is not None
    assert mixture.replay.share == 0.25
    assert (mixture.row_tokens, mixture.rows_per_step, mixture.budget_tokens) == (512, 2, 60_000)
    assert recipe.split is not None
    general = set(recipe.split.heldout["general"].sources)
    assert general - set(mixture.replay.sources)
    assert general & set(mixture.replay.sources)


@pytest.mark.slow
def test_the_medical_recipe_runs_on_the_real_corpora(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = write_sources(shared_data, tmp_path / "data" / "medical")
    assert counts["medquad.jsonl"] > 3000
    monkeypatch.chdir(tmp_path)
    found = ledger(FOLDER / "medical.yaml", tmp_path / "ws")
    came_in = found.filter(pl.col("outcome") == "in")
    assert came_in["documents"].sum() == sum(counts.values())
    kept = found.filter((pl.col("outcome") == "kept") & (pl.col("source") == "medquad"))
    assert kept["documents"].item() > 0.9 * counts["medquad.jsonl"]


def test_the_recipe_of_instructions_trains_on_answers_beside_replayed_text(tmp_path: Path) -> None:
    (tmp_path / "data" / "web").mkdir(parents=True)
    chats = [{"instruction": f"Tell me {n}.", "input": "", "output": prose(n, words=40)} for n in range(60)]
    texts = [{"text": prose(1000 + n)} for n in range(60)]
    for name, rows in (("chats.jsonl", chats), ("web/a.jsonl", texts)):
        (tmp_path / "data" / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = copied("instructions.yaml", tmp_path)
    path.write_text(path.read_text().replace("10_000", "4_000").replace("8192", "400"))
    run(path, tmp_path / "ws")
    manifest = open_mixture(Workspace(tmp_path / "ws"), "tuning").manifest
    rows = {row.source: row for row in manifest.sources}
    assert {name: (row.is_replay, row.objective) for name, row in rows.items()} == {
        "chats": (False, "answers"),
        "web": (True, "text"),
    }
    assert rows["chats"].supervised_tokens < rows["chats"].tokens
    assert 0.15 < rows["web"].supervised_tokens / manifest.supervised_tokens < 0.25
    assert manifest.template == "chatml"
