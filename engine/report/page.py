"""One self-contained HTML page: findings first, then every number, then how to get each number again."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

import engine
from engine.base.atomic import atomic_file
from engine.base.hashing import short
from engine.report.again import again
from engine.report.balance import balance_table
from engine.report.control_tokens import control_token_tables
from engine.report.diversity import diversity_table
from engine.report.duplicate_recall import recall_table
from engine.report.duplicates import duplicates_charts
from engine.report.environment import environment
from engine.report.evidence import Evidence, open_evidence
from engine.report.findings import findings
from engine.report.forgetting import forgetting_charts, forgetting_table
from engine.report.funnel import funnel_charts, funnel_tables
from engine.report.heldout import heldout_tables
from engine.report.mixtures import mixtures_chart, mixtures_section
from engine.report.numbers import Numbers, gather
from engine.report.quality import quality_chart, quality_sources_chart, quality_table
from engine.report.sources import licenses_table, sources_chart, sources_table
from engine.report.tags import tags_table
from engine.report.tokenizer_fit import fit_tables
from engine.report.training import loss_charts, run_settings, runs_table, source_loss_charts
from engine.report.wording import counted

FILE_NAME = "report.html"


def report(
    workspace: Path | str, recipe: str | None = None, runs: Sequence[str] | None = None, out: Path | str | None = None
) -> dict[str, Any]:
    """Write the page of a recipe and its training runs, and return its path and the findings.

    `recipe`: None means the one that finished last; `runs`: None means all of the workspace; `out`: None means
    WORKSPACE/report.html. The same files give the same page, byte for byte. Raises InputError where the workspace, the
    recipe or a run is not there, or an artifact is damaged.
    """
    evidence = open_evidence(workspace, recipe, runs)
    numbers = gather(evidence)
    sentences = findings(numbers)
    path = Path(out) if out is not None else evidence.workspace.root / FILE_NAME
    page = render(evidence, numbers, sentences)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return {"path": str(path), "findings": sentences}


def show_report(result: dict[str, Any]) -> str:
    """Return the findings and the path of the page, for a terminal."""
    return "\n".join([*(f"- {finding}" for finding in result["findings"]), "", f"report: {result['path']}"])


def render(evidence: Evidence, numbers: Numbers, sentences: Sequence[str]) -> str:
    """Return the page as HTML; everything that is not a chart of ours is escaped."""
    templates = environment()
    templates.filters |= {"breakable": breakable, "counted": counted}
    return templates.get_template("page.html.j2").render(
        recipe=evidence.state.recipe,
        finished=_finished(evidence.state.finished),
        version=engine.__version__,
        contents=_contents(numbers),
        again=again(evidence, numbers),
        digests=_digests(evidence),
        findings=sentences,
        numbers=numbers,
        **_data_sections(numbers),
        **_training_sections(numbers),
    )


def breakable(words: str) -> Markup:
    """Return words, escaped, that may break inside long names and never between a number and its percent sign."""
    pieces = re.split(r"(?<=[_@/])", words.replace(" %", "\u00a0%"))
    return Markup("<wbr>").join(pieces)


def _data_sections(numbers: Numbers) -> dict[str, Any]:
    return {
        "funnel_charts": funnel_charts(numbers.funnel) if numbers.funnel else [],
        "funnel_tables": funnel_tables(numbers.funnel) if numbers.funnel else [],
        "tags_table": tags_table(numbers.tags) if numbers.tags else None,
        "balance_table": balance_table(numbers.balance) if numbers.balance else None,
        "diversity_table": diversity_table(numbers.diversity),
        "sources_chart": sources_chart(numbers.sources),
        "sources_table": sources_table(numbers.sources),
        "licenses_table": licenses_table(numbers.sources),
        "duplicates_charts": duplicates_charts(numbers.duplicates) if numbers.duplicates else [],
        "recall_table": recall_table(numbers.duplicates.recalls) if numbers.duplicates else None,
        "quality": [(quality_chart(q), quality_sources_chart(q), quality_table(q)) for q in numbers.quality],
        "fit_tables": [table for found in numbers.tokenizer_fit for table in fit_tables(found)],
        "control_token_tables": control_token_tables(numbers.control_tokens) if numbers.control_tokens else [],
        "heldout_tables": heldout_tables(numbers.heldout) if numbers.heldout else [],
        "mixtures_chart": mixtures_chart(numbers.mixtures) if numbers.mixtures else None,
        "mixtures_tables": mixtures_section(numbers.mixtures) if numbers.mixtures else [],
    }


def _training_sections(numbers: Numbers) -> dict[str, Any]:
    return {
        "forgetting_charts": forgetting_charts(numbers.curves),
        "forgetting_table": forgetting_table(numbers.curves) if numbers.curves else None,
        "loss_charts": loss_charts(numbers.runs),
        "source_loss_charts": source_loss_charts(numbers.runs),
        "runs_table": runs_table(numbers.runs) if numbers.runs else None,
        "run_settings": [(run.name, run_settings(run)) for run in numbers.runs],
    }


def _contents(numbers: Numbers) -> list[tuple[str, str]]:
    """Return the sections the page has: (anchor, name)."""
    sections = [
        ("funnel", "Funnel", numbers.funnel),
        ("balance", "Balance", numbers.balance),
        ("sources", "Sources", True),
        ("duplicates", "Duplicates", numbers.duplicates),
        ("quality", "Quality", numbers.quality),
        ("tokenizer", "Tokenizer fit", numbers.tokenizer_fit),
        ("control-tokens", "Control tokens", numbers.control_tokens),
        ("heldout", "Held-out text", numbers.heldout),
        ("mixtures", "Mixtures", numbers.mixtures),
        ("forgetting", "Forgetting", numbers.curves),
        ("training", "Training runs", numbers.runs),
        ("again", "Get the numbers again", True),
    ]
    return [(place, name) for place, name, content in sections if content]


def _finished(moment: str) -> str:
    known = datetime.fromisoformat(moment)
    in_utc = known.astimezone(UTC) if known.tzinfo is not None else known
    return in_utc.strftime("%Y-%m-%d %H:%M UTC")


def _digests(evidence: Evidence) -> list[tuple[str, str]]:
    state = evidence.state
    made = [("selection", evidence.selection), ("split", evidence.split)]
    named = [(name, artifact.digest) for name, artifact in made if artifact is not None]
    named += [("tokenizer", short(state.tokenizer))] if state.tokenizer else []
    named += [("token store", short(evidence.store.meta.digest))] if evidence.store else []
    named += [(mixture.reference, short(mixture.manifest.digest)) for mixture in evidence.mixtures]
    return named
