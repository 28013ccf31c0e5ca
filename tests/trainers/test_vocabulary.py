"""Rows for new tokens start as the mean of their old pieces, move alone at first, and leave with the model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

import trainers.loop
from engine.base.errors import AuditError, InputError, RecipeError
from engine.formats.mixture import open_mixture
from engine.formats.tokenizer import Tokenizer, load_tokenizer
from engine.formats.workspace import Workspace
from engine.pack.control_slots import add_control_tokens
from engine.pack.extend_tokenizer import TokenizerExtension, extend_tokenizer
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer
from engine.run.pipeline import run as run_recipe
from tests.trainers.conftest import Document, write_mixture
from trainers.checkpoint import latest_checkpoint, load_checkpoint
from trainers.empty_model import empty_model
from trainers.job import resolve_job
from trainers.language_model import LanguageModel
from trainers.lineage import resolve_base
from trainers.merge import merge
from trainers.model import load_base
from trainers.new_rows import NewRow
from trainers.optim import MasterOptimizer
from trainers.prepare import prepare
from trainers.recipe import BaseConfig, OptimizerConfig
from trainers.train import train
from trainers.vocabulary import NewRowsFirst, add_rows
from trainers.world import World

Recipe = Callable[..., Path]
Texts = dict[str, list[str]]
ROWS, PIECES = 400, 12
TAGS = ["<|quality:high|>", "<|quality:low|>", "<|is__quality_high|>"]
NEW = PIECES + 2
"""New ids: pieces, and the tags that found no free slot. One tag has taken the free slot."""


def store(workspace: Workspace, made: Path) -> Tokenizer:
    tokenizer = load_tokenizer(made)
    return load_tokenizer(Path(shutil.copytree(made, workspace.tokenizer(tokenizer.meta.digest))))


@pytest.fixture(scope="module")
def prepared(built: Path, texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny workspace with the mixture `extended`, and beside it models `tied`, `untied` and `padded`."""
    root = tmp_path_factory.mktemp("extended")
    workspace = Workspace(Path(shutil.copytree(built, root / "workspace")))
    config = TokenizerTraining(sources=["docs"], vocab_size=ROWS, control_slots=1)
    train_tokenizer(texts["docs"], config, root / "parent")
    parent = store(workspace, root / "parent")
    extension = TokenizerExtension(sources=["code"], pieces=PIECES)
    extend_tokenizer(parent, texts["code"], extension, root / "pieces")
    add_control_tokens(store(workspace, root / "pieces"), TAGS, True, root / "tagged")
    tagged = store(workspace, root / "tagged")
    write_texts(workspace, "extended", texts["code"][:40], tagged)
    write_texts(workspace, "plain", texts["code"][:40], parent)
    for name, rows in (("tied", ROWS), ("untied", ROWS), ("padded", ROWS + 64)):
        config_ = LlamaConfig(
            vocab_size=rows, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=128, tie_word_embeddings=name != "untied", pad_token_id=None,
        )  # fmt: skip
        torch.manual_seed(0)
        LlamaForCausalLM(config_).save_pretrained(root / name)
        shutil.copy(parent.folder / "tokenizer.model", root / name)
    return root


def write_texts(workspace: Workspace, name: str, chosen: list[str], tokenizer: Tokenizer) -> None:
    split = open_mixture(workspace, "mixed").manifest.split
    assert split is not None
    write_mixture(workspace, name, [Document("code", text) for text in chosen], tokenizer, split)


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> Path:
    """A copy of what is prepared, which the test may change."""
    return Path(shutil.copytree(prepared, tmp_path / "place"))


def tokenizer_of(workspace: Workspace, mixture: str = "extended") -> Tokenizer:
    return load_tokenizer(workspace.tokenizer(open_mixture(workspace, mixture).manifest.tokenizer))


def trained(place: Path, recipe: Recipe, model: str, **changes: Any) -> Path:
    defaults: dict[str, Any] = {"mixture": "extended", "base": {"path": str(place / model)}, "probes": None}
    defaults |= {"max_steps": 4, "checkpoints": {"every_steps": 2}}
    return Path(train(recipe(**defaults | changes), place / "workspace")["folder"])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict())


@pytest.mark.parametrize("name", ["tied", "untied", "padded"])
def test_new_rows_are_means_and_old_rows_keep_their_bits(place: Path, name: str) -> None:
    workspace = Workspace(place / "workspace")
    tokenizer = tokenizer_of(workspace)
    base = resolve_base(BaseConfig(path=str(place / name)), workspace, Path(), tokenizer, 1)
    slot = tokenizer.meta.control_tokens[TAGS[0]]
    assert [row.id for row in base.new_rows] == [slot, *range(ROWS, ROWS + NEW)]
    assert [row.token for row in base.new_rows if row.is_control] == TAGS
    still = [number for number in range(ROWS) if number != slot]
    before = LlamaForCausalLM.from_pretrained(place / name)
    model = load_base(base, tokenizer, 64, 1)
    parent = load_tokenizer(place / "parent")
    assert model.config.vocab_size == max(ROWS + NEW, before.config.vocab_size)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == (name != "untied")
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        old, new = (getattr(one, layer)().weight.detach() for one in (before, model))
        assert torch.equal(new[still], old[still])
        assert not torch.equal(new[slot], old[slot])
        assert torch.equal(new[ROWS + NEW :], old[ROWS + NEW :])
        for piece, number in zip(load_tokenizer(place / "pieces").meta.pieces, range(ROWS, ROWS + PIECES), strict=True):
            ids = parent.encode([piece.replace("\u2581", " ")])[0].tolist()
            assert len(ids) > 1
            # A run of one piece, such as spaces, has the mean of one row, from which it differs a little.
            several = len(set(ids)) > 1
            assert torch.allclose(new[number], old[ids].mean(0), atol=1e-6 if several else 2e-3)
            assert several or not torch.equal(new[number], old[ids[0]])
        assert len(new[ROWS : ROWS + NEW].unique(dim=0)) == NEW


def test_rows_that_would_be_equal_differ_a_little() -> None:
    config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = LlamaForCausalLM(config)
    rows = [
        NewRow(8, "ab", (1, 2), False),
        NewRow(9, "ba", (2, 1), False),
        NewRow(10, "aa", (3, 3), False),
        NewRow(11, "<>", (), True),
    ]
    add_rows(model, rows, 12)
    matrix = model.get_input_embeddings().weight.detach()
    assert len(matrix.unique(dim=0)) == 12
    assert torch.equal(matrix[8], matrix[[1, 2]].double().mean(0).float())
    assert 0 < float((matrix[9] - matrix[8]).abs().max()) < 0.1 * float(matrix[8].std())
    assert torch.allclose(matrix[11], matrix[:8].mean(0), atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["tied", "untied", "padded"])
def test_in_the_first_steps_nothing_but_new_rows_moves(place: Path, recipe: Recipe, name: str, precision: str) -> None:
    workspace = Workspace(place / "workspace")
    tokenizer = tokenizer_of(workspace)
    base = resolve_base(BaseConfig(path=str(place / name)), workspace, Path(), tokenizer, 1)
    start = load_base(base, tokenizer, 64, 1).state_dict()
    new = [row.id for row in base.new_rows]
    folder = trained(place, recipe, name, vocabulary={"new_rows_steps": 3}, max_steps=3, precision=precision)
    after = weights(folder / "final")
    assert after.keys() == start.keys()
    matrices = ("model.embed_tokens.weight", "lm_head.weight")
    for key, tensor in after.items():
        if key in matrices:
            same = (tensor == start[key]).all(1)
            assert not same[new].any()
            assert int(same.sum()) == len(same) - len(new)
        else:
            assert torch.equal(tensor, start[key])
    everything = trained(place, recipe, name, name="on", vocabulary={"new_rows_steps": 3}, precision=precision)
    moved = weights(everything / "final")
    assert not torch.equal(moved["model.layers.0.mlp.up_proj.weight"], start["model.layers.0.mlp.up_proj.weight"])
    assert not torch.equal(moved[matrices[0]][:ROWS], start[matrices[0]][:ROWS])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moments_and_working_weights_of_old_rows_stay_too(dtype: torch.dtype) -> None:
    config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    rows = [NewRow(8, "ab", (1, 2), False), NewRow(9, "abc", (1, 2, 3), False)]
    causal = LlamaForCausalLM(config)
    add_rows(causal, rows, 10)
    model = LanguageModel(causal)
    optimizer = MasterOptimizer(model, model.trained(), OptimizerConfig(weight_decay=50.0), dtype)
    first = NewRowsFirst(model, rows, 2)
    embeddings = causal.get_input_embeddings().weight
    before = embeddings.detach().clone()
    for step in range(2):
        causal(input_ids=torch.arange(10)[None]).logits.float().pow(2).sum().backward()
        optimizer.collect()
        with first.at(step, optimizer):
            optimizer.step(1e-2)
    name = "model.embed_tokens.weight"
    assert torch.equal(embeddings[:8], before[:8])
    assert not torch.equal(embeddings[8:], before[8:])
    assert torch.equal(embeddings, optimizer.masters[name].to(dtype))
    state = optimizer.state()
    assert {key.rpartition("/")[0] for key in state} == {name, "lm_head.weight"}
    for what in ("exp_avg", "exp_avg_sq"):
        assert not state[f"{name}/{what}"][:8].any()
        assert state[f"{name}/{what}"][8:].any()


class Killed(BaseException):
    """The end of the process, as far as the code can see."""


@pytest.mark.parametrize("method", ["full", "lora"])
def test_run_killed_among_the_first_steps_ends_with_the_same_bits(
    place: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    changes = {"vocabulary": {"new_rows_steps": 3}, "max_steps": 6, "tuning": {"method": method}}
    straight = trained(place, recipe, "tied", name="straight", **changes)
    original, calls = trainers.loop.train_step, []

    def dying(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return original(*arguments)

    monkeypatch.setattr(trainers.loop, "train_step", dying)
    with pytest.raises(Killed):
        trained(place, recipe, "tied", name="killed", **changes)
    assert latest_checkpoint(place / "workspace" / "runs" / "killed" / "checkpoints")[0] == 2
    killed = trained(place, recipe, "tied", name="killed", **changes)
    for one, other in zip(*(sorted((f / "final").glob("*.safetensors")) for f in (straight, killed)), strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("name", ["tied", "untied", "padded"])
def test_final_folder_gives_the_trained_logits_in_plain_libraries(
    place: Path, recipe: Recipe, name: str, method: str
) -> None:
    changes = {"tuning": {"method": method}, "optimizer": {"learning_rate": 0.05}, "max_steps": 4}
    folder = trained(place, recipe, name, **changes)
    job = resolve_job(place.parent / "tiny.yaml", Workspace(place / "workspace"), None)
    training = prepare(job, World(torch.device("cpu")))
    step, checkpoint = latest_checkpoint(folder / "checkpoints")
    assert (step, checkpoint is not None) == (4, True)
    load_checkpoint(checkpoint, training.optimizer)  # type: ignore[arg-type]
    ids = torch.arange(ROWS - 8, ROWS + NEW)[None]
    positions = torch.arange(ids.shape[1])[None]
    model = training.model.eval()
    with torch.no_grad():
        expected = model.states(ids, positions) @ model.head.t()
        found = plain(folder / "final", method)(input_ids=ids).logits
    assert float((found - expected).abs().max()) < 1e-4
    base = AutoModelForCausalLM.from_pretrained(place / name)
    start = load_base(job.base, job.tokenizer, 64, 1).get_input_embeddings().weight.detach()
    reloaded = plain(folder / "final", method).get_input_embeddings().weight.detach()
    assert float((reloaded[ROWS : ROWS + NEW] - start[ROWS : ROWS + NEW]).abs().max()) > 1e-3
    still = [number for number in range(ROWS) if number not in {row.id for row in job.base.new_rows}]
    assert method == "full" or torch.equal(reloaded[still], base.get_input_embeddings().weight[still])


def plain(final: Path, method: str) -> Any:
    """Load a run's model as its card says, without this package."""
    if method == "full":
        return AutoModelForCausalLM.from_pretrained(final).eval()
    return AutoPeftModelForCausalLM.from_pretrained(final).merge_and_unload().eval()


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("name", ["tied", "untied", "padded"])
def test_adapter_with_new_rows_is_merged_with_them(place: Path, recipe: Recipe, name: str, method: str) -> None:
    changes = {"tuning": {"method": method}, "optimizer": {"learning_rate": 0.05}, "max_steps": 4}
    final = trained(place, recipe, name, **changes) / "final"
    result = merge("tiny", place / "merged", place / "workspace")
    merged, adapted = weights(place / "merged"), plain(final, method).state_dict()
    assert merged.keys() == adapted.keys()
    assert all(float((merged[key] - adapted[key]).abs().max()) < 1e-6 for key in merged)
    assert AutoModelForCausalLM.from_pretrained(place / "merged").config.tie_word_embeddings == (name != "untied")
    assert result["tensors_changed"] == 7 + (2 if name == "untied" else 1)
    assert method == "qlora" or result["max_logit_difference"] < 1e-4
    ids = tokenizer_of(Workspace(place / "workspace")).meta.control_tokens
    loaded = AutoTokenizer.from_pretrained(place / "merged")
    assert [loaded.convert_tokens_to_ids(tag) for tag in TAGS] == list(ids.values())


@pytest.mark.parametrize("name", ["tied", "untied"])
def test_plan_counts_the_rows_of_new_tokens_too(place: Path, recipe: Recipe, name: str, texts: Texts) -> None:
    workspace, lora = Workspace(place / "workspace"), {"tuning": {"method": "lora"}, "probes": None}
    trained(place, recipe, name, max_steps=1, **lora)
    more = TokenizerExtension(sources=["docs"], pieces=3)
    extend_tokenizer(tokenizer_of(workspace), texts["docs"], more, place / "more")
    write_texts(workspace, "more", texts["docs"][:30], store(workspace, place / "more"))
    for base, mixture in (({"path": str(place / name)}, "extended"), ({"run": "tiny"}, "more")):
        job = resolve_job(recipe(name="next", base=base, mixture=mixture, **lora), workspace, None)
        model = prepare(job, World(torch.device("cpu"))).model
        planned = empty_model(job.base, job.recipe, job.tokenizer, 64)
        assert sum(planned.trained) == sum(one.numel() for one in model.trained().values())


def test_final_tokenizer_gives_the_same_ids_in_transformers(place: Path, recipe: Recipe, texts: Texts) -> None:
    folder = trained(place, recipe, "tied", max_steps=1)
    tokenizer = tokenizer_of(Workspace(place / "workspace"))
    loaded = AutoTokenizer.from_pretrained(folder / "final")
    sample = [*texts["code"], *texts["docs"]]
    assert [loaded.encode(one, add_special_tokens=False) for one in sample] == [
        ids.tolist() for ids in tokenizer.encode(sample)
    ]
    assert [loaded.convert_tokens_to_ids(tag) for tag in TAGS] == list(tokenizer.meta.control_tokens.values())
    told = json.loads((folder / "run.json").read_text())["vocabulary"]
    assert (told["new_rows"], told["pieces"], list(told["control_tokens"])) == (NEW + 1, PIECES, TAGS)
    assert told["control_tokens"][TAGS[1]]["id"] == tokenizer.meta.control_tokens[TAGS[1]]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_run_starts_from_a_run_with_new_rows(place: Path, recipe: Recipe, method: str, texts: Texts) -> None:
    trained(place, recipe, "tied", name="first", tuning={"method": method}, max_steps=2)
    workspace = Workspace(place / "workspace")
    before = load_base(
        resolve_base(BaseConfig(run="first"), workspace, Path(), tokenizer_of(workspace), 1),
        tokenizer_of(workspace), 64, 1,
    ).state_dict()  # fmt: skip
    # An extension of the extension: the second run has rows to add again.
    more = TokenizerExtension(sources=["docs"], pieces=3)
    extend_tokenizer(tokenizer_of(workspace), texts["docs"], more, place / "more")
    write_texts(workspace, "more", texts["docs"][:30], store(workspace, place / "more"))
    changes = {"base": {"run": "first"}, "mixture": "more", "vocabulary": {"new_rows_steps": 2}, "max_steps": 2}
    folder = trained(place, recipe, "tied", name="second", tuning={"method": "full"}, **changes)
    after = weights(folder / "final")["model.embed_tokens.weight"]
    assert after.shape[0] == ROWS + NEW + 3
    assert torch.equal(after[: ROWS + NEW], before["model.embed_tokens.weight"])
    content = json.loads((folder / "run.json").read_text())
    assert (content["vocabulary"]["new_rows"], content["vocabulary"]["pieces"]) == (3, 3)
    assert [one["run"] for one in content["lineage"]["runs"]] == ["first"]


def test_other_tokenizers_are_refused(place: Path, recipe: Recipe, texts: Texts) -> None:
    trained(place, recipe, "tied", name="first", max_steps=1)
    with pytest.raises(InputError, match="one tokenizer, or one made from it by control tokens or an extension"):
        trained(place, recipe, "tied", name="back", mixture="plain", base={"run": "first"})
    workspace = Workspace(place / "workspace")
    config = TokenizerExtension(sources=["docs"], pieces=5)
    extend_tokenizer(load_tokenizer(place / "parent"), texts["docs"], config, place / "sister")
    write_texts(workspace, "sister", texts["docs"][:20], store(workspace, place / "sister"))
    with pytest.raises(InputError, match="trained with tokenizer"):
        trained(place, recipe, "tied", name="aside", mixture="sister", base={"run": "first"})
    (place / "tied" / "tokenizer.model").unlink()
    with pytest.raises(InputError, match="it has no tokenizer, so nobody can say"):
        trained(place, recipe, "tied", name="bare")


def test_methods_that_train_no_row_and_steps_without_rows_are_refused(place: Path, recipe: Recipe) -> None:
    for method in ("ia3", "prompt", "prefix"):
        with pytest.raises(RecipeError, match=f"method {method} trains no row, and the mixture has {NEW + 1} tokens"):
            trained(place, recipe, "tied", tuning={"method": method})
    with pytest.raises(RecipeError, match="15 tokens of the mixture have rows that nobody trained yet"):
        trained(place, recipe, "tied", freezing={"embeddings": True})
    both = {"freezing": {"unfreeze_every": 2}, "vocabulary": {"new_rows_steps": 2}}
    with pytest.raises(RecipeError, match="which frees the embeddings last, with new_rows_steps"):
        trained(place, recipe, "tied", **both)
    with pytest.raises(RecipeError, match="the base has a row for every token"):
        trained(place, recipe, "tied", mixture="plain", vocabulary={"new_rows_steps": 2})


def test_adapter_on_a_head_with_a_bias_is_refused(place: Path) -> None:
    from transformers import PhiConfig, PhiForCausalLM

    from trainers.vocabulary import trained_beside

    config = PhiConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = PhiForCausalLM(config)
    add_rows(model, [NewRow(8, "ab", (1, 2), False)], 9)
    assert torch.equal(model.lm_head.bias[8], model.lm_head.bias[[1, 2]].mean())
    with pytest.raises(InputError, match="its head has a bias"):
        trained_beside(model, [NewRow(8, "ab", (1, 2), False)])


@pytest.mark.parametrize("name", ["tied", "untied"])
def test_adapter_on_a_base_whose_eos_is_zero_is_refused(place: Path, recipe: Recipe, name: str) -> None:
    eos = tokenizer_of(Workspace(place / "workspace")).meta.eos_id
    model = LlamaForCausalLM.from_pretrained(place / name)
    with torch.no_grad():
        model.get_output_embeddings().weight[eos] = 0
    model.save_pretrained(place / name)
    for method in ("lora", "qlora"):
        with pytest.raises(AuditError, match=f"the head's row of '</s>' is zero: nobody trained it, nor does {method}"):
            trained(place, recipe, name, tuning={"method": method})
    trained(place, recipe, name, max_steps=1)


def test_recipe_with_an_extension_becomes_a_model_that_plain_transformers_loads(
    place: Path, recipe: Recipe, texts: Texts
) -> None:
    (place / "code.jsonl").write_text(
        "\n".join(json.dumps({"uid": f"{n}", "text": t}) for n, t in enumerate(texts["code"]))
    )
    content = {
        "name": "domain",
        "sources": [{"stage": "jsonl", "name": "code", "path": "code.jsonl", "columns": {"id": "uid"}}],
        "tokenizer": {"path": str(place / "parent"), "extend": {"sources": ["code"], "pieces": 20}},
        "mixtures": {"domain": {"sources": ["code"], "row_tokens": 64, "rows_per_step": 4}},
    }
    (place / "data.yaml").write_text(json.dumps(content))
    run_recipe(place / "data.yaml", place / "workspace")
    changes = {"mixture": "domain", "vocabulary": {"new_rows_steps": 2}, "max_steps": 4}
    folder = trained(place, recipe, "untied", **changes)
    tokenizer = tokenizer_of(Workspace(place / "workspace"), "domain")
    assert tokenizer.meta.vocab_size == ROWS + 20
    model = AutoModelForCausalLM.from_pretrained(folder / "final")
    loaded = AutoTokenizer.from_pretrained(folder / "final")
    ids = loaded(texts["code"][0], return_tensors="pt", add_special_tokens=False).input_ids
    assert ids[0].tolist() == tokenizer.encode(texts["code"][:1])[0].tolist()
    assert int(ids.max()) >= ROWS
    assert torch.isfinite(model(input_ids=ids).logits).all()
    assert model.config.vocab_size == ROWS + 20
