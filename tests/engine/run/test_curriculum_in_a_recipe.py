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


@pytest.mark.parametrize(
    ("column", "finding"),
    [
        ("difficulty__values", "mixtures.all.difficulty: it reads difficulty__values, which no stage writes"),
        ("difficulty__bin", "the column difficulty__bin is String. Needed: a column of numbers"),
    ],
)
def test_a_column_that_cannot_be_gone_by_is_an_error_of_the_recipe(tmp_path: Path, column: str, finding: str) -> None:
    write_lines(tmp_path / "web.jsonl", [{"uid": "d", "text": "x"}])
    with pytest.raises(RecipeError) as caught:
        run_in(tmp_path, ordered(curriculum="hard_to_easy", difficulty=column))
    assert finding in str(caught.value)
