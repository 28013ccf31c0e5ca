"""A small workspace in which mixtures are really built: tokenizer, token store, schedule, version."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from engine.base.hashing import digest_bytes, digest_file
from engine.formats.items import ITEMS, benchmark_digest, write_items
from engine.formats.manifest import Audit, HeldOutSet, SearchedBenchmark
from engine.formats.mixture import Mixture
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.token_store import TokenStore
from engine.formats.tokenizer import load_tokenizer
from engine.formats.workspace import Workspace
from engine.mixture.build import CANDIDATES_SCHEMA, plan_mixture
from engine.mixture.config import Config
from engine.mixture.write import MixtureInputs, planned_manifest, write_version
from engine.pack.encode_documents import Batch
from engine.pack.render import RenderConfig
from engine.pack.schedule import ScheduleConfig, schedule_digest, write_schedule
from engine.pack.tokenise import build_token_store, token_store_digest
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer

SELECTION, SPLIT, AUDIT = "5" * 32, "6" * 32, "7" * 32


@dataclass(frozen=True)
class Built:
    """A workspace, and what a mixture of it is made from."""

    workspace: Workspace
    store: TokenStore
    candidates: pl.DataFrame
    inputs: MixtureInputs

    def build(self, config: dict[str, object], name: str = "m", recipe: str = "demo") -> Mixture:
        """Plan, schedule and write a version."""
        checked = Config.model_validate({"row_tokens": 16, "rows_per_step": 2, **config})
        digests = {source: f"digest of {source}" for source in checked.source_names()}
        planned = plan_mixture(name, checked, self.candidates, digests)
        shape = ScheduleConfig(row_tokens=checked.row_tokens, rows_per_step=checked.rows_per_step)
        folder = self.workspace.schedule(schedule_digest(planned.order_digest, self.store.meta.digest, shape))
        schedule = write_schedule(folder, planned.documents, self.store, shape, planned.order_digest)
        inputs = self.inputs.model_copy(update={"recipe": recipe})
        manifest = planned_manifest(planned, inputs, self.store)
        return write_version(self.workspace, planned, manifest, schedule.meta)


@pytest.fixture
def built(tmp_path: Path) -> Built:
    """A tokenizer, a token store of 60 short documents, a selection and a split; no mixture yet."""
    workspace = Workspace(tmp_path / "workspace")
    texts = {
        digest_bytes(str(number).encode()): (
            "code" if number % 3 else "prose",
            "to be or not to be " * (1 + number % 7),
        )
        for number in range(60)
    }
    training = TokenizerTraining(sources=["prose"], vocab_size=280, control_slots=2)
    meta = train_tokenizer([text for _, text in texts.values()], training, tmp_path / "tokenizer")
    folder = workspace.tokenizer(meta.digest)
    folder.parent.mkdir(parents=True)
    (tmp_path / "tokenizer").replace(folder)
    tokenizer = load_tokenizer(folder)
    pairs = sorted((doc_id, digest_bytes(text.encode())) for doc_id, (_, text) in texts.items())
    digest = token_store_digest(meta.digest, RenderConfig(), pairs)
    batch = Batch(list(texts), [source for source, _ in texts.values()], [text for _, text in texts.values()])
    store = build_token_store([batch], tokenizer, RenderConfig(), workspace.tokens(digest), digest, 1)
    documents = store.documents().with_row_index("store_row").with_columns(license=pl.lit("CC0-1.0"))
    schema = pl.Schema(CANDIDATES_SCHEMA)
    held_out = write_split(workspace)
    decisions = pl.DataFrame({"decision": ["kept"] * 60})
    write_parquet(workspace.selection(SELECTION) / "code" / "00.parquet", decisions)
    done(workspace.selection(SELECTION), SELECTION)
    write_parquet(workspace.audit(AUDIT) / "hits.parquet", pl.DataFrame({"doc_id": []}))
    done(workspace.audit(AUDIT), AUDIT, documents=store.meta.num_documents, tokens=store.meta.num_tokens)
    inputs = MixtureInputs(
        recipe="demo",
        tokenizer=meta.digest,
        token_store=digest,
        selection=SELECTION,
        split=SPLIT,
        held_out=[held_out],
        benchmarks=[write_benchmark(workspace)],
        audit=Audit(digest=AUDIT, documents=store.meta.num_documents, tokens=store.meta.num_tokens),
    )
    return Built(workspace, store, documents.select(schema.names()).cast(schema), inputs)


def write_split(workspace: Workspace) -> HeldOutSet:
    """One held-out document of seven bytes."""
    folder = workspace.split(SPLIT)
    doc_id = digest_bytes(b"held out")
    groups = pl.DataFrame({"doc_id": [doc_id], "group_id": [doc_id], "set": ["general"]})
    write_parquet(folder / "groups.parquet", groups)
    texts = groups.with_columns(source=pl.lit("prose"), num_bytes=pl.lit(7, pl.Int64), text=pl.lit("abc\u00e9fg"))
    write_parquet(folder / "heldout.parquet", texts)
    done(folder, SPLIT)
    return HeldOutSet(set="general", documents=1, bytes=7, searched_documents=60, contaminated_documents=0)


def write_benchmark(workspace: Workspace) -> SearchedBenchmark:
    """Two questions."""
    texts = ("What is asked first?", "And what is asked then?")
    rows = [dict.fromkeys(ITEMS) | {"item": str(row), "question": text} for row, text in enumerate(texts)]
    empty = {"choices": [], "other_answers": [], "extra": []}
    items = pl.DataFrame([row | empty for row in rows], schema=ITEMS)
    digest = benchmark_digest(items)
    folder = workspace.benchmark("quiz", digest)
    write_items(folder / "items.parquet", items)
    done(folder, digest)
    return SearchedBenchmark(
        name="quiz", digest=digest, stored=digest, items=2, matchable_items=0, searched_documents=60
    )


def done(folder: Path, digest: str, **counts: int) -> None:
    """Declare a folder finished."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): digest_file(path) for path in paths}
    details = {"files": files, **counts}
    write_receipt(folder, Receipt(made_by="test/1", digest=digest, rows=0, seconds=0, details=details))
