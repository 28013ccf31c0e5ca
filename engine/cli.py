"""The command tree. Start-up stays light: nothing but argparse and the declarations of the verbs is imported here.

Exit codes: 0 done, 1 the user can mend it (usage errors too), 2 an audit, guard or gate stopped it, 3 our bug,
130 interrupted. With --json, stdout is one JSON object and nothing else; progress and errors go to stderr.
"""

import argparse
import errno
import inspect
import json
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from typing import Any, NoReturn

import engine
from engine.base.command import COMMAND_GROUP, Command, argument, load
from engine.base.errors import ProvenderError, closest, problem

DEFAULT_WORKSPACE = "provender-workspace"
ABOUT = "Turn raw text into a training mixture you can defend, and train on exactly that mixture."
EXIT_USER, EXIT_BUG, EXIT_INTERRUPTED = 1, 3, 130
GOES_ON = "the same command goes on from the last whole artifact"
MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors of the file system that the user can do something about."""

_RECIPE = argument("recipe", help="data recipe, a YAML file")
_WHICH = argument("--recipe", help="recipe whose artifacts to look at (default: the one that ran last)", metavar="NAME")
_INPUTS = argument("inputs", help="Parquet, JSONL or CSV files, or folders of them", nargs="+", metavar="INPUT")
_ID_COLUMN = argument("--id-column", help="column of the documents' own ids (default: file#row)", metavar="COLUMN")
_TEXT_COLUMN = argument("--text-column", help="column of the text (default: text)", default="text", metavar="COLUMN")
_JOBS = argument("--jobs", help="workers (default: one per processor); never changes a byte", type=int, metavar="N")
_MEMORY = argument(
    "--memory",
    help="memory for shards that are worked on at once, such as 4GB (default: half of what there is)",
    metavar="SIZE",
)
_EXAMPLES: dict[str, Any] = {"nargs": "+", "action": "extend", "required": True, "metavar": "FILE"}

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
            argument("--dry-run", help="print what would be done, and stop", action="store_true"),
            argument(
                "--mixtures", help="build only these mixtures (default: all of the recipe)", nargs="+", metavar="NAME"
            ),
            _JOBS,
            _MEMORY,
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
            _JOBS,
            _MEMORY,
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
            _JOBS,
            _MEMORY,
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
        ),
        "engine.run.quality_train.show:show_quality_train",
    ),
    Command(
        ("sql",),
        "query the workspace with read-only SQL (DuckDB)",
        'provender sql "SELECT source, decision, count(*) FROM decisions GROUP BY ALL ORDER BY ALL"',
        "engine.catalog:sql",
        (
            argument("query", help="one SELECT, or @name of a named query", nargs="?"),
            argument(
                "--list",
                help="list views, their columns, and the named queries",
                action="store_true",
                dest="list_queries",
            ),
            argument("--limit", help="show at most this many rows", type=int, metavar="N"),
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
        ("sample",),
        "show documents to read by hand, kept beside dropped with reasons",
        "provender sample --documents 10 --reason near_duplicate",
        "engine.run.sample:sample",
        (
            argument("--documents", help="how many (default: 50)", type=int, default=50, metavar="N"),
            argument("--reason", help="only documents dropped for this reason"),
            argument("--source", help="only documents of this source"),
            argument("--seed", help="another number, other documents (default: 1)", type=int, default=1),
            _WHICH,
        ),
        "engine.run.sample:show_sample",
    ),
    Command(
        ("mixture", "list"),
        "list mixtures and their versions",
        "provender mixture list",
        "engine.mixture.versions:mixture_list",
        (),
        "engine.run.show:show_mixture_list",
    ),
    Command(
        ("mixture", "show"),
        "show one version: sources, budgets, replay, licences, digests",
        "provender mixture show medical@latest",
        "engine.mixture.versions:mixture_show",
        (argument("reference", help="name, name@v1, name@latest or name@<digest>"),),
        "engine.run.show:show_mixture",
    ),
    Command(
        ("mixture", "verify"),
        "check every digest of a version: documents, tokens, schedule",
        "provender mixture verify medical@v1",
        "engine.mixture.versions:mixture_verify",
        (argument("reference", help="name, name@v1, name@latest or name@<digest>"),),
        "engine.run.show:show_verify",
    ),
    Command(
        ("tokenizer", "train"),
        "train a SentencePiece tokenizer on the kept documents of a recipe",
        "provender tokenizer train recipe.yaml",
        "engine.run.pipeline:tokenizer_train",
        (_RECIPE, _JOBS, _MEMORY),
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


class _Parser(argparse.ArgumentParser):
    """argparse with our exit code for usage errors, and with a guess at what was meant."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice:" in message:
            given = message.split("invalid choice: ")[1].split("'")[1]
            guess = closest(given, self._verbs())
            message = f"no command '{given}'" + (
                f"; did you mean '{guess}'?" if guess else f" (have: {', '.join(self._verbs())})"
            )
        print(f"provender: {message}\n{self.format_usage().rstrip()}", file=sys.stderr)
        raise SystemExit(EXIT_USER)

    def _verbs(self) -> list[str]:
        return [
            name
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for name in action.choices
        ]


def all_commands() -> list[Command]:
    """Return our verbs and those other packages declare in the entry-point group provender.commands."""
    found = list(COMMANDS)
    for point in entry_points(group=COMMAND_GROUP):
        found.extend(point.load())
    return found


def build_parser(commands: Iterable[Command]) -> argparse.ArgumentParser:
    """Return the parser of the whole tree; `verb` in the parsed arguments is the Command."""
    parser = _Parser(prog="provender", description=ABOUT)
    parser.add_argument("--version", action="version", version=f"provender {engine.__version__}")
    tree = parser.add_subparsers(metavar="COMMAND", required=True)
    groups: dict[str, Any] = {}
    for command in sorted(commands, key=lambda c: c.words):
        where = tree
        if len(command.words) == 2:
            group = command.words[0]
            if group not in groups:
                sub = tree.add_parser(group, help=f"{group}: {_verbs_of(group, commands)}")
                groups[group] = sub.add_subparsers(metavar="COMMAND", required=True)
            where = groups[group]
        _add_command(where, command)
    return parser


def _verbs_of(group: str, commands: Iterable[Command]) -> str:
    return ", ".join(sorted(c.words[1] for c in commands if c.words[0] == group and len(c.words) == 2))


def _add_command(where: Any, command: Command) -> None:
    sub = where.add_parser(
        command.words[-1],
        help=command.summary,
        description=command.summary[0].upper() + command.summary[1:] + ".",
        epilog=f"example:\n  {command.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for one in command.arguments:
        sub.add_argument(*one.names, help=one.help, **one.options)
    sub.add_argument(
        "--workspace",
        help=f"folder of all artifacts (default: {DEFAULT_WORKSPACE})",
        default=DEFAULT_WORKSPACE,
        metavar="DIR",
    )
    sub.add_argument("--json", help="print one JSON object on stdout and nothing else", action="store_true")
    sub.set_defaults(verb=command)


def call(command: Command, arguments: dict[str, Any]) -> Any:
    """Call the verb's function with those arguments it has parameters for."""
    function = load(command.function)
    known = inspect.signature(function).parameters
    return function(**{name: value for name, value in arguments.items() if name in known})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        return _main(argv)
    except ProvenderError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read us (head, less) has seen enough; Python would complain again while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in MENDABLE:
            return _bug()
        print(
            problem(
                error.filename or "file system",
                error.strerror or str(error),
                fix="free space or permissions, then the same command again",
            ),
            file=sys.stderr,
        )
        return EXIT_USER
    except Exception:  # noqa: BLE001 - whatever else escapes is a bug, and says so
        return _bug()


def _bug() -> int:
    traceback.print_exc()
    print("\nThis is a bug of provender, not of your data. Please report the lines above.", file=sys.stderr)
    return EXIT_BUG


def _main(argv: Sequence[str] | None) -> int:
    parsed = vars(build_parser(all_commands()).parse_args(argv))
    command: Command = parsed.pop("verb")
    as_json: bool = parsed.pop("json")
    try:
        result = call(command, parsed)
    except KeyboardInterrupt:
        print(f"interrupted; {command.if_interrupted}", file=sys.stderr)
        return EXIT_INTERRUPTED
    if as_json or command.show is None:
        print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(load(command.show)(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
