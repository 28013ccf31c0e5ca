"""`provender sql` without a query: one after the other from a terminal or a pipe, each until its semicolon.

Lines that begin with a dot are commands to the prompt. The history lies in the user's state folder, never in the
workspace. Ctrl-C stops a running query or drops what was typed, Ctrl-D leaves; a mistake ends neither.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from engine.base.errors import InputError, ProvenderError, RecipeError, problem, unknown
from engine.catalog.output import FORMATS
from engine.catalog.relation import identifier
from engine.catalog.show import show_sql

T = TypeVar("T")
HISTORY_LINES = 2000
COMMANDS = {
    ".views": "views and their columns",
    ".queries": "named queries and their parameters",
    ".schema VIEW": "columns of a view with their types",
    ".format NAME": f"how rows are shown: {', '.join(FORMATS[:-1])}",
    ".recipe NAME": "recipe whose artifacts the views show",
    ".help": "this list",
    ".quit": "leave (also Ctrl-D)",
}


def answer_stdin(
    workspace: Path | str, recipe: str | None, mixture: str | None, limit: int | None, shape: str | None, out: object
) -> dict[str, Any]:
    """Answer the queries of stdin; return `results`, one for each of a pipe, none of a terminal, which saw them.

    Raises InputError for the first mistake in a pipe, naming the statement; RecipeError for what a prompt cannot do.
    """
    if out is not None:
        raise RecipeError(problem("--out", "without a query", "one query, whose rows go to the file"))
    session = Session(workspace, recipe, mixture, limit, shape)
    if sys.stdin.isatty():
        _converse(session)
        return {"results": []}
    results = []
    for number, statement in enumerate(_statements(sys.stdin), start=1):
        try:
            found = session.answer(statement)
        except ProvenderError as error:
            raise InputError(f"statement {number}: {error}") from error
        if found is None:
            break
        results.append(found)
    return {"results": results}


class Session:
    """What stays the same from query to query: workspace, recipe, format."""

    def __init__(
        self, workspace: Path | str, recipe: str | None, mixture: str | None, limit: int | None, shape: str | None
    ) -> None:
        """Take what the command line says; `shape` is a format."""
        self.workspace, self.recipe, self.mixture, self.limit = workspace, recipe, mixture, limit
        self.shape = shape or "table"

    def answer(self, statement: str) -> dict[str, Any] | None:
        """Return what `sql` returns for a query or a dot command, with the format; None where it says to leave."""
        if not statement.startswith("."):
            return self._asked(statement)
        word, _, rest = statement.rstrip("; ").partition(" ")
        known = {name.partition(" ")[0]: name for name in COMMANDS}
        if word not in known:
            raise InputError(unknown("prompt", "command", word, known))
        if (" " in known[word]) != bool(rest.strip()):
            raise InputError(problem(word, rest.strip() or "nothing behind it", known[word]))
        return None if word == ".quit" else self._command(word, rest.strip())

    def _command(self, word: str, rest: str) -> dict[str, Any]:
        from engine.catalog.query import sql_list

        if word == ".help":
            return {"text": "\n".join(f"{name:<14} {what}" for name, what in COMMANDS.items())}
        if word == ".schema":
            return self._asked(f"SELECT column_name, column_type FROM (DESCRIBE {identifier(rest)})")
        if word == ".format":
            if rest not in FORMATS[:-1]:
                raise InputError(unknown(word, "format", rest, FORMATS[:-1]))
            self.shape = rest
            return {"text": f"format: {rest}"}
        if word == ".recipe":
            sql_list(self.workspace, rest)  # says which there are, where there is none of that name
            self.recipe, self.mixture = rest, None
            return {"text": f"recipe: {rest}"}
        return {word.removeprefix("."): sql_list(self.workspace, self.recipe)[word.removeprefix(".")]}

    def _asked(self, statement: str) -> dict[str, Any]:
        from engine.catalog.query import sql

        query, values = _with_values(statement.rstrip("; \n"))
        found = sql(query, self.workspace, self.recipe, self.limit, values=values, mixture=self.mixture)
        return found | {"format": self.shape}


def _with_values(statement: str) -> tuple[str, list[str]]:
    """Return a query and the `name=value` words behind a named one."""
    if not statement.startswith("@"):
        return statement, []
    import shlex

    try:
        name, *values = shlex.split(statement)
    except ValueError as error:
        raise InputError(problem(statement, str(error), "an even number of quotes")) from error
    return name, values


def _statements(lines: Iterator[str] | Any) -> Iterator[str]:
    """Yield statements of lines of text: up to a semicolon outside of quotes and comments, or a dot command."""
    text = ""
    for line in lines:
        if not text.strip() and line.lstrip().startswith("."):
            yield line.strip()
            text = ""
            continue
        text += line
        while (end := _end(text)) is not None:
            if text[: end + 1].strip("; \n\t"):
                yield text[: end + 1].strip()
            text = text[end + 1 :]
    if text.strip():
        yield text.strip()


def _end(text: str) -> int | None:
    """Return where the first statement of the text ends: at a semicolon that the tokenizer takes for one."""
    if ";" not in text:
        return None
    # A token reaches to the next one, so a semicolon within quotes or a comment has no token of its own.
    data = text.encode()
    for start, kind in duckdb.tokenize(text):
        if data[start : start + 1] == b";" and kind == duckdb.token_type.operator:
            return len(data[:start].decode())
    return None


def _converse(session: Session) -> None:
    with _history():
        print("SQL over the workspace; end a query with ; (.help lists commands, Ctrl-D leaves)", file=sys.stderr)
        text = ""
        while True:
            try:
                text += input("... " if text.strip() else "sql> ") + "\n"
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print()
                text = ""
                continue
            is_command = text.lstrip().startswith(".")
            if text.strip() and (is_command or _end(text) is not None):
                found = list(_statements([text]))
                text = ""
                if not all(_shown(session, one) for one in found):
                    return
            elif not text.strip():
                text = ""


def _shown(session: Session, statement: str) -> bool:
    """Answer one statement on the terminal; return False where it says to leave."""
    try:
        found = session.answer(statement)
    except ProvenderError as error:
        print(error, file=sys.stderr)
        return True
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return True
    if found is not None:
        print(show_sql(found))
    return found is not None


@contextmanager
def _history() -> Iterator[None]:
    if find_spec("readline") is None:  # Python built without it: lines are read all the same
        yield
        return
    import readline

    path = _history_file()
    readline.set_history_length(HISTORY_LINES)
    if path is not None:
        _kept(lambda: readline.read_history_file(path))
    try:
        yield
    finally:
        if path is not None:
            _kept(lambda: readline.write_history_file(path))


def _history_file() -> Path | None:
    """Return the file of the history, made so that only its owner can read it; None where it cannot be made."""

    def made() -> Path:
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "provender"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = os.open(folder / "sql_history", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            os.fchmod(number, 0o600)
        finally:
            os.close(number)
        return folder / "sql_history"

    return _kept(made)


def _kept(work: Callable[[], T]) -> T | None:
    """Return what the work on the history returns; None where it cannot be done, which is said and no error."""
    try:
        return work()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        print(f"the history of queries is not kept: {error}", file=sys.stderr)
        return None
