"""perplexity: what transformers says of each document alone, whatever it is scored together with."""

import json
import math
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel

import trainers.annotators.perplexity.scorer as scoring
from engine.base.errors import InputError, RecipeError, ResourceError
from engine.formats.tokenizer import Tokenizer as StoreTokenizer
from engine.recipe import check_recipe
from engine.verbs import run
from tests.trainers.annotators.tiny_llama import POSITIONS, write_model, write_tokenizer
from trainers.annotators import perplexity
from trainers.annotators.perplexity import Config
from trainers.annotators.perplexity.passages import CHARS_PER_TOKEN, Passage, PassageReader, batches, padded_width
from trainers.tokenizer_files import write_tokenizer as write_run_tokenizer

BITS, LOSS, TOKENS = (f"perplexity__{name}" for name in ("bits_per_byte", "loss", "tokens"))
World = Callable[..., Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


def config(folder: Path, **options: Any) -> Config:
    return Config(model=str(folder), device="cpu", **options)


def sentences(count: int) -> dict[str, str | None]:
    draw = random.Random(count)
    words = ["the", "cat", "sat", "on", "a", "mat", "naïve", "你好", "😀", "dog,", "ran", "after", "that", "hat\n\n"]
    return {f"d{number:03}": " ".join(draw.choices(words, k=draw.randint(2, 40))) for number in range(count)}


def plain_scores(folder: Path, text: str, max_tokens: int = POSITIONS) -> tuple[float, float, int]:
    """(bits per byte, loss, tokens) by the forward pass of transformers, for text of one byte a character."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoding = tokenizer.encode(text, add_special_tokens=True)
    ids = encoding.ids[:max_tokens]
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        loss = float(model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss)
    # Every piece of a byte-level tokenizer has one character a byte.
    num_bytes = sum(len(piece) for piece in encoding.tokens[1:max_tokens])
    return loss * (len(ids) - 1) / math.log(2) / num_bytes, loss, len(ids) - 1


def test_scores_are_those_of_transformers_one_document_at_a_time(world: World, model: Path) -> None:
    texts = {
        "long": "the dog ran after the cat " * 30,
        "mid": "the man sat on his hat" * 3,
        "short": "a mat",
        "x": "xy",
    }
    scored = world({"web": texts}).run(perplexity, config(model, batch_tokens=64)).columns(BITS, LOSS, TOKENS)
    for number, name in enumerate(scored["doc_id"]):
        bits, loss, tokens = plain_scores(model, texts[name])
        assert scored[BITS][number] == pytest.approx(bits, abs=1.1e-4)
        assert scored[LOSS][number] == pytest.approx(loss, abs=1.1e-4)
        assert scored[TOKENS][number] == tokens
    assert all(round(value, 4) == value for value in scored[BITS] + scored[LOSS])


def test_what_the_tokenizer_puts_in_front_is_context_and_every_token_is_scored(world: World, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "with_bos", with_bos=True)
    scored = world({"web": {"a": "the cat\n", "b": "t"}}).run(perplexity, config(folder)).columns(LOSS, TOKENS)
    for number, text in enumerate(["the cat\n", "t"]):
        _, loss, tokens = plain_scores(folder, text)
        assert tokens == len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids) - 1
        assert (scored[LOSS][number], scored[TOKENS][number]) == (pytest.approx(loss, abs=1.1e-4), tokens)


def test_order_of_words_matters(world: World, model: Path) -> None:
    scored = world({"web": {"a": "the cat sat on the mat", "b": "mat the on sat cat the"}}).run(
        perplexity, config(model)
    )
    assert len(set(scored.by_name(LOSS).values())) == 2


@pytest.mark.parametrize("batch_tokens", [1, 200])
def test_scores_are_the_same_bits_in_any_shards_and_order(world: World, model: Path, batch_tokens: int) -> None:
    texts = sentences(40)
    backwards = dict(reversed(texts.items()))
    options = config(model, batch_tokens=batch_tokens)
    one = world({"web": texts}, shard_rows=100).run(perplexity, options).columns(BITS, LOSS, TOKENS)
    assert None not in one[LOSS]
    for other in (world({"web": texts}, shard_rows=1), world({"web": backwards}, shard_rows=7)):
        assert other.run(perplexity, options).columns(BITS, LOSS, TOKENS) == one


def test_unrounded_sums_do_not_depend_on_the_company(model: Path) -> None:
    texts = [text for text in sentences(40).values() if text is not None]
    scorer = scoring.load_scorer(config(model))
    together = scorer.score(texts, batch_tokens=300)
    assert [scorer.score([text], batch_tokens=300)[0] for text in texts] == together


def test_blank_texts_have_no_score_and_a_single_token_no_loss(world: World, model: Path) -> None:
    texts = {"a": "the cat", "blank": " \n\t", "empty": "", "null": None, "one": "t"}
    scored = world({"web": texts}).run(perplexity, config(model)).columns(BITS, LOSS, TOKENS)
    assert [value is None for value in scored[BITS]] == [False, True, True, True, True]
    assert [value is None for value in scored[LOSS]] == [False, True, True, True, True]
    assert scored[TOKENS][1:] == [None, None, None, 0]


def test_sample_is_a_share_of_the_ids_whatever_the_shards(world: World, model: Path) -> None:
    texts = sentences(60)

    def drawn(share: float, seed: int, shard_rows: int) -> set[str]:
        made = world({"web": texts}, shard_rows=shard_rows).run(perplexity, config(model, sample=share, seed=seed))
        return {name for name, tokens in made.by_name(TOKENS).items() if tokens is not None}

    some = drawn(0.3, 1, 100)
    assert 5 <= len(some) <= 35
    assert drawn(0.3, 1, 7) == some
    assert drawn(0.3, 2, 100) != some
    assert some < drawn(0.6, 1, 100) < set(texts) == drawn(1.0, 1, 100)


def test_a_document_of_five_megabytes_is_scored_on_its_beginning(world: World, model: Path) -> None:
    huge = "the cat sat on the mat \u4f60\u597d " * 180_000
    texts = {"a": huge, "b": huge[: CHARS_PER_TOKEN * 20]}
    scored = world({"web": texts}).run(perplexity, config(model, max_tokens=20)).columns(BITS, LOSS, TOKENS)
    assert scored[TOKENS] == [19, 19]
    assert scored[LOSS][0] == scored[LOSS][1] == pytest.approx(plain_scores(model, huge[:100], 20)[1], abs=1.1e-4)


def test_special_tokens_written_in_a_text_are_text(model: Path) -> None:
    (passage,) = PassageReader(model).read(["a<bos>"], 50)
    assert (len(passage.ids), passage.num_bytes) == (6, 5)


@pytest.mark.parametrize(
    ("text", "max_tokens", "ids", "first", "num_bytes"),
    [
        ("xyz", 9, 3, 1, 2),
        ("xyz", 2, 2, 1, 1),
        ("\u4f60xy", 9, 5, 3, 2),  # three bytes of one character before the first that can be scored
        ("xy\u4f60z", 9, 6, 1, 5),
        ("xy\u4f60z", 5, 5, 1, 4),
        ("xy\u4f60z", 4, 2, 1, 1),  # the fourth token ends inside the character
        ("\U0001f600", 9, 4, 4, 0),
        ("x\U0001f600", 3, 1, 1, 0),
        ("", 9, 0, 0, 0),
    ],
)
def test_bytes_are_those_of_whole_characters_of_scored_tokens(
    model: Path, text: str, max_tokens: int, ids: int, first: int, num_bytes: int
) -> None:
    (passage,) = PassageReader(model).read([text], max_tokens)
    assert (len(passage.ids), passage.first, passage.num_bytes) == (ids, first, num_bytes)


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[PassageReader, Tokenizer]]:
    """With a BOS or without -> reader and tokenizer."""
    folders = {with_bos: tmp_path_factory.mktemp("tokenizer") for with_bos in (False, True)}
    tokenizers = {with_bos: write_tokenizer(folder, with_bos) for with_bos, folder in folders.items()}
    return {with_bos: (PassageReader(folder), tokenizers[with_bos]) for with_bos, folder in folders.items()}


@given(
    text=st.text(alphabet=st.sampled_from("the cat\n \t\u00e9\u4f60\U0001f600\u0301"), max_size=60),
    max_tokens=st.integers(2, 40),
    with_bos=st.booleans(),
)
@settings(deadline=None)
def test_bytes_of_byte_level_pieces_add_up(
    readers: dict[bool, tuple[PassageReader, Tokenizer]], text: str, max_tokens: int, with_bos: bool
) -> None:
    reader, tokenizer = readers[with_bos]
    (passage,) = reader.read([text], max_tokens)
    pieces = [tokenizer.id_to_token(int(number)) for number in passage.ids]
    assert len(pieces) <= max_tokens
    assert passage.num_bytes == sum(len(piece) for piece in pieces[passage.first :])
    scored = tokenizer.decode(passage.ids[passage.first :].tolist())
    assert scored in text
    assert len(scored.encode()) == passage.num_bytes


def test_bytes_of_a_run_with_byte_fallback_are_counted(tokenizer: StoreTokenizer, tmp_path: Path) -> None:
    write_run_tokenizer(tokenizer, None, tmp_path, ["def read(self): return 1"])
    text = "x = '\u4f60' # \U0001f600 return"
    (passage,) = PassageReader(tmp_path).read([text], 100)
    (expected,) = tokenizer.encode([text])
    assert passage.ids.tolist() == expected.tolist()
    assert passage.num_bytes == len(text.encode()) - 1
    (cut,) = PassageReader(tmp_path).read([text], expected.tolist().index(expected[-1]) - 2)
    assert text.encode()[1 : 1 + cut.num_bytes].decode() in text


@given(lengths=st.lists(st.integers(1, 200), max_size=60), batch_tokens=st.integers(1, 2000))
def test_every_passage_is_in_one_batch_whose_shape_depends_on_its_length_alone(
    lengths: list[int], batch_tokens: int
) -> None:
    passages = [Passage(torch.zeros(length).numpy(), 1, 1) for length in lengths]
    seen = []
    for chosen, rows, width in batches(passages, batch_tokens, 200):
        assert 0 < len(chosen) <= rows == max(1, batch_tokens // width)
        assert {padded_width(lengths[position], 200) for position in chosen} == {width}
        seen += chosen
    assert sorted(seen) == [position for position, length in enumerate(lengths) if length > 1]


def test_widths_waste_at_most_a_third() -> None:
    widths = [padded_width(length, 5000) for length in range(1, 5001)]
    assert sorted(set(widths))[:6] == [32, 48, 64, 96, 128, 192]
    assert all(length <= width < 1.5 * max(length, 32) for length, width in enumerate(widths, 1))


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {"format": "pt"})


def config_of(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def with_more_ids(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"word{number}" for number in range(20)])
    tokenizer.save(str(folder / "tokenizer.json"))


def as_encoder(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    options = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertLMHeadModel(BertConfig(vocab_size=304, **options)).save_pretrained(folder)


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no_config": (lambda f: (f / "config.json").unlink(), "it has no config.json"),
    "no_weights": (lambda f: (f / "model.safetensors").unlink(), r"no weights as \*.safetensors"),
    "no_tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "it has no tokenizer.json"),
    "adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "it holds an adapter"),
    "cut_weights": (lambda f: (f / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}"), "cannot be loaded"),
    "broken_config": (lambda f: (f / "config.json").write_text("{"), "cannot be loaded"),
    "unknown_type": (lambda f: config_of(f, model_type="nothing_known"), "cannot be loaded"),
    "other_width": (lambda f: config_of(f, hidden_size=64), "cannot be loaded"),
    "missing_weight": (lambda f: changed(f, lambda w: w.pop("model.norm.weight")), "1 weights are missing"),
    "broken_tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "cannot be read"),
    "more_ids": (with_more_ids, "304 embeddings for a tokenizer of 3"),
    "encoder": (as_encoder, "a bert model that sees later tokens"),
    "nan": (lambda f: changed(f, lambda w: w["model.norm.weight"].fill_(float("nan"))), "the model gives NaN"),
    "infinite_logit": (lambda f: changed(f, lambda w: w["lm_head.weight"].fill_(3e38)), "the model gives NaN"),
}


@pytest.mark.parametrize("case", BAD)
def test_folder_that_is_no_causal_model_with_its_tokenizer_is_named(
    world: World, model: Path, tmp_path: Path, case: str
) -> None:
    spoil, said = BAD[case]
    folder = Path(shutil.copytree(model, tmp_path / case))
    spoil(folder)
    with pytest.raises(InputError, match=said) as caught:
        world({"web": {"a": "the cat sat"}}).run(perplexity, config(folder))
    assert str(folder) in str(caught.value)


def test_weights_that_spoil_only_some_texts_are_reported(world: World, model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "one_row"))
    number = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("Z")
    changed(folder, lambda weights: weights["model.embed_tokens.weight"][number].fill_(float("nan")))
    assert world({"web": {"a": "the cat"}}).run(perplexity, config(folder)).by_name(TOKENS)["a"] > 0
    with pytest.raises(InputError, match="NaN or a probability of zero to text, in float32"):
        world({"web": {"a": "the cat", "b": "a Z cat"}}).run(perplexity, config(folder))


def test_more_tokens_than_the_model_has_positions_are_refused(world: World, model: Path) -> None:
    with pytest.raises(InputError, match=rf"knows {POSITIONS} positions, perplexity.max_tokens is {POSITIONS + 1}"):
        world({"web": {"a": "the cat"}}).run(perplexity, config(model, max_tokens=POSITIONS + 1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there_is_an_error_and_auto_is_the_processor(world: World, model: Path) -> None:
    with pytest.raises(ResourceError, match="torch sees no GPU"):
        world({"web": {"a": "the cat"}}).run(perplexity, Config(model=str(model), device="cuda"))
    auto, cpu = (
        world({"web": sentences(5)}).run(perplexity, Config(model=str(model), device=device)).by_name(LOSS)
        for device in ("auto", "cpu")
    )
    assert auto == cpu


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_gives_the_same_scores(model: Path) -> None:
    texts = [text for text in sentences(40).values() if text is not None]
    cpu = scoring.load_scorer(config(model)).score(texts)
    gpu = scoring.load_scorer(Config(model=str(model), device="cuda", dtype="fp32"))
    assert [s.nats for s in gpu.score(texts)] == pytest.approx([s.nats for s in cpu], rel=1e-3)
    assert [gpu.score([text])[0] for text in texts] == gpu.score(texts)


def test_batch_that_does_not_fit_the_gpu_says_what_to_change(
    monkeypatch: pytest.MonkeyPatch, world: World, model: Path
) -> None:
    scoring.load_scorer(config(model))

    def states(*arguments: Any) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(scoring.LanguageModel, "states", states)
    with pytest.raises(ResourceError, match=r"does not hold a batch of 480 tokens.*set batch_tokens lower"):
        world({"web": {"a": "the cat " * 40}}).run(perplexity, config(model, batch_tokens=500))


def test_positions_stay_exact_in_bf16(model: Path) -> None:
    buffers = dict(scoring.load_scorer(config(model, dtype="bf16")).model.named_buffers())
    assert {tensor.dtype for name, tensor in buffers.items() if "inv_freq" in name} == {torch.float32}


def test_bf16_is_near_fp32(world: World, model: Path) -> None:
    fp32, bf16 = (
        world({"web": sentences(5)}).run(perplexity, config(model, dtype=dtype)).by_name(LOSS)
        for dtype in ("fp32", "bf16")
    )
    assert fp32 != bf16
    assert list(bf16.values()) == pytest.approx(list(fp32.values()), rel=0.03)


def test_model_is_loaded_once_for_all_threads_and_anew_when_its_files_change(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    loaded, original = [], scoring.load_folder

    def load_folder(path: Path) -> Any:
        loaded.append(path)
        return original(path)

    monkeypatch.setattr(scoring, "load_folder", load_folder)
    texts = [text for text in sentences(12).values() if text is not None]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: scoring.load_scorer(config(folder)).score([text])[0], texts))
    assert loaded == [folder]
    assert found == scoring.load_scorer(config(folder)).score(texts)
    changed(folder, lambda weights: weights["lm_head.weight"].zero_())
    flat = scoring.load_scorer(config(folder)).score(texts)
    assert loaded == [folder, folder]
    assert [s.nats / s.num_tokens for s in flat] == pytest.approx([math.log(304)] * len(texts))


def recipe(folder: Path, model: str) -> dict[str, Any]:
    rows = [{"text": text} for text in sentences(30).values()]
    (folder / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "scored",
        "sources": [{"stage": "jsonl", "name": "web", "path": "web.jsonl"}],
        "annotate": [{"stage": "perplexity", "model": model, "device": "cpu", "as": "ppl", "sample": 0.8}],
        "filters": [{"reason": "strange", "keep": "ppl__bits_per_byte IS NULL OR ppl__bits_per_byte < 100"}],
    }


@pytest.fixture
def entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The annotator as an installed distribution announces it."""
    folder = tmp_path / "site" / "announced-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: announced\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[provender.annotators]\nperplexity = trainers.annotators.perplexity\n")
    monkeypatch.syspath_prepend(str(folder.parent))


@pytest.mark.usefixtures("entry_point")
def test_a_recipe_runs_it_with_the_same_bytes_for_any_jobs(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    checked = check_recipe(recipe(tmp_path, "model"), tmp_path / "recipe.yaml")
    written = []
    for jobs in (1, 3):
        run(checked, tmp_path / f"ws{jobs}", jobs=jobs)
        parts = sorted((tmp_path / f"ws{jobs}" / "annotations" / "ppl").rglob("*.parquet"))
        written.append({part.name: part.read_bytes() for part in parts})
    assert written[0] == written[1] != {}


@pytest.mark.usefixtures("entry_point")
def test_without_the_training_packages_the_recipe_check_says_what_to_install(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perplexity, "PACKAGES", ("torch_that_nobody_has",))
    with pytest.raises(RecipeError, match=r"pip install 'provender\[train\]'"):
        check_recipe(recipe(tmp_path, str(model)), tmp_path / "recipe.yaml")


def test_the_stage_is_found_without_loading_torch() -> None:
    code = "import sys, trainers.annotators.perplexity; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
