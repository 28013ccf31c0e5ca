"""One verb of the command line as data, so that other packages can bring verbs without importing the command tree.

Stands in `base` because `trainers` and foreign packages declare their verbs with it (entry-point group
`provender.commands`), and the start-up of the command must not import what the verb imports.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

COMMAND_GROUP = "provender.commands"


@dataclass(frozen=True)
class Argument:
    """One argument or option, in the words of argparse; `names` without a dash is positional."""

    names: tuple[str, ...]
    help: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A verb: its words, what it does, an example to paste, and where its function lives.

    `function` is "module:name", imported only when the verb is called, and called with the arguments by keyword.
    It returns what `--json` prints. `show` is "module:name" of a function from that result to text for a terminal.
    `if_interrupted` completes "interrupted; ...": what is there after Ctrl-C, and what the same command does next.
    """

    words: tuple[str, ...]
    summary: str
    example: str
    function: str
    arguments: tuple[Argument, ...] = ()
    show: str | None = None
    if_interrupted: str = "the same command starts anew"


def load(reference: str) -> Callable[..., Any]:
    """Import "module:name" and return the object."""
    module, name = reference.split(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded


def argument(*names: str, help: str, **options: Any) -> Argument:  # noqa: A002 - the word of argparse
    """Return an `Argument`; the keyword arguments are those of `argparse.add_argument`."""
    return Argument(names, help, options)
