"""What run and tokenizer verbs look like in a terminal; narrow ones too."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.base.terminal import one_line, table, terminal_width, wrapped
from engine.mixture.show import repeated_share, show_control_tokens
from engine.run.show_schedules import cut_documents, half_empty_rows, wide_shares
from engine.run.steps import FRESH, NEW_PIECES, TOKEN_STORE, counted_rows

_SHOWN_MARKERS = 20  # Gemma has thousands of unused ones


def show_run(result: dict[str, Any]) -> str:
    """Return the steps, measured recall, the ledger per source and the mixtures; for a dry run only the plan."""
    shown = result["steps"]
    if not result["dry_run"]:
        # What changed comes first; what did not is one line.
        shown = [step for step in shown if step["state"] != FRESH]
    steps = [(step["name"], step["state"], _step_note(step)) for step in shown]
    parts = [table(("step", "state", ""), steps)] if steps else []
    parts += _fresh(result["steps"]) if not result["dry_run"] else []
    if result["dry_run"]:
        return "\n".join([*parts, *_what_if(result), _plan_note(result)])
    parts += [_shares(wave) for wave in result["annotating"]]
    parts += _recalls(result["steps"])
    parts += _held_out(result["steps"])
    parts.append(_ledger_table(result["ledger"]))
    parts += [*_tagged(result["steps"]), *_unmet_quotas(_balance_of(result["steps"]))]
    if result["n_eff"]:
        figures = (f"{unit} {n['before']:.2f} -> {n['after']:.2f}" for unit, n in result["n_eff"].items())
        parts.append(f"N_eff of the sources, read -> kept: {', '.join(figures)}")
    parts += _new_pieces(result["steps"])
    parts += show_control_tokens(result.get("control_tokens", ()))
    parts += _tokens_in_front(result["steps"])
    parts += [*_markers_as_text(result.get("markers_as_text", ())), *_look_alikes(result["steps"])]
    parts += _without_labels(result["steps"])
    parts += [_mixture_line(mixture) for mixture in result["mixtures"]]
    for told in (wide_shares, half_empty_rows, cut_documents):
        parts += [wrapped(line, terminal_width()) for line in told(result["steps"])]
    parts += [f"audits: {len(result['audits'])} hold"] if result.get("audits") else []
    return "\n".join(parts)


def _fresh(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line that names the steps whose results were there already."""
    names = [step["name"] for step in steps if step["state"] == FRESH]
    if len(names) == len(steps):
        return [f"nothing changed: {len(names)} step{'s are' if len(names) > 1 else ' is'} fresh"] if names else []
    return [wrapped(f"fresh: {', '.join(names)}", terminal_width())] if names else []


def _new_pieces(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line with what the new pieces of the tokenizer save, where it was extended."""
    made = next((step["details"] for step in steps if step["name"] == NEW_PIECES), None)
    if made is None:
        return []

    def told(figures: Mapping[str, Any]) -> str:
        before, after = figures["tokens_before"], figures["tokens_after"]
        return f"{before:,} -> {after:,} tokens (-{figures['share_saved']:.1%})"

    fewer = f" (of {made['pieces_asked']:,} asked: no more save a token)" * (made["pieces"] < made["pieces_asked"])
    held_out = f"; held out {told(made['held_out'])}" if made["held_out"]["documents"] else ""
    named = f"{made['pieces']:,} new pieces{fewer} for {', '.join(made['sources'])}"
    return [wrapped(f"{named}: {told(made['chosen_on'])}{held_out}", terminal_width())]


def _tokens_in_front(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line with the documents each control token stands in front of, and one that names those of none."""
    counts = _of_token_store(steps).get("control_tokens", {})
    told = ", ".join(f"{token} {count:,}" for token, count in counts.items() if count)
    unused = ", ".join(token for token, count in counts.items() if not count)
    lines = [wrapped(f"documents behind each: {told}", terminal_width())] if told else []
    missing = f"in front of no document: {unused}; look at the values of its column, or take it out"
    return [*lines, *([wrapped(missing, terminal_width())] if unused else [])]


def _without_labels(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line with the documents nothing of which is supervised: chats without an answer, texts of one token."""
    count = _of_token_store(steps).get("unsupervised_documents", 0)
    return [f"without a label, in no mixture: {count:,} document{'s' * (count != 1)}"] if count else []


def _of_token_store(steps: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next((step["details"] for step in steps if step["name"] == TOKEN_STORE), {})


def _markers_as_text(pieces: Sequence[str]) -> list[str]:
    named = ", ".join(one_line(piece) for piece in pieces[:_SHOWN_MARKERS])
    more = f" and {len(pieces) - _SHOWN_MARKERS:,} more" if len(pieces) > _SHOWN_MARKERS else ""
    return [f"non-special markers of the tokenizer, taken as plain text in texts: {named}{more}"] if pieces else []


def show_tokenizer(result: dict[str, Any]) -> str:
    """Return where the tokenizer is and how large it is."""
    slots = len(result["control_slots"])
    size = f"{result['vocab_size']:,} ids, {slots} control slots"
    return f"{result['folder']}\n{result['kind']}, {size}, digest {result['digest'][:12]}"


def share_found(recall: Mapping[str, Any], pairs: str) -> str:
    """Return a measured recall (engine.annotate.near_dup.recall) in words; `pairs`: the key of its number of pairs."""
    low, high = recall["interval_95"]
    share = f"{recall['share']:.1%} (95 % interval {low:.1%} to {high:.1%})"
    return f"{recall['found']:,} of {recall[pairs]:,} = {share}"


def _shares(wave: Mapping[str, Any]) -> str:
    """Return each stage's share of the time a wave took, and how fast the whole was."""
    whole, of_stage = sum(wave["work_seconds"].values()), wave["stage_bytes"]
    rows = []
    for name, seconds in sorted(wave["work_seconds"].items(), key=lambda item: -item[1]):
        rate = _speed(of_stage.get(name, wave["num_bytes"]), seconds)
        rows.append((name, f"{seconds:.1f}", f"{seconds / whole:.0%}" if whole else "", rate))
    speed = _speed(wave["num_bytes"], wave["wall_seconds"])
    title = f"annotating: {wave['num_bytes'] / 1e6:,.1f} MB of text in {wave['wall_seconds']:.1f} s, {speed}"
    return f"{title}\n{table(('stage', 'seconds of work', 'share', 'alone on one core'), rows)}"


def _speed(num_bytes: int, seconds: float) -> str:
    return f"{num_bytes / 1e6 / seconds:,.1f} MB/s" if seconds else ""


def _recalls(steps: Iterable[dict[str, Any]]) -> list[str]:
    lines = []
    for step in steps:
        measured = step["details"].get("measured_recall")
        if measured is not None:
            start = f"{step['name']}: recall at {step['details']['floor']}"
            if measured["planted"]:
                lines.append(f"{start}: {share_found(measured, 'planted')} of planted near-duplicates found")
            sample = measured["brute_force_sample"]
            if sample["pairs"]:
                lines.append(f"{start} and above: {share_found(sample, 'pairs')} of a brute-force sample's pairs found")
    return lines


def _balance_of(steps: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [rule for step in steps for rule in step["details"].get("balance", ())]


def _unmet_quotas(rules: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line for every quota of which less is kept than was asked for."""
    return [
        f"balance {rule['rule']}: {one['group']}: {one['kept']:,} of {one['asked']:,} {rule['unit']} kept, "
        f"{one['missing']:,} missing ({one['available']:,} came)"
        for rule in rules
        for one in rule["unmet"]
    ]


def _relatives(one: Mapping[str, Any]) -> str:
    return f"{one['group_documents'] - one['documents']:,} relatives of them are neither measured nor trained on"


def _tagged(steps: Iterable[dict[str, Any]]) -> list[str]:
    """Return a line that says how many kept documents each tag has, the most frequent first; none without tags."""
    counts: Counter[str] = Counter()
    for step in steps:
        for row in step["details"].get("tagged", ()):
            counts[row["reason"]] += row["documents"]
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{one_line(reason)} {documents:,}" for reason, documents in ordered)
    return [wrapped(f"tagged: {told}", terminal_width())] if told else []


def _held_out(steps: Iterable[dict[str, Any]]) -> list[str]:
    return [
        f"held out for {one['set']}: {one['documents']:,} documents, {one['bytes']:,} bytes"
        + (f", {one['tokens']:,} tokens" if one["tokens"] is not None else "")
        + (f"; {_relatives(one)}" if one.get("group_documents", 0) > one["documents"] else "")
        for step in steps
        for one in step["details"].get("sets", ())
    ]


def _what_if(result: dict[str, Any]) -> list[str]:
    from engine.run.what_if.show import show_what_if

    found = result.get("what_if")
    return [show_what_if(found, table), *_unmet_quotas(found["balance"])] if found else []


def _look_alikes(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    details = _of_token_store(steps)
    found = details.get("look_alikes", {})
    if not found:
        return []
    most = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:3]
    named = ", ".join(f"{token} {count:,}" for token, count in most)
    times, documents = sum(found.values()), details["look_alike_documents"]
    where = f"{times:,} time{'s' * (times != 1)} in {documents:,} document{'s' * (documents != 1)}"
    return [f"text that looks like a control or chat token: {where}, kept as plain text ({named}; view look_alikes)"]


def _plan_note(result: dict[str, Any]) -> str:
    ahead = result["estimate"]
    gib = {key: ahead[key] / (1 << 30) for key in ("disk_bytes", "free_disk_bytes")}
    note = (
        f"plan only, nothing was written. Stale steps: about {ahead['seconds']:,.0f} s of work, "
        f"{gib['disk_bytes']:.2f} GiB of disk ({gib['free_disk_bytes']:,.0f} free); "
        f"{result['jobs']} workers, memory ceiling {result['memory_bytes'] / (1 << 30):.1f} GiB"
    )
    return wrapped(note, terminal_width())


def _step_note(step: dict[str, Any]) -> str:
    if step["state"] == "made":
        return f"{counted_rows(step['name'], step['rows'])}, {step['seconds']:.1f} s"
    return step["why"]


def _mixture_line(mixture: Mapping[str, Any]) -> str:
    repeated = f" ({repeated_share(mixture)} of them repeated)" if mixture["tokens"] > mixture["unique_tokens"] else ""
    return (
        f"{mixture['reference']}: {mixture['documents']:,} documents, {mixture['tokens']:,} tokens{repeated}, "
        f"{mixture['num_steps']:,} steps, N_eff {mixture['n_eff_before']:.2f} -> {mixture['n_eff_after']:.2f}"
    )


def _ledger_table(ledger: Iterable[dict[str, Any]]) -> str:
    """Return the ledger per source; what balance left over has a column where it left anything."""
    rows = list(ledger)
    outcomes = ["in", "kept", "held_out", "dropped"]
    outcomes += ["over_budget"] if any(row["outcome"] == "over_budget" for row in rows) else []
    headings = [name.replace("_", " ") for name in ("source", *outcomes)]
    return table((*headings, "why"), _ledger_rows(rows, outcomes))


def _ledger_rows(ledger: Iterable[dict[str, Any]], outcomes: Sequence[str]) -> list[tuple[str, ...]]:
    sources: dict[str, dict[str, Any]] = {}
    for row in ledger:
        source = sources.setdefault(row["source"], dict.fromkeys(outcomes, 0) | {"why": []})
        if row["outcome"] == "cut":
            source["why"].append((0, f"{row['bytes']:,} bytes cut by {row['reason']}"))
            continue
        source[row["outcome"]] += row["documents"]
        if row["outcome"] in ("dropped", "over_budget"):
            source["why"].append((row["documents"], row["reason"]))
    return [
        (
            name,
            *(f"{source[key]:,}" for key in outcomes),
            ", ".join(
                f"{reason} {count:,}" if count else reason for count, reason in sorted(source["why"], reverse=True)
            ),
        )
        for name, source in sources.items()
    ]
