"""From chats to a model that answers and stops, on a tiny model: mixture, training, what is left behind, lineage."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from engine.base.errors import AuditError, InputError
from engine.cli import main
from engine.formats.workspace import Workspace
from engine.run.pipeline import run
from engine.verbs import sql
from trainers.preview import show_preview
from trainers.train import show_train, train

TINY = {"hidden_size": 64, "layers": 2, "heads": 2, "intermediate_size": 128}
ANSWERS = {"red": "apple", "yellow": "banana", "green": "pear", "blue": "plum"}


def data_recipe(folder: Path, template: str) -> Path:
    chats = [
        {"id": f"{colour}{n}", "messages": [
            {"role": "user", "content": f"What is {colour}? {n}"},
            {"role": "assistant", "content": f"The {fruit} is {colour}."},
        ]}
        for colour, fruit in ANSWERS.items() for n in range(12)
    ]  # fmt: skip
    texts = [
        {"text": f"Text {n}: what is {c}? The {f} is {c}, and so is number {n}."}
        for c, f in ANSWERS.items()
        for n in range(8)
    ]
    (folder / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    content: dict[str, Any] = {
        "name": f"fruit_{template}",
        "sources": [
            {"stage": "chat", "name": "chats", "path": "chats.jsonl", "columns": {"id": "id"}},
            {"stage": "jsonl", "name": "texts", "path": "texts.jsonl"},
        ],
        "tokenizer": {"train": {"sources": ["texts"], "vocab_size": 340, "control_slots": 12}},
        "render": {"template": template},
        "mixtures": {
            f"texts_{template}": {"sources": ["texts"], "row_tokens": 64, "rows_per_step": 2},
            f"chats_{template}": {
                "sources": ["chats"],
                "row_tokens": 64,
                "rows_per_step": 4,
                "budget_tokens": 10_000,
                "max_repeats": 24,
            },
        },
    }
    path = folder / f"{template}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def train_recipe(folder: Path, **content: Any) -> Path:
    path = folder / f"train_{content['name']}.yaml"
    path.write_text(yaml.safe_dump({"optimizer": {"learning_rate": 5.0e-3}, **content}))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace in which a text run and, on its result, an answer run are finished."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("fruit")
    run(data_recipe(folder, "chatml"), folder / "ws")
    base = {"name": "texts", "mixture": "texts_chatml", "base": {"tiny": TINY}}
    train(train_recipe(folder, **base), folder / "ws")
    train(train_recipe(folder, name="answers", mixture="chats_chatml", base={"run": "texts"}), folder / "ws")
    torch.set_num_threads(threads)
    return folder


def run_json(place: Path, name: str) -> Any:
    return json.loads((Workspace(place / "ws").run(name) / "run.json").read_text())


def test_trained_model_answers_and_stops_in_plain_transformers(place: Path) -> None:
    final = Workspace(place / "ws").run("answers") / "final"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(final), AutoTokenizer.from_pretrained(final)
    config = GenerationConfig.from_pretrained(final)
    config.max_new_tokens = 40
    for colour, fruit in ANSWERS.items():
        chat = [{"role": "user", "content": f"What is {colour}? 3"}]
        asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        answer = model.generate(**asked, generation_config=config, do_sample=False)[0, asked["input_ids"].shape[1] :]
        assert tokenizer.decode(answer) == f"The {fruit} is {colour}.<|im_end|>"


def test_what_is_left_behind_says_how_it_stops_and_what_fills_up(place: Path) -> None:
    final = Workspace(place / "ws").run("answers") / "final"
    tokenizer, config = AutoTokenizer.from_pretrained(final), GenerationConfig.from_pretrained(final)
    generation = run_json(place, "answers")["generation"]
    ids = [tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.eos_token_id]
    assert config.eos_token_id == ids == [stop["id"] for stop in generation["stop_tokens"]]
    assert tokenizer.pad_token_id == config.pad_token_id == generation["pad_token"]["id"]
    assert tokenizer.pad_token_id not in ids
    assert generation["template"]["name"] == "chatml"
    assert run_json(place, "answers")["reloaded"]["logits_differ_by"] <= 1e-4


def test_lineage_stands_in_run_json_model_card_and_on_the_terminal(place: Path) -> None:
    content = run_json(place, "answers")
    assert [(one["run"], one["mixture"]["reference"]) for one in content["lineage"]["runs"]] == [
        ("texts", "texts_chatml@v1")
    ]
    card = (Workspace(place / "ws").run("answers") / "final" / "README.md").read_text()
    assert "- run texts on texts_chatml@v1" in card
    assert "pre-training of the first base: none: initialised from the seed" in card
    shown = show_train(train(place / "train_answers.yaml", place / "ws"))
    assert "behind it: texts (texts_chatml@v1)" in shown


def test_model_card_has_a_front_matter_and_every_figure(place: Path) -> None:
    card = (Workspace(place / "ws").run("answers") / "final" / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["license"] == "other"
    assert fields["base_model"] == "texts"
    assert {"provender", "sft", "full"} <= set(fields["tags"])
    content = run_json(place, "answers")
    for told in (
        content["mixture"]["digest"],
        f"{content['summary']['loss_last']:.4f}",
        content["generation"]["template"]["digest"],
        "chats | unknown 48",
        "Nothing: no held-out set and no benchmark",
        "AutoModelForCausalLM.from_pretrained",
    ):
        assert told in body


def test_template_that_differs_along_the_lineage_is_refused_or_waived(place: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(place / "ws", tmp_path / "ws"))
    shutil.copyfile(place / "texts.jsonl", tmp_path / "texts.jsonl")
    # Alpaca's own preamble is longer than the rows, which are as long as the base has positions.
    roles = ("system", "user", "assistant")
    chats = [
        {
            "id": colour,
            "messages": [{"role": r, "content": c} for r, c in zip(roles, ("Q", colour, fruit), strict=True)],
        }
        for colour, fruit in ANSWERS.items()
    ]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    content = yaml.safe_load((place / "chatml.yaml").read_text()) | {"name": "other", "render": {"template": "alpaca"}}
    tokenizer = run_json(place, "answers")["mixture"]["tokenizer"]
    content["tokenizer"] = {"path": str(Workspace(workspace).tokenizer(tokenizer))}
    content["mixtures"] = {"other": content["mixtures"]["chats_chatml"] | {"budget_tokens": 100}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(content))
    run(tmp_path / "other.yaml", workspace)
    named = {"name": "more", "mixture": "other", "base": {"run": "answers"}, "max_steps": 1}
    with pytest.raises(AuditError, match=r"'answers' has learnt chats in the template chatml .*the mixture has alpaca"):
        train(train_recipe(tmp_path, **named), workspace)
    result = train(train_recipe(tmp_path, **named, gate={"other_template": True}), workspace)
    assert show_train(result).startswith("WAIVED: other@v1: base run 'answers' has learnt chats")


def test_preview_shows_answers_as_labels_and_trains_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = train_recipe(place, name="looked_at", mixture="chats_chatml", base={"run": "texts"})
    assert main(["train", str(recipe), "--preview", "1", "--workspace", str(place / "ws")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "chats_chatml@v1, sft: " in shown
    plain = shown.translate({0x27E6: "(", 0x27E7: ")", 0x2039: "<", 0x203A: ">"})  # no label, a token
    assert re.search(
        r"\(<<\|im_start\|>>\)\(user What is (\w+)\? \d+\)\(<<\|im_end\|>>\)\( \)\(<<\|im_start\|>>\)\(assistant \)"
        r"The \w+ is \1\.<<\|im_end\|>>\( \)\(<</s>>\)",
        plain,
    )
    assert not (Workspace(place / "ws").run("looked_at")).exists()
    result = train(recipe, place / "ws", preview=3)
    assert "\x1b[32mThe " in show_preview(result["preview"], 100, True)
    assert {one["row"] for one in result["preview"]["documents"]} == {0, 1, 2}
    assert main(["train", str(recipe), "--preview", "0", "--workspace", str(place / "ws")]) == 1


def test_lineage_is_a_column_of_the_runs(place: Path) -> None:
    rows = sql("SELECT run, lineage FROM runs WHERE run IN ('texts', 'answers') ORDER BY run", place / "ws")["rows"]
    assert rows == [["answers", "texts"], ["texts", ""]]


def test_template_whose_segments_cannot_be_proven_never_reaches_training(place: Path, tmp_path: Path) -> None:
    for name in ("chats.jsonl", "texts.jsonl"):
        shutil.copyfile(place / name, tmp_path / name)
    tokenizer = run_json(place, "answers")["mixture"]["tokenizer"]
    folder = Path(shutil.copytree(Workspace(place / "ws").tokenizer(tokenizer), tmp_path / "tokenizer"))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}")
    content = yaml.safe_load((place / "chatml.yaml").read_text()) | {"render": {"template": "tokenizer"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content | {"tokenizer": {"path": str(folder)}}))
    with pytest.raises(InputError, match=r"document [0-9a-f-]{36} of source chats: the tokenizer.s template changes"):
        run(tmp_path / "own.yaml", tmp_path / "ws")
    with pytest.raises(InputError, match="no mixture 'chats_chatml'"):
        train(train_recipe(tmp_path, name="x", mixture="chats_chatml", base={"tiny": TINY}), tmp_path / "ws")
