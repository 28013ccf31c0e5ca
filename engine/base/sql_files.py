"""SQL files: one SELECT per file under sql/<group>/<name>.sql, with a head that is parsed and checked.

The head says, in this order: what comes out (one sentence), `reads:` the tables, `yields:` the result, `grain:` what a
row is, `params:` the bound values or `none`. A field goes on in the next line where that line is indented:

    -- Candidate pairs: two documents that share one band.
    -- reads:  signatures(doc_id, band, band_hash)
    -- yields: bucket_pairs(doc_id, other_doc_id)
    -- grain:  one row per unordered pair
    -- params: $max_bucket_documents  documents; larger buckets are skipped

A parameter a user can give has a type (text, integer, number, id) in front of the semicolon, and may have a default:

    -- params: $source  text = null; only this source    $words  integer = 5; words listed of each

`...` among the columns stands for columns that depend on the data. Stands in `base` because every package may keep SQL.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FIELDS = ("reads", "yields", "grain", "params")
ANY_COLUMNS = "..."
_TABLE = re.compile(r"([a-z_][a-z0-9_.]*)\(([^()]*)\)")
_PARAMETER = re.compile(r"\$([a-z_][a-z0-9_]*)")
_TYPED = re.compile(r"(text|integer|number|id)(?: = ([^;]+))?; (.+)")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query, as its head has it."""

    type: str
    """text, integer, number or id."""
    default: str | None
    """Its text; None: null, or where `is_required` that there is none."""
    is_required: bool
    meaning: str


@dataclass(frozen=True)
class SqlFile:
    """One SQL file: its head, and its statement."""

    group: str
    name: str
    what: str
    """One sentence: what comes out."""
    reads: dict[str, tuple[str, ...]]
    """Table it reads -> the columns it uses."""
    yields: tuple[str, ...]
    """Columns of the result, in order."""
    grain: str
    params: dict[str, str]
    """Bound parameter -> unit and meaning."""
    statement: str
    """The SELECT, without a semicolon."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Parameter -> type, default, meaning; what has no type in the head is text without a default."""
        found = {}
        for name, said in self.params.items():
            match = _TYPED.fullmatch(said)
            if match is None:
                found[name] = Parameter("text", None, True, said)
            else:
                default = match[2].strip() if match[2] else None
                found[name] = Parameter(match[1], None if default == "null" else default, default is None, match[3])
        return found


def sql_folder() -> Path:
    """Return the folder of the SQL files: engine/_sql in an installed package, sql/ beside engine in a checkout."""
    engine = Path(__file__).parents[1]
    installed = engine / "_sql"
    return installed if installed.is_dir() else engine.parent / "sql"


@cache
def read_sql(group: str, name: str) -> SqlFile:
    """Return one SQL file; raises FileNotFoundError, or ValueError (our bug) where its head is wrong."""
    return parse_sql(group, name, (sql_folder() / group / f"{name}.sql").read_text(encoding="utf-8"))


def sql_names(group: str) -> list[str]:
    """Return the names of the SQL files of a group, sorted."""
    return sorted(path.stem for path in (sql_folder() / group).glob("*.sql"))


def parse_sql(group: str, name: str, text: str) -> SqlFile:
    """Return the SQL file with this text; raises ValueError that names the file where head and statement do not fit."""
    place = f"sql/{group}/{name}.sql"
    what, fields, statement = _split_head(place, text)
    yields = _tables(place, fields["yields"])
    if set(yields) != {name}:
        raise ValueError(f"{place}: yields {', '.join(yields)}, but the file is named {name}")
    params = _params(place, fields["params"])
    used = set(_PARAMETER.findall(statement))
    if used != set(params):
        raise ValueError(f"{place}: parameters of the statement {sorted(used)}, of the head {sorted(params)}")
    if ";" in statement:
        raise ValueError(f"{place}: a semicolon; there is one SELECT per file, without one")
    reads = {} if fields["reads"] == "none" else _tables(place, fields["reads"])
    return SqlFile(group, name, what, reads, yields[name], fields["grain"], params, statement)


def _split_head(place: str, text: str) -> tuple[str, dict[str, str], str]:
    lines = text.splitlines()
    size = next((number for number, line in enumerate(lines) if not line.startswith("--")), len(lines))
    head: list[list[str]] = []
    for line in lines[:size]:
        content = line.removeprefix("--").removeprefix(" ")
        if content.startswith("  ") and head:
            head[-1].append(content.strip())
        else:
            head.append([content.strip()])
    entries = [" ".join(parts) for parts in head]
    if len(entries) != 1 + len(FIELDS) or not entries[0].endswith("."):
        raise ValueError(f"{place}: the head has {len(entries)} fields; needed: a sentence, then {', '.join(FIELDS)}")
    fields = {}
    for expected, entry in zip(FIELDS, entries[1:], strict=True):
        key, _, value = entry.partition(":")
        if key != expected or not value.strip():
            raise ValueError(f"{place}: the head says '{entry}' where '{expected}: ...' is expected")
        fields[key] = value.strip()
    return entries[0], fields, "\n".join(lines[size:]).strip()


def _tables(place: str, value: str) -> dict[str, tuple[str, ...]]:
    found = {name: tuple(c.strip() for c in columns.split(",") if c.strip()) for name, columns in _TABLE.findall(value)}
    if not found or _TABLE.sub("", value).strip(" ,"):
        raise ValueError(f"{place}: '{value}' is not a list of table(column, column)")
    return found


def _params(place: str, value: str) -> dict[str, str]:
    if value == "none":
        return {}
    params = {}
    for part in re.split(r"\s+(?=\$)", value):
        name, _, meaning = part.strip().partition(" ")
        if not _PARAMETER.fullmatch(name) or not meaning.strip():
            raise ValueError(f"{place}: parameter '{part.strip()}' needs the form '$name  unit; meaning'")
        params[name[1:]] = meaning.strip()
    return params
