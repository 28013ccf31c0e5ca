"""The JSON schema of manifest.json, for those who read versions in another language.

manifest.schema.json beside this file is made from the model: `python -m engine.formats.manifest_schema` writes it anew,
and a test fails when it is out of date. JSON Schema draft 2020-12 (json-schema.org).
"""

import json
from pathlib import Path
from typing import Any

from engine.base.atomic import write_json
from engine.formats.manifest import Manifest

PATH = Path(__file__).with_name("manifest.schema.json")


def manifest_schema() -> dict[str, Any]:
    """Return the schema that every manifest written by this version fulfils."""
    schema = Manifest.model_json_schema(mode="serialization")
    for part in (schema, *schema["$defs"].values()):
        part["required"] = list(part["properties"])  # what has a default is written too
    number = Manifest.model_fields["format"].default
    schema["properties"]["format"] |= {"const": number, "description": "number of this format"}
    about = "The contract between curation and training: one version of a mixture, format {}."
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "description": about.format(number)}


def published_schema() -> dict[str, Any]:
    """Return the schema as it was published with this version."""
    schema: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return schema


if __name__ == "__main__":
    write_json(PATH, manifest_schema())
