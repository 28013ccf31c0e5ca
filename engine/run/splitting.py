"""Makes the held-out sets of a recipe, once what they are drawn by is there."""

from typing import TYPE_CHECKING

import polars as pl

from engine.base.atomic import atomic_folder
from engine.base.hashing import digest_file, digest_json, digest_parts
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.split import Split
from engine.recipe.stages import split_token_counts
from engine.run.steps import RunContext, Stopwatch
from engine.select import split as split_step

if TYPE_CHECKING:
    from engine.run.stage_run import Annotated

SPLIT, HELD_OUT = "split", "held-out texts"
"""Names of digests; the second is that of the held-out sets alone, whoever else belongs to their groups."""


def split_is_ready(context: RunContext, state: "Annotated") -> bool:
    """Whether everything the split reads has been written."""
    config = context.recipe.split
    return (
        config is not None
        and set(_reads(context)) - {"text"} <= state.columns()
        and (
            "near_dup" in state.artifacts
            or not any(s.config.column_prefix == "near_dup" for s in context.recipe.annotate)
        )
    )


def make_split(context: RunContext, state: "Annotated") -> None:
    """Make or re-use the split and enter it in `state`."""
    config = context.recipe.split
    assert config is not None
    # An extension is part of the documents' digest.
    identity = {
        "version": split_step.VERSION,
        "config": config.model_dump(mode="json"),
        "documents": state.documents_digest(),
        "inputs": state.input_digests(_reads(context)),
    }
    digest = digest_json(identity)
    folder = context.workspace.split(digest)

    def make() -> None:
        watch = Stopwatch()
        with atomic_folder(folder) as temporary:
            counts = split_token_counts(context.recipe.annotate, config)
            before = state.extends.split if state.extends is not None else None
            if before is not None:
                split_step.extend_split(state.corpus(context), config, temporary, before, counts)
            else:
                split_step.make_split(state.corpus(context), config, temporary, counts)
            made = Split(temporary, digest)
            in_groups = made.groups().group_by("set").agg(pl.len().cast(pl.Int64).alias("group_documents"))
            sizes = made.sizes().join(in_groups, on="set", how="left", maintain_order="left")
            receipt = Receipt(
                made_by=f"split/{split_step.VERSION}",
                digest=digest,
                config=config.model_dump(mode="json"),
                rows=int(sizes["documents"].sum()),
                seconds=watch.seconds,
                details={"sets": sizes.to_dicts()},
            )
            write_receipt(temporary, receipt)

    context.ensure(SPLIT, folder, digest, make)
    state.split = Split(folder, digest)
    # What follows depends on what is held out, not on how it came to be; what searches for it, on its texts alone, so
    # that another relative of a held-out document leaves the search of all others as it is.
    state.digests[HELD_OUT] = _texts_digest(state.split)
    state.digests[SPLIT] = digest_json([state.digests[HELD_OUT], digest_file(folder / "groups.parquet")])
    state.artifacts[SPLIT] = folder


def _reads(context: RunContext) -> tuple[str, ...]:
    config = context.recipe.split
    assert config is not None
    return split_step.split_columns(config, split_token_counts(context.recipe.annotate, config))


def _texts_digest(split: Split) -> str:
    # The id of a group is left out: a new document can give another one to the same held-out texts.
    rows = split.heldout().select("set", "doc_id", "text").iter_rows()
    return digest_parts(part for name, doc_id, text in rows for part in (name.encode(), doc_id, text.encode())).hex()
