import math

import polars as pl
import pytest
import torch

from engine.base.errors import InputError
from engine.formats.mixture import open_mixture
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.run import PROBES_SCHEMA
from engine.formats.split import Split
from engine.formats.tokenizer import Tokenizer
from engine.formats.workspace import Workspace
from trainers.language_model import LanguageModel
from trainers.lineage import Base
from trainers.model import load_base
from trainers.probes import ProbeDocument, measure, probe_documents
from trainers.recipe import ProbesConfig, TinyConfig

CPU = torch.device("cpu")


@pytest.fixture
def model(tokenizer: Tokenizer) -> LanguageModel:
    tiny = TinyConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64)
    return LanguageModel(load_base(Base("tiny", "tiny", "", tiny=tiny), tokenizer, 4096, seed=3))


@pytest.fixture
def split(workspace: Workspace) -> Split:
    digest = open_mixture(workspace, "mixed").manifest.split
    assert digest is not None
    return Split(workspace.split(digest), digest)


@pytest.fixture
def documents(split: Split, tokenizer: Tokenizer) -> list[ProbeDocument]:
    return probe_documents(ProbesConfig(general=["general"], domain=["code"]), split, tokenizer)


def naive_nats(model: LanguageModel, ids: list[int], context: int) -> float:
    """Window by window through the model's own forward pass; each starts on the last token of the one before."""
    total = 0.0
    for start in range(0, len(ids) - 1, context - 1):
        window = torch.tensor([ids[start : start + context]])
        logits = model.causal(input_ids=window, use_cache=False).logits[0, :-1].double()
        total += float(torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum"))
    return total


@pytest.mark.parametrize("context", [16, 64, 4096])
@torch.no_grad()
def test_nats_are_those_of_each_document_alone(
    model: LanguageModel, documents: list[ProbeDocument], context: int
) -> None:
    documents = documents[::4]
    found = measure(model, documents, 7, context, CPU)
    assert found.schema == pl.Schema(PROBES_SCHEMA)
    assert found.get_column("step").unique().to_list() == [7]
    assert found.get_column("doc_id").to_list() == [document.doc_id for document in documents]
    expected = [naive_nats(model, document.ids.tolist(), context) for document in documents]
    assert found.get_column("nats").to_list() == pytest.approx(expected, rel=1e-5)


def test_every_token_but_the_first_is_a_label_and_all_bytes_count(
    model: LanguageModel, documents: list[ProbeDocument], split: Split
) -> None:
    found = measure(model, documents, 0, 16, CPU)
    assert found.get_column("tokens").to_list() == [len(document.ids) - 1 for document in documents]
    texts = dict(split.heldout().select("doc_id", "text").iter_rows())
    assert found.get_column("bytes").to_list() == [len(texts[document.doc_id].encode()) for document in documents]


def test_blank_head_gives_each_token_the_nats_of_a_uniform_guess(
    model: LanguageModel, documents: list[ProbeDocument]
) -> None:
    model.head.data.zero_()
    found = measure(model, documents, 0, 64, CPU)
    expected = [(len(document.ids) - 1) * math.log(512) for document in documents]
    assert found.get_column("nats").to_list() == pytest.approx(expected, rel=1e-6)


def test_measuring_leaves_weights_and_mode(model: LanguageModel, documents: list[ProbeDocument]) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure(model.train(), documents, 0, 64, CPU)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_first_documents_by_doc_id_are_taken(split: Split, tokenizer: Tokenizer) -> None:
    config = ProbesConfig(general=["general"], domain=["code"], max_documents=5)
    found = probe_documents(config, split, tokenizer)
    assert [document.probe for document in found] == ["general"] * 5 + ["code"] * 5
    general = split.heldout().filter(pl.col("set") == "general").get_column("doc_id").sort().to_list()
    assert [document.doc_id for document in found[:5]] == general[:5]


def test_set_without_a_document_of_two_tokens_is_refused(split: Split, tokenizer: Tokenizer) -> None:
    path = split.folder / "heldout.parquet"
    frame = read_parquet(path)
    text = pl.when(pl.col("set") == "code").then(pl.lit("")).otherwise("text")
    write_parquet(path, frame.with_columns(text.alias("text")))
    with pytest.raises(InputError, match="held-out set 'code' has no document of two tokens or more"):
        probe_documents(ProbesConfig(domain=["code"]), split, tokenizer)
