"""Forgetting: held-out bits per byte over the steps of each run, against the run's own step 0, with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from engine.formats.parquet import read_parquet
from engine.formats.run import PROBES_SCHEMA
from engine.report.charts import NUM_SERIES, Line, Mark, lines, series
from engine.report.table import Table, table
from engine.report.training import RunNumbers, base_of, setting
from engine.report.wording import MISSING, amount, change, count, decimal, interval

POOLED = "general (all)"
"""The probe under which a run with several general sets reports all of them together."""
FEWEST_DOCUMENTS = 10
"""Under this many held-out documents an interval between documents says little."""
BUDGET = "max_general_bpb_rise"


@dataclass(frozen=True)
class Curve:
    """One probe of one run: tuples of one value per step probed, in the order of the steps."""

    run: RunNumbers
    probe: str
    is_general: bool
    steps: tuple[int, ...]
    bits_per_byte: tuple[float, ...]
    nats_per_token: tuple[float, ...]
    rise: tuple[float, ...]
    """Relative to step 0."""
    rise_low: tuple[float | None, ...]
    rise_high: tuple[float | None, ...]
    within_budget: tuple[bool | None, ...]
    decides: bool
    """Whether its interval decides about the budget: the pooled general sets, or the only one."""
    budget: float | None
    """The relative rise allowed; None for a probe that does not count."""
    last: pl.DataFrame
    """probe, doc_id, nats, bytes of every document at the last step; empty where nothing was stored."""

    @property
    def documents(self) -> int:
        """Held-out documents measured."""
        return self.last.height

    @property
    def num_bytes(self) -> int:
        """UTF-8 bytes of the labels of those documents."""
        return int(self.last.get_column("bytes").sum())

    @property
    def over(self) -> list[int]:
        """The steps at which the upper bound of the interval was over the budget."""
        return [step for step, within in zip(self.steps, self.within_budget, strict=True) if within is False]

    @property
    def above_lowest(self) -> float:
        """The last bits per byte relative to the lowest of the run: a fall at the start hides a rise since."""
        return self.bits_per_byte[-1] / min(self.bits_per_byte) - 1


def forgetting(runs: Sequence[RunNumbers]) -> list[Curve]:
    """Return the curves of all runs that were probed; general probes first, then by name, runs in their order."""
    curves = [curve for run in runs for curve in _curves(run)]
    return sorted(curves, key=lambda curve: (not curve.is_general, not curve.decides, curve.probe))


def forgetting_charts(curves: Sequence[Curve]) -> list[Markup]:
    """Return one chart per probe, with every run that started from the same base, bands, and the budget as a line."""
    bases = {base: number for number, base in enumerate(dict.fromkeys(base_of(curve.run.run) for curve in curves))}
    panels: dict[tuple[int, int, bool, str], list[Curve]] = {}
    for curve in curves:
        # More runs than colours stand in several charts.
        place = (bases[base_of(curve.run.run)], curve.run.position // NUM_SERIES, not curve.is_general, curve.probe)
        panels.setdefault(place, []).append(curve)
    charts = []
    for (*_, is_domain, probe), members in sorted(panels.items(), key=lambda panel: panel[0]):
        title = f"{'Domain text' if is_domain else 'General text'}: {probe}"
        if len(bases) > 1:
            title += f", from base {members[0].run.base_name}"
        drawn = [_line(curve, series(curve.run.position)) for curve in members]
        labels = ("optimizer step", "bits per byte")
        charts.append(lines(title, drawn, labels, _budgets(members), dots=True, half=True))
    return charts


def forgetting_table(curves: Sequence[Curve]) -> Table:
    """Return the last numbers of every run and probe against its step 0."""
    rows = []
    for curve in curves:
        rows.append([
            curve.run.label, curve.probe, "general" if curve.is_general else "domain",
            decimal(curve.bits_per_byte[0], 4), decimal(curve.bits_per_byte[-1], 4), change(curve.rise[-1]),
            interval(curve.rise_low[-1], curve.rise_high[-1]),
            _verdict(curve),
            decimal(curve.nats_per_token[0], 4), decimal(curve.nats_per_token[-1], 4), change(curve.above_lowest),
            count(curve.steps[-1]), count(curve.documents), amount(curve.num_bytes),
        ])  # fmt: skip
    headings = ["run", "set", "text", "bits per byte before", "after", "change", "95 % interval", "within budget"]
    headings += ["nats per token before", "after", "above own lowest", "steps", "documents", "bytes"]
    caption = "Held-out text before (step 0) and after (last step probed); intervals are paired by document"
    return table(headings, rows, 3, caption)


def paired_difference(one: Curve, other: Curve) -> tuple[float, float, float] | None:
    """Return how much higher the last bits per byte of `one` are, relative to its step 0, with a 95 % interval.

    Paired by document, so what makes a document hard cancels; the standard error is that of a ratio estimator (Cochran,
    Sampling Techniques, 6.4). None for under ten documents, or where the two did not measure the same ones.
    """
    pairs = one.last.join(other.last, on=["probe", "doc_id", "bytes"], how="inner", suffix="_other")
    if pairs.height < FEWEST_DOCUMENTS or pairs.height != one.documents or pairs.height != other.documents:
        return None
    gaps = (pairs.get_column("nats") - pairs.get_column("nats_other")).to_numpy() / math.log(2)
    sizes = pairs.get_column("bytes").to_numpy()
    middle = gaps.sum() / sizes.sum()
    residuals = gaps - middle * sizes
    error = math.sqrt(len(gaps) / (len(gaps) - 1) * float((residuals**2).sum())) / sizes.sum()
    start, half = one.bits_per_byte[0], 1.96 * error
    return float(middle / start), float((middle - half) / start), float((middle + half) / start)


def _curves(run: RunNumbers) -> list[Curve]:
    path = run.run.folder / "forgetting.parquet"
    if not path.is_file():
        return []
    # A new model has nothing to forget: its curves are shown, and judged by no budget.
    allowed = None if run.is_from_scratch else setting(run.run.content, BUDGET)
    curves = []
    groups = read_parquet(path).sort("step").group_by("probe", "is_general", maintain_order=True)
    general = {str(probe) for (probe, is_general), _ in groups if is_general}
    for (probe, is_general), rows in groups:
        values = {name: tuple(rows.get_column(name).to_list()) for name in rows.columns}
        curves.append(
            Curve(
                run=run,
                probe=str(probe),
                is_general=bool(is_general),
                steps=values["step"],
                bits_per_byte=values["bits_per_byte"],
                nats_per_token=values["nats_per_token"],
                rise=values["relative_rise"],
                rise_low=values["rise_low"],
                rise_high=values["rise_high"],
                within_budget=values["within_budget"],
                budget=float(allowed) if is_general and allowed is not None else None,
                decides=bool(is_general) and not run.is_from_scratch and (probe == POOLED or POOLED not in general),
                last=_documents(run, general if probe == POOLED else {str(probe)}, values["step"][-1]),
            )
        )
    return curves


def _documents(run: RunNumbers, probes: set[str], step: int) -> pl.DataFrame:
    path = run.run.folder / "probes.parquet"
    found = read_parquet(path) if path.is_file() else pl.DataFrame(schema=PROBES_SCHEMA)
    rows = found.filter(pl.col("probe").is_in(list(probes)) & (pl.col("step") == step))
    return rows.select("probe", "doc_id", "nats", "bytes").sort("probe", "doc_id")


def _line(curve: Curve, tone: str) -> Line:
    # The intervals are of the rise; around bits per byte they stand as step 0 times one plus the rise.
    start = curve.bits_per_byte[0]
    low = tuple(start * (1 + rise) if rise is not None else math.nan for rise in curve.rise_low)
    high = tuple(start * (1 + rise) if rise is not None else math.nan for rise in curve.rise_high)
    return Line(curve.run.label, tone, curve.steps, curve.bits_per_byte, low, high)


def _verdict(curve: Curve) -> str:
    within = curve.within_budget[-1] if curve.decides else None
    return {True: "yes", False: "no", None: MISSING}[within]


def _budgets(curves: Sequence[Curve]) -> list[Mark]:
    marks = {}
    for curve in curves:
        if curve.budget is not None:
            place = round(curve.bits_per_byte[0] * (1 + curve.budget), 4)
            marks[place] = Mark(place, f"budget {change(curve.budget)}")
    return list(marks.values())
