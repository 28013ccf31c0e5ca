"""The gate: no run starts unless what it will be judged by was searched for in its data and in its ancestors' data.

A held-out set is covered by a mixture whose manifest lists it among the held-out sets with all documents searched,
replay included. An ancestor must have held out the same texts, at least: what counts is what the probes ask, so two
recipes over the same data agree where they hold out the same, and a set that was drawn from other data does not.

A benchmark is covered by a mixture that was searched for exactly its items (one digest), in all its documents, in the
texts and once more in the decoded tokens; by a search that finds planted copies; and that found none in it. Ancestors
must be covered for the same items. What the base learnt before its first run here is unknown, and the report says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from engine.base.errors import AuditError, InputError, RecipeError, problem, unknown
from engine.formats.manifest import HeldOutSet, SearchedBenchmark
from engine.formats.mixture import Mixture, open_mixture
from engine.formats.split import Split
from engine.formats.workspace import Workspace
from trainers.recipe import GateConfig, ProbesConfig

MOST_NAMED = 5
"""Documents named in an error."""


def require_coverage(
    probes: ProbesConfig,
    gate: GateConfig,
    mixture: Mixture,
    ancestors: Sequence[Mapping[str, Any]],
    workspace: Workspace,
) -> list[str]:
    """Return what is wrong with probes that `gate` waives; raise one AuditError that lists all else.

    `ancestors` are the runs behind the base as run.json tells them: `run`, and `mixture` with reference and digest.
    """
    _require_known(probes, gate)
    found = list(_uncovered(probes, gate, mixture, mixture.reference, mixture, workspace))
    for ancestor in ancestors if probes.sets or probes.benchmarks else ():
        place = f"{ancestor['mixture']['reference']} (behind base run {ancestor['run']})"
        older, gone = _as_trained_on(workspace, ancestor["mixture"], place)
        if older is None:
            found += [(name, gone) for name in (*probes.sets, *probes.benchmarks)]
        else:
            found += _uncovered(probes, gate, older, place, mixture, workspace)
    refused = list(dict.fromkeys(text for name, text in found if name not in gate.waive))
    if refused:
        raise AuditError("\n".join(refused))
    return list(dict.fromkeys(text for _, text in found))


def _as_trained_on(workspace: Workspace, named: Mapping[str, Any], place: str) -> tuple[Mixture | None, str]:
    """Return the mixture version of an ancestor; where it is not here as it was, None and what is wrong."""
    needed = f"digest {named['digest'][:12]}, whose manifest says what it was searched for"
    fix = "restore its folder below mixtures/, or waive the probe under gate:"
    try:
        older = open_mixture(workspace, named["reference"])
    except InputError as error:
        return None, problem(place, f"the mixture the run was trained on is not here ({error})", needed, fix)
    if older.manifest.digest != named["digest"]:
        return None, problem(place, "it is not the mixture the run was trained on", needed, fix)
    return older, ""


def _require_known(probes: ProbesConfig, gate: GateConfig) -> None:
    for name in gate.waive:
        if name not in (*probes.sets, *probes.benchmarks):
            raise RecipeError(unknown("gate.waive", "probe of this recipe", name, [*probes.sets, *probes.benchmarks]))


def _uncovered(
    probes: ProbesConfig, gate: GateConfig, searched: Mixture, place: str, trained: Mixture, workspace: Workspace
) -> Iterator[tuple[str, str]]:
    """Yield (probe, what is wrong) where `searched` does not cover a probe; `trained` is the run's own mixture."""
    manifest = searched.manifest
    held_out = {held.set: held for held in manifest.held_out}
    for name in probes.sets:
        if manifest.split is None or name not in held_out:
            yield name, unknown(place, "held-out set searched for in it", name, held_out)
        elif lacking := _not_held_out(name, searched, trained, workspace):
            yield name, problem(place, *lacking)
        else:
            yield from ((name, text) for text in _faults(name, held_out[name], gate, searched, place))
    benchmarks = {benchmark.name: benchmark for benchmark in manifest.benchmarks}
    own = {benchmark.name: benchmark.digest for benchmark in trained.manifest.benchmarks}
    for name in probes.benchmarks:
        if name not in benchmarks:
            fix = f"name it under benchmarks: in the data recipe '{manifest.recipe}', then: provender run RECIPE"
            yield name, f"{unknown(place, 'benchmark searched for in it', name, benchmarks)} Fix: {fix}."
        elif benchmarks[name].digest != own.get(name):
            needed = f"digest {own[name][:12]}" if name in own else "a mixture of this run that was searched for it"
            fix = "run both data recipes with the same benchmark file, and train the base again"
            yield name, problem(place, f"it was searched for other items of '{name}'", needed, fix)
        else:
            yield from ((name, text) for text in _faults(name, benchmarks[name], gate, searched, place))


def _not_held_out(name: str, searched: Mixture, trained: Mixture, workspace: Workspace) -> tuple[str, str, str] | None:
    """Return what was found, what is needed and a way out where `searched` did not hold out what the probes ask."""
    splits = searched.manifest.split, trained.manifest.split
    if splits[0] == splits[1]:
        return None
    held_out, asked = (_texts(workspace, split, name) for split in splits)
    fix = (
        "make both mixtures with one data recipe, whose split is that of all of them, and train the base again; or "
        f"write gate: {{waive: [{name}]}}, and the report says so"
    )
    if held_out is None or asked is None:
        found = f"its split is another, and not here: nobody can say whether it held out what '{name}' asks"
    elif held_out >= asked:
        return None
    else:
        shared = f"{len(held_out & asked):,} of the {len(asked):,} texts"
        found = f"it held out {shared} that '{name}' asks, and may hold the others"
    return found, "all of them held out", fix


def _texts(workspace: Workspace, split: str | None, name: str) -> set[str] | None:
    """Return the texts of a held-out set; None where the split is not here."""
    if split is None or not workspace.split(split).is_dir():
        return None
    held_out = Split(workspace.split(split), split).heldout()
    return set(held_out.filter(pl.col("set") == name).get_column("text"))


def _faults(
    name: str, probe: HeldOutSet | SearchedBenchmark, gate: GateConfig, mixture: Mixture, place: str
) -> Iterator[str]:
    documents, searched, recall = mixture.manifest.documents, probe.searched_documents, probe.planted_recall
    if searched != documents:
        found = f"{searched:,} of its {documents:,} documents were searched for '{name}'"
        yield problem(place, found, "all of them, replay included", "run the data recipe again")
    elif recall is None:
        fix = "look at unmatchable.parquet of the contamination stage, or waive it"
        yield problem(place, f"no search can find any item of '{name}'", "planted copies that are found", fix)
    elif recall < gate.min_planted_recall:
        found = f"the search for '{name}' found {recall:.1%} of its planted copies"
        fix = "look at coverage.parquet of the contamination stage"
        yield problem(place, found, f"at least {gate.min_planted_recall:.0%}", fix)
    if isinstance(probe, SearchedBenchmark) and mixture.manifest.audit is None:
        fix = "run the data recipe again"
        yield problem(place, f"its tokens were not searched for '{name}'", "an audit of the token store", fix)
    if probe.found:
        named = ", ".join(probe.found[:MOST_NAMED]) + (", ..." if len(probe.found) > MOST_NAMED else "")
        found = f"{len(probe.found):,} of its documents hold items of '{name}': {named}"
        fix = "set action: drop or cut in the contamination stage, then: provender run RECIPE"
        yield problem(place, found, "none", fix)
