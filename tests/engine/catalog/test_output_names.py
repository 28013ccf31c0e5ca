"""Where --out and --format do not go together, nothing is written."""

from pathlib import Path

import pytest

from engine.base.errors import InputError, RecipeError
from engine.catalog.mistakes import _unknown_column
from engine.catalog.output import chosen_format
from engine.catalog.syntax import tables_read

VIEWS = {"documents": ["doc_id", "source"], **{f"view{n}": ["doc_id", "docid_of"] for n in range(9)}}


def test_format_that_contradicts_the_ending_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"--format json: the name 'o.csv' says csv.*or name o.json"):
        chosen_format("json", tmp_path / "o.csv", False)
    assert chosen_format("csv", tmp_path / "o.csv", False)[0] == "csv"
    assert chosen_format("csv", tmp_path / "o.dat", False)[0] == "csv"


def test_out_into_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        chosen_format(None, tmp_path / "missing" / "o.csv", False)
    assert not (tmp_path / "missing").exists()


def test_column_of_the_view_that_is_read_comes_first() -> None:
    assert _unknown_column("sql", "docid", VIEWS, {"documents"}).endswith("Fix: use 'doc_id' of documents.")
    assert "view3 or 5 others" in _unknown_column("sql", "docid_off", VIEWS, set())


def test_views_read_are_those_of_the_syntax_tree() -> None:
    tree = {"from_table": {"type": "JOIN", "left": {"type": "BASE_TABLE", "table_name": "Documents"}, "right": [1]}}
    assert tables_read(tree) == {"documents"}
