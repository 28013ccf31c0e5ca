"""What an error about a token store or a tokenizer tells to do works as typed."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import InputError
from engine.formats.mixture import open_mixture
from engine.formats.token_store import open_token_store
from engine.formats.tokenizer import load_tokenizer
from engine.formats.workspace import Workspace
from engine.pack.tokenise import FILES
from engine.run.pipeline import run
from tests.engine.run.chat_corpus import recipe, write


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    run(write(folder, recipe(annotate=[])), folder / "ws")
    return folder


def states(folder: Path) -> dict[str, str]:
    result: dict[str, Any] = run(folder / "recipe.yaml", folder / "ws")
    return {step["name"]: step["state"] for step in result["steps"]}


def test_a_store_with_a_file_that_is_gone_or_cut_short_is_made_anew_with_the_same_bytes(ran: Path) -> None:
    workspace = Workspace(ran / "ws")
    folder = workspace.tokens(open_mixture(workspace, "all").manifest.token_store)
    before = {name: (folder / name).read_bytes() for name in FILES}
    for number, name in enumerate(FILES):
        if number % 2:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(before[name][:-7])
        with pytest.raises(InputError, match=name):
            open_token_store(folder)
        made = [step for step, state in states(ran).items() if state == "made"]
        assert made == ["token store"]
        assert {file: (folder / file).read_bytes() for file in FILES} == before
    assert "made" not in states(ran).values()


def test_a_store_whose_documents_cannot_be_read_says_to_delete_all_of_it(ran: Path) -> None:
    workspace = Workspace(ran / "ws")
    store = open_token_store(workspace.tokens(open_mixture(workspace, "all").manifest.token_store))
    content = (store.folder / "documents.parquet").read_bytes()
    (store.folder / "documents.parquet").write_bytes(bytes(len(content)))
    with pytest.raises(InputError, match=r"documents\.parquet: cannot be read.*Fix: delete the folder and run"):
        open_token_store(store.folder).documents()
    shutil.rmtree(store.folder)
    assert states(ran)["token store"] == "made"
    assert (store.folder / "documents.parquet").read_bytes() == content


def test_a_tokenizer_that_changed_comes_back_as_its_error_says(ran: Path) -> None:
    workspace = Workspace(ran / "ws")
    tagged = load_tokenizer(workspace.tokenizer(open_mixture(workspace, "all").manifest.tokenizer))
    assert tagged.meta.parent is not None
    for folder, made in ((tagged.folder, "control tokens"), (workspace.tokenizer(tagged.meta.parent), "tokenizer")):
        path = folder / "tokenizer.model"
        content = path.read_bytes()
        path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
        with pytest.raises(InputError, match=r"not the file that was described.*delete its folder and run the recipe"):
            states(ran)
        shutil.rmtree(folder)
        assert [step for step, state in states(ran).items() if state == "made"] == [made]
        assert path.read_bytes() == content
