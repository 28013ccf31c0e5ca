"""Another batch size is another schedule over the token store that is there."""

from pathlib import Path
from typing import Any

from engine.formats.mixture import open_mixture
from engine.formats.schedule import open_schedule
from engine.formats.workspace import Workspace
from tests.engine.run.searched import prose, recipe, run_in, states, write_lines


def of_shape(row_tokens: int, rows_per_step: int) -> dict[str, Any]:
    mixtures = {"all": {"sources": ["web"], "row_tokens": row_tokens, "rows_per_step": rows_per_step}}
    return recipe(annotate=[{"stage": "exact_dup"}], benchmarks=None, filters=None, mixtures=mixtures)


def test_another_shape_of_a_step_makes_a_schedule_and_leaves_the_token_store_alone(tmp_path: Path) -> None:
    write_lines(tmp_path / "web.jsonl", [{"uid": f"d{n}", "text": prose(n, 20 + n % 50)} for n in range(120)])
    first = run_in(tmp_path, of_shape(64, 4))
    store = tmp_path / "ws" / "tokens"
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in store.rglob("*") if path.is_file()}
    second = run_in(tmp_path, of_shape(96, 2))
    assert [name for name, state in states(second).items() if state == "made"] == ["mixture all"]
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in store.rglob("*") if p.is_file()} == before
    workspace = Workspace(tmp_path / "ws")
    manifests = [open_mixture(workspace, result["mixtures"][0]["reference"]).manifest for result in (first, second)]
    one, two = (open_schedule(workspace.schedule(manifest.schedule)).meta for manifest in manifests)
    assert (one.row_tokens, one.rows_per_step, two.row_tokens, two.rows_per_step) == (64, 4, 96, 2)
    assert one.num_tokens == two.num_tokens
    assert one.token_store == two.token_store
