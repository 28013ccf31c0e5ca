"""Small JSON files of ours, read as the model that wrote them; a damaged one is an error that says what to do."""

from pathlib import Path
from typing import TypeVar

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem
from engine.base.stage import StrictModel

Model = TypeVar("Model", bound=StrictModel)


def read_model(path: Path, model: type[Model], fix: str) -> Model:
    """Return what a JSON file holds; raises InputError with this fix where it is gone, no JSON, or no such model."""
    try:
        return model.model_validate(read_json(path))
    except (FileNotFoundError, ValueError) as error:  # pydantic's errors are ValueErrors too
        reason = "it is gone" if isinstance(error, FileNotFoundError) else str(error).splitlines()[0]
        raise InputError(problem(path, f"cannot be read ({reason})", fix=fix)) from error
