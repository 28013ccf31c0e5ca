"""The tables of the project's README, from the results: between two marks, so that no figure there is typed by hand."""

import json
from collections.abc import Callable
from typing import Any

from benchmarks.harness import FOLDER, RESULTS, shown

README = FOLDER.parent / "README.md"
LANGUAGE = ("language", "language_sources")
PII = ("pii_shared", "pii_built", "pii_texts", "pii_speed")
ANNOTATE = ("annotate_whole", "annotate_heuristics", "quality")
CONTAMINATION = ("contamination", "contamination_negatives", "contamination_speed")
Results = dict[str, dict[str, Any]]
JUDGED = (
    ("near_dup_code", "source files"),
    ("near_dup_licences", "licence texts"),
    ("near_dup_languages", "28 languages"),
)


def write_readme() -> None:
    """Replace what stands between the marks."""
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")


def written(text: str) -> str:
    """Return the README with the tables between their marks; nothing changes where a result is missing."""
    tables: dict[str, tuple[tuple[str, ...], Callable[[Results], list[str]]]] = {
        "near_dup": (("near_dup", *(name for name, _ in JUDGED)), _near_dup),
        "contamination": (CONTAMINATION, _contamination),
        "annotate": (ANNOTATE, _annotate),
        "language": (LANGUAGE, _language),
        "pii": (PII, _pii),
        "select": (("select",), _select),
        "mixture": (("mixture",), _mixture),
        "sql": (("sql",), _sql),
        "train_step": (("train_step",), _train_step),
    }
    for name, (results, lines_of) in tables.items():
        paths = [RESULTS / f"{result}.json" for result in results]
        if all(path.is_file() for path in paths):
            lines = lines_of({path.stem: json.loads(path.read_text()) for path in paths})
            begin, end = f"<!-- benchmark: {name} -->", f"<!-- end of benchmark: {name} -->"
            before, rest = text.split(begin, 1)
            text = "\n".join([before + begin, *lines, end + rest.split(end, 1)[1]])
    return text


def _near_dup(results: Results) -> list[str]:
    return [*_speed(results["near_dup"]), "", *_truth(results)]


def _contamination(results: Results) -> list[str]:
    recall, negatives, speed = (results[name] for name in CONTAMINATION)
    lines = [
        "Recall on planted items, by what was done to them:",
        "",
        "| | copies | ours | any 13-gram |",
        "|---" * 4 + "|",
    ]
    for row in recall["rows"]:
        more = row["details"]
        lines.append(f"| {row['name']} | {more['copies']:,} | {more['recall']:.4f} | {more['any 13-gram']:.4f} |")
    lines += ["", "Hard negatives that are flagged, before anybody has read them:", ""]
    lines += ["| | documents | ours | any 13-gram |", "|---" * 4 + "|"]
    for row in negatives["rows"]:
        more = row["details"]
        if "any 13-gram" in more:
            lines.append(f"| {row['name']} | {more['documents']:,} | {more['flagged']:,} | {more['any 13-gram']:,} |")
        else:
            lines.append(f"| {row['name']} | {more['documents']:,} | {row['value'] / 100:.4f} | |")
    lines += ["", f"Speed: {speed['about']}", "", "| | figure | |", "|---" * 3 + "|"]
    lines += [f"| {row['name']} | {row['value']:,.1f} {row['unit']} | {row['correctness']} |" for row in speed["rows"]]
    return lines


def _annotate(results: Results) -> list[str]:
    whole, heuristics, quality = (results[name] for name in ANNOTATE)
    lines = [whole["about"], "", "| | MB/s | share of the work | |", "|---" * 4 + "|"]
    first = whole["rows"][0]["name"].partition(":")[0]
    for row in whole["rows"]:
        share = row["details"].get("share of the work", "")
        if share and not row["name"].startswith(first):
            continue
        lines.append(f"| {row['name']} | {row['value']:,.1f} | {share} | {row['correctness']} |")
    lines += ["", "`heuristics` alone, beside datatrove's filters:", "", "| | MB/s | MB per second of a core | |"]
    lines += ["|---" * 4 + "|"]
    for row in heuristics["rows"]:
        if row["unit"] == "MB/s":
            of_core = row["details"].get("MB per second of a core", "")
            lines.append(f"| {row['name']} | {row['value']:,.1f} | {of_core} | {row['correctness']} |")
    lines += ["", f"`quality`. {quality['about']}", "", "| | AUC | 95 % interval | |", "|---" * 4 + "|"]
    for row in quality["rows"]:
        if "AUC" in row["details"]:
            more = row["details"]
            said = row["correctness"].partition("; calibration")[0]
            lines.append(f"| {row['name']} | {more['AUC']:.4f} | {more.get('95 % interval', '')} | {said} |")
    return lines


def _language(results: Results) -> list[str]:
    tools, sources = (results[name] for name in LANGUAGE)
    columns = ("languages", "documents judged", "accuracy", "mean of languages", "us per document", "installed MB")
    lines = [
        tools["about"],
        "",
        f"| | MB/s a core | {' | '.join(columns)} | licence | languages below 0.95 |",
        "|---" * (len(columns) + 4) + "|",
    ]
    for row in tools["rows"]:
        if row["value"] is not None:
            more, missed = row["details"], row["correctness"].removeprefix("below 0.95: ")
            cells = [f"{more[name]:.4f}" if isinstance(more[name], float) else f"{more[name]:,}" for name in columns]
            lines.append(
                f"| {row['name']} | {row['value']:,.1f} | {' | '.join(cells)} | {more['licence']} | {missed} |"
            )
    lines += ["", sources["about"], "", "| | documents | share | |", "|---" * 4 + "|"]
    for row in sources["rows"]:
        said = row["correctness"] if row["name"].startswith(("language ", "score ")) else ""
        lines.append(f"| {row['name']} | {row['details']['documents']:,} | {row['value'] / 100:.4f} | {said} |")
    return lines


def _pii(results: Results) -> list[str]:
    shared, built, texts, speed = (results[name] for name in PII)
    lines = ["| | shared spans | recall | precision | built spans | recall | precision | found per MB of texts |"]
    lines.append("|---" * 8 + "|")
    names = dict.fromkeys(row["name"] for row in [*shared["rows"], *built["rows"]])
    per_megabyte = {row["name"]: row["value"] for row in texts["rows"]}
    per_megabyte["ip"] = per_megabyte["ipv4"] + per_megabyte["ipv6"]
    for name in names:
        cells = [_recall_cells(name, result) for result in (shared, built)]
        lines.append(f"| {name} | {' | '.join(cells)} | {per_megabyte[name]:.2f} |")
    rate = {row["name"]: row["value"] for row in speed["rows"]}
    return [*lines, "", f"Speed: {rate['spans']:,.0f} MB/s on one core ({speed['about'].rstrip('.')})."]


def _select(results: Results) -> list[str]:
    result = results["select"]
    lines = [result["about"], "", "| | seconds | million rows/s |", "|---" * 3 + "|"]
    for row in result["rows"]:
        lines.append(f"| {row['name']} | {row['details']['seconds']:,.1f} | {row['value']:,.1f} |")
    whole = result["rows"][0]["details"]
    used = f"{whole['processor seconds']:,.0f} seconds of the processor"
    return [*lines, "", f"{result['machine']['cores']} cores, {used}, peak memory {whole['peak MB']:,} MB."]


def _mixture(results: Results) -> list[str]:
    result = results["mixture"]
    names = ("seconds", "peak MB", "efficiency", "filled", "deviation")
    lines = [result["about"], "", f"| | {' | '.join(names)} | |", "|---" * (2 + len(names)) + "|"]
    for row in result["rows"]:
        cells = [shown(row["details"].get(name, "")) for name in names]
        lines.append(f"| {row['name']} | {' | '.join(cells)} | {row['correctness']} |")
    return lines


def _sql(results: Results) -> list[str]:
    result = results["sql"]
    names = list(result["rows"][0]["details"])
    lines = [result["about"], "", f"| | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for row in result["rows"]:
        lines.append(f"| {row['name']} | {' | '.join(shown(row['details'][name]) for name in names)} |")
    return lines


def _train_step(results: Results) -> list[str]:
    result = results["train_step"]
    names = list(dict.fromkeys(name for row in result["rows"] for name in row.get("details", {})))
    lines = [result["about"], "", f"| | tokens/s | {' | '.join(names)} | |", "|---" * (3 + len(names)) + "|"]
    for row in result["rows"]:
        if row["value"] is not None:
            cells = [f"{row['value']:,.1f}", *(shown(row.get("details", {}).get(name, "")) for name in names)]
            lines.append(f"| {row['name']} | {' | '.join(cells)} | {row['correctness']} |")
    return lines


def _recall_cells(name: str, result: dict[str, Any]) -> str:
    for row in result["rows"]:
        if row["name"] == name:
            return f"{row['details']['spans']:,} | {row['value'] / 100:.3f} | {row['details']['precision']:.3f}"
    return "- | - | -"


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
