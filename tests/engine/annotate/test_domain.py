"""domain: what the source states, else the first rule that fits, else a topic model's answer."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pytest
from pydantic import ValidationError

from engine.annotate import domain
from engine.annotate.domain import Config, likeliest
from engine.base.errors import InputError, RecipeError
from engine.base.stage import stage_reads, stage_trains
from tests.engine.conftest import World

TOPICS = {
    "law": "court judge statute appeal plaintiff clause verdict treaty tribunal",
    "medicine": "patient dose symptom therapy clinic vaccine tumour nurse fever",
    "code": "function compiler pointer loop thread parser variable string stack",
}


def sentences(topic: str, number: int) -> str:
    draw = random.Random(f"{topic} {number}")
    return " ".join(draw.choices([*TOPICS[topic].split(), "the", "of", "and", "is"], k=40))


def documents(count: int = 60) -> dict[str, dict[str, str | None]]:
    return {topic: {f"{topic}{number:03}": sentences(topic, number) for number in range(count)} for topic in TOPICS} | {
        "web": {"w-law": sentences("law", 900), "w-code": sentences("code", 900), "w-null": None, "w-blank": " \n"}
    }


SOURCES = {"law": "law", "medicine": "medicine", "code": "code"}


def config(**options: Any) -> Config:
    return Config(sources=SOURCES, num_buckets=1000, **options)


def decided(run: World, names: str) -> dict[str, tuple[Any, ...]]:
    """name -> (label, what decided)"""
    labels = run.columns("domain__label", "domain__from")
    rows = zip(*labels.values(), strict=True)
    return {name: (label, by) for name, label, by in rows if name in names.split()}


def test_source_comes_before_rules_and_rules_before_the_model(world: Callable[..., World]) -> None:
    docs = documents()
    docs["web"] |= {"stated": sentences("law", 901), "ruled": sentences("law", 902), "both": sentences("law", 903)}
    made = world(
        docs,
        domain={"stated": "code", "both": "poetry", "w-code": " "},
        url={"ruled": "https://clinic.example/a", "both": "https://clinic.example/b"},
    )
    rules = [{"url": r"//clinic\.", "domain": "medicine"}]
    run = made.run(domain, config(rules=rules))
    assert decided(run, "stated ruled both w-law w-code w-null w-blank") == {
        "stated": ("code", "source"),
        "both": ("poetry", "source"),
        "ruled": ("medicine", "rule"),
        "w-law": ("law", "model"),
        "w-code": ("code", "model"),
        "w-null": (None, None),
        "w-blank": (None, None),
    }
    scores = run.by_name("domain__score")
    assert scores["stated"] is scores["ruled"] is scores["both"] is scores["w-null"] is None
    assert 0.5 < scores["w-law"] <= 1
    assert round(scores["w-law"], 4) == scores["w-law"]


def test_first_rule_whose_conditions_all_hold_decides_and_reads_no_text(world: Callable[..., World]) -> None:
    made = world(
        {"web": {"a": "x", "b": "x", "c": None, "d": "x"}, "books": {"e": "x"}},
        url={"a": "https://law.example/de/1", "b": "https://law.example/2", "c": "https://law.example/3"},
        language={"a": "de", "d": "de"},
    )
    rules = [
        {"url": "^https://law", "language": "de", "domain": "german_law"},
        {"url": r"law\.example/[0-9]", "sources": ["web"], "domain": "law"},
        {"sources": ["books", "papers"], "domain": "books"},
    ]
    settings = Config(rules=rules)
    assert stage_reads(domain, settings) == ("source", "url", "language", "domain")
    assert not stage_trains(domain, settings)
    assert decided(made.run(domain, settings), "a b c d e") == {
        "a": ("german_law", "rule"),
        "b": ("law", "rule"),
        "c": ("law", "rule"),
        "d": (None, None),
        "e": ("books", "rule"),
    }


def test_below_min_score_the_answer_is_unknown_and_the_score_stays(world: Callable[..., World]) -> None:
    docs = documents()
    docs["web"]["mixed"] = f"{sentences('law', 950)} {sentences('code', 950)}"
    score = world(docs).run(domain, config()).by_name("domain__score")["mixed"]
    # The limit is compared in ten-thousandths.
    for limit, label in ((score, True), (round(score + 0.0001, 4), False)):
        run = world(docs).run(domain, config(min_score=limit))
        assert (run.by_name("domain__label")["mixed"] is not None) is label
        assert (run.by_name("domain__from")["mixed"] == "model") is label
        assert run.by_name("domain__score")["mixed"] == score


def test_a_text_that_stands_in_a_row_with_a_rule_is_asked_about_in_the_other(world: Callable[..., World]) -> None:
    docs = documents()
    docs["web"] = {"first": sentences("law", 1000), "second": sentences("law", 1000)}
    run = world(docs, domain={"first": "poetry"}).run(domain, config())
    assert decided(run, "first second") == {"first": ("poetry", "source"), "second": ("law", "model")}


def test_model_is_the_same_for_any_shards_and_says_how_good_it_is(world: Callable[..., World], tmp_path: Path) -> None:
    docs = documents(200)
    shuffled = {source: dict(random.Random(1).sample(sorted(rows.items()), len(rows))) for source, rows in docs.items()}
    folders = []
    for number, (content, rows) in enumerate(((docs, 100), (shuffled, 7))):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        domain.train(world(content, shard_rows=rows).corpus(), config(), folders[-1])
    for name in ("model.bin", "model.json", "worst.json", "details.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    sheet, details = (json.loads((folders[0] / f"{name}.json").read_text()) for name in ("model", "details"))
    assert sheet["labels"] == ["code", "law", "medicine"]
    assert sheet["accuracy"] == details["accuracy"] == 1.0
    held_out = {name: row["held_out_documents"] for name, row in sheet["classes"].items()}
    assert details["held_out_documents"] == sum(held_out.values()) > 30
    assert sheet["confusion"] == {name: {name: count} for name, count in held_out.items()}
    assert details["recall"] == {"code": 1.0, "law": 1.0, "medicine": 1.0}
    assert json.loads((folders[0] / "worst.json").read_text()) == []


def test_mistakes_name_what_was_said_and_what_is_true(world: Callable[..., World], tmp_path: Path) -> None:
    docs = documents(200)
    # Half of the texts of law are code: about ten of them are held out.
    docs["law"] = {
        f"law{number:03}": sentences("code" if number % 2 else "law", number + 7000) for number in range(200)
    }
    (tmp_path / "model").mkdir()
    domain.train(world(docs).corpus(), config(), tmp_path / "model")
    sheet, worst = (json.loads((tmp_path / "model" / f"{name}.json").read_text()) for name in ("model", "worst"))
    assert sheet["per_class"]["medicine"]["recall"] == 1.0
    assert sheet["accuracy"] < 1
    mistakes = {(one["domain"], one["said"]) for one in worst}
    assert mistakes <= {("law", "code"), ("code", "law")}
    assert mistakes
    wrong = sum(count for name, row in sheet["confusion"].items() for said, count in row.items() if said != name)
    assert len(worst) == min(10, wrong)
    scores = [one["score"] for one in worst]
    assert scores == sorted(scores, reverse=True)


def test_a_model_that_is_brought_along_answers_with_its_own_labels(world: Callable[..., World], tmp_path: Path) -> None:
    lines = [f"__label__{topic} {sentences(topic, number)}\n" for topic in TOPICS for number in range(50)]
    (tmp_path / "lines.txt").write_text("".join(lines))
    model = fasttext.train_supervised(str(tmp_path / "lines.txt"), dim=8, epoch=10, lr=0.5, verbose=0, thread=1)
    model.save_model(str(tmp_path / "topics.bin"))
    given = Config(model=str(tmp_path / "topics.bin"))
    assert not stage_trains(domain, given)
    assert decided(world(documents(1)).run(domain, given), "w-law w-code w-null") == {
        "w-law": ("law", "model"),
        "w-code": ("code", "model"),
        "w-null": (None, None),
    }
    made = world(documents())
    (tmp_path / "own").mkdir()
    domain.train(made.corpus(), config(), tmp_path / "own")
    again, fresh = made.run(domain, Config(model=str(tmp_path / "own"))), world(documents()).run(domain, config())
    assert again.by_name("domain__score") == fresh.by_name("domain__score")


def test_of_equally_likely_labels_the_first_by_name_is_taken() -> None:
    best, score = likeliest(np.array([[5000, 5000, 0], [0, 1, 2], [-1, -1, -1]]), ("b", "a", "c"))
    assert best.tolist()[:2] == [1, 2]
    assert score.tolist() == [5000, 2, -1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": [{"domain": "law"}]}, "a rule without a condition. Needed: url, sources or language"),
        (
            {"rules": [{"domain": "law", "url": "(a"}]},
            r"'\(a' is no regular expression \(unclosed group\)\. Needed: Rust's syntax",
        ),
        ({"rules": [{"domain": "law", "text": "x"}]}, "Extra inputs"),
        ({"sources": {"a": "law", "b": "law"}}, "all sources are law. Needed: examples of at least two domains"),
        ({"sources": {"a": "law", "b": "white space"}}, "got the domain 'white space'"),
        ({"sources": {"a": "law", "b": "code"}, "model": "m.bin"}, "sources to train on beside a model"),
        ({"model": "m.bin", "epochs": 2}, "epochs: it is for training"),
        ({"text": "plain"}, "for a model that is brought along"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(**options)


def test_no_model_too_few_texts_or_an_unknown_source_is_an_error(world: Callable[..., World], tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("this is no model")
    with pytest.raises(InputError, match=r"model\.bin: is no fastText model"):
        world(documents(2)).run(domain, Config(model=str(tmp_path / "model.bin")))
    with pytest.raises(
        RecipeError, match=r"domain: sources: 10 different texts for the class 'code'\. Needed: at least 20"
    ):
        domain.train(world(documents(10)).corpus(), config(), tmp_path)
    with pytest.raises(RecipeError, match=r"domain: sources: no source 'laws' .*did you mean 'law'\?"):
        domain.train(world(documents()).corpus(), Config(sources={"laws": "law", "code": "code"}), tmp_path)


def test_topics_of_real_corpora_are_told_apart(shared_data: Path, world: Callable[..., World], tmp_path: Path) -> None:
    corpora = shared_data / "corpora"
    patterns = {"technical": "peps/peps/*.rst", "law": "gesetze/i/*/*.md", "medicine": "medquad/*/*.xml"}
    docs = {
        name: {
            f"{name}{number:03}": path.read_text() for number, path in enumerate(sorted(corpora.glob(pattern))[:150])
        }
        for name, pattern in patterns.items()
    }
    domain.train(
        world(docs, shard_rows=50).corpus(), Config(sources={name: name for name in docs}, epochs=10), tmp_path
    )
    assert json.loads((tmp_path / "model.json").read_text())["accuracy"] > 0.95
