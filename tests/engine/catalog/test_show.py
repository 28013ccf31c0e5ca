"""Results stay readable in a narrow terminal."""

import pytest

from engine.catalog import show_sql, sql_list
from engine.catalog.show import SHOWN_ROWS

UUID = "7731eeee-eeee-eeee-eeee-eeeeeeeeeeee"


def result(columns: dict[str, str], rows: list[list[object]], is_cut: bool = False) -> dict[str, object]:
    return {"columns": list(columns), "types": list(columns.values()), "rows": rows, "is_cut": is_cut}


def test_table_is_aligned_and_numbers_stand_right() -> None:
    shown = show_sql(result({"source": "VARCHAR", "documents": "BIGINT"}, [["web", 12], ["books", None]]), 60)
    assert shown.splitlines() == [
        "source  documents",
        "------- ---------",
        "web            12",
        "books        null",
        "(2 rows)",
    ]


def test_long_column_names_are_broken_at_underscores_before_the_table_is_given_up() -> None:
    columns = {"source": "VARCHAR", "documents_fraction": "DOUBLE", "near_dup__similarity": "DOUBLE"}
    shown = show_sql(result(columns, [["web", 0.5, 0.25]]), 40).splitlines()
    assert [line.split() for line in shown[:2]] == [["documents_", "near_dup__"], ["source", "fraction", "similarity"]]


def test_wide_rows_become_blocks_and_lose_nothing() -> None:
    columns = {f"column_number_{i}": "VARCHAR" for i in range(8)}
    shown = show_sql(result(columns, [[f"value {i} of a row" for i in range(8)]]), 60)
    assert shown.startswith("-- row 1\ncolumn_number_0")
    assert all(f"value {i} of a row" in shown for i in range(8))


@pytest.mark.parametrize("width", [30, 60, 100])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    wide = "\u6f22" * 400
    columns = {"doc_id": "UUID", "text": "VARCHAR", "near_dup__similarity": "DOUBLE"}
    shown = show_sql(result(columns, [[UUID, wide, 0.5], [UUID, "short", None]]), width)
    assert max(len(line) + line.count("\u6f22") for line in shown.splitlines()) <= width
    assert UUID in shown.replace("\n", "").replace(" ", "")


def test_whole_id_stays_on_one_line_at_60_columns() -> None:
    rows = [[UUID, "a text that goes on and on " * 5, "dropped", "near_duplicate"]]
    columns = {"doc_id": "UUID", "text": "VARCHAR", "decision": "VARCHAR", "reason": "VARCHAR"}
    assert any(UUID in line for line in show_sql(result(columns, rows), 60).splitlines())


def test_control_characters_and_markup_of_a_text_do_nothing() -> None:
    shown = show_sql(result({"text": "VARCHAR"}, [["a\x1b[31m\r\n\tb [red]c[/red] :smile:"]]), 60)
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "[red]c[/red] :smile:" in shown


def test_long_text_says_how_much_was_left_out() -> None:
    shown = show_sql(result({"text": "VARCHAR"}, [["x" * 1300]]), 60)
    assert "(+1,000 characters)" in shown.replace("\n", " ")


def test_rows_left_out_are_counted() -> None:
    shown = show_sql(result({"x": "BIGINT"}, [[i] for i in range(SHOWN_ROWS + 5)]), 60)
    assert shown.endswith(f"({SHOWN_ROWS + 5} rows; the first {SHOWN_ROWS} are shown, --json prints all)")
    assert show_sql(result({"x": "BIGINT"}, [[1]], is_cut=True), 60).endswith("(the first 1 row; there are more)")


def test_nothing_found_still_shows_the_columns() -> None:
    assert show_sql(result({"doc_id": "UUID"}, []), 60).splitlines() == ["doc_id", "------", "(0 rows)"]


def test_list_is_wrapped() -> None:
    shown = show_sql(sql_list(), 60)
    assert max(len(line) for line in shown.splitlines()) <= 60
    assert "  @funnel (statistics): What the selection did" in shown
