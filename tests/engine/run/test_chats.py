"""Chat documents in a recipe: every stage works on prompt, response or all of them, and says it of the whole text."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import AuditError, RecipeError
from engine.catalog import sql
from engine.explain import explain
from engine.formats.documents import Shard
from engine.recipe import check_recipe, load_recipe
from engine.run.pipeline import run
from engine.verbs import sample

QUESTION = (
    "A train leaves at nine and needs seven hours for 420 miles. How fast does it go on average between the towns?"
)
CHATS = [
    ("one", "What is the capital of the country that lies north of Spain?", "Paris is the capital of France."),
    ("two", "And now: what is the capital of France, the neighbour of Spain?", "Paris is the capital of France."),
    ("three", f"Please help.\n\n{QUESTION} Thank you so much.", "It goes sixty miles an hour; 60"),
    ("four", "Tell me a very short story, please, with a fox in it.", "The fox slept. The end."),
]


def recipe(folder: Path, *stages: dict[str, Any], **rest: Any) -> Path:
    records = [
        {"id": name, "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
        for name, asked, said in CHATS
    ]
    (folder / "chats.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "plain.jsonl").write_text(json.dumps({"text": "Paris is the capital of France."}) + "\n")
    sources = [
        {"stage": "chat", "name": "chats", "path": "chats.jsonl", "columns": {"id": "id"}},
        {"stage": "jsonl", "name": "plain", "path": "plain.jsonl"},
    ]
    content = {"name": "chats", "sources": sources, "annotate": list(stages), **rest}
    (folder / "recipe.yaml").write_text(json.dumps(content))
    return folder / "recipe.yaml"


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in sql(query, workspace=folder / "ws")["rows"]]


def test_a_stage_reads_its_field_and_null_where_there_is_none(tmp_path: Path) -> None:
    stages = [{"stage": "heuristics", "as": f"of_{field}", "field": field} for field in ("all", "prompt", "response")]
    run(recipe(tmp_path, *stages), tmp_path / "ws")
    counted = "of_all__num_words, of_prompt__num_words, of_response__num_words"
    found = rows(tmp_path, f"SELECT source, {counted} FROM annotations ORDER BY source, of_all__num_chars")
    assert found == [
        ("chats", 17, 12, 5),
        ("chats", 18, 12, 6),
        ("chats", 18, 12, 6),
        ("chats", 35, 28, 7),
        ("plain", 6, 0, 0),
    ]


def test_equal_responses_are_exact_duplicates_in_that_field_alone(tmp_path: Path) -> None:
    stages = [{"stage": "exact_dup"}, {"stage": "exact_dup", "as": "same_answer", "field": "response"}]
    result = run(recipe(tmp_path, *stages, guard={"max_source_loss": 1}), tmp_path / "ws")
    dropped = [
        (row["source"], row["reason"], row["documents"]) for row in result["ledger"] if row["outcome"] == "dropped"
    ]
    assert dropped == [("chats", "same_answer_exact_duplicate", 1)]


def test_what_is_cut_from_a_prompt_is_cut_from_the_text(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": QUESTION, "answer": "#### 60"}) + "\n")
    stage = {"stage": "contamination", "action": "cut", "field": "prompt"}
    run(recipe(tmp_path, stage, benchmarks=["gsm8k=test.jsonl"]), tmp_path / "ws")
    ((text, cut),) = rows(
        tmp_path,
        "SELECT text, contamination__cut FROM documents JOIN annotations USING (doc_id) "
        "WHERE contamination__cut IS NOT NULL",
    )
    held = " ".join(text.encode()[span["start"] : span["end"]].decode() for span in cut)
    assert "leaves at nine and needs seven hours" in held
    assert "sixty" not in held


def test_documents_show_messages_and_people_read_roles(tmp_path: Path) -> None:
    run(recipe(tmp_path, {"stage": "heuristics"}), tmp_path / "ws")
    query = "SELECT doc_id, text, messages FROM documents WHERE text LIKE '%fox%'"
    ((doc_id, text, messages),) = rows(tmp_path, query)
    assert text == f"{CHATS[3][1]}\n\n{CHATS[3][2]}"
    assert messages == [{"role": "user", "content": CHATS[3][1]}, {"role": "assistant", "content": CHATS[3][2]}]
    shown = f"user: {CHATS[3][1]}\n\nassistant: {CHATS[3][2]}"
    assert explain(str(doc_id), tmp_path / "ws")["text"]["excerpt"] == shown
    read = [one["text"] for one in sample(workspace=tmp_path / "ws")["documents"]]
    assert shown in read
    assert "Paris is the capital of France." in read
    assert rows(tmp_path, "SELECT messages FROM documents WHERE source = 'plain'") == [(None,)]


def test_other_roles_for_the_same_text_make_other_parts(tmp_path: Path) -> None:
    path = recipe(tmp_path, {"stage": "heuristics", "field": "response"})
    run(path, tmp_path / "ws")
    chats = tmp_path / "chats.jsonl"
    before = chats.read_text()
    chats.write_text(before.replace('"role": "user"', '"role": "assistant"'))
    run(path, tmp_path / "ws")
    found = rows(tmp_path, "SELECT heuristics__num_words FROM annotations WHERE source = 'chats' ORDER BY 1")
    assert found == [(17,), (18,), (18,), (35,)]


def test_a_mixture_of_chats_without_a_template_is_refused_before_any_work(tmp_path: Path) -> None:
    tokenizer = {"train": {"sources": ["plain"], "vocab_size": 300}}
    mixtures = {"all": {"sources": ["plain", "chats"], "row_tokens": 8, "rows_per_step": 1}}
    with pytest.raises(RecipeError, match=r"mixtures\.all\.sources: 'chats' holds chat records, and no template"):
        load_recipe(recipe(tmp_path, tokenizer=tokenizer, mixtures=mixtures))


def test_an_unknown_field_is_named(tmp_path: Path) -> None:
    path = recipe(tmp_path, {"stage": "heuristics", "field": "answer"})
    with pytest.raises(RecipeError, match=r"annotate\[0\].*field"):
        check_recipe(json.loads(path.read_text()), path)


def test_exact_duplicates_of_a_field_are_settled_before_its_near_duplicates(tmp_path: Path) -> None:
    answers = {"field": "response"}
    stages = [
        {"stage": "exact_dup"},
        {"stage": "exact_dup", "as": "same_answer", **answers},
        {"stage": "near_dup", "as": "like_answer", "after": "same_answer", "ngram_words": 1, **answers},
    ]
    run(recipe(tmp_path, *stages, guard={"max_source_loss": 1}), tmp_path / "ws")
    query = "SELECT count(*) FROM annotations WHERE same_answer__kept_id IS NOT NULL AND like_answer__kept_id IS NULL"
    assert rows(tmp_path, query) == [(1,)]


def test_a_chat_is_decoded_once_for_all_stages_of_a_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read_text = Shard.read_text

    def counted(shard: Shard) -> Any:
        reads.append(f"{shard.source} {shard.field}")
        return read_text(shard)

    monkeypatch.setattr(Shard, "read_text", counted)
    stages = [{"stage": "heuristics", "field": "prompt"}, {"stage": "license", "field": "prompt"}]
    run(recipe(tmp_path, *stages, {"stage": "pii", "field": "prompt"}), tmp_path / "ws", jobs=1)
    assert sorted(reads) == ["chats prompt", "plain prompt"]


def test_only_documents_with_text_in_the_field_count_as_searched(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": QUESTION, "answer": "#### 60"}) + "\n")
    lines = [json.dumps({"text": f"Paris is the capital of France, said number {number}."}) for number in range(60)]
    path = recipe(
        tmp_path,
        {"stage": "contamination", "as": "of_answers", "field": "response"},
        benchmarks=["gsm8k=test.jsonl"],
        tokenizer={"train": {"sources": ["plain"], "vocab_size": 320}},
        mixtures={"all": {"sources": ["plain"], "row_tokens": 8, "rows_per_step": 1}},
    )
    (tmp_path / "plain.jsonl").write_text("\n".join(lines))
    with pytest.raises(
        AuditError, match=r"(?s)audit searches_cover_mixture: 1 row\..*documents 60, searched_documents 0"
    ):
        run(path, tmp_path / "ws")
