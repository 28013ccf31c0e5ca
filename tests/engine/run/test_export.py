"""An export is what was tokenised, in the order of the mixture, and other tools read it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import yaml

import engine.run.export.order
import engine.run.export.write
from engine.base.errors import InputError, RecipeError
from engine.formats.doc_ids import id_text
from engine.formats.messages import MESSAGES, chat_digests
from engine.formats.mixture import open_mixture
from engine.formats.token_store import open_token_store
from engine.formats.tokenizer import decode_batch, load_tokenizer
from engine.formats.workspace import Workspace
from engine.run.edited import edited_chat
from engine.run.export import mixture_export
from engine.run.export.order import kinds_of
from engine.run.export.show import show_export
from engine.run.export.write import gather, write_kind, write_tables
from engine.run.pipeline import run
from engine.text.edits import Edits
from tests.engine.run.exported_corpus import MAIL, recipe, run_in, write_corpus

EOS = "</s>"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_corpus(tmp_path_factory.mktemp("exported"))
    run_in(folder, recipe())
    return folder


def exported(corpus: Path, out: Path, reference: str = "all", **options: Any) -> pl.DataFrame:
    mixture_export(reference, out, corpus / "ws", **options)
    return pl.concat(pl.read_parquet(path) for path in sorted(out.glob("text/*.parquet")))


def decoded(corpus: Path, reference: str, special: str | None) -> list[str]:
    """The documents of a version as the token store holds them, in the order of the mixture."""
    place = Workspace(corpus / "ws")
    mixture = open_mixture(place, reference)
    store = open_token_store(place.tokens(mixture.manifest.token_store))
    spans = store.documents()[mixture.documents()["store_row"]].select("offset", "num_tokens").rows()
    ids = [store.ids[offset : offset + length].tolist() for offset, length in spans]
    return decode_batch(load_tokenizer(place.tokenizer(mixture.manifest.tokenizer)), ids, special=special)


def test_texts_are_those_of_the_token_store_in_the_order_of_the_mixture(corpus: Path, tmp_path: Path) -> None:
    frame = exported(corpus, tmp_path / "out")
    assert frame["text"].to_list() == decoded(corpus, "all", special="")
    assert not frame["text"].str.contains(MAIL).any()
    assert frame["text"].str.contains("Write to <EMAIL-").sum() == 1
    assert not frame["text"].str.contains("240 miles").any()


def test_control_tokens_stand_in_front_as_text_only_where_asked_for(corpus: Path, tmp_path: Path) -> None:
    tagged = exported(corpus, tmp_path / "tagged", tags_as_text=True)["text"].to_list()
    assert tagged == [text.removesuffix(EOS) for text in decoded(corpus, "all", special=None)]
    tags = Counter(text[: text.index(">") + 1] for text in tagged if text.startswith("<|"))
    assert tags == {"<|lang:en|>": 1, "<|lang:de|>": 1}


def test_columns_say_where_a_document_comes_from(corpus: Path, tmp_path: Path) -> None:
    frame = exported(corpus, tmp_path / "out")
    mixture = open_mixture(Workspace(corpus / "ws"), "all").documents()
    assert frame.columns == ["text", "doc_id", "source", "is_replay", "phase", "repeats", "license", "url"]
    assert frame["doc_id"].to_list() == [id_text(doc_id) for doc_id in mixture["doc_id"]]
    assert frame.filter(pl.col("license").is_not_null()).select("license", "url", "source").rows() == [
        ("CC0-1.0", "https://example.org/5", "web")
    ]
    assert set(frame["phase"]) == {"all"}


def test_repeats_are_written_pass_by_pass_or_stand_in_their_column(corpus: Path, tmp_path: Path) -> None:
    once = exported(corpus, tmp_path / "once", "often")
    often = exported(corpus, tmp_path / "often", "often", repeat=True)
    assert set(once["repeats"]) == {2, 3}
    uses = [once.filter(pl.col("repeats") > use)["doc_id"].to_list() for use in range(3)]
    assert often["doc_id"].to_list() == [*uses[0], *uses[1], *uses[2]]


def test_small_buckets_and_files_change_no_row(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = exported(corpus, tmp_path / "whole")
    monkeypatch.setattr(engine.run.export.order, "BUCKET_BYTES", 900)
    monkeypatch.setattr(engine.run.export.write, "_BUCKETS_PER_FILE", 2)
    cut = exported(corpus, tmp_path / "cut")
    assert len(list((tmp_path / "cut" / "text").iterdir())) > 5
    assert cut.equals(whole)


def test_the_same_version_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    files = [mixture_export("all", tmp_path / name, corpus / "ws")["files"] for name in "ab"]
    assert files[0] == files[1]


def test_json_lines_hold_the_same_rows_as_parquet(corpus: Path, tmp_path: Path) -> None:
    frame = exported(corpus, tmp_path / "parquet")
    (file, *_) = mixture_export("all", tmp_path / "json", corpus / "ws", format="jsonl")["files"]
    lines = (tmp_path / "json" / file["path"]).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == frame.with_columns(pl.col(pl.String).fill_null("")).to_dicts()
    assert file["rows"] == len(lines) == frame.height


def test_held_out_texts_lie_apart(corpus: Path, tmp_path: Path) -> None:
    frame = exported(corpus, tmp_path / "out", held_out=True)
    held_out = pl.read_parquet(tmp_path / "out" / "held_out" / "general.parquet")
    assert held_out.height > 0
    assert set(held_out["doc_id"]).isdisjoint(frame["doc_id"])
    assert set(held_out["set"]) == {"general"}


def test_json_lines_whose_first_10_mb_state_nothing_are_loaded(tmp_path: Path) -> None:
    import datasets

    rows, path = 12_000, tmp_path / "train.jsonl"
    url = pa.array([None] * rows + ["https://example.org"], pa.string())
    table = pa.table({"text": pa.array(["x" * 1000] * (rows + 1), pa.string()), "url": url})
    write_tables(path, iter([table]), table.schema, "jsonl")
    loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[rows]["url"] == "https://example.org"


@pytest.mark.parametrize(("form", "builder"), [("parquet", "parquet"), ("jsonl", "json")])
def test_datasets_loads_the_folder_and_its_files(corpus: Path, tmp_path: Path, form: str, builder: str) -> None:
    import datasets

    out, cache = tmp_path / "out", str(tmp_path / "cache")
    result = mixture_export("all", out, corpus / "ws", format=form, held_out=True)
    expected = decoded(corpus, "all", special="")
    files = [str(out / file["path"]) for file in result["files"] if file["path"].startswith("text/")]
    assert datasets.load_dataset(str(out), split="train", cache_dir=cache)["text"][:] == expected
    assert datasets.load_dataset(str(out), "held_out", split="test", cache_dir=cache).num_rows > 0
    assert datasets.load_dataset(builder, data_files=files, split="train", cache_dir=cache)["text"][:] == expected


def test_a_text_that_changed_in_place_is_named_and_nothing_is_left(corpus: Path, tmp_path: Path) -> None:
    path = corpus / "lake.parquet"
    before = path.read_bytes()
    place = Workspace(corpus / "ws")
    (shard, *_) = next(s for s in open_mixture(place, "all").state().source_documents(place) if s.name == "lake").shards
    first = id_text(shard.read_core(["doc_id"])["doc_id"][0])
    lake = pl.read_parquet(path)
    changed = lake.with_columns(
        body=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("an other text")).otherwise("body")
    )
    try:
        changed.write_parquet(path, row_group_size=8)
        with pytest.raises(InputError, match=rf"lake\.parquet: document {first} is not the text that was tokenised"):
            mixture_export("all", tmp_path / "new" / "out", corpus / "ws")
    finally:
        path.write_bytes(before)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(RecipeError, match="not empty"):
        mixture_export("all", tmp_path, corpus / "ws")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_card_names_version_licences_and_what_was_searched(corpus: Path, tmp_path: Path) -> None:
    result = mixture_export("all", tmp_path / "out", corpus / "ws")
    _, front, card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(front)["configs"][0]["data_files"] == [{"split": "train", "path": "text/*.parquet"}]
    assert result["digest"] in card
    assert "| web | 0 | text | 36 | 1,670 | CC0-1.0 1, unknown 35 |" in card
    assert "benchmark `quiz`: 56 documents searched, 0 hold some of it" in card
    assert json.loads((tmp_path / "out" / "dataset_info.json").read_text()) == {
        "all_text": {"file_name": "text", "columns": {"prompt": "text"}}
    }


@pytest.mark.parametrize("columns", [60, 120])
def test_what_a_terminal_shows_fits_it(
    corpus: Path, tmp_path: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(tmp_path)
    shown = show_export(mixture_export("all", "out", corpus / "ws", held_out=True))
    assert max(map(len, shown.splitlines())) <= columns
    assert "56 rows of 56 documents" in shown


def test_spans_of_a_chat_are_edited_in_their_messages() -> None:
    chat = [{"role": "user", "content": "écrivez à a@b.fr"}, {"role": "assistant", "content": "to c@d.org today"}]
    first, second = (chat[0]["content"].encode(), chat[1]["content"].encode())
    start = len(first) + 2
    edits = Edits(
        cuts=[(start + second.index(b" today"), start + len(second))],
        replacements=[
            (first.index(b"a@"), len(first), "<EMAIL>"),
            (start + 3, start + 10, "<EMAIL>"),
        ],
    )
    assert edited_chat(chat, edits) == [
        {"role": "user", "content": "écrivez à <EMAIL>"},
        {"role": "assistant", "content": "to <EMAIL>"},
    ]


def test_chats_are_written_as_messages(tmp_path: Path) -> None:
    chats = [[{"role": "user", "content": f"ask {n}"}, {"role": "assistant", "content": f"say {n}"}] for n in range(3)]
    records = [{"id": str(number), "messages": chat} for number, chat in enumerate(chats)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    source = {"stage": "chat", "name": "chats", "path": "chats.jsonl", "columns": {"id": "id"}}
    (tmp_path / "recipe.yaml").write_text(json.dumps({"name": "chats", "sources": [source]}))
    run(tmp_path / "recipe.yaml", tmp_path / "ws")
    from engine.formats.state import require_state

    place = Workspace(tmp_path / "ws")
    sources = require_state(place).source_documents(place)
    ids = sources[0].shards[0].read_core(["doc_id"])["doc_id"].to_list()
    messages = sources[0].shards[0].read_messages().to_pylist()
    rows = pl.DataFrame(
        {
            "doc_id": ids,
            "source": "chats",
            "is_replay": False,
            "phase": "all",
            "repeats": 1,
            "text_digest": chat_digests(pa.array(messages, MESSAGES)),
            "kind": kinds_of(sources)["chats"],
            "position": [2, 0, 1],
            "bucket": 0,
            "control": ["<|lang:en|>", None, None],
        }
    )
    (tmp_path / "scratch").mkdir()
    gather(rows, sources, lambda _: {}, (), tmp_path / "scratch")
    (file,) = write_kind("messages", (), tmp_path / "scratch", tmp_path, "parquet")
    written = pl.read_parquet(tmp_path / file.path)["messages"].to_list()
    messages[0][0]["content"] = "<|lang:en|>" + messages[0][0]["content"]
    assert written == [messages[1], messages[2], messages[0]]
