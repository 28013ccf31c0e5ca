"""What can go wrong, named by what the user does next.

ProvenderError
|-- RecipeError    the recipe or the command line is wrong; nothing was started        (exit 1)
|-- InputError     a file or row from outside is not what it has to be                 (exit 1)
|-- ResourceError  disk, memory or a package is missing; says how much was needed      (exit 1)
|-- AuditError     an audit, guard or gate stopped the run; the evidence is kept       (exit 2)

Everything else that escapes is a bug of ours (exit 3). Messages have one form, made by `problem`:
`place: what is there. Needed: rule with unit. Fix: one action.`
"""

import difflib
from collections.abc import Iterable

MOST_LISTED = 40
"""Names an error lists in full; of more only those that are like what was written."""


class ProvenderError(Exception):
    """A failure the user can understand; `exit_code` is what the command returns."""

    exit_code = 1


class RecipeError(ProvenderError):
    """The recipe, or an argument, is wrong."""


class InputError(ProvenderError):
    """A file or a row that came from outside is not what it has to be."""


class ResourceError(ProvenderError):
    """The machine lacks something: disk, memory, a package."""


class AuditError(ProvenderError):
    """An audit, a guard or a gate stopped the run."""

    exit_code = 2


def problem(place: object, found: str, needed: str | None = None, fix: str | None = None) -> str:
    """Return one message in the house form; `place` is a file, a key or a document."""
    parts = [f"{place}: {found.rstrip('.')}."]
    if needed is not None:
        parts.append(f"Needed: {needed.rstrip('.')}.")
    if fix is not None:
        parts.append(f"Fix: {fix.rstrip('.')}.")
    return " ".join(parts)


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` most likely meant, or None: the column of a stage before what is like it."""
    names = list(known)
    of_a_stage = [one for one in names if one.endswith(f"__{name}")]
    matches = of_a_stage or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return matches[0] if matches else None


def closest_of(name: str, known: Iterable[str], count: int) -> list[str]:
    """Return the `count` known names that are most like `name`, in the order of the alphabet."""
    alike = sorted(known, key=lambda one: -difflib.SequenceMatcher(None, name, one).ratio())
    return sorted(alike[:count])


def unknown(place: object, kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that does not exist: what there is, and what was probably meant."""
    names = sorted(known)
    guess = closest(name, names)
    shown = names if len(names) <= MOST_LISTED else closest_of(name, names, MOST_LISTED // 3)
    listed = ", ".join(shown) if names else "none"
    listed += f" and {len(names) - len(shown)} others" if len(shown) < len(names) else ""
    return problem(
        place, f"no {kind} '{name}' (have: {listed})", fix=f"did you mean '{guess}'?" if guess else None
    ).replace("?.", "?")
