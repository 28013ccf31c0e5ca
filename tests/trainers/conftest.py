"""A tiny workspace, written straight through the formats: real text, a tokenizer trained on the spot, two mixtures.

`general` holds documentation strings of the standard library, `mixed` its source code with some of them as replay.
"""

import ast
import codecs
import contextlib
import io
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sentencepiece
import torch
import yaml
from safetensors.torch import load_file

import trainers.loop
from engine.base.atomic import read_json, write_json
from engine.base.errors import ResourceError
from engine.base.hashing import digest_bytes, digest_json
from engine.formats.manifest import DOCUMENTS_SCHEMA, HeldOutSet, Manifest, Phase
from engine.formats.mixture import open_mixture
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.run import metrics_lines
from engine.formats.schedule import SCHEMA as SCHEDULE_SCHEMA
from engine.formats.schedule import ScheduleMeta
from engine.formats.split import HELDOUT_SCHEMA
from engine.formats.token_store import DOCUMENTS_SCHEMA as STORE_SCHEMA
from engine.formats.token_store import StoreMeta
from engine.formats.tokenizer import Tokenizer, TokenizerMeta, describe, load_tokenizer
from engine.formats.training_rows import TrainingRows, open_training_rows
from engine.formats.workspace import Workspace
from trainers.base_models import models_add
from trainers.train import train

VOCAB, ROW_TOKENS, ROWS_PER_STEP = 512, 64, 4
MODULES = (
    "argparse",
    "ast",
    "difflib",
    "textwrap",
    "statistics",
    "fractions",
    "random",
    "tarfile",
    "shutil",
    "pathlib",
)
TINY = {"hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 64}
TRAIN_RECIPE: dict[str, Any] = {
    "name": "tiny",
    "mixture": "mixed",
    "base": {"tiny": TINY},
    "optimizer": {"learning_rate": 3.0e-3},
    "max_steps": 20,
    "probes": {"general": ["general"], "domain": ["code"], "max_documents": 8},
    "checkpoints": {"every_steps": 10},
}


@dataclass(frozen=True)
class Document:
    """A document of a tiny mixture."""

    source: str
    text: str
    is_replay: bool = False
    repeats: int = 1

    @property
    def doc_id(self) -> bytes:
        return digest_bytes(f"{self.source}/{self.text}".encode())


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    # Threads of a tiny model wait for each other longer than they work.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def texts() -> dict[str, list[str]]:
    """Docstrings and functions of the standard library, in the order of the files."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, list[str]] = {"docs": [], "code": []}
    for module in MODULES:
        source = (folder / f"{module}.py").read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                doc, code = ast.get_docstring(node) or "", "\n".join(lines[node.lineno - 1 : node.end_lineno])
                if len(doc) > 120:
                    found["docs"].append(doc[:900])
                if 200 < len(code) < 900:
                    found["code"].append(code)
    return {kind: list(dict.fromkeys(kept)) for kind, kept in found.items()}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, list[str]]) -> Path:
    """The workspace as built; tests get copies of it."""
    root = tmp_path_factory.mktemp("built") / "workspace"
    workspace = Workspace(root)
    tokenizer = _train_tokenizer(workspace, texts["docs"] + texts["code"])
    heldout = {"general": ("docs", texts["docs"][:12]), "code": ("code", texts["code"][:12])}
    split = write_split(workspace, heldout)
    docs = [Document("docs", text) for text in texts["docs"][12:92]]
    code = [Document("code", text, repeats=1 + (i < 3)) for i, text in enumerate(texts["code"][12:72])]
    replay = [Document("docs", text, is_replay=True) for text in texts["docs"][12:24]]
    write_mixture(workspace, "general", docs, tokenizer, split)
    mixed = [document for pair in zip(code[: len(replay)], replay, strict=True) for document in pair] + code[
        len(replay) :
    ]
    write_mixture(workspace, "mixed", mixed, tokenizer, split)
    return root


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the packaged model, 540 MB; skips where it cannot be had."""
    root = tmp_path_factory.mktemp("smollm2") / "workspace"
    try:
        models_add("smollm2", root)
    except ResourceError as error:
        pytest.skip(str(error))
    return root


@pytest.fixture
def workspace(built: Path, tmp_path: Path) -> Workspace:
    """A copy of the tiny workspace that the test may change."""
    return Workspace(Path(shutil.copytree(built, tmp_path / "workspace")))


@pytest.fixture
def rows(workspace: Workspace) -> TrainingRows:
    """The rows of the mixture `mixed`."""
    return open_rows(workspace, "mixed")


@pytest.fixture
def tokenizer(workspace: Workspace) -> Tokenizer:
    """The tokenizer of both mixtures."""
    return load_tokenizer(workspace.tokenizer(open_mixture(workspace, "mixed").manifest.tokenizer))


@pytest.fixture(scope="session")
def byte_rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingRows, Tokenizer]:
    """The lines of the Zen of Python, six times, a byte a token: the same on every machine and Python."""
    workspace = Workspace(tmp_path_factory.mktemp("bytes"))
    with contextlib.redirect_stdout(io.StringIO()):
        import this
    lines = codecs.decode(this.s, "rot13").splitlines()
    documents = [Document("zen", line, repeats=6) for line in lines if line]

    def encode(texts: Sequence[str]) -> list[np.ndarray]:
        return [np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32) + 1 for text in texts]

    meta = TokenizerMeta(kind="sentencepiece", digest="b" * 32, vocab_size=257, eos_id=0)
    tokenizer = Tokenizer(meta, workspace.tokenizer(meta.digest), encode)
    write_mixture(workspace, "zen", documents, tokenizer, "0" * 32)
    return open_rows(workspace, "zen"), tokenizer


def open_rows(workspace: Workspace, mixture: str) -> TrainingRows:
    return open_training_rows(workspace, open_mixture(workspace, mixture))


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the tiny train recipe with top-level keys changed; a None drops the key."""

    def write(**changes: Any) -> Path:
        content = {key: value for key, value in (TRAIN_RECIPE | changes).items() if value is not None}
        path = tmp_path / f"{content['name']}.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def change_manifest(workspace: Workspace) -> Callable[..., None]:
    """A function that changes keys of a mixture's manifest."""

    def change(mixture: str, **changes: Any) -> None:
        path = open_mixture(workspace, mixture).folder / "manifest.json"
        write_json(path, read_json(path) | changes)

    return change


def write_split(workspace: Workspace, sets: dict[str, tuple[str, list[str]]]) -> str:
    rows = [
        {
            "doc_id": d.doc_id,
            "set": name,
            "source": d.source,
            "group_id": d.doc_id,
            "num_bytes": len(d.text.encode()),
            "text": d.text,
        }
        for name, (source, texts) in sets.items()
        for d in (Document(source, text) for text in texts)
    ]
    frame = pl.DataFrame(rows, schema=HELDOUT_SCHEMA).sort("set", "doc_id")
    digest = digest_json({"split": [row["doc_id"].hex() for row in rows]})
    folder = workspace.split(digest)
    write_parquet(folder / "heldout.parquet", frame)
    write_parquet(folder / "groups.parquet", frame.select("doc_id", "group_id", "set"))
    write_receipt(folder, Receipt(made_by="split/1", digest=digest, rows=frame.height, seconds=0.0))
    return digest


def write_mixture(workspace: Workspace, name: str, documents: list[Document], tokenizer: Tokenizer, split: str) -> None:
    """Write token store, schedule and version 1 of a mixture; spans follow each other and are cut at row ends."""
    distinct = {document.doc_id: document for document in documents}
    stored = [distinct[key] for key in sorted(distinct)]
    ids = [np.append(tokens, tokenizer.meta.eos_id) for tokens in tokenizer.encode([d.text for d in stored])]
    bits = [np.ones(len(tokens), dtype=bool) for tokens in ids]
    for number, flags in enumerate(bits):
        flags[0] = False
        flags[5 : 5 + number % 3] = False  # as if tags stood there
    store = _write_store(workspace, tokenizer, stored, ids, bits)
    row_of = {document.doc_id: number for number, document in enumerate(stored)}
    table = pl.DataFrame(
        [
            {
                "document": position,
                "doc_id": d.doc_id,
                "source": d.source,
                "is_replay": d.is_replay,
                "phase": 0,
                "store_row": row_of[d.doc_id],
                "num_tokens": len(ids[row_of[d.doc_id]]),
                "supervised_tokens": int(bits[row_of[d.doc_id]].sum()),
                "repeats": d.repeats,
            }
            for position, d in enumerate(documents)
        ],
        schema=DOCUMENTS_SCHEMA,
    )
    spans = _place(documents, [bits[row_of[d.doc_id]] for d in documents])
    schedule = _write_schedule(workspace, name, store, spans)
    _write_manifest(workspace, name, documents, table, tokenizer, split, schedule)


def _train_tokenizer(workspace: Workspace, texts: list[str]) -> Tokenizer:
    folder = workspace.root / "tokenizers" / "new"
    folder.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in texts for line in text.splitlines() if line),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=VOCAB,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.99,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        num_threads=1,
        minloglevel=2,
    )
    meta = describe(folder, "sentencepiece", VOCAB, eos_id=2, bos_id=1, slots={})
    return load_tokenizer(folder.rename(workspace.tokenizer(meta.digest)))


def _write_store(
    workspace: Workspace, tokenizer: Tokenizer, stored: list[Document], ids: list[np.ndarray], bits: list[np.ndarray]
) -> StoreMeta:
    flat, flags = np.concatenate(ids).astype(np.uint16), np.concatenate(bits)
    digest = digest_json({"ids": digest_bytes(flat.tobytes()).hex(), "bits": digest_bytes(flags.tobytes()).hex()})
    meta = StoreMeta(
        digest=digest,
        tokenizer=tokenizer.meta.digest,
        eos_id=tokenizer.meta.eos_id,
        dtype="uint16",
        num_documents=len(stored),
        num_tokens=len(flat),
    )
    folder = workspace.tokens(digest)
    lengths = [len(tokens) for tokens in ids]
    columns = {
        "doc_id": [d.doc_id for d in stored],
        "source": [d.source for d in stored],
        "offset": (np.cumsum(lengths) - lengths).tolist(),
        "num_tokens": lengths,
        "supervised_tokens": [int(flags.sum()) for flags in bits],
        "num_bytes": [len(d.text.encode()) for d in stored],
        "text_digest": [digest_bytes(d.text.encode()) for d in stored],
    }
    write_parquet(folder / "documents.parquet", pl.DataFrame(columns, schema=STORE_SCHEMA))
    flat.tofile(folder / "ids.bin")
    np.packbits(flags, bitorder="little").tofile(folder / "supervised.bin")
    write_json(folder / "store.json", meta.model_dump())
    write_receipt(folder, Receipt(made_by="tokens/1", digest=digest, rows=len(stored), seconds=0.0))
    return meta


def _place(documents: list[Document], bits: list[np.ndarray]) -> pl.DataFrame:
    spans, place = [], 0
    for repeat in range(max(d.repeats for d in documents)):
        for position, document in enumerate(documents):
            at = 0
            while repeat < document.repeats and at < len(bits[position]):
                row, start = divmod(place, ROW_TOKENS)
                length = min(ROW_TOKENS - start, len(bits[position]) - at)
                labels = int(bits[position][at + 1 : at + length].sum())
                step, row = divmod(row, ROWS_PER_STEP)
                spans.append((step, row, start, length, position, at, repeat, labels))
                at += length
                # Every seventh span leaves three tokens of its row empty, where they are the last.
                place += length + (3 if len(spans) % 7 == 0 and (place + length) % ROW_TOKENS > ROW_TOKENS - 4 else 0)
    return pl.DataFrame(spans, schema=SCHEDULE_SCHEMA, orient="row")


def _write_schedule(workspace: Workspace, name: str, store: StoreMeta, spans: pl.DataFrame) -> ScheduleMeta:
    digest = digest_json({"schedule": name, "store": store.digest})
    meta = ScheduleMeta(
        digest=digest,
        mixture=digest_json({"mixture": name}),
        token_store=store.digest,
        row_tokens=ROW_TOKENS,
        rows_per_step=ROWS_PER_STEP,
        num_steps=int(spans.get_column("step").max()) + 1,  # type: ignore[arg-type]
        num_tokens=int(spans.get_column("length").sum()),
        supervised_tokens=int(spans.get_column("supervised_tokens").sum()),
    )
    folder = workspace.schedule(digest)
    write_parquet(folder / "schedule.parquet", spans)
    write_json(folder / "schedule.json", meta.model_dump())
    write_receipt(folder, Receipt(made_by="schedule/1", digest=digest, rows=spans.height, seconds=0.0))
    return meta


def _write_manifest(
    workspace: Workspace,
    name: str,
    documents: list[Document],
    table: pl.DataFrame,
    tokenizer: Tokenizer,
    split: str,
    schedule: ScheduleMeta,
) -> None:
    held_out = [
        HeldOutSet(
            set=held,
            documents=12,
            bytes=1,
            searched_documents=len(documents),
            contaminated_documents=0,
            planted_recall=1.0,
        )
        for held in ("code", "general")
    ]
    manifest = Manifest(
        name=name,
        version=1,
        digest=digest_json({"manifest": name, "schedule": schedule.digest}),
        recipe="tiny",
        recipe_digest="1" * 32,
        tokenizer=tokenizer.meta.digest,
        token_store=schedule.token_store,
        selection="0" * 32,
        split=split,
        seed=1,
        curriculum="shuffled",
        phases=[
            Phase(
                name="all",
                curriculum="shuffled",
                budget_tokens=schedule.supervised_tokens,
                documents=len(documents),
                tokens=schedule.num_tokens,
                supervised_tokens=schedule.supervised_tokens,
            )
        ],
        replay_share=None,
        sources=[],
        held_out=held_out,
        documents=len(documents),
        tokens=schedule.num_tokens,
        supervised_tokens=schedule.supervised_tokens,
        n_eff_before=1.0,
        n_eff_after=1.0,
        n_eff_documents_before=1.0,
        n_eff_documents_after=1.0,
        schedule=schedule.digest,
        row_tokens=schedule.row_tokens,
        rows_per_step=schedule.rows_per_step,
        num_steps=schedule.num_steps,
    )
    folder = workspace.mixture(name, 1)
    write_parquet(folder / "documents.parquet", table)
    write_json(folder / "manifest.json", manifest.model_dump(mode="json"))
    write_receipt(folder, Receipt(made_by="mixture/1", digest=manifest.digest, rows=table.height, seconds=0.0))


@pytest.fixture
def same_run_when_killed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that trains a recipe straight, and again with an end of the process: both must leave the same."""

    def compare(recipe: Callable[..., Path], at_step: int = 5, **changes: Any) -> None:
        without = {"probes": None} | changes
        train(recipe(**without | {"name": "straight"}), workspace.root)
        path, original = recipe(**without | {"name": "killed"}), trainers.loop.train_step

        def dying(training: Any, step: int) -> Any:
            if step == at_step - 1:
                raise KeyboardInterrupt
            return original(training, step)

        with monkeypatch.context() as patched:
            patched.setattr(trainers.loop, "train_step", dying)
            with pytest.raises(KeyboardInterrupt):
                train(path, workspace.root)
        train(path, workspace.root)
        one, other = (workspace.run(name) for name in ("straight", "killed"))
        sessions = read_json(other / "run.json")["sessions"]
        assert 0 < sessions[1]["from_step"] < at_step
        for name in ("weights", "optimizer"):
            newest = [max((folder / "checkpoints").iterdir()) for folder in (one, other)]
            first, second = (load_file(folder / f"{name}.safetensors") for folder in newest)
            assert first.keys() == second.keys()
            assert all(torch.equal(first[key], second[key]) for key in first)
        lines = [[{**line, "seconds": 0} for _, line in metrics_lines(folder)] for folder in (one, other)]
        assert lines[0] == lines[1]

    return compare
