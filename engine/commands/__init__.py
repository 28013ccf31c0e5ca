"""The verbs of the engine as data; nothing but declarations, as the whole module is imported at every start."""

from typing import Any

from engine.base.command import Command, argument
from engine.commands.mixtures import MIXTURE_COMMANDS
from engine.commands.shared import GOES_ON, JOBS, MEMORY

_RECIPE = argument("recipe", help="data recipe, a YAML file")
_WHICH = argument("--recipe", help="recipe whose artifacts to look at (default: the one that ran last)", metavar="NAME")
_INPUTS = argument("inputs", help="Parquet, JSONL or CSV files, or folders of them", nargs="+", metavar="INPUT")
_ID_COLUMN = argument("--id-column", help="column of the documents' own ids (default: file#row)", metavar="COLUMN")
_TEXT_COLUMN = argument("--text-column", help="column of the text (default: text)", default="text", metavar="COLUMN")
_EXAMPLES: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "FILE"}

COMMANDS = (
    Command(
        ("init",),
        "look at the files of a folder and write a recipe to start from",
        "provender init data/ --out recipe.yaml",
        "engine.run.init:init",
        (
            argument("folder", help="folder with your files"),
            argument("--out", help="recipe to write (default: FOLDER/recipe.yaml)", metavar="FILE"),
        ),
        "engine.run.init:show_init",
    ),
    Command(
        ("run",),
        "run all data stages of a recipe: to mixture, tokens and schedule",
        "provender run recipe.yaml --dry-run",
        "engine.run.pipeline:run",
        (
            _RECIPE,
            argument(
                "--dry-run", help="print what would be done and what changed rules would keep", action="store_true"
            ),
            argument("--border", help="with --dry-run: documents at the threshold of every rule", action="store_true"),
            argument(
                "--mixtures", help="build only these mixtures (default: all of the recipe)", nargs="+", metavar="NAME"
            ),
            JOBS,
            MEMORY,
        ),
        "engine.run.show:show_run",
        GOES_ON,
    ),
    Command(
        ("dedup",),
        "remove exact and near duplicates from files, every removal verified",
        "provender dedup data/*.parquet --out deduplicated/",
        "engine.run.dedup:dedup",
        (
            _INPUTS,
            argument(
                "--out",
                help="folder for survivors/, removed.parquet, pairs.parquet, report.json",
                required=True,
                metavar="DIR",
            ),
            _ID_COLUMN,
            _TEXT_COLUMN,
            argument(
                "--threshold",
                help="Jaccard similarity from which two documents are duplicates (default: 0.8)",
                type=float,
                default=0.8,
            ),
            argument(
                "--ngram-words",
                help="words per shingle (default: 5; 2 or 3 for short texts)",
                type=int,
                default=5,
                metavar="N",
            ),
            argument(
                "--keep",
                help="which of several like documents stays: longest (default), first as given, or best:COLUMN",
                default="longest",
                metavar="POLICY",
            ),
            argument(
                "--against",
                help="files, folders or an earlier --out that stay: only new documents can go; may be repeated",
                nargs="+",
                action="extend",
                metavar="OLD",
                default=[],
            ),
            argument("--decisions-only", help="write no survivors", action="store_true"),
            JOBS,
            MEMORY,
        ),
        "engine.run.dedup.report:show_dedup",
        "nothing was written to --out; the same command starts anew",
    ),
    Command(
        ("decontaminate",),
        "remove documents that hold items of benchmarks, with evidence and measured recall",
        "provender decontaminate data/*.parquet --benchmarks gsm8k=test.jsonl --out decontaminated/",
        "engine.run.decontaminate:decontaminate",
        (
            _INPUTS,
            argument(
                "--benchmarks",
                help="benchmark files as their authors publish them, or folders of such; may be repeated",
                nargs="+",
                action="extend",
                required=True,
                metavar="[NAME=]PATH",
            ),
            argument(
                "--fields",
                help="fields of a benchmark file, where not found: question, choices, answer, passage; may be repeated",
                nargs="+",
                action="extend",
                default=[],
                metavar="NAME.question=FIELD",
            ),
            argument(
                "--out",
                help="folder for survivors/, hits.parquet, coverage.parquet, unmatchable.parquet, report.json",
                required=True,
                metavar="DIR",
            ),
            _ID_COLUMN,
            _TEXT_COLUMN,
            argument(
                "--action",
                help="what happens to a document with a hit: drop it (default), cut what was found out of its text, "
                "or tag it in columns contamination__*",
                default="drop",
                metavar="ACTION",
            ),
            JOBS,
            MEMORY,
        ),
        "engine.run.decontaminate.report:show_decontaminate",
        "nothing was written to --out; the same command starts anew",
    ),
    Command(
        ("quality", "train"),
        "train a quality classifier on good and bad files, and say how well it ranks what it has not seen",
        "provender quality train --positive textbooks/*.parquet --negative crawl.jsonl.gz",
        "engine.run.quality_train:quality_train",
        (
            argument("--positive", help="good examples: Parquet, JSONL, CSV, text files, or folders", **_EXAMPLES),
            argument("--negative", help="bad examples", **_EXAMPLES),
            argument("--out", help="folder to write (default: models/ of the workspace)", metavar="DIR"),
            _TEXT_COLUMN,
            argument("--epochs", help="passes over the examples (default: 5)", type=int, metavar="N"),
            argument("--word-ngrams", help="words in a row that are one feature (default: 2)", type=int, metavar="N"),
            argument("--seed", help="seed of the training (default: 1)", type=int, metavar="N"),
            argument("--labels", help="take the labels of the workspace too, or alone", action="store_true"),
            argument("--label-weight", help="times a labelled text is trained on (default: 1)", type=int, metavar="N"),
        ),
        "engine.run.quality_train.show:show_quality_train",
    ),
    Command(
        ("sql",),
        "query the workspace with read-only SQL (DuckDB)",
        'provender sql "SELECT source, decision, count(*) FROM decisions GROUP BY ALL ORDER BY ALL"',
        "engine.catalog:sql",
        (
            argument(
                "query",
                help="one SELECT, or @name of a named query (default: asks for queries, or reads them from stdin)",
                nargs="?",
                default="-",
            ),
            argument("values", help="value of a parameter $NAME of the query", nargs="*", metavar="NAME=VALUE"),
            argument(
                "--list",
                help="list views, their columns, and the named queries",
                action="store_true",
                dest="list_queries",
            ),
            argument("--limit", help="show at most this many rows", type=int, metavar="N"),
            argument(
                "--format", help="table, markdown, csv, json, jsonl or parquet (default: table)", metavar="FORMAT"
            ),
            argument("--out", help="file to write the rows to; its ending says the format", metavar="FILE"),
            argument("--mixture", help="what this version was made from, such as name@v1", metavar="REF"),
            _WHICH,
        ),
        "engine.catalog:show_sql",
    ),
    Command(
        ("explain",),
        "show everything known about one document",
        "provender explain 3f2a91c4",
        "engine.explain:explain",
        (argument("doc_id", help="document id, or the beginning of one"), _WHICH),
        "engine.explain:show_explain",
    ),
    Command(
        ("show",),
        "show the rows of one step of training: documents, spans, text with the supervised parts marked",
        "provender show medical@v1 1 --row 0",
        "engine.explain.step:show",
        (
            argument("run", help="training run, or a mixture before it is trained on", metavar="RUN"),
            argument("step", help="counted from 1, as in metrics and checkpoints", type=int, metavar="STEP"),
            argument("--row", help="only this row of the step, from 0, with its whole text", type=int, metavar="N"),
        ),
        "engine.explain.show_step:show_step",
    ),
    Command(
        ("sample",),
        "show documents to read by hand, kept beside dropped with reasons",
        "provender sample --documents 10 --reason near_duplicate",
        "engine.sample:sample",
        (
            argument("--documents", help="how many (default: 50)", type=int, default=50, metavar="N"),
            argument("--reason", help="only documents dropped or tagged for this reason"),
            argument("--source", help="only documents of this source"),
            argument("--seed", help="another number, other documents (default: 1)", type=int, default=1),
            argument(
                "--by",
                help="spread the documents over this column of numbers (default: the score of the first stage quality)",
                metavar="COLUMN",
            ),
            argument("--column", help="further columns to show", nargs="+", action="extend", default=[]),
            argument("--html", help="write a page to read and label them in a browser", metavar="FILE"),
            argument("--label", help="ask after each document: good, bad, and why", action="store_true"),
            _WHICH,
        ),
        "engine.run.sample.show:show_sample",
        "labels given so far are stored; the same command asks about the rest",
    ),
    Command(
        ("label",),
        "store what you say of a document, good or bad, or what a saved page says of many",
        "provender label 3f2a91c4 bad --why 'a list of links'",
        "engine.run.label:label",
        (
            argument("doc_id", help="document id, or the beginning of one", nargs="?", metavar="DOC_ID"),
            argument("verdict", help="good or bad", nargs="?", metavar="good|bad"),
            argument("--why", help="the reason", metavar="TEXT"),
            argument("--from", help="labels.jsonl that a page of `sample` saved", dest="from_file", metavar="FILE"),
            argument("--list", help="list the newest label of every document", action="store_true", dest="list_labels"),
            _WHICH,
        ),
        "engine.run.label.show:show_label",
    ),
    Command(
        ("stages",),
        "list stages, source readers, presets and sections of a recipe; or one with its keys, columns or rules",
        "provender stages pii",
        "engine.catalog.stages:stages",
        (
            argument(
                "name",
                help="stage, source reader, preset or section to show (default: list all)",
                nargs="?",
                metavar="NAME",
            ),
        ),
        "engine.catalog.show_stages:show_stages",
    ),
    *MIXTURE_COMMANDS,
    Command(
        ("tokenizer", "train"),
        "train a SentencePiece tokenizer on the kept documents of a recipe",
        "provender tokenizer train recipe.yaml",
        "engine.run.pipeline:tokenizer_train",
        (_RECIPE, JOBS, MEMORY),
        "engine.run.show:show_tokenizer",
        GOES_ON,
    ),
    Command(
        ("report",),
        "write the HTML page of the workspace",
        "provender report --out report.html",
        "engine.report:report",
        (
            argument("--runs", help="only these training runs (default: all)", nargs="+", metavar="NAME"),
            argument("--out", help="file to write (default: WORKSPACE/report.html)", metavar="FILE"),
            _WHICH,
        ),
        "engine.report:show_report",
    ),
)
