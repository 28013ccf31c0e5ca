"""The order of training by a column of difficulty, from the recipe to the manifest."""

from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import RecipeError
from engine.catalog import sql
from tests.engine.run.searched import mixture_of, prose, recipe, run_in, write_lines


def ordered(**mixture: Any) -> dict[str, Any]:
    stages = [{"stage": "exact_dup"}, {"stage": "heuristics"}, {"stage": "difficulty", "by": "words"}]
    shape = {"sources": ["web"], "row_tokens": 64, "rows_per_step": 4}
    return recipe(annotate=stages, benchmarks=None, mixtures={"all": shape | mixture})


def test_easy_documents_are_trained_on_first(tmp_path: Path) -> None:
    write_lines(tmp_path / "web.jsonl", [{"uid": f"d{n}", "text": prose(n, 20 + n % 7)} for n in range(70)])
    run_in(tmp_path, ordered(curriculum="easy_to_hard", difficulty="difficulty__value"))
    assert mixture_of(tmp_path).manifest.curriculum == "easy_to_hard by difficulty__value"
    query = "SELECT difficulty__value FROM mixture_documents JOIN annotations USING (doc_id) ORDER BY document"
    values = [row[0] for row in sql(query, tmp_path / "ws")["rows"]]
    assert values == sorted(values)
    assert set(values) == set(range(20, 27))


def test_phases_follow_one_another_with_their_own_weights_and_orders(tmp_path: Path) -> None:
    write_lines(tmp_path / "web.jsonl", [{"uid": f"d{n}", "text": prose(n, 20 + n % 7)} for n in range(70)])
    general = {"name": "general", "budget_tokens": 600}
    specific = {"name": "specific", "budget_tokens": 400, "curriculum": "competence", "difficulty": "difficulty__value"}
    run_in(tmp_path, ordered(phases=[general, specific]))
    manifest = mixture_of(tmp_path).manifest
    assert [(phase.name, phase.curriculum, phase.budget_tokens) for phase in manifest.phases] == [
        ("general", "shuffled", 600),
        ("specific", "competence from 0.01 by difficulty__value", 400),
    ]
    assert sum(phase.documents for phase in manifest.phases) == manifest.documents
    documents = mixture_of(tmp_path).documents()
    assert documents["phase"].is_sorted()
    assert documents["doc_id"].is_unique().all()


@pytest.mark.parametrize(
    ("column", "finding"),
    [
        (
            "difficulty__values",
            "the stage difficulty writes no column 'difficulty__values' (has: difficulty__bin, difficulty__value)",
        ),
        ("difficulty__bin", "the column difficulty__bin is String. Needed: a column of numbers"),
    ],
)
def test_a_column_that_cannot_be_gone_by_is_an_error_of_the_recipe(tmp_path: Path, column: str, finding: str) -> None:
    write_lines(tmp_path / "web.jsonl", [{"uid": "d", "text": "x"}])
    with pytest.raises(RecipeError) as caught:
        run_in(tmp_path, ordered(curriculum="hard_to_easy", difficulty=column))
    assert finding in str(caught.value)


def test_a_column_a_phase_goes_by_is_looked_for_too(tmp_path: Path) -> None:
    write_lines(tmp_path / "web.jsonl", [{"uid": "d", "text": "x"}])
    phase = {"name": "last", "curriculum": "easy_to_hard", "difficulty": "difficulty__values"}
    with pytest.raises(RecipeError, match=r"phases\.last\.difficulty: .*did you mean 'difficulty__value'"):
        run_in(tmp_path, ordered(phases=[phase]))


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (
            {"phases": [{"name": "one", "shares": 1}]},
            "mixtures.all.phases[0].shares: unknown key. Fix: did you mean 'share'?",
        ),
        ({"phases": [{"name": "one", "sources": ["webb"]}]}, "mixtures.all.phases[0].sources: no source 'webb'"),
        ({"phases": [{"name": "one", "budget_tokens": 0}]}, "phase one: budget_tokens is 0, so it is empty"),
        ({"replay": {"share": 1.0, "sources": ["web"]}}, "mixtures.all.replay.share: got 1.0. Needed: less than 1"),
        ({"sources": {"web": 0}}, "weights that sum to zero"),
        ({"weighting": "unimx"}, "did you mean 'unimax'?"),
    ],
)
def test_a_mixture_that_cannot_be_is_told_before_anything_runs(
    tmp_path: Path, mixture: dict[str, Any], message: str
) -> None:
    write_lines(tmp_path / "web.jsonl", [{"uid": "d", "text": "x"}])
    with pytest.raises(RecipeError) as caught:
        run_in(tmp_path, ordered(**mixture))
    assert message in str(caught.value)
    assert not (tmp_path / "ws" / "annotations").exists()


def test_plan_tells_of_each_mixture_whether_it_is_stale(tmp_path: Path) -> None:
    write_lines(tmp_path / "web.jsonl", [{"uid": str(n), "text": prose(n, 20 + n % 7)} for n in range(70)])
    content = ordered()
    content["mixtures"] = {name: dict(content["mixtures"]["all"]) for name in ("one", "two")}
    run_in(tmp_path, content)
    content["mixtures"]["one"]["seed"] = 5
    planned = run_in(tmp_path, content, dry_run=True)["steps"]
    states = {step["name"]: step["state"] for step in planned}
    assert (states["mixture one"], states["mixture two"]) == ("stale", "fresh")
    assert len(states) == len(planned)
