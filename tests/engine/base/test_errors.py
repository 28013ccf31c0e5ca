"""Messages have one form, and unknown names come with a guess."""

from engine.base.errors import AuditError, InputError, RecipeError, problem, unknown


def test_message_names_place_finding_need_and_fix() -> None:
    message = problem("a.parquet", "no column 'text'", "a text column", "columns: {text: body}")
    assert message == "a.parquet: no column 'text'. Needed: a text column. Fix: columns: {text: body}."


def test_unknown_name_lists_what_there_is_and_guesses() -> None:
    message = unknown("recipe.yaml", "stage", "heuristcs", ["near_dup", "heuristics"])
    assert message == "recipe.yaml: no stage 'heuristcs' (have: heuristics, near_dup). Fix: did you mean 'heuristics'?"


def test_name_without_its_stage_is_taken_for_the_column_of_the_stage() -> None:
    assert "did you mean 'heuristics__num_words'?" in unknown(
        "r", "column", "num_words", ["num_chars", "heuristics__num_words"]
    )


def test_unknown_name_that_resembles_nothing_gets_no_guess() -> None:
    assert "did you mean" not in unknown("r", "stage", "zzz", ["near_dup"])


def test_what_the_user_can_mend_exits_1_and_audits_exit_2() -> None:
    assert (RecipeError.exit_code, InputError.exit_code, AuditError.exit_code) == (1, 1, 2)


def test_of_many_names_only_those_are_listed_that_are_like_the_one() -> None:
    known = [f"column_{number:03}" for number in range(200)]
    message = unknown("recipe.yaml", "column", "column_1234", known)
    assert "column_123" in message
    assert "187 others)" in message
    assert "did you mean 'column_1" in message
