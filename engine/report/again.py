"""How to get each number of the page again: one query or command per section, to paste."""

from engine.report.evidence import Evidence
from engine.report.numbers import Numbers
from engine.report.table import Table, table


def again(evidence: Evidence, numbers: Numbers) -> Table:
    """Return (what, command) rows for the sections this page has."""
    rows = [*_data(evidence, numbers), *_training(numbers)]
    return table(["number", "command"], [[what, _command(query, evidence.state.recipe)] for what, query in rows], 2)


def _command(query: str, recipe: str) -> str:
    # Without a name the views show the recipe that finished last, which need not be that of the page.
    quoted = query if query.startswith("@") else f'"{query}"'
    return f"provender sql {quoted} --recipe {recipe}"


def _data(evidence: Evidence, numbers: Numbers) -> list[tuple[str, str]]:
    rows = []
    if numbers.funnel is not None:
        rows += [
            ("Funnel, per source and reason", "@funnel"),
            ("Documents that stay with a tag", "@tags"),
            ("Examples of each reason", "SELECT * FROM examples"),
            ("Whether the ledger adds up (no row: it does)", "@ledger_balances"),
        ]
    if numbers.balance is not None:
        rows.append(("Balance, per rule and group", "@balance"))
    rows += [
        ("Sources before and after", "@source_mix"),
        ("Effective number of sources", "@n_eff"),
        ("Licences", "SELECT license, count(*) AS documents, sum(num_bytes) AS bytes FROM documents GROUP BY license"),
    ]
    for annotation in [*evidence.instances("exact_dup"), *evidence.instances("near_dup")] if numbers.duplicates else []:
        kept = f"{annotation.prefix}__kept_id"
        query = (
            f"SELECT {kept}, count(*) + 1 AS documents FROM annotations WHERE {kept} IS NOT NULL AND {kept} <> doc_id"
        )
        rows.append((f"Clusters of {annotation.prefix}", f"{query} GROUP BY {kept} ORDER BY documents DESC"))
    if numbers.duplicates is not None and numbers.duplicates.similarities:
        query = "SELECT floor(similarity * 50) / 50 AS similarity, count(*) AS pairs FROM duplicate_pairs"
        rows.append(("Similarity of verified pairs", f"{query} GROUP BY 1 ORDER BY 1"))
    for found in numbers.quality:
        query = f"SELECT coalesce(reason, decision) AS decision, median({found.prefix}__score) AS median"
        rows.append((f"Scores of {found.prefix}", f"{query} FROM annotations JOIN decisions USING (doc_id) GROUP BY 1"))
    if numbers.tokenizer_fit:
        rows.append(("Tokenizer fit by source and domain", "@tokenizer_fit"))
        rows.append(("Words that shatter", "SELECT * FROM shattered_words"))
    if numbers.control_tokens is not None:
        for what, view in (("Control tokens", "control_tokens"), ("Text that looks like one", "look_alikes")):
            query = f"SELECT token, count(DISTINCT doc_id) AS documents FROM {view} GROUP BY token"
            rows.append((what, query))
    if numbers.heldout is not None and evidence.split is not None:
        rows.append(("Documents of held-out groups", "SELECT * FROM heldout_groups"))
    if numbers.heldout is not None and numbers.heldout.coverage:
        rows.append(("Coverage of the search, and its false flags", "SELECT * FROM coverage"))
    if numbers.mixtures:
        rows.append(("Mixtures", "SELECT * FROM mixtures WHERE is_current"))
        rows.append(("Mixtures per source", "SELECT * FROM mixture_sources WHERE is_current"))
        rows.append(("No held-out text in a mixture (no row: none)", "@no_heldout_in_mixture"))
    return rows


def _training(numbers: Numbers) -> list[tuple[str, str]]:
    rows = []
    if numbers.curves:
        rows.append(("Forgetting curves and intervals", "@forgetting"))
        rows.append(("Log-likelihood of every held-out document", "SELECT * FROM probes"))
    if numbers.runs:
        speed = "SELECT run, sum(tokens) / sum(seconds) AS tokens_per_second FROM metrics WHERE source IS NULL"
        rows.append(("Training loss", "SELECT run, step, source, loss FROM metrics ORDER BY run, source, step"))
        rows.append(("Speed", f"{speed} GROUP BY run"))
        rows.append(("Settings of the runs", "SELECT run, content FROM runs"))
    return rows
