"""What a takedown or an extension of a mixture came to, for a terminal."""

from typing import Any

from engine.base.terminal import one_line

MOST_SHOWN = 20


def show_takedown(result: dict[str, Any]) -> str:
    """Return who left, which versions came of it and who trained on them, or everything that was taken down."""
    if "takedowns" in result:
        return "\n".join(_listed(one) for one in result["takedowns"]) or "nothing was taken down here"
    would = "would leave" if result["dry_run"] else "left"
    lines = [f"{len(result['documents']):,} documents {would}:", *_first(map(_document, result["documents"]))]
    lines += [f"  {doc_id}: in no mixture" for doc_id in result["not_in"]]
    lines += [_mixture(one, result["dry_run"]) for one in result["mixtures"]]
    left = "still holds some, as it was not named in --mixture: nothing is trained on it any more"
    lines += [f"{reference} {left}" for reference in result["left_in"]]
    lines += [_run(one) for one in result["runs"]] or ["no training run saw them"]
    lines += [f"run {one['run']} started from {', '.join(one['from'])}" for one in result["descendants"]]
    lines += [f"run {name} trained on a version that is gone: not known what it saw" for name in result["unknown_runs"]]
    end = ["plan only, nothing was written"] if result["dry_run"] else _remains(result["remains"])
    return "\n".join([*lines, *end])


def show_extend(result: dict[str, Any]) -> str:
    """Return how many of the new documents came in, what became of the others, and the new version."""
    came = sum(result["decisions"].values())
    lines = [f"source {result['source']}: {came:,} documents, {result['added']:,} of them kept"]
    lines += [f"  {reason}: {count:,}" for reason, count in result["decisions"].items() if reason != "kept"]
    if result["is_known"]:
        lines.append(f"{result['before']} has this source already; no new version")
    elif not result["added"]:
        lines.append(f"nothing new for {result['before']}; no new version")
    elif result["dry_run"]:
        lines.append(f"plan only: {result['before']} would be extended; no version was written")
    else:
        lines.append(
            f"{result['before']} -> {result['reference']}: {result['documents']:,} documents, "
            f"{result['supervised_tokens']:,} supervised tokens, {result['num_steps']:,} steps"
        )
    return "\n".join(lines)


def _listed(takedown: dict[str, Any]) -> str:
    asked = [one["doc_id"] for one in takedown["documents"] if one["why"] == "asked"]
    more = len(takedown["documents"]) - len(asked)
    named = ", ".join(asked[:3]) + (f" and {len(asked) - 3:,} others" if len(asked) > 3 else "")
    with_them = f", and {more:,} like them" if more else ""
    by = f", asked by {one_line(takedown['by'])}" if takedown["by"] else ""
    why = f": {one_line(takedown['reason'])}" if takedown["reason"] else ""
    return f"{takedown['when'][:10]} {named}{with_them}{by}{why}"


def _document(document: dict[str, Any]) -> str:
    if document["why"] == "asked":
        return f"  {document['doc_id']} ({document['source']})"
    how = "equal to" if document["why"] == "exact_duplicate" else f"{document['similarity']:.2f} like"
    return f"  {document['doc_id']} ({document['source']}), {how} {document['of']}"


def _first(lines: Any) -> list[str]:
    every = list(lines)
    rest = [f"  and {len(every) - MOST_SHOWN:,} more (--json lists all)"] if len(every) > MOST_SHOWN else []
    return every[:MOST_SHOWN] + rest


def _mixture(one: dict[str, Any], dry_run: bool) -> str:
    if one["is_empty"]:
        return f"{one['before']}: nothing would be left of it, so it has no new version; do not train on it"
    sources = f"; without source {', '.join(one['sources_gone'])}" if one["sources_gone"] else ""
    after = "a new version" if dry_run else one["reference"]
    counts = f"{one['documents']:,} documents and {one['supervised_tokens']:,} supervised tokens less"
    return f"{one['before']} -> {after}: {counts}{sources}"


def _run(run: dict[str, Any]) -> str:
    steps = run["steps"]
    shown = ", ".join(map(str, steps[:8])) + (f" and {len(steps) - 8:,} others" if len(steps) > 8 else "")
    seen = f"{run['documents']:,} of them, {run['supervised_tokens']:,} supervised tokens"
    return f"run {run['run']} ({run['mixture']}) saw {seen}, in {len(steps):,} steps: {shown}"


def _remains(remains: list[str]) -> list[str]:
    return ["what a takedown cannot do:", *(f"  {line}" for line in remains)]
