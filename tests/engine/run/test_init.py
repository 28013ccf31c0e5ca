"""`init` looks at a folder and writes a recipe that runs."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from engine.base.errors import InputError, RecipeError
from engine.recipe import load_recipe
from engine.run.init import init, show_init
from engine.run.init.look import guess_columns, look_at
from engine.run.pipeline import run

WORDS = "the quick brown fox jumps over a lazy dog while seven wizards box with jugs of liquor".split()  # noqa: SIM905


def prose(seed: int, words: int = 90) -> str:
    state, chosen = seed * 2654435761 + 1, []
    for _ in range(words):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        chosen.append(WORDS[(state >> 33) % len(WORDS)] + ("." if state >> 60 == 0 else ""))
    return f"Document {seed}. " + " ".join(chosen)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of every kind, and some that are none."""
    root = tmp_path / "My Corpus"
    rows = [{"uid": n, "body": prose(n), "source_url": f"https://a.example/{n}", "lang": "en"} for n in range(60)]
    write_jsonl(root / "web-00000-of-00002.jsonl.gz", rows[:30])
    write_jsonl(root / "web-00001-of-00002.jsonl.gz", rows[30:])
    write_jsonl(root / "chat.jsonl", [{"messages": [{"role": "user", "content": "hi"}]}])
    table = pa.table({"title": ["a"] * 60, "content": [prose(n + 100) for n in range(60)], "license": ["MIT"] * 60})
    (root / "tables" / "deep").mkdir(parents=True)
    pq.write_table(table.slice(0, 30), root / "tables" / "one.parquet")
    pq.write_table(table.slice(30), root / "tables" / "deep" / "two.parquet")
    (root / "faq.csv").write_text("id,text\n" + "".join(f'{n},"{prose(n + 200)}"\n' for n in range(40)))
    (root / "notes").mkdir()
    for n in range(40):
        (root / "notes" / f"note{n}.md").write_text(prose(n + 300))
    (root / "src").mkdir()
    (root / "src" / "tool.py").write_text("def run():\n    return 1\n" * 20)
    (root / "wiki" / "AA").mkdir(parents=True)
    (root / "wiki" / "AA" / "wiki_00").write_text(
        "".join(f'<doc id="{n}" url="u" title="t">\n{prose(n + 400)}\n</doc>\n' for n in range(40))
    )
    (root / "photo.png").write_bytes(b"\x89PNG")
    (root / ".git").mkdir()
    (root / ".git" / "config.txt").write_text("hidden")
    return root


def test_files_that_belong_together_become_one_source(folder: Path) -> None:
    found = {source.name: (source.stage, len(source.paths), source.patterns) for source in look_at(folder).sources}
    assert found == {
        "web": ("jsonl", 2, ["web-00000-of-00002.jsonl.gz", "web-00001-of-00002.jsonl.gz"]),
        "tables_one": ("parquet", 1, ["tables/one.parquet"]),
        "tables_two": ("parquet", 1, ["tables/deep/two.parquet"]),
        "faq": ("csv", 1, ["faq.csv"]),
        "notes": ("text", 40, ["notes/*.md"]),
        "tool": ("text", 1, ["src/tool.py"]),
        "wiki_00": ("text", 1, ["wiki/AA/wiki_00"]),
    }


def test_files_in_no_source_are_counted(folder: Path) -> None:
    assert look_at(folder).passed_over == {".png": 1, "jsonl files of chat records (stage: chat reads them)": 1}


def test_the_recipe_is_valid_says_what_was_found_and_runs(folder: Path) -> None:
    result = init(folder)
    path = folder / "recipe.yaml"
    assert result["recipe"] == str(path)
    recipe = load_recipe(path)
    assert recipe.name == "my_corpus"
    configs = {source.config.name: source.config for source in recipe.sources}
    assert configs["web"].columns == {"text": "body", "id": "uid", "url": "source_url", "language": "lang"}
    assert configs["tables_one"].columns == {"text": "content"}
    assert configs["tool"].domain == "code"
    assert configs["wiki_00"].document == "wikiextractor"
    assert "# license:" in path.read_text()
    done = run(path, folder / "ws", jobs=1)
    assert [mixture["reference"] for mixture in done["mixtures"]] == ["my_corpus_all@v1"]
    assert done["mixtures"][0]["supervised_tokens"] > 0
    assert sum(row["documents"] for row in done["ledger"] if row["outcome"] == "in") == 60 + 60 + 40 + 40 + 1 + 40


def test_an_existing_recipe_is_never_overwritten(folder: Path) -> None:
    (folder / "recipe.yaml").write_text("mine")
    with pytest.raises(RecipeError, match="it exists already"):
        init(folder)
    assert (folder / "recipe.yaml").read_text() == "mine"


def test_a_recipe_elsewhere_names_its_files_absolutely(folder: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside.yaml"
    init(folder, inside)
    paths = [source["path"] for source in yaml.safe_load(inside.read_text())["sources"]]
    assert "My Corpus/faq.csv" in paths
    (tmp_path / "other").mkdir()
    init(folder, tmp_path / "other" / "recipe.yaml")
    paths = [source["path"] for source in yaml.safe_load((tmp_path / "other" / "recipe.yaml").read_text())["sources"]]
    assert str(folder / "faq.csv") in paths


@pytest.mark.parametrize("content", [{}, {"a.png": b"x"}])
def test_a_folder_with_nothing_to_read_says_what_is_there(tmp_path: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match="nothing here can be read"):
        init(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        init(tmp_path / "nowhere")


def test_damaged_files_are_passed_over_by_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "good.jsonl").write_text('{"text": "fine"}\n{"text": "cut\n')
    found = look_at(tmp_path)
    assert [source.name for source in found.sources] == ["good"]
    assert found.passed_over == {"parquet files that cannot be read": 1}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"id": 1, "text": "a"}, {"id": 2, "text": "b"}], {"text": "text", "id": "id"}),
        ([{"id": 1, "text": "a"}, {"id": 1, "text": "b"}], {"text": "text"}),
        ([{"title": "x", "weird": "a much longer string"}], {"text": "weird"}),
        ([{"content": "", "other": "words"}], {"text": "other"}),
        ([{"n": 1}], {}),
        ([{"text": "x", "page": "https://a.b/c"}], {"text": "text", "url": "page"}),
        (
            [{"Text": "some words", "License": "MIT", "Date": "2024"}],
            {"text": "Text", "license": "License", "date": "Date"},
        ),
    ],
)
def test_columns_are_told_by_name_and_content(rows: list[dict[str, Any]], expected: dict[str, str]) -> None:
    assert guess_columns(rows) == expected


def test_the_summary_says_how_to_go_on(folder: Path) -> None:
    text = show_init(init(folder))
    assert "web: jsonl, 2 files" in text
    assert f"provender run {folder / 'recipe.yaml'} --dry-run" in text


@pytest.mark.parametrize(
    "rows",
    [
        [{"instruction": f"Say {n}.", "input": "", "output": prose(n)} for n in range(40)],
        [
            {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": prose(n)}]}
            for n in range(40)
        ],
        [{"conversations": [{"from": "human", "value": "go"}, {"from": "gpt", "value": prose(n)}]} for n in range(40)],
    ],
    ids=["alpaca", "messages", "sharegpt"],
)
def test_instructions_become_chats_with_a_template_beside_texts(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    write_jsonl(tmp_path / "instructions.jsonl", rows)
    write_jsonl(tmp_path / "web.jsonl", [{"text": prose(500 + n)} for n in range(20)])
    init(tmp_path)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    stages = {source.config.name: source.config.stage for source in recipe.sources}
    assert stages == {"instructions": "chat", "web": "jsonl"}
    assert recipe.render.template == "chatml"
    assert all(set(mixture.source_names()) == set(stages) for mixture in recipe.mixtures.values())


def test_a_list_in_json_is_read_as_chats_where_it_holds_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.sources._files.CHUNK_BYTES", 500)
    rows = [{"instruction": f"Say {n}.", "input": "", "output": f"\u00e9{prose(n)}"} for n in range(40)]
    (tmp_path / "alpaca.json").write_text(json.dumps(rows, ensure_ascii=False))
    (tmp_path / "numbers.json").write_text("[1, 2, 3]")
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "package.json").write_text('{"name": "x"}')
    found = look_at(tmp_path)
    assert [(source.name, source.stage, source.patterns) for source in found.sources] == [
        ("alpaca", "chat", ["alpaca.json"])
    ]
    assert found.passed_over == {".json": 1, "json files that hold no list of chats": 2}
    init(tmp_path)
    (source,) = load_recipe(tmp_path / "recipe.yaml").sources
    tables = list(source.module.read(tmp_path / "alpaca.json", source.config))
    assert sum(table.num_rows for table in tables) == 40
