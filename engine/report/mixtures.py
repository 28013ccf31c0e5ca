"""Mixtures: what each version holds, the replay asked for and reached, repeats, effective number of sources."""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from engine.base.hashing import short
from engine.formats.manifest import Manifest, MixtureSource, role_label
from engine.formats.schedule import open_schedule
from engine.report.charts import NUM_SERIES, Bar, Segment, bars, series
from engine.report.evidence import Evidence
from engine.report.table import Table, table
from engine.report.wording import MISSING, count, counted, decimal, share

_OTHERS = series(NUM_SERIES - 1)


@dataclass(frozen=True)
class MixtureNumbers:
    """One version of a mixture."""

    reference: str
    manifest: Manifest
    placed_tokens: int | None
    """Tokens the schedule places, padding not counted; None where the schedule was collected by `gc`."""

    @property
    def replay_tokens(self) -> int:
        """Supervised tokens of replay, repeats included."""
        return sum(source.supervised_tokens for source in self.manifest.sources if source.is_replay)

    @property
    def slots(self) -> int:
        """Tokens the schedule's rows can hold."""
        return self.manifest.num_steps * self.manifest.rows_per_step * self.manifest.row_tokens


def mixtures(evidence: Evidence) -> list[MixtureNumbers]:
    """Return the mixtures the recipe ended with, in its order."""
    found = []
    for mixture in evidence.mixtures:
        folder = evidence.workspace.schedule(mixture.manifest.schedule)
        placed = open_schedule(folder).meta.num_tokens if (folder / "receipt.json").is_file() else None
        found.append(MixtureNumbers(mixture.reference, mixture.manifest, placed))
    return found


def reached_replay(manifest: Manifest) -> float:
    """Return replay's part of the supervised tokens."""
    whole = sum(source.supervised_tokens for source in manifest.sources)
    return sum(source.supervised_tokens for source in manifest.sources if source.is_replay) / whole if whole else 0.0


def mixtures_chart(numbers: list[MixtureNumbers]) -> Markup:
    """Return what every mixture is made of, in percent of its supervised tokens; replay comes last, and lighter."""
    tones, legend = _tones(numbers), {}
    rows = []
    for mixture in numbers:
        whole, start = mixture.manifest.supervised_tokens, 0.0
        segments = []
        for source in _as_in_all(mixture.manifest, tones):
            length = 100 * source.supervised_tokens / whole if whole else 0.0
            tokens = counted(source.supervised_tokens, "supervised token")
            hint = f"{_placed(mixture.manifest, source)}: {share(source.supervised_tokens, whole)}, {tokens}"
            tone, name = tones.get(source.source, (_OTHERS, "other sources"))
            if source.is_replay:
                tone, name = f"{tone} replay", role_label(name, is_replay=True)
            legend[tone] = name
            segments.append(Segment(start, length, tone, hint))
            start += length
        rows.append(Bar(mixture.reference, f"{count(whole)} tokens", tuple(segments)))
    return bars("Share of the supervised tokens per source", rows, dict(sorted(legend.items(), key=_by_replay)))


def mixtures_section(numbers: list[MixtureNumbers]) -> list[Table]:
    """Return the tables of the page's section, in their order."""
    tables = [mixtures_table(numbers), mixture_phases_table(numbers), mixture_sources_table(numbers)]
    return [one for one in tables if one is not None]


def mixtures_table(numbers: list[MixtureNumbers]) -> Table:
    """Return one row per mixture: size, budget, replay, repeats, effective number of sources, schedule."""
    rows = []
    for mixture in numbers:
        m = mixture.manifest
        budget = m.config.get("budget_tokens")
        asked = MISSING if m.replay_share is None else f"{100 * m.replay_share:.1f} %"
        reached = share(mixture.replay_tokens, m.supervised_tokens) if mixture.replay_tokens else "0.0 %"
        rows.append([
            mixture.reference, short(m.digest), count(m.documents), count(m.tokens), count(m.supervised_tokens),
            "everything once" if budget is None else count(budget), asked, reached,
            count(max((s.max_repeats for s in m.sources), default=0)),
            f"{decimal(m.n_eff_before)} to {decimal(m.n_eff_after)}",
            m.curriculum if len(m.phases) < 2 else counted(len(m.phases), "phase"),
            f"{m.num_steps:,} x {m.rows_per_step:,} x {m.row_tokens:,}",
            MISSING if mixture.placed_tokens is None else share(mixture.placed_tokens, mixture.slots),
        ])  # fmt: skip
    headings = ["mixture", "digest", "documents", "tokens", "supervised", "budget", "replay asked", "replay reached"]
    headings += ["most uses", "N_eff", "order", "steps x rows x tokens", "rows filled"]
    return table(
        headings, rows, 2, "Versions: budgets in supervised tokens, N_eff by tokens of the kept text and of the mixture"
    )


def mixture_phases_table(numbers: list[MixtureNumbers]) -> Table | None:
    """Return one row per mixture and phase, in their order; None where no mixture has more than one."""
    if all(len(mixture.manifest.phases) < 2 for mixture in numbers):
        return None
    rows = []
    for mixture in numbers:
        m = mixture.manifest
        for number, phase in enumerate(m.phases):
            replay = sum(s.supervised_tokens for s in m.sources if s.is_replay and s.phase == number)
            rows.append([
                mixture.reference, phase.name, phase.curriculum, count(phase.documents), count(phase.tokens),
                count(phase.supervised_tokens), share(phase.supervised_tokens, m.supervised_tokens),
                count(phase.budget_tokens), share(replay, phase.supervised_tokens) if replay else "0.0 %",
            ])  # fmt: skip
    headings = ["mixture", "phase", "order", "documents", "tokens", "supervised", "share", "planned", "replay reached"]
    return table(headings, rows, 3, "Phases, in the order in which they are trained on")


def mixture_sources_table(numbers: list[MixtureNumbers]) -> Table:
    """Return one row per mixture, phase and source: what was there, what is used, how often, under which licences."""
    rows = []
    for mixture in numbers:
        for source in _ordered(mixture.manifest):
            licenses = ", ".join(f"{name} ({count(n)})" for name, n in sorted(source.licenses.items()))
            rows.append([
                mixture.reference, _placed(mixture.manifest, source), count(source.supervised_tokens),
                share(source.supervised_tokens, mixture.manifest.supervised_tokens), count(source.budget_tokens),
                count(source.tokens), count(source.unique_tokens), count(source.available_tokens),
                count(source.documents), count(source.available_documents), count(source.max_repeats),
                source.objective.replace("_", " "), licenses or MISSING,
            ])  # fmt: skip
    headings = ["mixture", "source", "supervised", "share", "planned", "tokens", "distinct", "tokens there"]
    headings += ["documents", "documents there", "most uses", "objective", "licences (documents)"]
    return table(headings, rows, 2, "What each mixture takes from each source")


def _tones(numbers: list[MixtureNumbers]) -> dict[str, tuple[str, str]]:
    # The largest sources have a colour each, the others share the last one.
    sizes: dict[str, int] = {}
    for mixture in numbers:
        for source in mixture.manifest.sources:
            sizes[source.source] = sizes.get(source.source, 0) + source.supervised_tokens
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))
    fit = largest if len(largest) <= NUM_SERIES else largest[: NUM_SERIES - 1]
    return {name: (series(position), name) for position, name in enumerate(fit)}


def _by_replay(entry: tuple[str, str]) -> tuple[bool, str]:
    tone, _ = entry
    return tone.endswith(" replay"), tone


def _ordered(manifest: Manifest) -> list[MixtureSource]:
    return sorted(manifest.sources, key=lambda source: source.is_replay)


def _as_in_all(manifest: Manifest, tones: Mapping[str, tuple[str, str]]) -> list[MixtureSource]:
    """Return the sources as they stand in the bar of every mixture: by size over all of them, each by its phases."""
    places = {name: number for number, name in enumerate(tones)}
    return sorted(
        manifest.sources, key=lambda one: (one.is_replay, places.get(one.source, len(places)), one.source, one.phase)
    )


def _placed(manifest: Manifest, source: MixtureSource) -> str:
    """Return the source with its role, and its phase where there is more than one."""
    phase = f", {manifest.phases[source.phase].name}" if len(manifest.phases) > 1 else ""
    return f"{role_label(source.source, source.is_replay)}{phase}"
