"""final/: what a run leaves behind, a Hugging Face folder or a PEFT adapter folder, and the proof that it loads.

Weights under other names, a head that was tied and is not, an adapter that loads and does nothing, a tokenizer that the
library puts together in another way: none of them is an error of a library. So what was saved is loaded again by plain
transformers or peft and asked the same as the trained model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from engine.base.atomic import atomic_folder, write_json
from engine.base.errors import AuditError, problem
from engine.base.progress import say
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.tokenizer import FILES, Tokenizer, decode_batch, special_pieces
from trainers.adapters import add_adapters
from trainers.fsdp import is_sharded, whole
from trainers.generation import write_generation
from trainers.job import Job
from trainers.language_model import LanguageModel
from trainers.lineage import ADAPTER_FILE, LINEAGE_FILE, Base, weights_digest, with_run
from trainers.loop import Training
from trainers.model import hide_progress, load_base, load_folder
from trainers.model_card import model_card
from trainers.summary import summary_of, wall_seconds
from trainers.tokenizer_files import write_tokenizer

VERSION = 1
TEXTS_TRIED, TOKENS_TRIED = 64, 2_000
MOST_TOKENS = 48
TOLERANCE = {torch.float32: 1e-4}
OF_OTHERS = 2e-2
"""Largest difference of two logits as a share of the largest logit, for weights or sums of two bytes."""
RELOADED = "reloaded"
SAME_IDS = "the same ids"


def finish(job: Job, training: Training, content: dict[str, Any], started: float) -> None:
    """Write final/, metrics.parquet, run.json with the summary, and the receipt; every rank calls it.

    content: run.json so far; started: time.monotonic() of this session. Raises AuditError where final/ is
    not the model that was trained.
    """
    model = _whole_model(job, training)
    if model is None:
        return
    record = job.record
    metrics = record.write_metrics()
    saved, texts = model.saved, _some_texts(job)
    with atomic_folder(record.folder / "final") as folder:
        digest = save_final(saved, job.base, job.tokenizer, folder, texts)
        write_generation(folder, content["generation"], job.rows.store.meta.chat_template, job.tokenizer, job.base)
        write_json(folder / LINEAGE_FILE, with_run(content))
        difference = require_same_logits(saved, folder, _asked(job))
        tokenizer = tokenizer_in_transformers(folder, job.tokenizer, texts)
        if tokenizer != SAME_IDS:
            say(f"{job.recipe.name}: the tokenizer in final/, by transformers: {tokenizer}")
        reloaded = {"logits_differ_by": float(f"{difference:.3g}"), "tokenizer": tokenizer}
        summary = summary_of(job, metrics) | {"wall_seconds": wall_seconds(metrics, content["sessions"], started)}
        content = {**content, "reloaded": reloaded, "summary": summary}
        (folder / "README.md").write_text(model_card(job.recipe, job.mixture.manifest, content), encoding="utf-8")
    record.write(content)
    inputs = {"mixture": job.mixture.manifest.digest, "base": job.base.digest}
    receipt = Receipt(
        made_by=f"train/{VERSION}",
        digest=digest,
        inputs=inputs,
        config=job.recipe.resolved(),
        rows=job.num_steps,
        seconds=summary["wall_seconds"],
        details=summary,
    )
    write_receipt(record.folder, receipt)


@torch.no_grad()
def _whole_model(job: Job, training: Training) -> LanguageModel | None:
    """Return the model to be saved, on the main rank; every rank calls it.

    A divided one is loaded anew and given what was trained: torch has no way back from FSDP.
    """
    recipe, masters, model = job.recipe, training.optimizer.masters, training.model
    if not any(is_sharded(master) for master in masters.values()):
        training.optimizer.restore()
        return model if training.world.is_main else None
    if training.world.is_main:
        longest = job.rows.schedule.meta.row_tokens + recipe.tuning.positions_in_front
        loaded = load_base(job.base, job.tokenizer, longest, recipe.seed)
        model = add_adapters(loaded, recipe.tuning, recipe.seed, job.base.new_rows)
    found = model.trained()
    for name, master in masters.items():
        value = whole(master)
        if training.world.is_main:
            found[name].copy_(value)
    return model if training.world.is_main else None


def _asked(job: Job) -> torch.Tensor:
    """Return int64[1, T] ids that a model which was loaded again is asked: the first of the store, and new ones."""
    most = min(MOST_TOKENS, job.rows.schedule.meta.row_tokens)
    new = [row.id for row in job.base.new_rows[: most // 2]]
    return torch.tensor([[*job.rows.store.ids[: most - len(new)].tolist(), *new]])


def _some_texts(job: Job) -> list[str]:
    """Return what the first documents of the store say, without special tokens."""
    documents = job.rows.store.documents().head(TEXTS_TRIED).select("offset", "num_tokens")
    ids = job.rows.store.ids
    some = [ids[start : start + min(length, TOKENS_TRIED)].tolist() for start, length in documents.iter_rows()]
    return decode_batch(job.tokenizer, some, special="")


def save_final(saved: Any, base: Base, tokenizer: Tokenizer, folder: Path, texts: Sequence[str]) -> str:
    """Write a Hugging Face folder (or PEFT adapter folder) with the tokenizer beside it; return the weights' digest.

    `texts` are what the tokenizer's copy is tried on.
    """
    hide_progress()
    if hasattr(saved, "peft_config"):
        # An adapter on an adapter has no folder that holds its base; the lineage in run.json still leads there.
        is_whole = base.folder is not None and not (base.folder / ADAPTER_FILE).is_file()
        saved.peft_config["default"].base_model_name_or_path = str(base.folder) if is_whole else None
        saved.save_pretrained(folder, save_embedding_layers=False)
    else:
        saved.save_pretrained(folder)
    write_tokenizer(tokenizer, base.folder, folder, texts)
    return weights_digest(folder)


@torch.no_grad()
def require_same_logits(saved: Any, folder: Path, ids: torch.Tensor) -> float:
    """Return the largest relative difference of logits between the trained model and what `folder` holds.

    saved: the model of transformers or the PeftModel that was saved; ids: int64[1, T]. An adapter is loaded a second
    time into the model it was trained in, so no second base is held in memory; a whole model is compared, and left, in
    fp32. Raises AuditError where the difference is more than rounding.
    """
    device = next(saved.parameters()).device
    ids = ids.to(device)
    is_adapter = hasattr(saved, "peft_config")
    if not is_adapter:
        saved.float()  # what is frozen may still be bf16 beside masters in fp32, and no layer takes both
    saved.eval()
    trained = _logits(saved, ids)
    if is_adapter:
        # In fp32, as it is stored and trained, whatever the base is.
        saved.load_adapter(folder, adapter_name=RELOADED, torch_device=str(device), autocast_adapter_dtype=True)
        saved.set_adapter(RELOADED)
        again = _logits(saved.eval(), ids)
        saved.set_adapter("default")
        saved.delete_adapter(RELOADED)
    else:
        again = _logits(load_folder(folder).to(device).eval(), ids)
    largest = float(trained.abs().max())
    difference = float((trained - again).abs().max()) / max(largest, 1e-6)
    if not difference <= TOLERANCE.get(next(saved.parameters()).dtype, OF_OTHERS):
        found = f"loaded again it gives other logits: they differ by {difference:.3g} of the largest"
        fix = "keep the run's checkpoints and report this, with the architecture of the base"
        raise AuditError(problem(folder.name, found, "the model that was trained", fix))
    return difference


def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.float()


def tokenizer_in_transformers(folder: Path, tokenizer: Tokenizer, texts: Sequence[str]) -> str:
    """Return what AutoTokenizer makes of `texts` from a folder: SAME_IDS, or in words what is wrong.

    Texts that spell a special token are left aside: transformers makes them that token, and here they stay text. What
    is wrong is no error: it lies with the base's own configuration, and the weights are good.
    """
    from transformers import AutoTokenizer

    if not (folder / FILES["huggingface"]).is_file():
        return f"cannot be loaded: there is only {FILES[tokenizer.meta.kind]}, which SentencePiece reads"
    try:
        loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"cannot be loaded ({(str(error).splitlines() or [type(error).__name__])[0]})"
    special = special_pieces(tokenizer).values()
    plain = [text for text in texts if not any(piece in text for piece in special)]
    pairs = zip(plain, tokenizer.encode(plain), strict=True)
    others = sum(loaded.encode(text, add_special_tokens=False) != ids.tolist() for text, ids in pairs)
    return SAME_IDS if not others else f"other ids for {others} of {len(plain)} texts"
