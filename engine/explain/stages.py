"""What made an annotation: the stage and its version, the digest of its result, and the model it asked."""

from collections.abc import Mapping
from typing import Any

from engine.formats.annotation import Annotation
from engine.formats.receipt import read_receipt


def stages_of(annotation: Annotation, models: Mapping[str, str]) -> dict[str, Any]:
    """Return stage, made_by (stage/version; null where its receipt is gone), digest, and model (null without one).

    models: column prefix -> digest of the files of its model, as the manifests of current mixtures say it.
    """
    receipt = read_receipt(annotation.folder)
    trained = None if receipt is None else receipt.inputs.get(f"{annotation.prefix} (model)")
    return {
        "stage": annotation.stage,
        "made_by": None if receipt is None else receipt.made_by,
        "digest": annotation.digest,
        "model": models.get(annotation.prefix, trained),
    }
