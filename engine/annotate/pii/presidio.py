"""Entities that presidio-analyzer finds with a spaCy model: names of people and places, and what its recognisers know.

An extra: a few KB/s a core, and what it finds depends on the model. spaCy's models are not on PyPI, so both are asked
for before a run starts.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import pyarrow as pa

from engine.annotate.pii.find import Found, without_overlaps


def missing(model: str, folder: str | None = None) -> tuple[str, str] | None:
    """Return (what is not installed, what to do about it); None where presidio and the model are there.

    model: name of a package, which is not needed where there is the folder of a model.
    """
    if find_spec("presidio_analyzer") is None:
        return "the package presidio-analyzer is not installed", "pip install 'provender[presidio]'"
    if folder is None and find_spec(model) is None:
        return f"the spaCy model {model} is not installed", f"python -m spacy download {model}"
    return None


def find_named(
    texts: pa.ChunkedArray, own: Mapping[int, list[Found]], entities: Sequence[str], model: str
) -> Iterator[tuple[int, list[Found]]]:
    """Yield (row, `own` spans and those presidio finds where none of ours is) of the texts that have any.

    model: name of a package of spaCy, or a folder. The kind is the entity's name in small letters, the value its text
    in small letters with single spaces.
    """
    analyzer = _analyzer(model)
    for row, text in enumerate(texts):
        if not text.is_valid:
            continue
        found = list(own.get(row, ()))
        for result in analyzer.analyze(text.as_py(), language="en", entities=list(entities)):
            found.append(_span(text.as_py(), result.start, result.end, result.entity_type))
        if found:
            yield row, without_overlaps(found)


def _span(text: str, start: int, end: int, entity: str) -> Found:
    first = len(text[:start].encode())
    value = " ".join(text[start:end].lower().split())
    return Found(first, first + len(text[start:end].encode()), entity.lower(), value)


@lru_cache(maxsize=1)
def _analyzer(model: str) -> Any:
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    settings = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    return AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=settings).create_engine())
