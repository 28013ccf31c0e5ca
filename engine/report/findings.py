"""The findings: a few plain sentences, each made from the numbers of one section, bad news included."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from engine.report.balance import balance_findings
from engine.report.forgetting import FEWEST_DOCUMENTS, Curve, paired_difference
from engine.report.funnel import Funnel
from engine.report.heldout import HeldOut
from engine.report.numbers import Numbers
from engine.report.tags import tags_findings
from engine.report.training import RunNumbers, base_of
from engine.report.wording import amount, change, counted, decimal, interval, listed, share

_MOST_NAMED = 4


def findings(numbers: Numbers) -> list[str]:
    """Return the sentences at the top of the page, in the order of its sections."""
    return [
        *_waived(numbers),
        *_what_was_kept(numbers),
        *_largest_loss(numbers.funnel),
        *balance_findings(numbers.balance),
        *tags_findings(numbers.tags),
        *_diversity(numbers),
        *_held_out(numbers),
        *_benchmarks(numbers),
        *_false_flags(numbers.heldout),
        *_replay_reached(numbers),
        *_replay_against_forgetting(numbers.curves),
        *_budgets(numbers),
    ]


def _waived(numbers: Numbers) -> Iterator[str]:
    for run in numbers.runs:
        for text in run.waived:
            yield f"THE GATE WAS WAIVED for run '{run.name}', so its scores prove nothing: {text}"


def _what_was_kept(numbers: Numbers) -> Iterator[str]:
    funnel = numbers.funnel
    if funnel is None:
        documents, num_bytes = (int(numbers.sources.rows.get_column(name).sum()) for name in ("documents", "bytes"))
        yield f"{counted(documents, 'document')} ({amount(num_bytes)}) were read; the recipe selects nothing yet."
        return
    came, kept, held, left = (funnel.total(outcome) for outcome in ("in", "kept", "held_out", "over_budget"))
    size, kept_size = (amount(funnel.total(outcome, "bytes")) for outcome in ("in", "kept"))
    over_budget = f", {left:,} left over by balance" if left else ""
    yield (
        f"Of {counted(came, 'document')} ({size}) in {counted(len(funnel.source_names), 'source')}, {kept:,} were kept "
        f"({share(kept, came)}; {kept_size}), {came - kept - held - left:,} were dropped{over_budget} and "
        f"{held:,} held out for measuring."
    )
    if funnel.unbalanced.height:
        places = listed(sorted(set(funnel.unbalanced.get_column("source"))))
        yield f"THE LEDGER DOES NOT BALANCE for {places}: not every document has its reason. Do not use this selection."


def _largest_loss(funnel: Funnel | None) -> Iterator[str]:
    if funnel is None or not funnel.drops.height or not funnel.drops.get_column("documents").max():
        return
    worst = funnel.drops.sort(["documents", "reason"], descending=[True, False]).row(0, named=True)
    reason, documents = worst["reason"], worst["documents"]
    sentence = f"The largest loss is '{reason}' with {counted(documents, 'document')}"
    sentence += f" ({share(documents, funnel.total('in'))} of all)"
    if len(funnel.source_names) > 1:
        of_reason = funnel.by_source.filter((pl.col("outcome") == worst["outcome"]) & (pl.col("reason") == reason))
        most = of_reason.sort(["documents", "source"], descending=[True, False]).row(0, named=True)
        sentence += f", {most['documents']:,} of them from '{most['source']}'"
        kept_shares = {
            source: funnel.of_source(source, "kept") / came
            for source in funnel.source_names
            if (came := funnel.of_source(source, "in"))
        }
        hardest = min(kept_shares, key=lambda source: (kept_shares[source], source))
        came, kept = funnel.of_source(hardest, "in"), funnel.of_source(hardest, "kept")
        sentence += f"; of all sources '{hardest}' kept the smallest part, {kept:,} of {counted(came, 'document')}"
    yield sentence + "."


def _diversity(numbers: Numbers) -> Iterator[str]:
    read, kept = numbers.diversity.read, numbers.diversity.kept
    unit = "tokens" if "tokens" in read else "bytes"
    sentence = f"The effective number of sources was {_by_unit(read, unit)} as read"
    sentence += f" and is {_by_unit(kept, unit)} after the selection" if kept else ""
    mixtures = numbers.diversity.mixtures[:_MOST_NAMED]
    named = [f"{decimal(figures['tokens'])} in {reference}" for reference, figures in mixtures]
    yield sentence + (f"; by tokens it is {listed(named)}." if named else ".")


def _by_unit(figures: Mapping[str, float], unit: str) -> str:
    return f"{decimal(figures['documents'])} by documents and {decimal(figures.get(unit))} by {unit}"


def _held_out(numbers: Numbers) -> Iterator[str]:
    found = numbers.heldout
    if found is None or not found.sets.height:
        return
    sets = found.sets.group_by("set").agg(pl.col("documents", "bytes").sum()).sort("set")
    named = [
        f"'{name}' with {counted(documents, 'document')} ({amount(size)})" for name, documents, size in sets.iter_rows()
    ]
    sentence = f"Held out and never trained on: {listed(named)}"
    if found.searched.height:
        dropped = (
            found.searched.group_by("set")
            .agg(pl.col("contaminated_documents").max())
            .get_column("contaminated_documents")
            .sum()
        )
        found_some = f"{counted(int(dropped), 'document')} held passages of them"
        sentence += f"; {found_some if dropped else 'no other document holds a passage of them'}"
    recall = found.lowest_recall
    if recall is not None:
        sentence += (
            f"; the search found {'all' if recall == 1 else f'{100 * recall:.1f} % or more'} of the planted copies"
        )
    yield sentence + "."


def _benchmarks(numbers: Numbers) -> Iterator[str]:
    found = numbers.heldout
    names = set(found.sets["set"]) if found is not None else set()
    sheets = [] if found is None else list(found.coverage.values())
    rows = [row for sheet in sheets[-1:] for row in sheet.iter_rows(named=True) if row["benchmark"] not in names]
    if rows:
        flagged = sorted((row for row in rows if row["flagged_documents"]), key=lambda row: -row["flagged_documents"])
        named = [
            f"{counted(row['flagged_documents'], 'document')} ({row['benchmark']})" for row in flagged[:_MOST_NAMED]
        ]
        items, matchable = (sum(row[name] for row in rows) for name in ("items", "matchable_items"))
        sentence = f"Searched for {counted(items, 'item')} of {counted(len(rows), 'benchmark')}"
        sentence += f", {items - matchable:,} of which no search can find" if matchable < items else ""
        yield sentence + (f"; found in {listed(named)}." if named else "; no document holds any.")


def _false_flags(found: HeldOut | None) -> Iterator[str]:
    doubtful = [] if found is None else found.doubtful
    if doubtful:
        rates = listed([f"{share(rate, 1)} ('{name}')" for name, rate in doubtful[:_MOST_NAMED]])
        yield (
            f"FLAGS MAY BE FALSE: of texts dealt from fragments of items, none of which is whole, the search flagged "
            f"{rates}; read some of the documents it dropped (`provender sample --reason contaminated`)."
        )


def _replay_reached(numbers: Numbers) -> Iterator[str]:
    asked = [m for m in numbers.mixtures if m.manifest.replay_share]
    if asked:
        named = [
            f"{m.reference} asked for {100 * (m.manifest.replay_share or 0):.1f} % and has "
            f"{share(m.replay_tokens, m.manifest.supervised_tokens)}"
            for m in asked[:_MOST_NAMED]
        ]
        more = f" ({len(asked) - _MOST_NAMED} more in the table)" if len(asked) > _MOST_NAMED else ""
        yield f"Replay, as a share of the supervised tokens: {listed(named)}{more}."


def _replay_against_forgetting(curves: Sequence[Curve]) -> Iterator[str]:
    pair = _extremes(curves)
    if pair is None:
        return
    low, high = pair
    sentence = (
        f"Replay against forgetting: bits per byte on general text ('{low.probe}') changed by "
        f"{_measured(low)} {_with_replay(low)} and by {_measured(high)} {_with_replay(high)}"
    )
    if (difference := paired_difference(low, high)) is not None:
        middle, bottom, top = (100 * value for value in difference)
        around = f"(95 % interval {bottom:.2f} to {top:.2f})"
        sentence += f"; paired by document the difference is {middle:.2f} points {around}"
        sentence += "" if bottom > 0 or top < 0 else ", so it is not shown that replay made one"
    if 0 < low.documents < FEWEST_DOCUMENTS:
        sentence += f"; measured on {counted(low.documents, 'document')} only, so the intervals say little"
    domains = [[c for c in curves if c.run.name == curve.run.name and not c.is_general][:1] for curve in pair]
    if all(domains) and domains[0][0].probe == domains[1][0].probe:
        cost, gain = (change(domain[0].rise[-1]) for domain in domains)
        sentence += f". On domain text ('{domains[0][0].probe}') the changes are {cost} and {gain}"
    yield sentence + "."


def _budgets(numbers: Numbers) -> Iterator[str]:
    judged = [curve for curve in numbers.curves if curve.decides]
    over = [curve for curve in judged if curve.over]
    exceeded = {curve.run.name for curve in over}
    sentences = [_over_budget(curve) for curve in over[:_MOST_NAMED]]
    if len(over) > _MOST_NAMED:
        sentences.append(f"{len(over) - _MOST_NAMED} more are in the table.")
    if fine := _names(curve.run for curve in judged if curve.run.name not in exceeded):
        sentences.append(f"Within the forgetting budget at every step probed: {fine}.")
    known = {curve.run.name for curve in judged}
    if unknown := _names(run for run in numbers.runs if run.name not in known and not run.is_from_scratch):
        sentences.append(f"Nothing is known about forgetting in {unknown}: no general text was probed.")
    if running := _names(run for run in numbers.runs if not run.run.is_finished):
        sentences.append(f"Not finished: {running}; the numbers are those so far.")
    if sentences:
        said = " ".join(sentences)
        yield f"OVER BUDGET: {said[0].lower()}{said[1:]}" if over else said


def _over_budget(curve: Curve) -> str:
    allowed = "" if curve.budget is None else f" of {change(curve.budget)}"
    steps = f"{'step' if len(curve.over) == 1 else 'steps'} {_steps(curve.over)}"
    sentence = f"Run '{curve.run.name}' exceeded its forgetting budget{allowed} on '{curve.probe}' at {steps}; "
    if curve.within_budget[-1] is False:
        return f"{sentence}it ends at {_measured(curve)}."
    return f"{sentence}at its last step it is within it again, at {_measured(curve)}."


def _extremes(curves: Sequence[Curve]) -> tuple[Curve, Curve] | None:
    # The runs with the least and the most replay of the same base; of several probes the one they differ most on.
    known = [curve for curve in curves if curve.decides and curve.run.replay_share is not None]
    pairs = []
    for key in dict.fromkeys((base_of(curve.run.run), curve.probe) for curve in known):
        members = sorted(
            (c for c in known if (base_of(c.run.run), c.probe) == key), key=lambda c: (c.run.replay_share, c.run.name)
        )
        if members[0].run.replay_share != members[-1].run.replay_share:
            pairs.append((members[0], members[-1]))
    return max(pairs, key=lambda pair: abs(pair[0].rise[-1] - pair[1].rise[-1]), default=None)


def _with_replay(curve: Curve) -> str:
    replayed = curve.run.replay_share
    words = f"with {100 * replayed:.1f} % replay" if replayed else "without replay"
    return f"{words} ({curve.run.name}, {counted(curve.steps[-1], 'step')})"


def _measured(curve: Curve) -> str:
    low, high = curve.rise_low[-1], curve.rise_high[-1]
    around = "" if low is None or high is None else f" (95 % interval {interval(low, high)})"
    return change(curve.rise[-1]) + around


def _steps(steps: list[int]) -> str:
    named = [f"{step:,}" for step in steps[:_MOST_NAMED]]
    return listed(named) if len(steps) <= _MOST_NAMED else f"{', '.join(named)} and {len(steps) - _MOST_NAMED} more"


def _names(runs: Iterable[RunNumbers]) -> str:
    names = list(dict.fromkeys(f"'{run.name}'" for run in runs))
    return listed(names) if names else ""
