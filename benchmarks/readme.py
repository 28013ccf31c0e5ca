"""The tables of the project's README, from the results: between two marks, so that no figure there is typed by hand."""

import json
from typing import Any

from benchmarks.harness import FOLDER, RESULTS

README = FOLDER.parent / "README.md"
BEGIN, END = "<!-- benchmark: near_dup -->", "<!-- end of benchmark -->"
JUDGED = (
    ("near_dup_code", "source files"),
    ("near_dup_licences", "licence texts"),
    ("near_dup_languages", "28 languages"),
)


def write_readme() -> None:
    """Replace what stands between the marks; nothing happens where a result or a mark is missing."""
    text = README.read_text(encoding="utf-8")
    paths = [RESULTS / f"{name}.json" for name in ("near_dup", *(name for name, _ in JUDGED))]
    if BEGIN not in text or not all(path.is_file() for path in paths):
        return
    results = {path.stem: json.loads(path.read_text()) for path in paths}
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    lines = [*_speed(results["near_dup"]), "", *_truth(results)]
    README.write_text(f"{before}{BEGIN}\n{chr(10).join(lines)}\n{END}{after}", encoding="utf-8")


def _speed(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, {result['date']}"
    lines = [
        f"Speed, whole processes from Parquet to decisions ({where}):",
        result["about"],
        "",
        "| | MB/s | seconds | peak MB | our rate / its rate, on the same files |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        if row["value"] is not None:
            more = row["details"]
            ratio = more.get("our rate / its rate", "")
            cells = (f"{row['value']:,.1f}", more["seconds"], f"{more['peak MB']:,}", ratio)
            name, said = row["name"], row["correctness"]
            if said.startswith("on the first"):
                name += f" ({said.removeprefix('on the ').split(' of the files')[0]})"
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _truth(results: dict[str, Any]) -> list[str]:
    lines = [
        "Truth, against the exact similarity of all pairs: the share of duplicates that was removed, and how many",
        "documents were removed though no kept one is similar to them:",
        "",
        f"| | {' | '.join(title for _, title in JUDGED)} |",
        "|---" * (1 + len(JUDGED)) + "|",
    ]
    names = [row["name"] for row in results[JUDGED[0][0]]["rows"]]
    for name in names:
        cells = [_cell(row) for key, _ in JUDGED for row in results[key]["rows"] if row["name"] == name]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(row: dict[str, Any]) -> str:
    details = row["details"]
    if "duplicates removed" not in details:
        return "-"
    return f"{details['duplicates removed']:.4f}, {details['false removals']:,} false"
