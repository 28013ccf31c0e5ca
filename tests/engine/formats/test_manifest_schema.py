"""The published JSON schema is that of the model, and says what a reader without the model has to know."""

import json
import subprocess
import sys
from pathlib import Path

from engine.formats.manifest import Derivation, Manifest, MixtureSource, Phase
from engine.formats.manifest_schema import PATH, manifest_schema, published_schema
from engine.mixture.versions import mixture_schema


def test_the_published_schema_is_up_to_date() -> None:
    assert published_schema() == manifest_schema(), "run: python -m engine.formats.manifest_schema"


def test_the_verb_prints_the_published_schema() -> None:
    command = [sys.executable, "-m", "engine.cli", "mixture", "schema"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert json.loads(done.stdout) == mixture_schema() == json.loads(PATH.read_text(encoding="utf-8"))


def test_the_schema_names_every_field_that_a_manifest_has() -> None:
    schema = published_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["properties"]["format"]["const"] == Manifest.model_fields["format"].default
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(schema["required"]) == set(Manifest.model_fields)
    for model in (MixtureSource, Phase, Derivation):
        part = schema["$defs"][model.__name__]
        assert set(part["properties"]) == set(part["required"]) == set(model.model_fields)
