"""`provender mixture export`: the final texts or messages of a version as files that other trainers read.

OUT/
    text/train-00000.parquet      text, doc_id, source, is_replay, phase, repeats; license, url, date where stated
    messages/train-00000.parquet  the same with messages (role, content): the chats of the version
    held_out/<set>.parquet        with --held-out: text, doc_id, set, source; never among the others
    README.md                     dataset card; its front matter is what Hugging Face datasets reads
    dataset_info.json             what LLaMA-Factory looks files up in

Rows stand in the order of the mixture (phase, then curriculum). Edits are applied as they were when the version was
tokenised; every text is checked against the digest in the token store, so what is exported is what is trained on.
What a source does not state is null in Parquet and "" in JSON lines.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.errors import RecipeError, problem
from engine.formats.mixture import Mixture, open_mixture
from engine.formats.parquet import read_parquet
from engine.formats.state import RecipeState
from engine.formats.takedowns import require_none_taken_down
from engine.formats.token_store import CONTROL_TOKENS_FILE, TokenStore, open_token_store
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from engine.formats.workspace_lock import read_in
from engine.run.export.card import write_cards
from engine.run.export.held_out import write_held_out
from engine.run.export.options import FORMATS, ExportOptions
from engine.run.export.order import kinds_of, rows_in_order, stated_columns
from engine.run.export.write import WrittenFile, gather, write_kind
from engine.run.oneshot.out_folder import out_folder, require_empty
from engine.run.stored_edits import stored_edits


def mixture_export(
    reference: str,
    out: Path | str,
    workspace: Path | str = DEFAULT_WORKSPACE,
    format: str = "parquet",  # noqa: A002 - the word of the command line
    tags_as_text: bool = False,
    repeat: bool = False,
    held_out: bool = False,
) -> dict[str, Any]:
    """Write a version's documents in their order and return what was written.

    Args:
        reference: name, name@v1, name@latest or name@<digest>.
        out: Empty or new folder; it is there as a whole or not at all.
        workspace: Folder of all artifacts.
        format: parquet or jsonl.
        tags_as_text: Write control tokens as text in front of the text; of chats in front of the first message's
            content, as they stand in front of the whole chat in the token store and a message of their own would
            change what a template does.
        repeat: Write a document as often as it is used; else once in each phase, its uses in the column `repeats`.
        held_out: Write the held-out sets besides, each to a file of its own.

    Raises InputError where a document is not what was tokenised or was taken down, or an artifact is gone, RecipeError
    for an `out` that is not empty, ResourceError while `provender gc` is at work in the workspace.
    """
    if format not in FORMATS:
        raise RecipeError(problem("--format", f"'{format}'", " or ".join(FORMATS)))
    target = Path(out)
    require_empty(target)
    place = Workspace.open(workspace)
    options = ExportOptions(format, tags_as_text, repeat)
    with read_in(place.root), out_folder(target, "export") as (scratch, folder):
        mixture = open_mixture(place, reference)
        require_none_taken_down(place, mixture)
        state = mixture.require_state()
        rows, files = _write_documents(place, mixture, state, scratch, folder, options)
        if held_out:
            files += write_held_out(state.open_split(place), mixture.reference, folder, options)
        written = write_cards(folder, mixture, rows["kind"].unique().to_list(), files, options)
    return {
        "reference": mixture.reference,
        "digest": mixture.manifest.digest,
        "out": str(target),
        "format": format,
        "repeated": repeat,
        "tags_as_text": tags_as_text,
        "documents": mixture.manifest.documents,
        "rows": rows.height,
        "kinds": dict(sorted(rows["kind"].value_counts().iter_rows())),
        "files": [asdict(file) for file in [*files, *written]],
    }


def _write_documents(
    workspace: Workspace,
    mixture: Mixture,
    state: RecipeState,
    scratch: Path,
    folder: Path,
    options: ExportOptions,
) -> tuple[pl.DataFrame, list[WrittenFile]]:
    store = open_token_store(workspace.tokens(mixture.manifest.token_store))
    sources, annotations = state.source_documents(workspace), state.open_annotations(workspace)
    rows = rows_in_order(mixture, store, kinds_of(sources), options.repeat)
    rows = rows.join(_control_texts(store, options.tags_as_text), on="doc_id", how="left", maintain_order="left")
    stated = stated_columns(rows, sources)
    gather(rows, sources, lambda shard: stored_edits(shard, state.edit_columns, annotations), stated, scratch)
    kinds = sorted(rows["kind"].unique(), reverse=True)
    return rows, [file for kind in kinds for file in write_kind(kind, stated, scratch, folder, options.format)]


def _control_texts(store: TokenStore, tags_as_text: bool) -> pl.DataFrame:
    """Return doc_id, control: the control tokens of a document as one text, in their order."""
    if not tags_as_text:
        return pl.DataFrame(schema={"doc_id": pl.Binary, "control": pl.String})
    tokens = read_parquet(store.folder / CONTROL_TOKENS_FILE).sort("doc_id", "position")
    return tokens.group_by("doc_id").agg(control=pl.col("token").str.join(""))
