"""What `provender mixture export` says in a terminal."""

from typing import Any

from engine.base.terminal import table, terminal_width, wrapped


def show_export(result: dict[str, Any]) -> str:
    """Return the files with their rows and bytes, and the line that loads them."""
    files = [
        (file["path"], "" if file["rows"] is None else f"{file['rows']:,}", f"{file['bytes']:,}")
        for file in result["files"]
    ]
    rows = f"{result['rows']:,} rows of {result['documents']:,} documents"
    lines = [f"{result['reference']} ({result['digest'][:12]}): {rows} to {result['out']}"]
    kinds = list(result["kinds"])
    # Without a name datasets takes the first of several, and says nothing of the others.
    calls = [f'datasets.load_dataset("{result["out"]}", "{kind}")' for kind in kinds]
    if len(kinds) == 1:
        calls = [f'datasets.load_dataset("{result["out"]}")']
    load = f"{' and '.join(calls)}; for axolotl, TRL and LLaMA-Factory see README.md there"
    width = terminal_width()
    return "\n".join(
        [wrapped(lines[0], width), table(("file", "rows", "bytes"), files), wrapped(f"load it: {load}", width)]
    )
