"""What the verbs about mixtures look like in a terminal; narrow ones too."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.base.terminal import one_line, table, terminal_width, wrapped
from engine.formats.manifest import role_label

_NARROW = 90
"""Columns below which a version or a source is told in a sentence: a table would break every word and digest."""


def show_mixture_list(result: Mapping[str, Any]) -> str:
    """Return one line per version, and where one name has versions of several recipes, a line that says so."""
    rows = [
        (
            m["reference"],
            m["recipe"],
            ", ".join(m["current_for"]),
            f"{m['documents']:,}",
            f"{m['tokens']:,}",
            f"{m['replay_share_reached']:.1%}",
            f"{m['num_steps']:,}",
            f"{m['how']} of {m['derived_from']}" if m["derived_from"] else "",
            m["digest"][:12],
        )
        for m in result["mixtures"]
    ]
    notes = [*_numbered_together(result), *(wrapped(damage, terminal_width()) for damage in result["damaged"])]
    if not rows:
        return "\n".join(notes or ["no mixtures yet: provender run RECIPE"])
    if terminal_width() < _NARROW:
        return "\n".join([*(_version_in_lines(m) for m in result["mixtures"]), *notes])
    head = ("mixture", "recipe", "current for", "documents", "tokens", "replay", "steps", "made by", "digest")
    used = [0, *(column for column in range(1, len(head)) if any(row[column] for row in rows))]
    lines = [table([head[column] for column in used], [[row[column] for column in used] for row in rows])]
    return "\n".join([*lines, *notes])


def _version_in_lines(m: Mapping[str, Any]) -> str:
    current = f", current for {', '.join(m['current_for'])}" if m["current_for"] else ""
    made = f"{m['how']} of {m['derived_from']}" if m["derived_from"] else f"recipe {m['recipe']}"
    told = (
        f"{made}{current}: {m['documents']:,} documents, {m['tokens']:,} tokens, replay "
        f"{m['replay_share_reached']:.1%}, {m['num_steps']:,} steps"
    )
    return f"{m['reference']} ({m['digest'][:12]})\n{wrapped(told, terminal_width(), 2)}"


def _numbered_together(result: Mapping[str, Any]) -> Iterator[str]:
    recipes: dict[str, set[str]] = {}
    for m in result["mixtures"]:
        recipes.setdefault(m["name"], set()).add(m["recipe"])
    for name, several in sorted(recipes.items()):
        if len(several) > 1:
            said = f"{name}: versions of {len(several)} recipes ({', '.join(sorted(several))}) are numbered together; "
            yield wrapped(f"{said}{name}@latest is the highest number, whichever made it", terminal_width())


def show_mixture(result: Mapping[str, Any]) -> str:
    """Return phases and sources first, then shares, licences, packing, and everything that identifies the version."""
    parts = [wrapped(_head(result), terminal_width())]
    if len(result["phases"]) > 1:
        parts.append(_phases(result))
    parts.append(_sources(result))
    parts.append(_licenses(result))
    parts += [wrapped(line, terminal_width(), 0) for line in _told(result)]
    parts += show_control_tokens(result["control_slots"])
    return "\n".join(parts)


def show_verify(result: Mapping[str, Any]) -> str:
    """Return one line per thing that was checked."""
    return "\n".join([f"{result['reference']}: every digest holds", *(f"  {name}" for name in result["checked"])])


def repeated_share(tokens: Mapping[str, Any]) -> str:
    """Return which part of the tokens are second and later uses of a document."""
    repeated = tokens["tokens"] - tokens["unique_tokens"]
    return f"{repeated / tokens['tokens']:.1%}" if repeated else "none"


def _head(m: Mapping[str, Any]) -> str:
    derived = m["derived_from"]
    origin = f"{derived['how']} of {derived['reference']}" if derived else f"recipe {m['recipe']}"
    current = f"; current for {', '.join(m['current_for'])}" if m["current_for"] else ""
    return (
        f"{m['reference']} ({m['digest'][:12]}), {origin}{current}: {m['documents']:,} documents, "
        f"{m['tokens']:,} tokens, {m['supervised_tokens']:,} supervised, {m['num_steps']:,} steps of "
        f"{m['rows_per_step']:,} rows of {m['row_tokens']:,} tokens"
    )


def _phases(m: Mapping[str, Any]) -> str:
    rows = [
        (
            p["name"],
            f"{p['documents']:,}",
            f"{p['supervised_tokens']:,}",
            f"{p['replay_share_reached']:.1%}",
            p["curriculum"],
        )
        for p in m["phases"]
    ]
    return table(("phase", "documents", "supervised", "replay", "order"), rows)


def _source_in_lines(m: Mapping[str, Any], s: Mapping[str, Any]) -> str:
    phase = f", phase {m['phases'][s['phase']]['name']}" if len(m["phases"]) > 1 else ""
    told = (
        f"{s['documents']:,} of {s['available_documents']:,} documents, {s['supervised_tokens']:,} supervised tokens, "
        f"{s['share_asked']:.1%} asked, {s['share_reached']:.1%} reached, repeated {repeated_share(s)}, "
        f"most uses {s['max_repeats']}, objective {s['objective'].replace('_', ' ')}"
    )
    return f"{role_label(s['source'], s['is_replay'])}{phase}\n{wrapped(told, terminal_width(), 2)}"


def _sources(m: Mapping[str, Any]) -> str:
    if terminal_width() < _NARROW:
        return "\n".join(_source_in_lines(m, s) for s in m["sources"])
    several = len(m["phases"]) > 1
    objectives = any(s["objective"] != "text" for s in m["sources"])
    rows = []
    for s in m["sources"]:
        cells = [role_label(s["source"], s["is_replay"])]
        cells += [m["phases"][s["phase"]]["name"]] if several else []
        cells += [s["objective"].replace("_", " ")] if objectives else []
        cells += [f"{s['documents']:,} of {s['available_documents']:,}", f"{s['supervised_tokens']:,}"]
        cells += [f"{s['share_asked']:.1%}", f"{s['share_reached']:.1%}", repeated_share(s), f"{s['max_repeats']}"]
        rows.append(cells)
    head = ["source", *(["phase"] if several else []), *(["objective"] if objectives else [])]
    return table([*head, "documents", "supervised", "asked", "reached", "repeated", "most uses"], rows)


def _licenses(m: Mapping[str, Any]) -> str:
    counts = sorted(m["licenses"].items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{one_line(name)} {count:,}" for name, count in counts)
    return wrapped(f"licences (documents): {listed or 'none known'}", terminal_width(), 0)


def _told(m: Mapping[str, Any]) -> Iterator[str]:
    asked = "none asked" if m["replay_share"] is None else f"{m['replay_share']:.1%} asked"
    yield (
        f"replay: {asked}, {m['replay_share_reached']:.2%} of supervised tokens, "
        f"{m['replay_share_of_row_tokens']:.2%} of row tokens"
    )
    yield f"order: {m['curriculum']}, seed {m['seed']}"
    yield f"N_eff of the sources, kept -> mixture: {m['n_eff_before']:.2f} -> {m['n_eff_after']:.2f} by tokens"
    if m["rows_filled"] is not None:
        yield f"packing: {m['rows_filled']:.2%} of the rows' tokens are used, the rest stays empty"
    yield from _running_shares(m)
    searched = [held["set"] for held in m["held_out"]] + [benchmark["name"] for benchmark in m["benchmarks"]]
    if searched:
        yield f"searched for: {', '.join(searched)}" + (f" (coverage {m['coverage'][:12]})" if m["coverage"] else "")
    yield f"template: {m['template'] or 'none'}"
    named = ("tokenizer", "token_store", "selection", "split", "schedule", "recipe_digest")
    yield "; ".join(f"{name.replace('_', ' ')} {m[name][:12]}" for name in named if m[name])
    inputs = {s["source"]: s["input_digest"] for s in m["sources"]}
    yield "inputs: " + ", ".join(f"{source} {digest[:12]}" for source, digest in inputs.items())
    yield m["folder"]


def _running_shares(m: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line per phase, source and role: how far it is from its plan at worst, and which bound that keeps."""
    several = len(m["phases"]) > 1
    yield "running shares, furthest from the plan at the end of a step, in supervised tokens:"
    if not m["running_shares"]:
        yield "  not known: the schedule is gone (`provender gc` collects it, running the recipe makes it again)"
    for row in m["running_shares"]:
        phase = f", phase {row['phase']}" if several else ""
        kept = "within" if row["is_kept"] else "NOT within"
        own = f"its longest document ({row['longest_document']:,})"
        bound = own if row["bound_by"] == "source" else f"the longest piece of all sources ({row['bound']:,})"
        beyond = row["bound_by"] != "source" and row["largest_deviation"] > row["longest_document"]
        more = f", but not within {own}" if beyond else ""
        name = role_label(row["source"], row["is_replay"])
        yield f"  {name}{phase}: {row['largest_deviation']:,}, {kept} {bound}{more}"


def show_control_tokens(tokens: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line that says where the control tokens of a recipe have their ids; none where there are none."""
    slots = [token["slot"] for token in tokens if token["slot"] not in (None, token["token"])]
    new = [token["id"] for token in tokens if token["slot"] is None]
    there = len(tokens) - len(slots) - len(new)
    where = []
    if slots:
        where.append(f"in free slots {slots[0]} to {slots[-1]}" if len(slots) > 1 else f"in the free slot {slots[0]}")
    if new:
        where.append(f"{len(new)} new ids from {new[0]:,} on" if len(new) > 1 else f"the new id {new[0]:,}")
    if there:
        where.append(f"{there} in the vocabulary already")
    return [f"control tokens: {len(tokens)}, {'; '.join(where)}"] if tokens else []
