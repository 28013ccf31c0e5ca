"""A workspace of nine documents with everything a finished recipe and two runs leave, written through engine.formats.

Two sources: `web` (two shards of one file read in place, outside the workspace) and `books` (one converted shard).
Tests take the fixture by path, because files of tests are not importable:

    small_workspace = runpy.run_path(str(PATH / "small_workspace.py"))["small_workspace"]
"""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from engine.annotate.tokens.fit import FIT_SCHEMA
from engine.annotate.tokens.shattered import SHATTERED_SCHEMA
from engine.base.atomic import write_json
from engine.base.hashing import digest_bytes
from engine.formats.documents import Shard, SourceDocuments, read_source, write_source
from engine.formats.ledger import SCHEMA as LEDGER_SCHEMA
from engine.formats.manifest import DOCUMENTS_SCHEMA, Manifest, MixtureSource, Phase
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.run import FORGETTING_SCHEMA, METRICS_SCHEMA, PROBES_SCHEMA
from engine.formats.schedule import SCHEMA as SCHEDULE_SCHEMA
from engine.formats.schedule import ScheduleMeta
from engine.formats.selection import BALANCE_SCHEMA, EXAMPLES_SCHEMA
from engine.formats.selection import SCHEMA as SELECTION_SCHEMA
from engine.formats.split import HELDOUT_SCHEMA
from engine.formats.state import AnnotationState, RecipeState, read_state, write_state
from engine.formats.workspace import Workspace

WEB = {
    "w1": "the first page of the web",
    "w2": "the first page of the web!",
    "w3": None,
    "w4": "held out page",
    "w5": "x",
}
BOOKS = {
    "b1": "It was a dark and stormy night.",
    "b2": "Call me\nIshmael.",
    "b3": "short",
    "b4": "copied benchmark text",
}
DECISIONS = {
    "w1": ("kept", None),
    "w2": ("dropped", "near_duplicate"),
    "w3": ("dropped", "no_text"),
    "w4": ("held_out", "general"),
    "w5": ("dropped", "too_short"),
    "b1": ("kept", None),
    "b2": ("kept", None),
    "b3": ("dropped", "too_short"),
    "b4": ("dropped", "contaminated"),
}
RULES = [
    {"reason": "near_duplicate", "drop": "near_dup__kept_id IS NOT NULL"},
    {"reason": "held_out"},
    {"reason": "contaminated", "drop": "contamination__action = 'drop'"},
    {"reason": "too_short", "keep": "heuristics__num_words >= 2"},
]
TAGS = {"b2": ["too_short", "odd"], "w1": ["odd"]}
BALANCE = [
    ("licenses", "documents", "license = CC0-1.0", True, 5, 2, 2, 3, 2, 2),
    ("licenses", "documents", "license = null", False, 1, 1, 1, 0, 1, 1),
]
EXAMPLES = {"w2": 26, "w3": 0, "w5": 1, "b3": 5, "b4": 21}
KEPT_TOKENS = {"b1": 9, "b2": 6, "w1": 7}


STAGES = {
    "heuristics": ["heuristics__num_words"],
    "near_dup": ["near_dup__kept_id", "near_dup__similarity"],
    "contamination": ["contamination__action"],
    "license": ["license__spdx", "license__from", "license__family"],
    "toxicity": ["toxicity__list", "toxicity__num_hits", "toxicity__rate"],
    "difficulty": ["difficulty__value", "difficulty__bin"],
}


def doc_id(name: str) -> bytes:
    """The 16 bytes of a document's id: its name, filled with 0xee."""
    return name.encode().ljust(16, b"\xee")


def _ids(source: str, texts: dict[str, str | None]) -> pl.DataFrame:
    full = [text or "" for text in texts.values()]
    stated = {name: [None] * len(texts) for name in ("url", "date", "language", "domain")}
    return pl.DataFrame(
        {
            "doc_id": [doc_id(name) for name in texts],
            "source": [source] * len(texts),
            "license": ["CC0-1.0" if source == "books" else None] * len(texts),
            **stated,
            "text_digest": [None if text is None else digest_bytes(text.encode()) for text in texts.values()],
            "num_bytes": [len(text.encode()) for text in full],
            "num_chars": [len(text) for text in full],
            "read_problem": [None] * len(texts),
        },
        schema_overrides=dict.fromkeys((*stated, "license", "read_problem"), pl.String),
    )


def _shard(
    source: str, folder: Path, number: int, texts: dict[str, str | None], text_path: Path, column: str, group: int
) -> Shard:
    name, key = f"{number:05}", f"{source}{number}"
    path = folder / f"{name}.ids.parquet"
    write_parquet(path, _ids(source, texts))
    return Shard(
        source, name, key, len(texts), sum(len(t or "") for t in texts.values()), path, text_path, column, (group,)
    )


def _web(root: Path, data: Path) -> SourceDocuments:
    data.mkdir(parents=True)
    own = pl.DataFrame({"body": list(WEB.values()), "uid": [1, 2, 3, 4, 5], "source": ["crawl"] * 5})
    pq.write_table(own.to_arrow(), data / "web.parquet", row_group_size=2)
    folder = root / "documents" / "web" / "aaaa"
    names = list(WEB)
    parts = [{name: WEB[name] for name in names[a : a + 2]} for a in (0, 2, 4)]
    shards = tuple(_shard("web", folder, i, part, data / "web.parquet", "body", i) for i, part in enumerate(parts))
    return SourceDocuments("web", "d" * 32, folder, shards, {"stage": "parquet"})


def _books(root: Path) -> SourceDocuments:
    folder = root / "documents" / "books" / "bbbb"
    write_parquet(
        folder / "00000.parquet",
        pl.DataFrame({"text": list(BOOKS.values()), "author": ["Lytton", "Melville", None, None]}),
    )
    return SourceDocuments(
        "books", "e" * 32, folder, (_shard("books", folder, 0, BOOKS, folder / "00000.parquet", "text", 0),), {}
    )


def _aligned(
    folder: Path, sources: tuple[SourceDocuments, ...], columns: dict[str, dict[str, Any]], dtypes: dict[str, Any]
) -> None:
    names = {doc_id(name): name for name in [*WEB, *BOOKS]}
    for source in sources:
        for shard in source.shards:
            rows = [names[value] for value in shard.read_core(["doc_id"])["doc_id"]]
            frame = pl.DataFrame({c: [values.get(row) for row in rows] for c, values in columns.items()}, schema=dtypes)
            write_parquet(folder / source.name / f"{shard.key}.parquet", frame)


def _ledger(path: Path) -> None:
    texts = {"web": WEB, "books": BOOKS}
    rows = []
    for source, documents in texts.items():
        groups: dict[tuple[str, str | None], list[str | None]] = {("in", None): list(documents.values())}
        for name, text in documents.items():
            groups.setdefault(DECISIONS[name], []).append(text)
        rows += [
            {
                "step": "selection",
                "source": source,
                "outcome": outcome,
                "reason": reason,
                "documents": len(found),
                "bytes": sum(len((text or "").encode()) for text in found),
                "tokens": None,
            }
            for (outcome, reason), found in groups.items()
        ]
    write_parquet(path, pl.DataFrame(rows, schema=LEDGER_SCHEMA))


def _mixture(workspace: Workspace, version: int) -> None:
    names = ["b1", "w1", "b2"][: version + 1]
    documents = _mixture_documents(names)
    manifest = _manifest(documents, version)
    folder = workspace.mixture("demo", version)
    write_parquet(folder / "documents.parquet", documents)
    outcome = {"step": "mixture:demo", "source": "books", "reason": None, "documents": 2, "bytes": 50, "tokens": 15}
    write_parquet(
        folder / "ledger.parquet",
        pl.DataFrame([outcome | {"outcome": o} for o in ("in", "kept")], schema=LEDGER_SCHEMA),
    )
    write_json(folder / "manifest.json", manifest.model_dump(mode="json"))
    write_receipt(folder, Receipt(made_by="mixture/1", digest=manifest.digest, rows=len(names), seconds=0.1))
    _schedule(workspace, manifest)


def _mixture_documents(names: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "document": range(len(names)),
            "doc_id": [doc_id(name) for name in names],
            "source": ["books" if name.startswith("b") else "web" for name in names],
            "is_replay": [name.startswith("w") for name in names],
            "phase": [0] * len(names),
            "store_row": [sorted(KEPT_TOKENS).index(name) for name in names],
            "num_tokens": [KEPT_TOKENS[name] for name in names],
            "supervised_tokens": [KEPT_TOKENS[name] - 1 for name in names],
            "repeats": [2 if name == "b1" else 1 for name in names],
        },
        schema=DOCUMENTS_SCHEMA,
    )


def _manifest(documents: pl.DataFrame, version: int) -> Manifest:
    used = documents.with_columns(
        all=pl.col("num_tokens").cast(pl.Int64) * pl.col("repeats"),
        lab=pl.col("supervised_tokens").cast(pl.Int64) * pl.col("repeats"),
    )
    return Manifest(
        name="demo",
        version=version,
        digest=f"{version}f" * 16,
        recipe="small",
        recipe_digest="e" * 32,
        tokenizer="a" * 32,
        token_store="b" * 32,
        selection="c" * 32,
        seed=1,
        curriculum="shuffled",
        phases=[
            Phase(
                name="all",
                curriculum="shuffled",
                budget_tokens=44,
                documents=documents.height,
                tokens=int(used["all"].sum()),
                supervised_tokens=int(used["lab"].sum()),
            )
        ],
        replay_share=0.3,
        documents=documents.height,
        tokens=int(used["all"].sum()),
        supervised_tokens=int(used["lab"].sum()),
        n_eff_before=1.9,
        n_eff_after=1.5,
        n_eff_documents_before=1.8,
        n_eff_documents_after=1.6,
        schedule=f"{version}" * 32,
        row_tokens=16,
        rows_per_step=1,
        num_steps=version + 1,
        sources=[
            MixtureSource(
                source=source,
                is_replay=source == "web",
                phase=0,
                objective="text",
                input_digest="d" * 32,
                budget_tokens=22,
                available_documents=2,
                available_tokens=15,
                documents=part.height,
                unique_tokens=int(part["num_tokens"].sum()),
                first_documents=part.height,
                first_tokens=int(part["num_tokens"].sum()),
                tokens=int(part["all"].sum()),
                supervised_tokens=int(part["lab"].sum()),
                max_repeats=int(part["repeats"].max()),
            )
            for source in ("books", "web")
            if (part := used.filter(pl.col("source") == source)).height
        ],
    )


def _schedule(workspace: Workspace, manifest: Manifest) -> None:
    schedule, version = manifest.schedule, manifest.version
    spans = [(0, 0, 0, 9, 0, 0, 0, 8), (0, 0, 9, 7, 1, 0, 0, 6), (1, 0, 0, 9, 0, 0, 1, 8), (2, 0, 0, 6, 2, 0, 0, 5)]
    frame = pl.DataFrame(
        [s for s in spans if s[0] <= version and s[4] < manifest.documents], schema=SCHEDULE_SCHEMA, orient="row"
    )
    write_parquet(workspace.schedule(schedule) / "schedule.parquet", frame)
    meta = ScheduleMeta(
        digest=schedule,
        mixture=manifest.digest,
        token_store="b" * 32,
        row_tokens=16,
        rows_per_step=1,
        num_steps=version + 1,
        num_tokens=manifest.tokens,
        supervised_tokens=manifest.supervised_tokens,
    )
    write_json(workspace.schedule(schedule) / "schedule.json", meta.model_dump())
    write_receipt(
        workspace.schedule(schedule),
        Receipt(
            made_by="schedule/1",
            digest=schedule,
            rows=frame.height,
            seconds=0.1,
            details={
                "sources": [
                    {"phase": row.phase, "source": row.source, "is_replay": row.is_replay, "bound": 100}
                    | {"largest_deviation": 100}
                    for row in manifest.sources
                ]
            },
        ),
    )


def _runs(workspace: Workspace) -> None:
    done, running = workspace.run("done"), workspace.run("going")
    write_json(done / "run.json", {"name": "done", "mixture": {"reference": "demo@v2", "digest": "2f" * 16}, "seed": 7})
    metrics = [
        {
            "step": 1,
            "source": None,
            "loss": 3.5,
            "supervised_tokens": 14,
            "tokens": 16,
            "learning_rate": 0.1,
            "grad_norm": 1.0,
            "seconds": 0.5,
        },
        {"step": 1, "source": "books", "loss": 3.0, "supervised_tokens": 8, "tokens": 9},
    ]
    write_parquet(done / "metrics.parquet", pl.DataFrame(metrics, schema=METRICS_SCHEMA))
    probes = [
        (step, "general", doc_id("w4"), nats, 4, 13) for step, nats in ((0, 13 * math.log(2)), (1, 26 * math.log(2)))
    ]
    write_parquet(done / "probes.parquet", pl.DataFrame(probes, schema=PROBES_SCHEMA, orient="row"))
    curve = [(0, "general", True, 1.0, 2.25, 0.0, 0.0, 0.0, True), (1, "general", True, 2.0, 4.5, 1.0, 0.9, 1.1, False)]
    write_parquet(done / "forgetting.parquet", pl.DataFrame(curve, schema=FORGETTING_SCHEMA, orient="row"))
    write_receipt(done, Receipt(made_by="train/1", digest="r" * 32, rows=1, seconds=1.0))
    write_json(running / "run.json", {"name": "going", "mixture": {"reference": "demo@v2", "digest": "2f" * 16}})
    line = {
        "step": 1,
        "loss": 4.0,
        "supervised_tokens": 14,
        "tokens": 16,
        "sources": {"web": {"loss": 5.0, "supervised_tokens": 6}},
    }
    (running / "metrics.jsonl").write_text(json.dumps(line) + "\n" + '{"step": 2, "loss": 3.')


def build(folder: Path) -> None:
    """Write ws/, the workspace, and data/, the file its source `web` is read from in place."""
    root, data = folder / "ws", folder / "data"
    workspace = Workspace(root)
    sources = (_web(root, data), _books(root))
    for source in sources:
        write_source(source)
    near, cont = _annotations(root, sources)
    _selection(root, sources)
    _split(root)
    for version in (1, 2):
        _mixture(workspace, version)
    _runs(workspace)
    labels = _labels(root, sources)
    folders = {
        "heuristics": "annotations/heuristics/1111",
        **labels,
        "near_dup": str(near.relative_to(root)),
        "contamination": str(cont.relative_to(root)),
    }
    state = RecipeState(
        recipe="small",
        finished="2026-05-01T10:00:00+00:00",
        sources={source.name: str(source.folder.relative_to(root)) for source in sources},
        annotations=[
            AnnotationState(prefix=stage, stage=stage, digest="1" * 32, folder=folders[stage], columns=columns)
            for stage, columns in STAGES.items()
        ],
        artifacts={"near_dup": folders["near_dup"], "contamination": folders["contamination"], "tokens": _tokens(root)},
        split="splits/7777",
        selection="selections/6666",
        tokenizer="a" * 32,
        mixtures={"demo": "demo@v2"},
    )
    write_state(workspace, state)


def _annotations(root: Path, sources: tuple[SourceDocuments, ...]) -> tuple[Path, Path]:
    """Write the columns of the three stages; return the folders of the pairs and of the hits."""
    words = {name: len((text or "").split()) for name, text in (WEB | BOOKS).items()}
    _aligned(
        root / "annotations/heuristics/1111",
        sources,
        {"heuristics__num_words": words},
        {"heuristics__num_words": pl.UInt32},
    )
    near = root / "annotations/near_dup/2222/_corpus/3333"
    _aligned(
        near,
        sources,
        {"near_dup__kept_id": {"w2": doc_id("w1")}, "near_dup__similarity": {"w2": 0.9}},
        {"near_dup__kept_id": pl.Binary, "near_dup__similarity": pl.Float32},
    )
    pair = {"doc_id": [doc_id("w1")], "other_id": [doc_id("w2")], "similarity": [0.9]}
    write_parquet(near / "pairs.parquet", pl.DataFrame(pair))
    cont = root / "annotations/contamination/4444/_corpus/5555"
    _aligned(
        cont,
        sources,
        {"contamination__action": {"b4": "drop"}},
        {"contamination__action": pl.String},
    )
    hit = {
        "doc_id": [doc_id("b4")],
        "benchmark": ["general"],
        "item": ["w4"],
        "kind": ["passage"],
        "score": [1.0],
        "evidence": ["benchmark text"],
        "item_text": ["all of the text"],
    }
    write_parquet(cont / "hits.parquet", pl.DataFrame(hit))
    return near, cont


def _tokens(root: Path) -> str:
    """Write what a tokens stage leaves besides its columns; return the folder."""
    folder = "annotations/tokens/4444"
    fit = {"source": "web", "domain": None, "is_general": False, "documents": 4, "bytes": 65, "words": 16, "tokens": 24}
    rates = {"tokens_per_word": 1.5, "tokens_per_byte": 0.3692, "bytes_per_token": 2.7083}
    word = {"source": "web", "domain": None, "word": "first", "occurrences": 2, "documents": 2, "pieces": 6}
    cost = {"pieces_per_occurrence": 3.0, "extra_tokens": 4, "sampled_words": 16}
    write_parquet(root / folder / "fit.parquet", pl.DataFrame([fit | rates], schema=FIT_SCHEMA))
    write_parquet(root / folder / "shattered.parquet", pl.DataFrame([word | cost], schema=SHATTERED_SCHEMA))
    return folder


def _labels(root: Path, sources: tuple[SourceDocuments, ...]) -> dict[str, str]:
    """Write the columns of license, toxicity and difficulty; return their folders."""
    names = [*WEB, *BOOKS]
    books = [name in BOOKS for name in names]
    values: dict[str, list[Any]] = {
        "license__spdx": ["CC0-1.0" if is_book else "unknown" for is_book in books],
        "license__from": ["stated" if is_book else "unknown" for is_book in books],
        "license__family": ["public_domain" if is_book else "unknown" for is_book in books],
        "toxicity__list": ["en" if is_book else None for is_book in books],
        "toxicity__num_hits": [1 if is_book else None for is_book in books],
        "toxicity__rate": [250.0 if is_book else None for is_book in books],
        "difficulty__value": [float(len(text)) if text else None for text in (WEB | BOOKS).values()],
        "difficulty__bin": [
            ("hard" if len(text) > 20 else "easy") if text else None for text in (WEB | BOOKS).values()
        ],
    }
    dtypes = {"toxicity__num_hits": pl.UInt32, "toxicity__rate": pl.Float64, "difficulty__value": pl.Float64}
    folders = {stage: f"annotations/{stage}/8888" for stage in ("license", "toxicity", "difficulty")}
    for stage, folder in folders.items():
        columns = {name: dict(zip(names, values[name], strict=True)) for name in STAGES[stage]}
        _aligned(root / folder, sources, columns, {name: dtypes.get(name, pl.String) for name in columns})
    return folders


def _selection(root: Path, sources: tuple[SourceDocuments, ...]) -> None:
    selection = root / "selections/6666"
    decisions = {
        "decision": {n: d for n, (d, _) in DECISIONS.items()},
        "reason": {n: r for n, (_, r) in DECISIONS.items()},
    }
    _aligned(selection, sources, decisions | {"tags": TAGS}, SELECTION_SCHEMA)
    write_parquet(selection / "balance.parquet", pl.DataFrame(BALANCE, schema=BALANCE_SCHEMA, orient="row"))
    examples = [
        ("web" if name in WEB else "books", *DECISIONS[name], doc_id(name), size, (WEB | BOOKS)[name])
        for name, size in EXAMPLES.items()
    ]
    write_parquet(selection / "examples.parquet", pl.DataFrame(examples, schema=EXAMPLES_SCHEMA, orient="row"))
    _ledger(selection / "ledger.parquet")
    write_json(selection / "selection.json", {"version": 1, "rules": RULES})


def _split(root: Path) -> None:
    split = root / "splits/7777"
    held = {
        "doc_id": [doc_id("w4")],
        "set": ["general"],
        "source": ["web"],
        "group_id": [doc_id("w4")],
        "num_bytes": [13],
        "num_tokens": [None],
        "text": ["held out page"],
    }
    write_parquet(split / "heldout.parquet", pl.DataFrame(held, schema=HELDOUT_SCHEMA))
    write_parquet(split / "groups.parquet", pl.DataFrame(held).select("doc_id", "group_id", "set"))


def _uuid(name: str) -> str:
    digits = doc_id(name).hex()
    return "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])


_TEMPLATE: list[Path] = []


@pytest.fixture
def small_workspace(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The workspace of its own for every test: root, data, sources, id (name -> UUID text), state, workspace."""
    if not _TEMPLATE:
        _TEMPLATE.append(tmp_path_factory.mktemp("small_workspace"))
        build(_TEMPLATE[0])
    return copied(_TEMPLATE[0], tmp_path)


@pytest.fixture(scope="session")
def read_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The same workspace, one for all tests that only read; what changes in it is an error at the end."""
    if not _TEMPLATE:
        _TEMPLATE.append(tmp_path_factory.mktemp("small_workspace"))
        build(_TEMPLATE[0])
    folder = tmp_path_factory.mktemp("read_workspace")
    found = copied(_TEMPLATE[0], folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield found
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def copied(template: Path, folder: Path) -> SimpleNamespace:
    """Copy a built workspace, which is ten times as fast as building one, and return its parts."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    root, data = folder / "ws", folder / "data"
    web = root / "documents/web/aaaa/source.json"
    web.write_text(web.read_text().replace(str(template.resolve()), str(folder.resolve())))
    workspace = Workspace(root)
    sources = tuple(read_source(root / "documents" / name) for name in ("web/aaaa", "books/bbbb"))
    ids = {name: _uuid(name) for name in [*WEB, *BOOKS]}
    state = read_state(workspace)
    return SimpleNamespace(root=root, data=data, sources=sources, id=ids, state=state, workspace=workspace)
