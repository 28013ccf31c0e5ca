"""A dry run says what changed rules would keep: exactly what a real run then keeps, and without writing a byte."""

import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import RecipeError
from engine.catalog import sql
from engine.run.pipeline import run
from engine.run.show import show_run
from engine.run.what_if.changes import order_changed, rule_changes
from engine.select.balance import Rule as BalanceRule
from engine.select.decide import Rule

FILTERS = [
    {"reason": "too_short", "keep": "heuristics__num_words >= 20"},
    {"reason": "no_letters", "keep": "COALESCE(heuristics__alpha_word_fraction >= 0.5, FALSE)"},
]


def prose(seed: int) -> str:
    """Between 5 and 60 words, some of them numbers."""
    numbers = random.Random(seed)
    share = numbers.random()
    words = [f"w{numbers.randrange(900)}" for _ in range(numbers.randrange(5, 61))]
    return " ".join(word[1:] if numbers.random() < share else f"{word}x" for word in words)


def recipe(filters: list[dict[str, Any]] | None = None, **sections: Any) -> dict[str, Any]:
    source = {"stage": "jsonl", "columns": {"id": "uid"}}
    return {
        "name": "changing",
        "sources": [{**source, "name": name, "path": f"{name}.jsonl"} for name in ("web", "books")],
        "annotate": [{"stage": "exact_dup"}, {"stage": "heuristics"}],
        "filters": FILTERS if filters is None else filters,
        "guard": {"max_source_loss": 1.0},
    } | sections


def write_recipe(folder: Path, content: Mapping[str, Any]) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sources and a workspace ws/ in which the recipe ran."""
    folder = tmp_path_factory.mktemp("what_if")
    for number, name in enumerate(("web", "books")):
        rows = [{"uid": f"{name}{n:03}", "text": prose(1000 * number + n)} for n in range(150)]
        rows += [{"uid": "copy", "text": prose(1000 * number)}, {"uid": "empty", "text": None}]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(write_recipe(folder, recipe()), folder / "ws")
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy that tests may run for real in."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def asked(folder: Path, content: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    found = run(write_recipe(folder, content), folder / "ws", dry_run=True, **options)["what_if"]
    assert isinstance(found, dict)
    return found


def with_least(words: int) -> list[dict[str, Any]]:
    return [{"reason": "too_short", "keep": f"heuristics__num_words >= {words}"}, FILTERS[1]]


def table(folder: Path) -> list[dict[str, Any]]:
    """Every document: doc_id, source, words, letters, decision, reason; as SQL shows it."""
    found = sql(
        "SELECT doc_id, source, heuristics__num_words AS words, heuristics__alpha_word_fraction AS letters, decision, "
        "reason FROM annotations JOIN decisions USING (doc_id, source)",
        folder / "ws",
    )
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]


def content_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


TEN_OF_EACH = [{"reason": "enough", "by": ["source"], "cap": 10}]


@pytest.mark.parametrize(
    "content",
    [
        recipe(with_least(30)),
        recipe(with_least(8)),
        recipe(with_least(20)[::-1]),
        recipe([*with_least(20), {"reason": "long", "keep": "heuristics__num_chars < 200", "action": "tag"}]),
        recipe([{"preset": "gopher_quality", "where": "source = 'web'"}]),
        recipe([]),
        recipe(with_least(15), balance=TEN_OF_EACH),
    ],
    ids=["stricter", "looser", "reordered", "another column", "preset", "none", "balance"],
)
def test_the_plan_says_what_a_run_then_does(folder: Path, content: dict[str, Any]) -> None:
    before = {row["doc_id"]: row for row in table(folder)}
    found = asked(folder, content)
    run(folder / "recipe.yaml", folder / "ws", mixtures=[])
    ledger = sql("SELECT * FROM ledger WHERE step = 'selection'", folder / "ws")
    done = [dict(zip(ledger["columns"], row, strict=True)) for row in ledger["rows"]]
    order = ("source", "outcome", "reason")
    for rows in (done, found["ledger"]):
        rows.sort(key=lambda row: [str(row[name]) for name in order])
    assert [[row[name] for name in (*order, "documents", "bytes")] for row in found["ledger"]] == [
        [row[name] for name in (*order, "documents", "bytes")] for row in done
    ]
    now = table(folder)
    for source in (*found["sources"], {"source": None, **found["total"]}):
        rows = [row for row in now if source["source"] in (None, row["source"])]
        was = [before[row["doc_id"]]["decision"] == "kept" for row in rows]
        is_kept = [row["decision"] == "kept" for row in rows]
        pairs = list(zip(was, is_kept, strict=True))
        assert {part: source[part]["documents"] for part in ("kept_before", "kept_now")} == {
            "kept_before": sum(was),
            "kept_now": sum(is_kept),
        }
        assert source["newly_kept"]["documents"] == pairs.count((False, True))
        assert source["newly_lost"]["documents"] == pairs.count((True, False))
        assert source["new_documents"] == 0


def test_bytes_are_those_of_the_documents_and_tokens_null_without_their_stage(folder: Path) -> None:
    found = asked(folder, recipe(with_least(30)))
    kept = {row["source"]: row["bytes"] for row in found["ledger"] if row["outcome"] == "kept"}
    assert {row["source"]: row["kept_now"]["bytes"] for row in found["sources"]} == kept
    total = found["total"]
    bytes_of = {part: total[part]["bytes"] for part in ("kept_before", "kept_now", "newly_kept", "newly_lost")}
    assert bytes_of["kept_before"] - bytes_of["newly_lost"] + bytes_of["newly_kept"] == bytes_of["kept_now"]
    assert total["kept_now"]["tokens"] is None


def test_nothing_is_written(folder: Path) -> None:
    before = content_of(folder / "ws")
    asked(folder, recipe(with_least(30)), border=True)
    assert content_of(folder / "ws") == before


def test_changed_added_and_removed_rules_are_named_with_what_they_say(finished: Path) -> None:
    new = {"reason": "long", "keep": "heuristics__num_words < 50", "action": "tag"}
    found = asked(finished, recipe([with_least(30)[0], new]))
    said = [(rule["reason"], rule["change"], rule["before"], rule["now"]) for rule in found["rules"]]
    least = [{"keep": f"heuristics__num_words >= {words}", "action": "drop"} for words in (20, 30)]
    assert said == [
        ("too_short", "changed", *least),
        ("long", "added", None, {"keep": new["keep"], "action": "tag"}),
        ("no_letters", "removed", {"keep": FILTERS[1]["keep"], "action": "drop"}, None),
    ]
    assert not found["order_changed"]
    assert asked(finished, recipe(FILTERS[::-1]))["order_changed"]


def test_reasons_are_counted_before_and_now(finished: Path) -> None:
    rows = table(finished)
    found = asked(finished, recipe(with_least(30)))
    counted = {(r["source"], r["reason"]): (r["documents_before"], r["documents_now"]) for r in found["reasons"]}
    for source in ("web", "books"):
        here = [row for row in rows if row["source"] == source and row["reason"] not in ("no_text", "exact_duplicate")]
        short = [[row for row in here if row["words"] < least] for least in (20, 30)]
        assert counted[source, "too_short"] == (len(short[0]), len(short[1]))
        assert counted[source, "no_text"] == counted[source, "exact_duplicate"] == (1, 1)


def nearest(rows: list[dict[str, Any]], column: str, sign: int) -> list[tuple[str, Any]]:
    ordered = sorted(rows, key=lambda row: (sign * row[column], row["doc_id"]))
    return [(row["doc_id"], row[column]) for row in ordered[:3]]


def shown(documents: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(document["doc_id"], document["value"]) for document in documents]


def test_the_border_shows_the_documents_nearest_to_a_changed_threshold(finished: Path) -> None:
    (border,) = asked(finished, recipe(with_least(33)))["borders"]
    rows = [row for row in table(finished) if row["reason"] not in ("no_text", "exact_duplicate")]
    assert (border["reason"], border["column"], border["sign"]) == ("too_short", "heuristics__num_words", ">=")
    assert border["threshold"] == 33
    assert shown(border["passes"]) == nearest([row for row in rows if row["words"] >= 33], "words", 1)
    assert shown(border["fails"]) == nearest([row for row in rows if row["words"] < 33], "words", -1)
    text = sql(f"SELECT text FROM source_web WHERE doc_id = '{border['fails'][0]['doc_id']}'", finished / "ws")["rows"]
    texts = (
        text
        or sql(f"SELECT text FROM source_books WHERE doc_id = '{border['fails'][0]['doc_id']}'", finished / "ws")[
            "rows"
        ]
    )
    assert texts[0][0].startswith(border["fails"][0]["excerpt"][:100])
    assert {document["decision"] for document in border["fails"]} == {"dropped"}


def test_every_border_on_request_of_what_earlier_rules_left_over(finished: Path) -> None:
    borders = {one["reason"]: one for one in asked(finished, recipe(), border=True)["borders"]}
    assert set(borders) == {"too_short", "no_letters"}
    left = [row for row in table(finished) if row["reason"] in (None, "no_letters")]
    letters = borders["no_letters"]
    assert shown(letters["passes"]) == nearest([row for row in left if row["letters"] >= 0.5], "letters", 1)
    assert shown(letters["fails"]) == nearest([row for row in left if row["letters"] < 0.5], "letters", -1)
    assert [one["value"] for one in letters["fails"]] == sorted(
        (one["value"] for one in letters["fails"]), reverse=True
    )


def test_where_a_rule_judges_some_documents_only_those_are_at_its_border(finished: Path) -> None:
    keep = "NOT COALESCE((source = 'books'), FALSE) OR COALESCE(heuristics__num_words <= 40, TRUE)"
    (border,) = asked(finished, recipe([*FILTERS, {"reason": "too_long", "keep": keep}]))["borders"]
    books = [row for row in table(finished) if row["decision"] == "kept" and row["source"] == "books"]
    assert shown(border["passes"]) == nearest([row for row in books if row["words"] <= 40], "words", -1)
    assert shown(border["fails"]) == nearest([row for row in books if row["words"] > 40], "words", 1)


def test_of_rules_of_another_form_documents_whose_decision_changed_are_shown(finished: Path) -> None:
    keep = "heuristics__num_words BETWEEN 1 AND 40"
    found = asked(finished, recipe([FILTERS[1], {"reason": "length", "keep": keep}]))
    rows = table(finished)
    lost = sorted(row["doc_id"] for row in rows if row["decision"] == "kept" and row["words"] > 40)
    won = sorted(row["doc_id"] for row in rows if row["reason"] == "too_short" and row["letters"] >= 0.5)
    changed = {one["reason"]: one for one in found["changed_documents"]}
    assert found["borders"] == []
    assert [one["doc_id"] for one in changed["length"]["newly_lost"]] == lost[:3]
    assert [one["doc_id"] for one in changed["too_short"]["newly_kept"]] == won[:3]
    assert {one["reason"] for one in changed["length"]["newly_lost"]} == {"length"}


def with_tag(keep: str) -> list[dict[str, Any]]:
    return [*FILTERS, {"reason": "odd", "keep": keep, "action": "tag"}]


@pytest.mark.parametrize(
    "keep",
    ["heuristics__num_words BETWEEN 25 AND 30 OR source = 'web'", "heuristics__num_words <= 30"],
    ids=["compound", "threshold"],
)
def test_tags_are_counted_before_and_now_and_documents_shown_that_gain_or_lose_one(folder: Path, keep: str) -> None:
    run(write_recipe(folder, recipe(with_tag("heuristics__num_words <= 40"))), folder / "ws")
    kept = [row for row in table(folder) if row["decision"] == "kept"]
    had = {row["doc_id"] for row in kept if row["words"] > 40}
    is_compound = "BETWEEN" in keep
    passing = [
        row
        for row in kept
        if (25 <= row["words"] <= 30 or row["source"] == "web" if is_compound else row["words"] <= 30)
    ]
    has = {row["doc_id"] for row in kept} - {row["doc_id"] for row in passing}
    found = asked(folder, recipe(with_tag(keep)))
    source_of = {row["doc_id"]: row["source"] for row in kept}
    assert {row["source"]: (row["documents_before"], row["documents_now"]) for row in found["tags"]} == {
        name: tuple(sum(source_of[one] == name for one in ids) for ids in (had, has)) for name in ("web", "books")
    }
    (changed,) = found["changed_documents"]
    assert changed["reason"] == "odd"
    assert [one["doc_id"] for one in changed["newly_tagged"]] == sorted(has - had)[:3]
    assert [one["doc_id"] for one in changed["newly_untagged"]] == sorted(had - has)[:3]
    assert changed["newly_kept"] == changed["newly_lost"] == []
    assert len(found["borders"]) == (0 if is_compound else 1)
    result = run(folder / "recipe.yaml", folder / "ws")
    assert f"tagged: odd {len(has)}" in show_run(result).splitlines()
    (details,) = [step["details"]["tagged"] for step in result["steps"] if step["name"] == "selection"]
    assert sum(row["documents"] for row in details) == len(has)


def test_tags_of_changed_rules_stand_in_the_terminal_text(folder: Path) -> None:
    write_recipe(folder, recipe(with_tag("heuristics__num_words % 2 = 0")))
    odd = sum(row["decision"] == "kept" and row["words"] % 2 == 1 for row in table(folder))
    lines = show_run(run(folder / "recipe.yaml", folder / "ws", dry_run=True)).splitlines()
    place = next(number for number, line in enumerate(lines) if line.split() == ["tag", "before", "now"])
    assert lines[place + 1].split() == ["odd", "0", str(odd)]
    assert "changed by odd:" in lines
    assert any(line.startswith("  newly tagged  ") for line in lines)


def test_balance_is_a_rule_among_the_others(finished: Path) -> None:
    found = asked(finished, recipe(balance=TEN_OF_EACH))
    kept = [row for row in table(finished) if row["decision"] == "kept"]
    assert [(rule["reason"], rule["change"], rule["now"]["cap"]) for rule in found["rules"]] == [
        ("enough", "added", 10)
    ]
    left_over = {row["source"]: row["documents_now"] for row in found["reasons"] if row["outcome"] == "over_budget"}
    assert left_over == {name: sum(row["source"] == name for row in kept) - 10 for name in ("web", "books")}
    (changed,) = found["changed_documents"]
    assert {(one["decision"], one["reason"]) for one in changed["newly_lost"]} == {("over_budget", "enough")}
    # A document that balance leaves over has passed every filter, and can be at a border.
    borders = asked(finished, recipe(balance=TEN_OF_EACH), border=True)["borders"]
    assert shown(borders[0]["passes"]) == nearest(
        [row for row in table(finished) if (row["words"] or 0) >= 20 and row["reason"] != "exact_duplicate"], "words", 1
    )


def test_the_guard_is_told_of_and_the_plan_goes_on(finished: Path) -> None:
    found = asked(finished, recipe(with_least(58), guard={"max_source_loss": 0.5}))
    assert [line.partition(":")[0] for line in found["guard"]] == [
        "removal guard, source books",
        "removal guard, source web",
    ]
    text = show_run(run(finished / "recipe.yaml", finished / "ws", dry_run=True))
    assert "the removal guard would stop this run" in " ".join(text.split())
    # Of a selection that is there and that the guard stopped, the plan says the same.
    found = asked(finished, recipe(guard={"max_source_loss": 0.1}))
    assert len(found["guard"]) == 2
    assert found["total"]["newly_lost"]["documents"] == 0


def test_a_first_run_gets_the_funnel_alone_once_its_columns_are_there(folder: Path) -> None:
    other = recipe(with_least(30)) | {"name": "first"}
    found = asked(folder, other)
    assert found["compared_with"] is None
    assert found["rules"] == found["borders"] == found["changed_documents"] == []
    assert found["total"]["kept_before"] is None
    assert {row["documents_before"] for row in found["reasons"]} == {None}
    run(folder / "recipe.yaml", folder / "ws")
    kept = sum(row["decision"] == "kept" for row in table(folder))
    assert found["total"]["kept_now"]["documents"] == kept


def test_rules_that_were_run_before_the_last_ones_are_compared_with_the_last_ones(folder: Path) -> None:
    run(write_recipe(folder, recipe(with_least(40))), folder / "ws")
    found = asked(folder, recipe())
    assert found["total"]["newly_kept"]["documents"] > 0
    assert found["total"]["newly_lost"]["documents"] == 0


def test_without_columns_or_changes_there_is_nothing_to_say(finished: Path, tmp_path: Path) -> None:
    assert run(write_recipe(finished, recipe()), tmp_path / "new", dry_run=True)["what_if"] is None
    assert not (tmp_path / "new").exists()
    assert run(write_recipe(finished, recipe()), finished / "ws", dry_run=True)["what_if"] is None
    with pytest.raises(RecipeError, match="--border: a run shows no borders"):
        run(finished / "recipe.yaml", finished / "ws", border=True)


def test_documents_that_came_since_are_counted_apart(folder: Path) -> None:
    third = {"stage": "jsonl", "name": "new", "path": "new.jsonl", "columns": {"id": "uid"}}
    rows = [{"uid": str(n), "text": prose(5000 + n)} for n in range(20)]
    (folder / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = recipe(with_least(5))
    content["sources"] = [*content["sources"], third]
    # The columns of the new source come with a run of another recipe over the same sources.
    run(write_recipe(folder, content | {"name": "other", "filters": []}), folder / "ws")
    found = asked(folder, content)
    new = next(row for row in found["sources"] if row["source"] == "new")
    assert (new["documents"], new["new_documents"], new["kept_before"]["documents"]) == (20, 20, 0)
    assert found["total"]["new_documents"] == 20


def test_terminal_text_fits_sixty_columns_and_names_rules_counts_and_documents(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    write_recipe(finished, recipe(with_least(33)))
    result = run(finished / "recipe.yaml", finished / "ws", dry_run=True)
    lines = show_run(result).splitlines()
    assert max(map(len, lines)) <= 60
    assert "rule too_short: changed" in lines
    assert "  now: keep heuristics__num_words >= 33" in lines
    document = result["what_if"]["borders"][0]["passes"][0]
    assert f"  passes {document['value']}  {document['source']}" in " ".join(lines)
    assert document["doc_id"] in " ".join(lines)


def test_files_shards_and_workers_change_nothing(finished: Path, tmp_path: Path) -> None:
    for source in ("web", "books"):
        lines = (finished / f"{source}.jsonl").read_text().splitlines(keepends=True)
        random.Random(3).shuffle(lines)
        for number in range(4):
            (tmp_path / f"{source}_{number}.jsonl").write_text("".join(lines[number::4]))
    in_pieces = recipe()
    for source in in_pieces["sources"]:
        source["path"] = f"{source['name']}_*.jsonl"
    run(write_recipe(tmp_path, in_pieces), tmp_path / "ws", jobs=1)
    new = [*with_least(33), {"reason": "length", "keep": "heuristics__num_words BETWEEN 1 AND 40"}]
    found = [
        asked(finished, recipe(new), border=True, jobs=1),
        asked(tmp_path, in_pieces | {"filters": new}, border=True, jobs=3),
    ]
    for one in found:
        del one["compared_with"]
    assert found[0] == found[1]


def test_rules_of_one_reason_are_told_apart_by_their_order() -> None:
    def rule(keep: str) -> Rule:
        return Rule(reason="short", keep=keep)

    earlier = {"rules": [rule("a > 1").model_dump(), rule("b > 1").model_dump()], "balance": TEN_OF_EACH}
    balance = [BalanceRule.model_validate(one) for one in TEN_OF_EACH]
    (found,) = rule_changes(earlier, [rule("a > 1"), rule("b > 2")], balance)
    assert (found.change, found.position, found.before, found.now) == (
        "changed",
        1,
        {"keep": "b > 1", "action": "drop"},
        {"keep": "b > 2", "action": "drop"},
    )


def test_another_order_of_balance_is_another_order() -> None:
    rules = [BalanceRule.model_validate({**TEN_OF_EACH[0], "reason": reason}) for reason in ("one", "two")]
    earlier = {"rules": [], "balance": [rule.model_dump(mode="json") for rule in rules]}
    assert not order_changed(earlier, [], rules)
    assert order_changed(earlier, [], rules[::-1])
    assert rule_changes(earlier, [], rules[::-1]) == []
