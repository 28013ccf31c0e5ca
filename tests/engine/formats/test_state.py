"""The state of a recipe says which artifacts its last run ended with."""

import json
from pathlib import Path

import pytest

from engine.base.errors import InputError
from engine.formats.state import AnnotationState, RecipeState, read_state, recipe_names, require_state, write_state
from engine.formats.workspace import Workspace

STATE = {
    "recipe": "demo",
    "finished": "2026-05-01T10:00:00+00:00",
    "path": "/data/demo.yaml",
    "sources": {"web": "documents/web/abc"},
    "annotations": [
        {"prefix": "edu", "stage": "quality", "digest": "ab", "folder": "annotations/edu/ab", "columns": ["edu__score"]}
    ],
    "artifacts": {"near_dup": "annotations/near_dup/cd/_corpus/ef"},
    "edit_columns": {"pii__replace": "replace"},
    "models": {"edu": "models/78"},
    "benchmarks": {"quiz": "benchmarks/quiz/9a"},
    "split": "splits/12",
    "selection": "selections/34",
    "tokenizer": "t",
    "token_store": "tokens/56",
    "mixtures": {"demo_replay_10": "demo_replay_10@v1"},
}


def test_file_is_what_was_written(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    state = RecipeState.model_validate(STATE)
    write_state(workspace, state)
    assert json.loads((tmp_path / "recipes/demo.json").read_text()) == STATE
    assert read_state(workspace) == read_state(workspace, "demo") == state


def test_folders_are_opened_in_the_workspace(tmp_path: Path) -> None:
    workspace, state = Workspace(tmp_path), RecipeState.model_validate(STATE)
    (annotation,) = state.open_annotations(workspace)
    assert (annotation.prefix, annotation.stage, annotation.columns) == ("edu", "quality", ("edu__score",))
    assert annotation.folder == tmp_path / "annotations/edu/ab"
    selection, split = state.open_selection(workspace), state.open_split(workspace)
    assert selection is not None
    assert split is not None
    assert (selection.folder, selection.digest) == (tmp_path / "selections/34", "34")
    assert (split.folder, split.digest) == (tmp_path / "splits/12", "12")
    with pytest.raises(InputError, match="documents/web/abc: the documents are gone"):
        state.source_documents(workspace)


def test_the_latest_moment_wins_whatever_the_zone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    times = {"a": "2026-05-01T10:00:00Z", "b": "2026-05-01T10:30:00", "c": "2026-05-01T11:00:00+02:00"}
    for name, finished in times.items():
        write_state(workspace, RecipeState(recipe=name, finished=finished, sources={}))
    assert recipe_names(workspace) == ["a", "b", "c"]
    latest = read_state(workspace)
    assert latest is not None
    assert latest.recipe == "b"


def test_workspace_without_recipes_has_no_state(tmp_path: Path) -> None:
    assert read_state(Workspace(tmp_path)) is None
    with pytest.raises(InputError, match="no recipe has finished here"):
        require_state(Workspace(tmp_path))
    with pytest.raises(InputError, match=r"no finished recipe 'x' \(have: none\)"):
        read_state(Workspace(tmp_path), "x")


def test_time_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        RecipeState(recipe="a", finished="yesterday", sources={})


def test_annotation_state_is_strict() -> None:
    with pytest.raises(ValueError, match="extra"):
        AnnotationState.model_validate({**STATE["annotations"][0], "more": 1})  # type: ignore[index]
