"""Counts are those of encoding the whole text; sums over groups are sums over documents; shards change nothing."""

import json
import random
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.annotate import tokens
from engine.annotate.tokens import Config, count_tokens
from engine.base.errors import InputError, RecipeError
from engine.base.stage import prefixed, stage_files, stage_reads
from engine.formats.encoder import open_encoder
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer

World = Callable[..., Any]
made = runpy.run_path(str(Path(__file__).parent / "tokenizers_made.py"))
SENTENCES = [f"the {a} {b} of the {c}" for a in ("old", "new") for b in ("house", "river") for c in ("town", "king")]
NAMES = ("hf", "sp", "unigram", "ours")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of every kind, by name."""
    folder = tmp_path_factory.mktemp("tokenizers")
    made["huggingface_file"](folder / "hf" / "tokenizer.json", SENTENCES, 300)
    made["sentencepiece_file"](folder / "sp" / "tokenizer.model", SENTENCES * 9, 310)
    made["sentencepiece_file"](folder / "unigram" / "tokenizer.model", SENTENCES * 9, 290, model_type="unigram")
    train_tokenizer(SENTENCES, TokenizerTraining(sources=["a"], vocab_size=310), folder / "ours")
    return folder


def library_count(folder: Path, name: str) -> Callable[[str], int]:
    """Count with the library itself, the whole text in one call."""
    if name == "hf":
        library = tokenizers.Tokenizer.from_file(str(folder / name / "tokenizer.json"))
        library.encode_special_tokens = True
        return lambda text: len(library.encode(text, add_special_tokens=False))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / name / "tokenizer.model"))
    return lambda text: len(processor.encode(text))


def config(folder: Path, name: str = "ours", **options: Any) -> Config:
    return Config(tokenizer=str(folder / name), **options)


DOCUMENTS = {
    "web": {
        "w1": "the old house of the town", "w2": None, "w3": "  \n ", "w4": "", "w5": "the river\n\nthe new king",
        "w6": "-- !! --",
    },
    "med": {
        "m1": "the hypertension of the old king", "m2": "Hypertension and hypertension: \u6f22\u5b57",
        "m3": "hypertension <|endoftext|> </s> <s> <unk> <|control:0|>", "m4": "the river hypertension",
    },
}  # fmt: skip
DOMAINS = {"m1": "medical", "m2": "medical", "m3": "nursing", "m4": "medical", "w1": "prose"}


def run(world: World, config: Config, documents: Any = None, shard_rows: int = 3, **core: Any) -> Any:
    return world(documents or DOCUMENTS, shard_rows, domain=DOMAINS, **core).run(tokens, config)


def table(done: Any, name: str) -> list[dict[str, Any]]:
    return pl.read_parquet(done.artifacts["tokens"] / f"{name}.parquet").to_dicts()


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_those_of_the_library_and_lookalikes_are_plain_text(world: World, folder: Path, name: str) -> None:
    counts = run(world, config(folder, name)).by_name("tokens__count")
    count = library_count(folder, name)
    texts = {key: text for of_source in DOCUMENTS.values() for key, text in of_source.items()}
    assert counts == {key: None if text is None else count(text) for key, text in texts.items()}
    assert counts["m3"] > 20


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=30)), max_size=12), st.sampled_from(NAMES), st.integers(1, 60))
def test_counts_do_not_depend_on_batches(folder: Path, texts: list[str | None], name: str, batch_bytes: int) -> None:
    texts = [None if text is None else text.encode("utf-8", "replace").decode() for text in texts]
    count = library_count(folder, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "BATCH_BYTES", batch_bytes)
        found = count_tokens(open_encoder(folder / name), pl.Series("text", texts, dtype=pl.String))
    assert found.to_list() == [None if text is None else count(text) for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf", "unigram", "ours"])
def test_document_of_five_megabytes_has_the_count_of_the_whole_text(world: World, folder: Path, name: str) -> None:
    draw = random.Random(7)
    words = [word for sentence in SENTENCES for word in sentence.split()]
    words += ["\n", "\n\n", " ", "hypertension", "\u6f22"]
    text = " ".join(draw.choices(words, k=1_200_000))
    assert len(text.encode()) > 5_000_000
    count = library_count(folder, name)
    done = run(world, config(folder, name), {"web": {"long": text, "short": "the town"}})
    assert done.by_name("tokens__count") == {"long": count(text), "short": count("the town")}


def test_ratios_are_rounded_down_and_null_where_nothing_divides(world: World, tmp_path: Path) -> None:
    made["character_file"](tmp_path / "tokenizer.json")
    texts = {"a": "ab, cde", "b": "abcd-efg hi!", "c": None, "d": " \n ", "e": "", "f": "-- !!"}
    done = run(world, Config(tokenizer=str(tmp_path)), {"web": texts})
    assert done.by_name("tokens__count") == {"a": 6, "b": 11, "c": None, "d": 0, "e": 0, "f": 4}
    assert done.by_name("tokens__per_word") == {"a": 3.0, "b": 3.6666, "c": None, "d": None, "e": None, "f": None}
    assert done.by_name("tokens__per_byte") == {"a": 0.8571, "b": 0.9166, "c": None, "d": 0.0, "e": None, "f": 0.8}


def test_sums_over_groups_are_sums_over_documents(world: World, folder: Path) -> None:
    done = run(world, config(folder, general={"sources": ["web"]}))
    fit = table(done, "fit")
    groups = [(row["source"], row["domain"], row["is_general"], row["documents"]) for row in fit]
    assert groups == [
        ("med", "medical", False, 3), ("med", "nursing", False, 1), ("web", "prose", True, 1), ("web", None, True, 4),
    ]  # fmt: skip
    counts = [count for count in done.by_name("tokens__count").values() if count is not None]
    assert sum(row["tokens"] for row in fit) == sum(counts)
    assert sum(row["documents"] for row in fit) == len(counts) == 9
    texts = [text for of_source in DOCUMENTS.values() for text in of_source.values() if text]
    assert sum(row["bytes"] for row in fit) == sum(len(text.encode()) for text in texts)
    details = json.loads((done.artifacts["tokens"] / "details.json").read_text())
    assert (details["tokens"], details["groups"]) == (sum(counts), 4)


def test_groups_are_compared_with_the_general_text_taken_together(world: World, folder: Path) -> None:
    fit = table(run(world, config(folder, general={"sources": ["web"]})), "fit")
    whole = {name: sum(row[name] for row in fit if row["is_general"]) for name in ("tokens", "bytes", "words")}
    for row in fit:
        tokens_, size, words = row["tokens"], row["bytes"], row["words"]
        assert row["tokens_per_byte"] == tokens_ * 10_000 // size / 10_000
        assert row["bytes_per_token"] == size * 10_000 // tokens_ / 10_000
        assert row["tokens_per_word"] == (tokens_ * 10_000 // words / 10_000 if words else None)
        expected = tokens_ * whole["bytes"] / (size * whole["tokens"])
        assert row["ratio_per_byte"] == pytest.approx(expected, abs=1e-4)
        assert row["tokens_over_general"] == tokens_ - size * whole["tokens"] // whole["bytes"]
    assert fit[1]["ratio_per_byte"] > 1


def test_without_general_text_comparisons_are_null_and_all_groups_have_words(world: World, folder: Path) -> None:
    done = run(world, config(folder))
    for row in table(done, "fit"):
        assert row["ratio_per_word"] is row["ratio_per_byte"] is row["tokens_over_general"] is None
        assert row["is_general"] is False
    words = table(done, "shattered")
    assert [row["word"] for row in words] == ["hypertension"]
    assert words[0]["general_occurrences"] is words[0]["rate_ratio"] is None


def test_the_domain_may_be_a_column_of_another_stage(world: World, folder: Path) -> None:
    labels = {"domain__label": dict.fromkeys(["m1", "m2"], "heart") | {"w1": "home"}}
    labelled = world(DOCUMENTS).add_columns("domain", labels, {"domain__label": pl.String})
    settings_of = config(folder, domain_column="domain__label")
    assert "domain__label" in stage_reads(tokens, settings_of)
    fit = table(labelled.run(tokens, settings_of), "fit")
    found = [(row["source"], row["domain"], row["documents"]) for row in fit]
    assert found == [("med", "heart", 2), ("med", None, 2), ("web", "home", 1), ("web", None, 4)]


def test_a_domain_is_a_single_value(world: World, folder: Path) -> None:
    assert {row["domain"] for row in table(run(world, config(folder, domain_column="source")), "fit")} == {"web", "med"}
    with pytest.raises(
        RecipeError, match=r"^base_tokens: domain_column: doc_id is of type Binary\. Needed: a column of single values"
    ):
        run(world, config(folder, domain_column="doc_id", **{"as": "base_tokens"}))


@pytest.mark.parametrize("name", ["hf", "ours"])
def test_no_cut_into_shards_and_no_order_of_rows_changes_anything(world: World, folder: Path, name: str) -> None:
    options = {"general": {"sources": ["web"]}, "min_documents": 1}
    shuffled = {
        source: dict(random.Random(3).sample(sorted(texts.items()), len(texts)))
        for source, texts in reversed(DOCUMENTS.items())
    }
    one = run(world, config(folder, name, **options), shard_rows=2)
    other = run(world, config(folder, name, **options), shuffled, shard_rows=100)
    for column in tokens.ADDS:
        assert one.by_name(column) == other.by_name(column)
    for file in ("fit.parquet", "shattered.parquet", "details.json"):
        assert (one.artifacts["tokens"] / file).read_bytes() == (other.artifacts["tokens"] / file).read_bytes()


def test_no_document_at_all_makes_empty_tables(world: World, folder: Path) -> None:
    done = run(world, config(folder, general={"sources": ["web"]}), {"web": {"w1": None}})
    assert table(done, "fit") == table(done, "shattered") == []
    assert done.by_name("tokens__count") == {"w1": None}


def test_a_second_instance_has_its_own_prefix(world: World, folder: Path) -> None:
    second = Config.model_validate({"stage": "tokens", "as": "base_tokens", "tokenizer": str(folder / "hf")})
    assert prefixed("tokens__count", second) == "base_tokens__count"


def test_settings_of_the_tables_leave_the_counts_as_they_are(folder: Path) -> None:
    plain, other = config(folder), config(folder, general={"sources": ["web"]}, sample_bytes=5_000)
    assert tokens.part_config(plain) == tokens.part_config(other)
    assert tokens.part_config(plain) != tokens.part_config(config(folder, "hf"))
    assert stage_files(tokens, plain) == {"tokenizer": [str(folder / "ours")]}


def test_unknown_tokenizer_is_an_error(world: World, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(50))
    with pytest.raises(InputError, match=r"model\.gguf: not a SentencePiece model .* Needed: "):
        run(world, Config(tokenizer=str(path)))


def test_unknown_source_of_general_text_is_an_error(world: World, folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"tokens: general\.sources: no source 'wbe' .* did you mean 'web'\?"):
        run(world, config(folder, general={"sources": ["wbe"]}))
    with pytest.raises(RecipeError, match=r"^base_tokens: general\.sources: no source 'wbe'"):
        run(world, config(folder, general={"sources": ["wbe"]}, **{"as": "base_tokens"}))
    with pytest.raises(ValidationError):
        config(folder, general={"sources": []})


def test_counts_fit_their_type(world: World, folder: Path) -> None:
    frame = run(world, config(folder)).corpus().all_columns(list(tokens.ADDS))
    assert {name: frame.schema[name] for name in tokens.ADDS} == {n: c.dtype for n, c in tokens.ADDS.items()}
