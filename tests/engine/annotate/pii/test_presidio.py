"""presidio beside our own kinds, with a model of one name; needs the extra `presidio`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.annotate import pii
from engine.annotate.pii import Config

World = Callable[..., Any]


@pytest.fixture
def model(tmp_path: Path) -> str:
    pytest.importorskip("presidio_analyzer")
    spacy = pytest.importorskip("spacy")
    language = spacy.blank("en")
    language.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Anna Meyer"}])
    language.to_disk(tmp_path / "model")
    return str(tmp_path / "model")


def test_names_stand_beside_our_own_kinds_with_places_in_bytes(world: World, model: str) -> None:
    config = Config(presidio=("PERSON",), presidio_model_folder=model)
    text = "Gr\u00fc\u00dfe, Anna Meyer wrote to anna@acme.com"
    done = world({"web": {"a": text, "b": None, "c": "nothing"}}).run(pii, config)
    found = done.columns("pii__spans", "pii__num_person", "pii__num_email")
    assert [(one["start"], one["end"], one["kind"]) for one in found["pii__spans"][0]] == [
        (9, 19, "person"),
        (29, 42, "email"),
    ]
    assert found["pii__num_person"] == [1, None, 0]
    assert found["pii__num_email"] == [1, None, 0]
