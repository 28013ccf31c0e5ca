"""The README's page of SQL views and named queries, from the heads of sql/: `python -m benchmarks.sql_reference`."""

from pathlib import Path
from typing import Any

from engine.catalog.query import sql_list

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- sql: views and named queries -->", "<!-- end of sql -->"


def reference() -> str:
    """Return the lines between the marks."""
    listed = sql_list()
    lines = ["| view | what, and its columns |", "|---|---|"]
    lines += [f"| `{one['name']}` | {one['what']} {_columns(one)} |" for one in listed["views"]]
    lines += ["| `source_<name>` | Every column the source of this name has, behind `doc_id`. |", ""]
    lines += ["| named query | what, its parameters and columns |", "|---|---|"]
    lines += [f"| `{one['name']}` | {one['what']}{_parameters(one)} {_columns(one)} |" for one in listed["queries"]]
    return "\n".join(lines)


def written(text: str) -> str:
    """Return the README with the reference between its marks."""
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{reference()}\n{END}{rest.split(END, 1)[1]}"


def _columns(one: dict[str, Any]) -> str:
    return f"<br>`{', '.join(one['columns'])}`"


def _parameters(one: dict[str, Any]) -> str:
    found = ""
    for parameter in one["parameters"]:
        default = "required" if parameter["is_required"] else f"default: {parameter['default'] or 'all'}"
        found += f"<br>`{parameter['name']}=`{parameter['type']}: {parameter['meaning']} ({default})."
    return found


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
