"""The command tree. Start-up stays light: nothing but argparse and the declarations of the verbs is imported here.

Exit codes: 0 done, 1 the user can mend it (usage errors too), 2 an audit, guard or gate stopped it, 3 our bug,
130 interrupted. With --json, stdout is one JSON object and nothing else; progress and errors go to stderr.
"""

import argparse
import errno
import gc
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from typing import Any, NoReturn

import engine
from engine.base.command import COMMAND_GROUP, Command, load
from engine.base.errors import ProvenderError, closest, problem
from engine.base.terminal import terminal_width, wrapped
from engine.commands import COMMANDS

DEFAULT_WORKSPACE = "provender-workspace"
ABOUT = "Turn raw text into a training mixture you can defend, and train on exactly that mixture."
EXIT_USER, EXIT_BUG, EXIT_INTERRUPTED = 1, 3, 130
MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors of the file system that the user can do something about."""


class _Parser(argparse.ArgumentParser):
    """argparse with our exit code for usage errors, and with a guess at what was meant."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument COMMAND: invalid choice:"):
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
        description=wrapped(command.summary[0].upper() + command.summary[1:] + ".", terminal_width()),
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
    function = _loaded(command)
    known = inspect.signature(function).parameters
    return function(**{name: value for name, value in arguments.items() if name in known})


def _loaded(command: Command) -> Callable[..., Any]:
    """Import the verb; the collector of garbage does not look at modules while they load."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return load(command.function)
    finally:
        if collects:
            gc.enable()


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
    as_json: bool = parsed["json"]
    try:
        result = call(command, parsed)
    except KeyboardInterrupt:
        print(f"interrupted; {command.if_interrupted}", file=sys.stderr)
        return EXIT_INTERRUPTED
    if as_json or command.show is None:
        print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        shown = load(command.show)(result)
        if shown is not None:
            print(shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
