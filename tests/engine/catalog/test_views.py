"""The views show what the artifacts hold, whatever exists and whatever does not."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from engine.base.atomic import write_json
from engine.base.errors import InputError
from engine.base.sql_files import ANY_COLUMNS, read_sql, sql_names
from engine.catalog import sql, sql_list
from engine.formats.documents import SourceDocuments, write_source
from engine.formats.parquet import write_parquet
from engine.formats.state import RecipeState, write_state
from engine.formats.workspace import Workspace


def rows(workspace: SimpleNamespace, query: str, recipe: str | None = None) -> list[list[object]]:
    """The rows of a query, ids as the names of documents."""
    names = {uuid: name for name, uuid in workspace.id.items()}
    return [[names.get(value, value) for value in row] for row in sql(query, workspace.root, recipe)["rows"]]


def test_documents_of_files_in_place_and_converted_keep_their_order(read_workspace: SimpleNamespace) -> None:
    assert rows(read_workspace, "SELECT doc_id, source, shard, row, text, num_bytes, license FROM documents") == [
        ["w1", "web", "00000", 0, "the first page of the web", 25, None],
        ["w2", "web", "00000", 1, "the first page of the web!", 26, None],
        ["w3", "web", "00001", 0, None, 0, None],
        ["w4", "web", "00001", 1, "held out page", 13, None],
        ["w5", "web", "00002", 0, "x", 1, None],
        ["b1", "books", "00000", 0, "It was a dark and stormy night.", 31, "CC0-1.0"],
        ["b2", "books", "00000", 1, "Call me\nIshmael.", 16, "CC0-1.0"],
        ["b3", "books", "00000", 2, "short", 5, "CC0-1.0"],
        ["b4", "books", "00000", 3, "copied benchmark text", 21, "CC0-1.0"],
    ]


def test_doc_id_is_a_uuid(read_workspace: SimpleNamespace) -> None:
    result = sql(f"SELECT doc_id FROM documents WHERE doc_id = '{read_workspace.id['w4']}'", read_workspace.root)
    assert result == {"columns": ["doc_id"], "types": ["UUID"], "rows": [[read_workspace.id["w4"]]], "is_cut": False}


def test_columns_of_a_source_are_reachable(read_workspace: SimpleNamespace) -> None:
    assert rows(read_workspace, "SELECT doc_id, uid, source FROM source_web WHERE uid > 3") == [
        ["w4", 4, "crawl"],
        ["w5", 5, "crawl"],
    ]
    assert rows(read_workspace, "SELECT doc_id, author FROM source_books LIMIT 2") == [
        ["b1", "Lytton"],
        ["b2", "Melville"],
    ]


def test_annotations_of_all_stages_stand_beside_each_other(read_workspace: SimpleNamespace) -> None:
    query = "SELECT doc_id, source, heuristics__num_words, near_dup__kept_id, near_dup__similarity FROM annotations"
    found = rows(read_workspace, query)
    assert found[:2] == [["w1", "web", 6, None, None], ["w2", "web", 6, "w1", 0.9]]
    assert len(found) == 9


def test_decisions_join_with_documents(read_workspace: SimpleNamespace) -> None:
    query = (
        "SELECT decision, reason, sum(num_bytes) FROM decisions JOIN documents USING (doc_id) GROUP BY ALL ORDER BY ALL"
    )
    assert rows(read_workspace, query) == [
        ["dropped", "contaminated", 21],
        ["dropped", "near_duplicate", 26],
        ["dropped", "no_text", 0],
        ["dropped", "too_short", 6],
        ["held_out", "general", 13],
        ["kept", None, 72],
    ]


def test_pairs_and_groups_are_shown(read_workspace: SimpleNamespace) -> None:
    assert rows(read_workspace, "FROM duplicate_pairs") == [["near_dup", "w1", "w2", 0.9]]
    assert rows(read_workspace, "FROM heldout_groups") == [["w4", "w4", "general"]]
    hit = ["contamination", "b4", "general", "w4", "passage", 1.0, "benchmark text", "all of the text"]
    assert rows(read_workspace, "FROM hits") == [hit]


def test_fit_of_a_tokenizer_and_words_that_shatter_are_shown(read_workspace: SimpleNamespace) -> None:
    query = "SELECT stage, source, tokens, tokens_per_word, ratio_per_byte FROM tokenizer_fit"
    assert rows(read_workspace, query) == [["tokens", "web", 24, 1.5, None]]
    query = "SELECT stage, word, pieces, extra_tokens, rate_ratio FROM shattered_words"
    assert rows(read_workspace, query) == [["tokens", "first", 6, 4, None]]


def test_file_of_another_stage_with_the_same_name_is_left_alone(small_workspace: SimpleNamespace) -> None:
    write_parquet(small_workspace.root / "annotations/own/1/pairs.parquet", pl.DataFrame({"left": [1]}))
    state = small_workspace.state.model_dump()
    state["artifacts"]["own"] = "annotations/own/1"
    write_state(small_workspace.workspace, RecipeState.model_validate(state))
    assert len(rows(small_workspace, "FROM duplicate_pairs")) == 1


def test_balance_and_examples_are_those_of_the_selection(read_workspace: SimpleNamespace) -> None:
    assert rows(read_workspace, 'SELECT "group", asked, kept, missing FROM balance') == [
        ["license = CC0-1.0", 5, 2, 3],
        ["license = null", 1, 1, 0],
    ]
    assert rows(read_workspace, "SELECT source, reason, doc_id, excerpt FROM examples WHERE num_chars < 5") == [
        ["web", "no_text", "w3", None],
        ["web", "too_short", "w5", "x"],
    ]


def test_selection_without_balance_and_examples_has_empty_views(small_workspace: SimpleNamespace) -> None:
    for name in ("balance", "examples"):
        (small_workspace.root / f"selections/6666/{name}.parquet").unlink()
        assert rows(small_workspace, f"FROM {name}") == []


def test_tags_are_counted_with_the_size_of_their_documents(read_workspace: SimpleNamespace) -> None:
    assert rows(read_workspace, "@tags") == [
        ["odd", "(all)", 2, 41],
        ["odd", "books", 1, 16],
        ["odd", "web", 1, 25],
        ["too_short", "(all)", 1, 16],
        ["too_short", "books", 1, 16],
    ]


def test_all_mixture_versions_are_shown_and_the_current_one_is_marked(read_workspace: SimpleNamespace) -> None:
    query = "SELECT mixture, version, is_current, tokens FROM mixtures"
    assert rows(read_workspace, query) == [["demo", 1, False, 25], ["demo", 2, True, 31]]
    query = "SELECT version, doc_id, is_replay, repeats FROM mixture_documents WHERE is_current"
    assert rows(read_workspace, query) == [[2, "b1", False, 2], [2, "w1", True, 1], [2, "b2", False, 1]]


def test_schedule_knows_document_source_and_replay(read_workspace: SimpleNamespace) -> None:
    query = "SELECT step, doc_id, source, is_replay, length, repeat FROM schedule WHERE is_current ORDER BY step, start"
    assert rows(read_workspace, query) == [
        [1, "b1", "books", False, 9, 0],
        [1, "w1", "web", True, 7, 0],
        [2, "b1", "books", False, 9, 1],
        [3, "b2", "books", False, 6, 0],
    ]


def test_metrics_of_a_running_run_are_those_of_its_whole_lines(read_workspace: SimpleNamespace) -> None:
    assert rows(read_workspace, "SELECT run, step, source, loss FROM metrics ORDER BY ALL") == [
        ["done", 1, "books", 3.0],
        ["done", 1, None, 3.5],
        ["going", 1, "web", 5.0],
        ["going", 1, None, 4.0],
    ]


def test_broken_line_within_the_metrics_is_an_error(small_workspace: SimpleNamespace) -> None:
    path = small_workspace.root / "runs/going/metrics.jsonl"
    path.write_text('{"step": 1,\n{"step": 2}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl:1: the line is not JSON"):
        sql("FROM metrics", small_workspace.root)


def test_runs_show_their_mixture_and_their_content(read_workspace: SimpleNamespace) -> None:
    assert rows(read_workspace, "SELECT run, is_finished, mixture, content ->> '$.seed' FROM runs") == [
        ["done", True, "demo@v2", "7"],
        ["going", False, "demo@v2", None],
    ]


QUERIES = {name: read_sql(group, name) for group in ("statistics", "audits") for name in sql_names(group)}
STAGE_OF = {
    name: table.removeprefix("stored.stage_")
    for name, query in QUERIES.items()
    for table in query.reads
    if table.startswith("stored.stage_")
}
"""Named query -> the stage whose columns it reads."""


def test_named_queries_of_stages_read_their_columns() -> None:
    assert STAGE_OF == {
        "difficulty": "difficulty",
        "domains": "domain",
        "languages": "language",
        "licenses": "license",
        "pii": "pii",
        "quality": "quality",
        "quality_at_least": "quality",
        "toxicity": "toxicity",
    }


def required(name: str) -> list[str]:
    """A value for every parameter without a default."""
    return [f"{key}=0.5" for key, one in QUERIES[name].parameters.items() if one.is_required]


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_named_query_runs_over_the_views(read_workspace: SimpleNamespace, name: str) -> None:
    if name in STAGE_OF and STAGE_OF[name] not in {a.stage for a in read_workspace.state.annotations}:
        with pytest.raises(InputError, match=f"the recipe has no stage {STAGE_OF[name]}"):
            sql(f"@{name}", read_workspace.root, values=required(name))
        return
    result = sql(f"@{name}", read_workspace.root, values=required(name))
    assert (result["rows"] == []) == (name in sql_names("audits"))


@pytest.mark.parametrize(("name", "stage"), STAGE_OF.items())
def test_named_query_says_which_stage_did_not_run(
    small_workspace: SimpleNamespace, tmp_path: Path, name: str, stage: str
) -> None:
    state = small_workspace.state.model_dump()
    state["annotations"] = [a for a in state["annotations"] if a["stage"] != stage]
    write_state(small_workspace.workspace, RecipeState.model_validate(state))
    (tmp_path / "empty").mkdir()
    message = (
        f"query: the recipe has no stage {stage}. Needed: a recipe that has run it, under its own name or another. "
        f"Fix: add {{stage: {stage}}} and run it."
    )
    for root in (small_workspace.root, tmp_path / "empty"):
        with pytest.raises(InputError) as error:
            sql(f"@{name}", root, values=required(name))
        assert str(error.value) == message


def test_named_query_reads_all_instances_of_a_stage_under_any_prefix(small_workspace: SimpleNamespace) -> None:
    """difficulty runs as `easy_first` only, then as `difficulty` too."""
    parts = small_workspace.root / "annotations/difficulty/8888"
    for path in parts.rglob("*.parquet"):
        frame = pl.read_parquet(path).rename({f"difficulty__{c}": f"easy_first__{c}" for c in ("value", "bin")})
        write_parquet(small_workspace.root / "annotations/easy_first/9999" / path.relative_to(parts), frame)
    state = small_workspace.state.model_dump()
    (own,) = (a for a in state["annotations"] if a["stage"] == "difficulty")
    other = own | {"prefix": "easy_first", "folder": "annotations/easy_first/9999"}
    other["columns"] = ["easy_first__value", "easy_first__bin"]
    expected = sql("@difficulty", small_workspace.root)["rows"]
    assert {row[0] for row in expected} == {"difficulty"}
    renamed = [["easy_first", *row[1:]] for row in expected]
    for instances, rows_of_all in (([other], renamed), ([other, own], expected + renamed)):
        state["annotations"] = [a for a in state["annotations"] if a["stage"] != "difficulty"] + instances
        write_state(small_workspace.workspace, RecipeState.model_validate(state))
        assert sql("@difficulty", small_workspace.root)["rows"] == rows_of_all


def test_forgetting_from_probes_agrees_with_the_stored_curve(read_workspace: SimpleNamespace) -> None:
    query = """
        SELECT f.bits_per_byte, round(p.bits, 6)
        FROM forgetting AS f
        JOIN (SELECT run, step, probe, sum(nats) / ln(2) / sum(bytes) AS bits FROM probes GROUP BY ALL) AS p
        USING (run, step, probe) ORDER BY step
    """
    assert rows(read_workspace, query) == [[1.0, 1.0], [2.0, 2.0]]


def test_every_view_can_be_queried_in_an_empty_workspace(tmp_path: Path) -> None:
    for name in sql_names("catalog"):
        result = sql(f'FROM "{name}"', tmp_path)
        assert result["rows"] == []
        assert result["columns"] == [c for c in read_sql("catalog", name).yields if c != ANY_COLUMNS]


def test_empty_views_have_the_types_of_full_ones(small_workspace: SimpleNamespace, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in set(sql_names("catalog")) - {"annotations", "corpus"}:
        assert sql(f'FROM "{name}"', empty)["types"] == sql(f'FROM "{name}"', small_workspace.root)["types"], name


def test_recipe_that_finished_last_is_shown_unless_another_is_asked_for(small_workspace: SimpleNamespace) -> None:
    # 09:30 in a zone two hours behind is later than 10:00 UTC.
    only_books = {"recipe": "books_only", "finished": "2026-05-01T09:30:00-02:00"}
    sources = {"books": small_workspace.state.sources["books"]}
    write_state(small_workspace.workspace, RecipeState(**only_books, sources=sources))
    assert rows(small_workspace, "SELECT count(*) FROM documents") == [[4]]
    assert rows(small_workspace, "FROM decisions") == []
    assert rows(small_workspace, "SELECT count(*) FROM documents", recipe="small") == [[9]]
    assert rows(small_workspace, "SELECT count(*) FROM mixtures") == [[2]]
    with pytest.raises(
        InputError, match=r"no finished recipe 'smal' \(have: books_only, small\)\. Fix: did you mean 'small'\?"
    ):
        sql("FROM documents", small_workspace.root, recipe="smal")


@pytest.mark.parametrize(
    "content", ["{", '{"recipe": "small"}', '{"recipe": "small", "finished": "yesterday", "sources": {}}']
)
def test_damaged_state_is_an_error_with_its_file(small_workspace: SimpleNamespace, content: str) -> None:
    (small_workspace.root / "recipes/small.json").write_text(content)
    with pytest.raises(InputError, match=r"recipes/small\.json: cannot be read \(.*Fix: run the recipe again"):
        sql("FROM documents", small_workspace.root)


def test_workspace_can_be_moved(small_workspace: SimpleNamespace, tmp_path: Path) -> None:
    moved = tmp_path / "it's [moved] *here*"
    small_workspace.root.rename(moved)
    assert sql("SELECT count(text), count(*) FROM documents", moved)["rows"] == [[8, 9]]
    assert sql("SELECT count(*) FROM annotations", moved)["rows"] == [[9]]


def test_source_file_that_changed_fails_only_where_its_text_is_asked_for(small_workspace: SimpleNamespace) -> None:
    path = small_workspace.data / "web.parquet"
    write_parquet(path, pl.DataFrame({"body": ["other"], "uid": [1]}))
    assert rows(
        small_workspace, "SELECT source, count(*), sum(num_bytes) FROM documents GROUP BY ALL ORDER BY ALL"
    ) == [
        ["books", 4, 73],
        ["web", 5, 65],
    ]
    for query in ("SELECT max(text) FROM documents", "FROM source_web"):
        with pytest.raises(
            InputError, match=r"web\.parquet: 1 rows\. Needed: 5 rows as when it was read in\. Fix: run the"
        ):
            sql(query, small_workspace.root)


def test_source_file_that_is_gone_fails_only_where_its_text_is_asked_for(small_workspace: SimpleNamespace) -> None:
    (small_workspace.data / "web.parquet").unlink()
    assert rows(small_workspace, "SELECT count(*) FROM documents JOIN decisions USING (doc_id)") == [[9]]
    with pytest.raises(InputError, match=r"web\.parquet: cannot be read"):
        sql("SELECT text FROM documents", small_workspace.root)


def test_artifact_that_is_gone_is_named(small_workspace: SimpleNamespace) -> None:
    path = small_workspace.root / "annotations/heuristics/1111/books/books0.parquet"
    path.unlink()
    with pytest.raises(InputError, match=r"books0\.parquet: the file is gone\. Fix: run the recipe again"):
        sql("FROM annotations", small_workspace.root)


def test_source_without_documents_does_not_break_the_others(small_workspace: SimpleNamespace) -> None:
    folder = small_workspace.root / "documents/none/cccc"
    write_source(SourceDocuments("none", "f" * 32, folder, (), {}))
    state = small_workspace.state.model_dump() | {"recipe": "later", "finished": "2027-01-01T00:00:00Z"}
    state["sources"]["none"] = "documents/none/cccc"
    write_state(small_workspace.workspace, RecipeState.model_validate(state))
    assert rows(small_workspace, "SELECT count(*) FROM documents") == [[9]]


def test_list_names_views_with_their_columns_and_queries(read_workspace: SimpleNamespace) -> None:
    listed = sql_list(read_workspace.root)
    views = {view["name"]: view["columns"] for view in listed["views"]}
    assert set(views) == {*sql_names("catalog"), "source_web", "source_books"}
    assert views["annotations"][2:] == [c for a in read_workspace.state.annotations for c in a.columns]
    assert {q["name"] for q in listed["queries"]} >= {"@funnel", "@n_eff", "@ledger_balances"}
    assert sql(None, read_workspace.root, list_queries=True) == listed
    json.dumps(listed)


def test_list_needs_no_workspace(tmp_path: Path) -> None:
    assert sql_list() == sql_list(tmp_path / "none")
    assert {view["name"] for view in sql_list()["views"]} == set(sql_names("catalog"))


def test_shards_of_many_row_groups_align_with_their_annotations(tmp_path: Path) -> None:
    """Row by row against a naive reader: 3 files in place, shards that are runs of their row groups."""
    build = runpy.run_path(str(Path(__file__).parents[1] / "small_workspace.py"))
    workspace, shards, position = Workspace(tmp_path / "ws"), [], 0
    folder = tmp_path / "ws/documents/web/aaaa"
    for number, (num_rows, group_rows, cut) in enumerate([(7, 2, 3), (1, 5, 1), (10, 3, 1)]):
        path = tmp_path / f"file{number}.parquet"
        names = [f"d{position + i:03}" for i in range(num_rows)]
        position += num_rows
        pq.write_table(
            pl.DataFrame({"body": [f"text of {n}" for n in names]}).to_arrow(), path, row_group_size=group_rows
        )
        groups = [names[a : a + group_rows] for a in range(0, num_rows, group_rows)]
        for part in (groups[:cut], groups[cut:]):
            texts = {name: f"text of {name}" for group in part for name in group}
            if texts:
                shards.append(build["_shard"]("web", folder, len(shards), texts, path, "body", 0))
    write_source(SourceDocuments("web", "d" * 32, folder, tuple(shards), {}))
    for shard in shards:
        ids = shard.read_core(["doc_id"])
        part = ids.select(own__copy_id=pl.col("doc_id"))
        write_parquet(workspace.root / "annotations/own/1/web" / f"{shard.key}.parquet", part)
    annotation = {
        "prefix": "own",
        "stage": "own",
        "digest": "1",
        "folder": "annotations/own/1",
        "columns": ["own__copy_id"],
    }
    state = {
        "recipe": "r",
        "finished": "2026-01-01",
        "sources": {"web": "documents/web/aaaa"},
        "annotations": [annotation],
    }
    write_json(workspace.state("r"), state)
    query = """
        SELECT count(*), count(*) FILTER (WHERE a.own__copy_id = a.doc_id AND d.text = 'text of ' || left(name, 4))
        FROM (SELECT *, decode(unhex(left(replace(doc_id::VARCHAR, '-', ''), 8))) AS name FROM documents) AS d
        JOIN annotations AS a USING (doc_id)
    """
    assert sql(query, workspace.root)["rows"] == [[18, 18]]


def test_replay_of_a_phase_is_found_by_its_name_after_a_takedown_removed_another(
    small_workspace: SimpleNamespace,
) -> None:
    from engine.catalog.version_views import VERSION, _create_mixtures
    from engine.formats.manifest import Phase
    from engine.formats.mixture import open_mixture

    replay = {"share": 0.1, "sources": ["web"]}
    phases = [
        {"name": "early", "budget_tokens": 9, "replay": {"share": 0.3, "sources": ["web"]}},
        {"name": "none", "budget_tokens": 9, "replay": {"share": 0}},
        {"name": "late", "budget_tokens": 9},
    ]
    mixture = open_mixture(small_workspace.workspace, "demo@v2")
    left = [
        Phase(name=name, curriculum="shuffled", budget_tokens=9, documents=1, tokens=1, supervised_tokens=1)
        for name in ("none", "late")
    ]
    config = {"sources": ["books"], "replay": replay, "phases": phases, "max_repeats": 3}
    changed = SimpleNamespace(manifest=mixture.manifest.model_copy(update={"config": config, "phases": left}))
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA stored")
    _create_mixtures(connection, [(changed, dict.fromkeys(VERSION))], None)
    query = "SELECT phase, phase_number, replay_numerator, replay_denominator FROM stored.mixture_phases"
    assert connection.execute(query).fetchall() == [("none", 0, None, None), ("late", 1, 1, 10)]
    assert connection.execute("SELECT max_repeats FROM stored.mixtures").fetchall() == [(3,)]
