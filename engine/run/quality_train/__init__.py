"""Training a quality classifier from files: a folder with the model comes out, for `model:` of the stage quality.

The same code, examples and bytes as where a recipe names sources (engine.annotate.quality): only the files are read
without a workspace, twice, once for the digests of all texts and once for those that are taken.

    examples   the files of a side, their texts
    show       the figures and the worst mistakes on a terminal
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from engine.annotate._classifier.examples import choose
from engine.annotate._classifier.labelled import NONE_LABELLED, Chosen, choose_with_labels, labelled_candidates
from engine.annotate._classifier.options import TrainingOptions
from engine.annotate.quality import MOST_REPEATS, SIDES, VERSION, fit_quality
from engine.base.atomic import atomic_folder, read_json
from engine.base.errors import RecipeError, problem
from engine.base.hashing import digest_json, digest_parts, digest_path
from engine.base.progress import progress
from engine.base.recipe_errors import check
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from engine.run.oneshot.inputs import unchanged
from engine.run.oneshot.out_folder import out_folder, require_empty
from engine.run.quality_train.examples import Given, candidates_of, read_given, texts_of
from engine.run.steps import Stopwatch

PLACE = "quality train"


def quality_train(
    positive: Sequence[Path | str] = (),
    negative: Sequence[Path | str] = (),
    out: Path | str | None = None,
    text_column: str = "text",
    epochs: int | None = None,
    word_ngrams: int | None = None,
    seed: int | None = None,
    labels: bool = False,
    label_weight: int | None = None,
    workspace: Path | str = DEFAULT_WORKSPACE,
) -> dict[str, Any]:
    """Train a quality classifier from files and return how well it ranks what it has not seen.

    Args:
        positive: Files of good examples: Parquet, JSONL or CSV, text files (one document each), or folders; of a folder
            its tables, or where it has none its text files.
        negative: Files of bad examples.
        out: Folder to write, new or empty; without it models/ of the workspace.
        text_column: Column of the text.
        epochs: Passes over the examples; this and what follows: where None, the default of the stage quality.
        word_ngrams: Words in a row that count as one feature.
        seed: Seed of the training.
        labels: Take what is labelled in the workspace too, or alone; a label decides over a file with the same text.
        label_weight: How often a labelled text is trained on; default: once.
        workspace: Folder of all artifacts.

    Raises:
        RecipeError: A side has fewer than 20 different texts that the other has not, or an option makes no sense.
        InputError: A file is missing, damaged, of no known kind, or lacks the column; a labels file is damaged.
    """
    asked = {"epochs": epochs, "word_ngrams": word_ngrams, "seed": seed}
    options = check(PLACE, {key: value for key, value in asked.items() if value is not None}, TrainingOptions)
    labelled = _labelled(Path(workspace)) if labels else None
    weight = _weight(label_weight, labels)
    for side, paths in (("positive", positive), ("negative", negative)):
        if not paths and not labels:
            needed = "files of both sides, for one class teaches nothing, or --labels"
            raise RecipeError(problem(f"--{side}", "no file", needed))
    watch = Stopwatch()
    if out is not None:
        require_empty(Path(out))
    with _scratch(out) as (scratch, given_folder):
        given = [
            one
            for label, paths in enumerate((negative, positive))
            for one in read_given(paths, label, text_column, scratch / str(label))
        ]
        with unchanged([one.input for one in given if one.input is not None]), progress(PLACE):
            chosen = _chosen(candidates_of(given), labelled, weight, options)
            digest = _digest(chosen, options)
            folder = Workspace(Path(workspace)).model(digest) if out is None else Path(out)
            receipt = read_receipt(folder) if out is None else None
            if receipt is None or receipt.digest != digest:
                with atomic_folder(folder) if given_folder is None else _same(given_folder) as temporary:
                    _train(given, chosen, options, temporary, digest, watch)
            files = folder if given_folder is None else given_folder
            content, worst, content_digest = read_json(files / "model.json"), _worst(files), digest_path(files)
    result = {"folder": str(folder), "digest": content_digest, **content, "worst": worst}
    return result | {"recipe": {"stage": "quality", "model": str(folder)}}


def _labelled(workspace: Path) -> pl.DataFrame:
    return labelled_candidates(Workspace(workspace).labels())


def _weight(asked: int | None, has_labels: bool) -> int:
    if asked is not None and not has_labels:
        raise RecipeError(problem("--label-weight", "there are no labels", "--labels beside it"))
    if asked is not None and not 1 <= asked <= MOST_REPEATS:
        raise RecipeError(problem("--label-weight", f"{asked}", f"a number from 1 to {MOST_REPEATS:,}"))
    return asked or 1


def _chosen(candidates: pl.DataFrame, labelled: pl.DataFrame | None, weight: int, options: TrainingOptions) -> Chosen:
    if labelled is not None:
        return choose_with_labels(candidates, labelled, weight, SIDES, options, "--labels")
    chosen, shared = choose(candidates, SIDES, options, [f"--{side}" for side in SIDES])
    return Chosen(chosen, NONE_LABELLED, shared, {})


def _train(
    given: Sequence[Given], chosen: Chosen, options: TrainingOptions, folder: Path, digest: str, watch: Stopwatch
) -> None:
    examples = chosen.examples(texts_of(given, chosen.of_files))
    fit_quality(examples, chosen.shared, options, folder, PLACE, labels=chosen.figures or None)
    rows = chosen.rows()
    inputs = {
        f"{SIDES[label]} {source}": digest_parts(found["text_digest"]).hex()
        for (label, source), found in rows.group_by("label", "source", maintain_order=True)
    }
    write_receipt(
        folder,
        Receipt(
            made_by=f"quality/{VERSION}",
            digest=digest,
            inputs=inputs,
            config=options.model_dump(mode="json"),
            rows=rows.height,
            seconds=watch.seconds,
            details=read_json(folder / "details.json"),
        ),
    )


def _worst(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(folder / "worst.json")
    return found


def _digest(chosen: Chosen, options: TrainingOptions) -> str:
    """Digest of everything the folder depends on: texts, what they are called, options, and what labels count."""
    found = chosen.rows()
    rows = found.select("label", "source", "name").rows()
    texts = digest_parts(found["text_digest"]).hex()
    identity = {"quality": VERSION, "rows": rows, "texts": texts, "options": options.model_dump(mode="json")}
    return digest_json(identity | ({"labels": chosen.figures} if chosen.figures else {}))


@contextmanager
def _scratch(out: Path | str | None) -> Iterator[tuple[Path, Path | None]]:
    """Yield a scratch folder and, where `out` is given, the folder that becomes it in the end."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="provender-") as name:
            yield Path(name), None
    else:
        with out_folder(Path(out), "quality-train") as (scratch, folder):
            yield scratch, folder


@contextmanager
def _same(folder: Path) -> Iterator[Path]:
    yield folder
