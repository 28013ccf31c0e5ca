"""Small files that were cut short are errors with a way out, not failures of ours."""

from pathlib import Path

import pytest

from engine.base.atomic import write_json
from engine.base.errors import InputError
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.run import open_run
from engine.formats.workspace import Workspace


@pytest.mark.parametrize("content", ["", "{", '{"rows": 1}', "[]", b"\xff\xfe"])
def test_a_damaged_receipt_names_itself_and_what_to_do(tmp_path: Path, content: str | bytes) -> None:
    assert read_receipt(tmp_path) is None
    receipt = Receipt(made_by="test", digest="d", rows=1, seconds=0)
    write_receipt(tmp_path, receipt)
    assert read_receipt(tmp_path) == receipt
    (tmp_path / "receipt.json").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=r"receipt\.json: cannot be read.*Fix: restore it from a copy; or delete"):
        read_receipt(tmp_path)


def test_a_run_whose_json_was_cut_short_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_json(workspace.run("one") / "run.json", {"run": "one"})
    assert open_run(workspace, "one").content == {"run": "one"}
    (workspace.run("one") / "run.json").write_text('{"run": "o')
    with pytest.raises(InputError, match=r"one/run\.json: cannot be read.*Fix: restore it from a copy, or delete"):
        open_run(workspace, "one")
