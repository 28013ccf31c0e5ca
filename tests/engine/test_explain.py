"""`explain` tells what the artifacts say about one document, and finds it by the beginning of its id."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import polars as pl
import pytest

from engine.base.atomic import read_json, write_json
from engine.base.errors import InputError
from engine.explain import explain, show_explain
from engine.formats.annotation import part_path
from engine.formats.find import find_documents
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.selection import SCHEMA
from engine.formats.state import RecipeState, write_state
from engine.formats.token_store import (
    CONTROL_TOKENS_FILE,
    CONTROL_TOKENS_SCHEMA,
    LOOK_ALIKES_FILE,
    LOOK_ALIKES_SCHEMA,
)

small_workspace = runpy.run_path(str(Path(__file__).parent / "small_workspace.py"))["small_workspace"]
NAMES = ["w1", "w2", "w3", "w4", "w5", "b1", "b2", "b3", "b4"]


def test_removed_document_names_its_survivor_and_the_rule(small_workspace: SimpleNamespace) -> None:
    result = explain(small_workspace.id["w2"], small_workspace.root)
    assert result["decision"] == {
        "decision": "dropped",
        "reason": "near_duplicate",
        "tags": None,
        "rule": "dropped where near_dup__kept_id IS NOT NULL",
        "tagged": {},
        "balance": None,
    }
    (found,) = result["duplicates"]
    assert found["stage"] == "near_dup"
    assert found["similarity"] == 0.9
    assert found["survivor"] == {
        "doc_id": small_workspace.id["w1"],
        "source": "web",
        "decision": "kept",
        "reason": None,
        "excerpt": "the first page of the web",
        "num_chars": 25,
        "is_cut": False,
    }
    assert found["pairs"] == [{"doc_id": small_workspace.id["w1"], "source": "web", "similarity": 0.9}]
    assert (found["num_removed"], found["removed"]) == (0, [])


def test_survivor_knows_who_was_removed_for_it(small_workspace: SimpleNamespace) -> None:
    (found,) = explain(small_workspace.id["w1"], small_workspace.root)["duplicates"]
    assert found["survivor"] is None
    assert found["removed"] == [{"doc_id": small_workspace.id["w2"], "source": "web"}]
    assert found["num_pairs"] == 1


def test_kept_document_shows_where_it_is_trained(small_workspace: SimpleNamespace) -> None:
    result = explain(small_workspace.id["b1"], small_workspace.root)
    assert result["decision"]["rule"] == "no rule applied"
    old, new = result["mixtures"]
    assert (old["reference"], old["is_current"]) == ("demo@v1", False)
    assert (new["reference"], new["is_current"], new["is_replay"], new["repeats"]) == ("demo@v2", True, False, 2)
    assert (new["document"], new["documents"], new["phase"]) == (0, 3, 0)
    assert new["steps"] == [1, 2], "counted from 1, as in metrics"
    assert [(span["step"], span["start"], span["length"], span["repeat"]) for span in new["spans"]] == [
        (1, 0, 9, 0),
        (2, 0, 9, 1),
    ]
    assert result["not_in"] == []
    assert result["duplicates"] == []


def test_runs_that_trained_on_it_show_their_steps_and_losses(small_workspace: SimpleNamespace) -> None:
    """`done` made one step; `going` one more, of which it wrote half a line."""
    done, going = explain(small_workspace.id["b1"], small_workspace.root)["trained"]
    assert done == {
        "run": "done",
        "is_finished": True,
        "reference": "demo@v2",
        "made_steps": 1,
        "num_steps_with_it": 1,
        "steps": [{"step": 1, "loss": 3.5, "source_loss": 3.0}],
    }
    assert (going["run"], going["is_finished"]) == ("going", False)
    assert going["steps"] == [{"step": 1, "loss": 4.0, "source_loss": None}]
    shown = show_explain(explain(small_workspace.id["b1"], small_workspace.root), 200)
    assert "  done (demo@v2): step 1, loss 3.5 (its source 3)\n  going (demo@v2): step 1, loss 4\n" in shown


def test_run_that_did_not_come_to_it_says_so(small_workspace: SimpleNamespace) -> None:
    result = explain(small_workspace.id["b2"], small_workspace.root)
    assert [(run["made_steps"], run["num_steps_with_it"]) for run in result["trained"]] == [(1, 0), (1, 0)]
    assert "done (demo@v2): not in the 1 steps it made" in show_explain(result, 200)
    assert explain(small_workspace.id["b3"], small_workspace.root)["trained"] == []


def test_run_of_another_version_of_that_name_did_not_train_on_it(small_workspace: SimpleNamespace) -> None:
    path = small_workspace.root / "runs/done/run.json"
    write_json(path, read_json(path) | {"mixture": {"reference": "demo@v2", "digest": "0" * 32}})
    assert [run["run"] for run in explain(small_workspace.id["b1"], small_workspace.root)["trained"]] == ["going"]


def test_versions_it_was_taken_down_from_are_named(small_workspace: SimpleNamespace) -> None:
    path = small_workspace.root / "mixtures/demo/v2/manifest.json"
    left = {"how": "takedown", "reference": "demo@v1", "digest": "1f" * 16, "reason": "asked by its author"}
    removed = [UUID(small_workspace.id["w1"]).bytes.hex()]
    write_json(path, read_json(path) | {"derived_from": left | {"removed": removed}})
    result = explain(small_workspace.id["w1"], small_workspace.root)
    assert result["taken_down"] == [
        {"reference": "demo@v2", "from": "demo@v1", "how": "takedown", "reason": "asked by its author"}
    ]
    assert "demo@v2: left by takedown from demo@v1 (asked by its author)" in show_explain(result, 200)
    assert explain(small_workspace.id["b1"], small_workspace.root)["taken_down"] == []


def test_annotation_says_which_version_of_its_stage_and_which_model_made_it(small_workspace: SimpleNamespace) -> None:
    (heuristics,) = (a for a in small_workspace.state.annotations if a.prefix == "heuristics")
    receipt = Receipt(
        made_by="heuristics/7",
        digest=heuristics.digest,
        inputs={"heuristics (model)": "ab" * 16},
        rows=9,
        seconds=0,
    )
    write_receipt(small_workspace.root / heuristics.folder, receipt)
    result = explain(small_workspace.id["b1"], small_workspace.root)
    assert result["stages"]["heuristics"] == {
        "stage": "heuristics",
        "made_by": "heuristics/7",
        "digest": "1" * 32,
        "model": "ab" * 16,
    }
    assert result["stages"]["near_dup"]["made_by"] is None
    assert "made by heuristics/7, digest 111111111111, model abababababab" in show_explain(result, 200)
    path = small_workspace.root / "mixtures/demo/v2/manifest.json"
    write_json(path, read_json(path) | {"models": {"heuristics": "cd" * 16}})
    assert explain(small_workspace.id["b1"], small_workspace.root)["stages"]["heuristics"]["model"] == "cd" * 16


def test_replay_is_told_from_domain_text(small_workspace: SimpleNamespace) -> None:
    (_, new) = explain(small_workspace.id["w1"], small_workspace.root)["mixtures"]
    assert new["is_replay"] is True


def test_document_of_no_mixture_says_so(small_workspace: SimpleNamespace) -> None:
    result = explain(small_workspace.id["b3"], small_workspace.root)
    assert (result["mixtures"], result["not_in"]) == ([], ["demo@v2"])
    assert result["decision"]["rule"] == "dropped unless heuristics__num_words >= 2"


def test_tagged_document_names_the_rules_that_would_have_dropped_it(small_workspace: SimpleNamespace) -> None:
    result = explain(small_workspace.id["b2"], small_workspace.root)
    assert result["decision"] == {
        "decision": "kept",
        "reason": None,
        "tags": ["too_short", "odd"],
        "rule": "rules that apply only tag it",
        "tagged": {"too_short": "it would go unless heuristics__num_words >= 2", "odd": None},
        "balance": None,
    }
    shown = show_explain(result, 100)
    assert "tagged too_short: it would go unless heuristics__num_words >= 2" in shown
    assert "tagged odd\n" in shown


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"keep": "heuristics__num_words < 2"}, "not heuristics__num_words < 2"),
        ({"keep": "a < 2 or b"}, "not (a < 2 or b)"),
        ({"drop": "a < 2 or b", "keep": None}, "a < 2 or b"),
    ],
)
def test_rule_that_only_tags_is_not_said_to_drop(
    small_workspace: SimpleNamespace, rule: dict[str, str | None], said: str
) -> None:
    path = small_workspace.root / "selections/6666/selection.json"
    written = read_json(path)
    written["rules"].append({"reason": "odd", "drop": None, "action": "tag"} | rule)
    write_json(path, written)
    shown = show_explain(explain(small_workspace.id["b2"], small_workspace.root), 200)
    assert f"tagged odd: {said} (this rule only tags)\n" in shown
    assert "tagged too_short: it would go unless heuristics__num_words >= 2\n" in shown


def add_token_store(workspace: SimpleNamespace) -> None:
    """Write the two files about control tokens of a token store; the rows are not in the order of their positions."""
    here, other = (UUID(workspace.id[name]).bytes for name in ("b1", "w1"))
    folder = workspace.root / "tokens/9999"
    placed = [(here, 1, "<|quality:high|>"), (other, 0, "<|lang:de|>"), (here, 0, "<|lang:en|>")]
    alike = [(here, "<s>", 1_200), (here, "<|lang:de|>", 1), (other, "</s>", 3)]
    for file, rows, schema in (
        (CONTROL_TOKENS_FILE, placed, CONTROL_TOKENS_SCHEMA),
        (LOOK_ALIKES_FILE, alike, LOOK_ALIKES_SCHEMA),
    ):
        write_parquet(folder / file, pl.DataFrame(rows, schema=schema, orient="row"))
    write_state(workspace.workspace, workspace.state.model_copy(update={"token_store": "tokens/9999"}))


def test_control_tokens_and_look_alikes_are_those_of_the_document(small_workspace: SimpleNamespace) -> None:
    add_token_store(small_workspace)
    result = explain(small_workspace.id["b1"], small_workspace.root)
    assert result["control_tokens"] == ["<|lang:en|>", "<|quality:high|>"]
    assert result["look_alikes"] == [
        {"token": "<s>", "occurrences": 1200},
        {"token": "<|lang:de|>", "occurrences": 1},
    ]
    assert (
        "tokens\n  control tokens: <|lang:en|><|quality:high|>\n"
        "  looks like a token, kept as text: <s> 1,200, <|lang:de|> 1\n"
    ) in show_explain(result, 200)
    without = explain(small_workspace.id["b2"], small_workspace.root)
    assert (without["control_tokens"], without["look_alikes"]) == ([], [])
    assert "\ntokens\n" not in show_explain(without, 200)


@pytest.mark.parametrize("file", [CONTROL_TOKENS_FILE, LOOK_ALIKES_FILE])
def test_store_that_lost_a_file_is_an_error_that_names_it(small_workspace: SimpleNamespace, file: str) -> None:
    add_token_store(small_workspace)
    (small_workspace.root / "tokens/9999" / file).unlink()
    with pytest.raises(InputError, match=rf"{file}: cannot be read .*Fix: "):
        explain(small_workspace.id["b1"], small_workspace.root)


@pytest.mark.parametrize("file", ["schedules/222222222222/schedule.parquet", "mixtures/demo/v2/documents.parquet"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_damaged_version_is_named_and_the_others_are_told(
    small_workspace: SimpleNamespace, file: str, damage: str
) -> None:
    path = small_workspace.root / file
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[:-20])
    result = explain(small_workspace.id["b1"], small_workspace.root)
    assert [use["reference"] for use in result["mixtures"]] == ["demo@v1"]
    assert path.name in result["damaged"][0]
    assert f"  {path.parent}" in show_explain(result, 10_000)


def test_document_that_balance_would_have_left_over_says_so(small_workspace: SimpleNamespace) -> None:
    path = small_workspace.root / "selections/6666/selection.json"
    write_json(path, read_json(path) | {"balance": [{"reason": "odd", "by": ["license"]}]})
    shown = show_explain(explain(small_workspace.id["b2"], small_workspace.root), 100)
    assert "tagged odd: it would go because balance had no room for it" in shown


def leave_over(workspace: SimpleNamespace, name: str, by: list[str]) -> None:
    """Let a rule of balance, `licenses`, leave a document over."""
    doc_id = UUID(workspace.id[name]).bytes
    place = find_documents(workspace.state.source_documents(workspace.workspace), [doc_id])[doc_id]
    path = part_path(workspace.root / "selections/6666", place.shard)
    here = pl.int_range(pl.len()) == place.row
    frame = pl.read_parquet(path).with_columns(
        decision=pl.when(here).then(pl.lit("over_budget")).otherwise("decision"),
        reason=pl.when(here).then(pl.lit("licenses")).otherwise("reason"),
        tags=None,
    )
    write_parquet(path, frame.cast(SCHEMA))
    said = read_json(workspace.root / "selections/6666/selection.json")
    write_json(
        workspace.root / "selections/6666/selection.json", said | {"balance": [{"reason": "licenses", "by": by}]}
    )


def test_document_that_balance_left_over_shows_its_group(small_workspace: SimpleNamespace) -> None:
    leave_over(small_workspace, "b2", ["license"])
    leave_over(small_workspace, "w1", ["license"])
    found = explain(small_workspace.id["b2"], small_workspace.root)["decision"]
    assert found["balance"] == {
        "rule": "licenses",
        "unit": "documents",
        "group": "license = CC0-1.0",
        "is_quota": True,
        "asked": 5,
        "available": 2,
        "kept": 2,
        "missing": 3,
        "available_documents": 2,
        "kept_documents": 2,
    }
    shown = show_explain(explain(small_workspace.id["w1"], small_workspace.root), 200)
    assert "over_budget: licenses" in shown
    assert "balance left it over: 1 of 1 documents of license = null were kept (a cap of 1, rule licenses)" in shown


def test_group_that_the_selection_does_not_say_is_null(small_workspace: SimpleNamespace) -> None:
    leave_over(small_workspace, "b2", ["domain", "license"])
    found = explain(small_workspace.id["b2"], small_workspace.root)["decision"]
    assert (found["balance"]["rule"], found["balance"]["group"]) == ("licenses", None)
    assert found["rule"] == "balance left it over: rule licenses had no room for it"


def test_contaminated_document_shows_its_evidence(small_workspace: SimpleNamespace) -> None:
    hit = {"benchmark": "general", "item": "w4", "kind": "passage", "score": 1.0, "evidence": "benchmark text"} | {
        "item_text": "all of the text"
    }
    assert explain(small_workspace.id["b4"], small_workspace.root)["hits"] == {"contamination": [hit]}
    assert explain(small_workspace.id["b1"], small_workspace.root)["hits"] == {}


def test_heldout_document_shows_its_group(small_workspace: SimpleNamespace) -> None:
    groups = {
        "doc_id": [b"0" * 16, b"w4".ljust(16, b"\xee")],
        "group_id": [b"w4".ljust(16, b"\xee")] * 2,
        "set": ["general"] * 2,
    }
    write_parquet(small_workspace.root / "splits/7777/groups.parquet", pl.DataFrame(groups))
    result = explain(small_workspace.id["w4"], small_workspace.root)
    assert result["heldout"] == {
        "set": "general",
        "group_id": small_workspace.id["w4"],
        "num_others": 1,
        "others": ["30303030-3030-3030-3030-303030303030"],
    }
    assert result["decision"]["rule"] == "it belongs to a group of the held-out set 'general'"


def test_row_is_the_one_in_the_users_own_file(small_workspace: SimpleNamespace) -> None:
    place = explain(small_workspace.id["w5"], small_workspace.root)["place"]
    assert place == {"file": str(small_workspace.data / "web.parquet"), "row": 4, "shard": "00002", "shard_row": 0}
    file = pl.read_parquet(place["file"])
    assert file["body"][place["row"]] == "x"


def test_core_and_annotation_columns_are_plain(small_workspace: SimpleNamespace) -> None:
    result = explain(small_workspace.id["b2"], small_workspace.root)
    assert result["columns"]["license"] == "CC0-1.0"
    assert len(result["columns"]["text_digest"]) == 32
    stages = ("heuristics", "near_dup", "contamination", "license")
    assert {stage: result["annotations"][stage] for stage in stages} == {
        "license": {"license__spdx": "CC0-1.0", "license__from": "stated", "license__family": "public_domain"},
        "heuristics": {"heuristics__num_words": 3},
        "near_dup": {"near_dup__kept_id": None, "near_dup__similarity": None},
        "contamination": {"contamination__action": None},
    }
    assert result["text"] == {"excerpt": "Call me\nIshmael.", "num_chars": 16, "is_cut": False}


def test_document_without_text_has_no_excerpt(small_workspace: SimpleNamespace) -> None:
    result = explain(small_workspace.id["w3"], small_workspace.root)
    assert result["text"] == {"excerpt": None, "num_chars": 0, "is_cut": False}
    assert result["decision"]["rule"] == "it has no text"


@pytest.mark.parametrize("name", NAMES)
def test_every_document_can_be_printed_as_json(small_workspace: SimpleNamespace, name: str) -> None:
    json.dumps(explain(small_workspace.id[name], small_workspace.root), allow_nan=False)


@pytest.mark.parametrize("digits", ["6234", "6234-EEEE", " 6234eeeeee ", "6234eeee-eeee-eeee-eeee-eeeeeeeeeee"])
def test_beginning_of_an_id_is_enough(small_workspace: SimpleNamespace, digits: str) -> None:
    assert explain(digits, small_workspace.root)["doc_id"] == small_workspace.id["b4"]


def test_beginning_that_fits_several_names_three(small_workspace: SimpleNamespace) -> None:
    ids = ", ".join(small_workspace.id[name] for name in ("b1", "b2", "b3"))
    with pytest.raises(InputError, match=f"623: 4 documents begin like this: among them {ids}. Needed: one document"):
        explain("623", small_workspace.root)


@pytest.mark.parametrize("digits", ["", "xyz", "6234eeee-eeee-eeee-eeee-eeeeeeeeeeee0", "62 34"])
def test_what_is_no_id_is_refused(small_workspace: SimpleNamespace, digits: str) -> None:
    with pytest.raises(InputError, match="this is no document id"):
        explain(digits, small_workspace.root)


def test_unknown_id_is_an_error(small_workspace: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="abcd: no document of the recipe has this id"):
        explain("abcd", small_workspace.root)


def test_workspace_without_a_finished_recipe_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recipe has finished here"):
        explain("abcd", tmp_path)


def test_recipe_without_selection_says_that_nothing_is_decided(small_workspace: SimpleNamespace) -> None:
    state = RecipeState(recipe="bare", finished="2030-01-01", sources=small_workspace.state.sources)
    write_state(small_workspace.workspace, state)
    result = explain(small_workspace.id["b1"], small_workspace.root)
    assert (result["recipe"], result["decision"], result["annotations"]) == ("bare", None, {})
    assert len(result["mixtures"]) == 2
    assert "none yet: the recipe stopped before the selection" in show_explain(result)
    assert explain(small_workspace.id["b1"], small_workspace.root, recipe="small")["decision"]["decision"] == "kept"


def test_source_file_that_is_gone_leaves_the_rest_readable(small_workspace: SimpleNamespace) -> None:
    (small_workspace.data / "web.parquet").unlink()
    result = explain(small_workspace.id["w2"], small_workspace.root)
    assert result["place"]["row"] is None
    assert "cannot be read" in result["text"]["problem"]
    assert result["decision"]["reason"] == "near_duplicate"
    assert "cannot be read" in show_explain(result, 60)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [60, 100])
def test_terminal_text_keeps_to_the_width_and_breaks_no_id(
    small_workspace: SimpleNamespace, name: str, width: int
) -> None:
    result = explain(small_workspace.id[name], small_workspace.root)
    result["place"]["file"] = "data/web.parquet"
    lines = show_explain(result, width).splitlines()
    assert max(map(len, lines)) <= width
    assert any(small_workspace.id[name] in line for line in lines)


def test_terminal_text_tells_the_story(small_workspace: SimpleNamespace) -> None:
    shown = show_explain(explain(small_workspace.id["w2"], small_workspace.root), 200)
    assert f"removed for {small_workspace.id['w1']} of web (kept), similarity 0.9" in shown
    assert "dropped: near_duplicate" in shown
    assert "demo@v2: does not use it" in shown
    shown = show_explain(explain(small_workspace.id["b1"], small_workspace.root), 200)
    assert "demo@v2: domain text, document 1 of 3, 9 tokens, used 2 times, scheduled at steps 1, 2" in shown
    shown = show_explain(explain(small_workspace.id["b4"], small_workspace.root), 200)
    assert "benchmark general, item w4, kind passage, score 1.0, evidence benchmark text" in shown
