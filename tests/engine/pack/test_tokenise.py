"""The token store holds every document once, in the order of doc_id, whoever encoded it in whatever batch."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.base.errors import InputError
from engine.base.hashing import digest_bytes
from engine.formats.receipt import read_receipt
from engine.formats.token_store import TokenStore, open_token_store
from engine.formats.tokenizer import Tokenizer, decode, load_tokenizer
from engine.pack import encode_documents, store_writer
from engine.pack.control_slots import add_control_tokens
from engine.pack.encode_documents import Batch
from engine.pack.render import RenderConfig
from engine.pack.tokenise import FILES, build_token_store, documents_digest, token_store_digest
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer

Document = tuple[bytes, str, str]
PLAIN = RenderConfig()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    config = TokenizerTraining(sources=["a"], vocab_size=300, control_slots=2)
    train_tokenizer(["to be or not to be, that is the question"] * 3, config, folder)
    return load_tokenizer(folder)


def documents(count: int, seed: int = 0) -> list[Document]:
    chooser = random.Random(seed)
    words = ["to", "be", "or", "not", "\n", "  ", "question", "\u00e9\u00e9", "x" * 40]
    texts = [" ".join(chooser.choices(words, k=chooser.randrange(1, 30))) for _ in range(count)]
    return [(digest_bytes(str(n).encode()), chooser.choice("ab"), text) for n, text in enumerate(texts)]


def batches(of: list[Document], size: int) -> list[Batch]:
    cut = [of[start : start + size] for start in range(0, len(of), size)]
    return [Batch([d for d, _, _ in part], [s for _, s, _ in part], [t for _, _, t in part]) for part in cut]


def digest(tokenizer: Tokenizer, of: list[Document], config: RenderConfig = PLAIN) -> str:
    texts = sorted((doc_id, digest_bytes(text.encode())) for doc_id, _, text in of)
    return token_store_digest(tokenizer.meta.digest, config, texts)


def build(tokenizer: Tokenizer, of: list[Document], folder: Path, size: int = 100, jobs: int = 2) -> TokenStore:
    return build_token_store(batches(of, size), tokenizer, RenderConfig(), folder, digest(tokenizer, of), jobs)


def test_every_document_is_there_with_its_tokens_in_the_order_of_doc_id(tmp_path: Path, tokenizer: Tokenizer) -> None:
    given_documents = documents(50)
    store = build(tokenizer, given_documents, tmp_path / "store", size=7)
    rows = store.documents().to_dicts()
    assert [row["doc_id"] for row in rows] == sorted(doc_id for doc_id, _, _ in given_documents)
    by_id = {doc_id: (source, text) for doc_id, source, text in given_documents}
    expected_offset = 0
    for row in rows:
        source, text = by_id[row["doc_id"]]
        ids = tokenizer.encode([text])[0].tolist()
        assert row["offset"] == expected_offset
        assert store.ids[row["offset"] :][: row["num_tokens"]].tolist() == [*ids, tokenizer.meta.eos_id]
        assert store.supervised(row["offset"], row["num_tokens"]).tolist() == [False] + [True] * len(ids)
        assert (row["source"], row["num_bytes"], row["supervised_tokens"]) == (source, len(text.encode()), len(ids))
        assert decode(tokenizer, ids) == text
        expected_offset += row["num_tokens"]
    assert store.meta.num_tokens == expected_offset == store.ids.size
    assert store.ids.dtype == np.uint16


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.integers(1, 60), st.integers(1, 3), st.sampled_from([1, 40, 1 << 20]))
def test_no_order_batch_chunk_or_number_of_threads_changes_a_byte(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    tokenizer: Tokenizer,
    random: random.Random,
    size: int,
    jobs: int,
    chunk_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    given_documents = documents(60)
    with monkeypatch.context() as patch:
        build(tokenizer, given_documents, folder / "one")
        patch.setattr(encode_documents, "_CHUNK_BYTES", chunk_bytes)
        patch.setattr(store_writer, "_GATHERED_TOKENS", chunk_bytes)
        random.shuffle(given_documents)
        build(tokenizer, given_documents, folder / "two", size, jobs)
    for file in FILES:
        assert (folder / "one" / file).read_bytes() == (folder / "two" / file).read_bytes()


def test_batches_may_be_arrow_or_polars_columns(tmp_path: Path, tokenizer: Tokenizer) -> None:
    given_documents = documents(20)
    frame = pl.DataFrame(
        given_documents, schema={"doc_id": pl.Binary, "source": pl.String, "text": pl.String}, orient="row"
    )
    columns: list[Batch] = [
        Batch(frame["doc_id"], frame["source"], frame["text"].to_arrow()),  # type: ignore[arg-type]
    ]
    build(tokenizer, given_documents, tmp_path / "one")
    build_token_store(columns, tokenizer, RenderConfig(), tmp_path / "two", digest(tokenizer, given_documents), 1)
    assert (tmp_path / "one" / "ids.bin").read_bytes() == (tmp_path / "two" / "ids.bin").read_bytes()


def test_control_tokens_are_ids_in_front_and_named_in_a_file(tmp_path: Path, tokenizer: Tokenizer) -> None:
    meta = add_control_tokens(tokenizer, ["<|a:x|>", "<|b:y|>"], False, tmp_path / "copy")
    copy = load_tokenizer(tmp_path / "copy")
    first, second = meta.control_tokens["<|a:x|>"], meta.control_tokens["<|b:y|>"]
    rows = [(bytes([n]) * 16, "s", "to be") for n in range(4)]
    controls: list[list[int] | None] = [None, [first, second], [second], None]
    names = []
    for tags in (controls, [None] * 4, [None, [first, second], [first], None]):
        texts = [(doc_id, digest_bytes(text.encode())) for doc_id, _, text in rows]
        pairs = [(*one, tag) for one, tag in zip(texts, tags, strict=True)]
        names.append(token_store_digest(copy.meta.digest, PLAIN, pairs))
    assert len(set(names)) == 3
    batch = batches(rows, 4)[0]._replace(control_ids=pl.Series(controls, dtype=pl.List(pl.Int32)))
    store = build_token_store([batch], copy, PLAIN, tmp_path / "store", names[0], 1)
    plain = copy.encode(["to be"])[0].tolist()
    for row, tags in zip(store.documents().to_dicts(), controls, strict=True):
        front = tags or []
        assert store.ids[row["offset"] :][: row["num_tokens"]].tolist() == [*front, *plain, copy.meta.eos_id]
        bits = store.supervised(row["offset"], row["num_tokens"])
        assert not bits[: max(1, len(front))].any()
        assert bits[max(1, len(front)) :].all()
    assert pl.read_parquet(tmp_path / "store" / "control_tokens.parquet").select("position", "token").rows() == [
        (0, "<|a:x|>"),
        (1, "<|b:y|>"),
        (0, "<|b:y|>"),
    ]


def test_an_encoder_that_yields_a_special_token_is_refused_with_the_document(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    def encode(texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array([4 if text == "forged" else 9], np.int32) for text in texts]

    forging = Tokenizer(tokenizer.meta, tokenizer.folder, encode)
    rows = [(bytes([number]) * 16, "web", text) for number, text in enumerate(["a", "forged", "b"])]
    found = (
        r"document 01010101-0101-0101-0101-010101010101 of source web is encoded to the special token '<\|control:0\|>'"
    )
    with pytest.raises(InputError, match=found):
        build(forging, rows, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_texts_other_than_those_of_the_digest_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    given_documents = documents(5)
    name = digest(tokenizer, given_documents)
    doc_id, source, text = given_documents[3]
    given_documents[3] = (doc_id, source, text + "!")
    with pytest.raises(InputError, match="the texts changed since they were read in"):
        build_token_store(batches(given_documents, 2), tokenizer, RenderConfig(), tmp_path / "store", name, 2)
    assert not list(tmp_path.iterdir())


def test_a_failure_in_a_batch_leaves_nothing_behind(tmp_path: Path, tokenizer: Tokenizer) -> None:
    def broken() -> object:
        yield batches(documents(3), 3)[0]
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        build_token_store(broken(), tokenizer, RenderConfig(), tmp_path / "store", "", 2)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_no_documents_make_an_empty_store(tmp_path: Path, tokenizer: Tokenizer) -> None:
    store = build(tokenizer, [], tmp_path / "store")
    assert (store.meta.num_documents, store.meta.num_tokens, store.documents().height) == (0, 0, 0)
    assert open_token_store(tmp_path / "store").ids.size == 0


def test_the_digest_names_documents_texts_tokenizer_and_options() -> None:
    one = [(b"a" * 16, b"x" * 16), (b"b" * 16, b"y" * 16)]
    names = {
        token_store_digest("t", RenderConfig(), one),
        token_store_digest("u", RenderConfig(), one),
        token_store_digest("t", RenderConfig(bos=True), one),
        token_store_digest("t", RenderConfig(), one[:1]),
        token_store_digest("t", RenderConfig(), [one[0], (b"b" * 16, b"z" * 16)]),
    }
    assert len(names) == 5
    with pytest.raises(AssertionError):
        documents_digest(one[::-1])


def test_the_receipt_says_what_the_digest_was_made_of(tmp_path: Path, tokenizer: Tokenizer) -> None:
    given_documents = documents(9)
    store = build(tokenizer, given_documents, tmp_path / "store")
    receipt = read_receipt(tmp_path / "store")
    assert receipt is not None
    assert (receipt.digest, receipt.rows) == (digest(tokenizer, given_documents), 9)
    assert receipt.inputs["tokenizer"] == tokenizer.meta.digest
    assert set(receipt.details["files"]) == set(FILES)
    assert receipt.details["supervised_tokens"] == store.documents()["supervised_tokens"].sum()
