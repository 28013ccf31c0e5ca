"""What is known about a document, as text for a terminal."""

from typing import Any

from engine.base.terminal import one_line, terminal_width, wrapped
from engine.formats.labels import in_words

SHOWN_CHARS = 600
SHOWN_SPANS = 5


def show_explain(result: dict[str, Any], width: int | None = None) -> str:
    """Return what `explain` returned as text for a terminal of `width` columns (default: this one's)."""
    width = width or terminal_width()
    sections = [
        ("document", _document(result)),
        ("text, as it was read", [_text(result["text"])]),
        ("decision", _decision(result)),
        ("label", _label(result["label"])),
        *((f"duplicates ({found['stage']})", _duplicates(found)) for found in result["duplicates"]),
        *((f"hits ({prefix})", [_pairs_of(hit) for hit in hits]) for prefix, hits in result["hits"].items()),
        ("held out", _heldout(result["heldout"])),
        ("tokens", _tokens(result)),
        ("mixtures", _mixtures(result)),
        ("trained on", _trained(result["trained"])),
        *(
            (prefix, [_annotation(prefix, columns), *_made_by(result["stages"][prefix])])
            for prefix, columns in result["annotations"].items()
        ),
    ]
    lines = []
    for title, content in sections:
        if content:
            lines += [title, *(wrapped(line, width, 2) for line in content)]
    return "\n".join(lines)


def _document(result: dict[str, Any]) -> list[str]:
    place = result["place"]
    row = "the file cannot be read any more" if place["row"] is None else f"row {place['row']:,}"
    stated = {name: value for name, value in result["columns"].items() if value is not None and name != "text_digest"}
    return [
        f"{result['doc_id']} of source {result['source']} (recipe {result['recipe']})",
        f"{place['file']}, {row}",
        _pairs_of(stated),
    ]


def _text(text: dict[str, Any]) -> str:
    if text.get("problem"):
        return str(text["problem"])
    return "none" if text["excerpt"] is None else one_line(text["excerpt"], SHOWN_CHARS, text["num_chars"])


def _decision(result: dict[str, Any]) -> list[str]:
    decision = result["decision"]
    if decision is None:
        return ["none yet: the recipe stopped before the selection"]
    reason = f": {decision['reason']}" if decision["reason"] is not None else ""
    tags = [f"tagged {tag}{f': {why}' if why else ''}" for tag, why in decision["tagged"].items()]
    return [f"{decision['decision']}{reason}", decision["rule"], *tags]


def _label(label: dict[str, Any] | None) -> list[str]:
    if label is None:
        return []
    return [label["problem"]] if "problem" in label else [in_words(label)]


def _duplicates(found: dict[str, Any]) -> list[str]:
    lines = []
    if found["survivor"] is not None:
        similarity = "" if found["similarity"] is None else f", similarity {found['similarity']:.4g}"
        survivor = found["survivor"]
        decision = ": ".join(word for word in (survivor["decision"], survivor["reason"]) if word is not None)
        decided = f" ({decision})" if decision else ""
        lines.append(f"removed for {survivor['doc_id']} of {survivor['source']}{decided}{similarity}")
        lines.append(f"which begins: {_text(survivor)}")
    if found["num_removed"]:
        whom = "removed for it" if found["survivor"] is None else "removed for the same survivor"
        lines.append(f"{found['num_removed']:,} {whom}: {_ids(found['removed'])}")
    if found["num_pairs"]:
        pairs = ", ".join(f"{pair['doc_id']} ({pair['similarity']:.4g})" for pair in found["pairs"])
        lines.append(f"verified pairs ({found['num_pairs']:,}): {pairs}")
    return lines


def _ids(documents: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['doc_id']} ({one['source']})" for one in documents)


def _heldout(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    return [f"set {found['set']}, group {found['group_id']} with {found['num_others']:,} other documents"]


def _tokens(result: dict[str, Any]) -> list[str]:
    alike = ", ".join(f"{one_line(one['token'])} {one['occurrences']:,}" for one in result["look_alikes"])
    lines = [f"control tokens: {''.join(result['control_tokens'])}"] if result["control_tokens"] else []
    return [*lines, f"looks like a token, kept as text: {alike}"] if alike else lines


def _mixtures(result: dict[str, Any]) -> list[str]:
    lines = []
    for use in result["mixtures"]:
        role = "replay" if use["is_replay"] else "domain text"
        phase = f" in phase {use['phase_name']}" if use["phase_name"] not in (None, "all") else ""
        times = "once" if use["repeats"] == 1 else f"{use['repeats']} times"
        place = f"document {use['document'] + 1:,} of {use['documents']:,}"
        at = f"scheduled at {_steps(use['steps'])}" if use["steps"] else "in no step of the schedule"
        tokens = f"{use['num_tokens']:,} tokens, used {times}"
        lines.append(f"{use['reference']}: {role}{phase}, {place}, {tokens}, {at}")
    for left in result["taken_down"]:
        why = f" ({one_line(left['reason'])})" if left["reason"] else ""
        lines.append(f"{left['reference']}: left by {left['how']} from {left['from']}{why}")
    lines += [f"{reference}: does not use it" for reference in result["not_in"]]
    return lines + result["damaged"]


def _steps(steps: list[int]) -> str:
    shown = ", ".join(f"{step:,}" for step in steps[:SHOWN_SPANS])
    more = f" and {len(steps) - SHOWN_SPANS:,} more" if len(steps) > SHOWN_SPANS else ""
    return f"step{'' if len(steps) == 1 else 's'} {shown}{more}"


def _trained(runs: list[dict[str, Any]]) -> list[str]:
    lines = []
    for run in runs:
        if not run["num_steps_with_it"]:
            lines.append(f"{run['run']} ({run['reference']}): not in the {run['made_steps']:,} steps it made")
            continue
        told = [_loss(step) for step in run["steps"][:SHOWN_SPANS]]
        more = run["num_steps_with_it"] - len(told)
        told += [f"{more:,} more steps"] if more else []
        lines.append(f"{run['run']} ({run['reference']}): {'; '.join(told)}")
    return lines


def _loss(step: dict[str, Any]) -> str:
    if step["loss"] is None:
        return f"step {step['step']:,}, no loss written"
    of_source = f" (its source {step['source_loss']:.4g})" if step["source_loss"] is not None else ""
    return f"step {step['step']:,}, loss {step['loss']:.4g}{of_source}"


def _made_by(stage: dict[str, Any]) -> list[str]:
    made = f"made by {stage['made_by']}, digest {stage['digest'][:12]}" if stage["made_by"] else ""
    model = f", model {stage['model'][:12]}" if stage["model"] else ""
    return [f"{made}{model}"] if made else []


def _annotation(prefix: str, columns: dict[str, Any]) -> str:
    found = {name.removeprefix(f"{prefix}__"): value for name, value in columns.items() if value is not None}
    return _pairs_of(found) if found else "nothing found"


def _pairs_of(columns: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in columns.items())


def _value(value: Any) -> str:
    return "null" if value is None else one_line(str(value), SHOWN_CHARS)
