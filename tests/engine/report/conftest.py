"""A small workspace made through the formats alone: four sources, every kind of decision, two mixtures, two runs."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from engine.annotate.contamination.coverage import SCHEMA as COVERAGE_SCHEMA
from engine.base.atomic import read_json, write_json
from engine.base.hashing import digest_bytes, digest_json, digest_parts
from engine.formats import ledger as ledger_format
from engine.formats.annotation import write_part
from engine.formats.documents import Shard, SourceDocuments, read_source, write_source
from engine.formats.manifest import DOCUMENTS_SCHEMA as MIXTURE_DOCUMENTS
from engine.formats.manifest import HeldOutSet, Manifest, MixtureSource, Phase
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.run import FORGETTING_SCHEMA, METRICS_SCHEMA, PROBES_SCHEMA
from engine.formats.schedule import SCHEMA as SCHEDULE_SCHEMA
from engine.formats.schedule import ScheduleMeta
from engine.formats.selection import BALANCE_SCHEMA, EXAMPLES_SCHEMA
from engine.formats.selection import SCHEMA as SELECTION_SCHEMA
from engine.formats.split import HELDOUT_SCHEMA
from engine.formats.state import AnnotationState, RecipeState, write_state
from engine.formats.token_store import (
    CONTROL_TOKENS_FILE,
    CONTROL_TOKENS_SCHEMA,
    LOOK_ALIKES_FILE,
    LOOK_ALIKES_SCHEMA,
    StoreMeta,
)
from engine.formats.token_store import DOCUMENTS_SCHEMA as STORE_DOCUMENTS
from engine.formats.workspace import Workspace

SOURCES = {"stdlib_docs": (120, "PSF-2.0"), "medquad": (90, "CC-BY-4.0"), "code": (60, None), "licenses": (30, "MIT")}
"""Source -> documents and licence."""
HOSTILE = '<script>alert("1")</script> & <img src="http://example.com/x.png"> opening of the largest cluster.'
MEASURED_RECALL = {
    "planted": 1000, "found": 991, "share": 0.991, "interval_95": [0.9831, 0.9952], "mean_similarity": 0.8021,
    "brute_force_sample": {
        "pairs": 0, "found": 0, "share": None, "interval_95": None,
        "sampled_documents": 512, "compared_documents": 8192,
    },
}  # fmt: skip
RULES = ("exact_duplicate", "near_duplicate", "held_out", "too_short")
STEPS = (0, 10, 20, 30, 40)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole workspace; tests only read it."""
    root = tmp_path_factory.mktemp("report") / "workspace"
    root.mkdir()
    build_workspace(root)
    write_run(root, "replay_0", "demo_replay_0", rise=0.001)
    write_run(root, "replay_10", "demo_replay_10", rise=0.0002)
    return root


@pytest.fixture(scope="session")
def balanced(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after balance: documents were left over, one quota is not met, `code` is protected; tests only read."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("balanced") / "workspace"))
    balance_workspace(root)
    return root


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "workspace"))


@pytest.fixture
def without_runs(workspace: Path) -> Path:
    """The data half only."""
    shutil.rmtree(workspace / "runs")
    return workspace


@pytest.fixture
def add_run() -> Callable[..., Path]:
    """Writes one more run into a workspace; see `write_run`."""
    return write_run


def doc_id(source: str, row: int) -> bytes:
    return digest_parts([source.encode(), str(row).encode()])


def fate(source: str, row: int) -> tuple[str, str | None]:
    """Decision and reason of a document, by its row."""
    if source == "medquad" and row in (1, 2, 3, 4, 5, 6):
        return "dropped", "exact_duplicate"
    if (source == "medquad" and row in (7, 8, 9)) or (source == "licenses" and row % 3):
        return "dropped", "near_duplicate"
    if row < 10 and source in ("stdlib_docs", "code"):
        return "held_out", "general" if source == "stdlib_docs" else "domain"
    if row % 11 == 10:
        return "dropped", "too_short"
    return "kept", None


def kept_id(source: str, row: int) -> bytes | None:
    """The survivor of a duplicate: medquad 0 for six exact and three near ones, licenses 0, 3, 6... for two each."""
    if fate(source, row)[1] not in ("exact_duplicate", "near_duplicate"):
        return None
    return doc_id(source, 0 if source == "medquad" else row - row % 3)


def text_of(source: str, row: int) -> str:
    if source == "medquad" and row <= 6:
        return HOSTILE
    return f"Document {row} of {source}. " + " ".join(f"word{(row * 7 + i) % 40}" for i in range(5 + row % 23))


def score(source: str, row: int) -> float:
    start = {"stdlib_docs": 0.75, "medquad": 0.6, "code": 0.45, "licenses": 0.1}[source]
    return round(min(1.0, max(0.0, start + 0.2 * math.sin(row))), 4)


def build_workspace(root: Path) -> None:
    """Write the data half of the workspace and its state."""
    place = Workspace(root)
    documents = {name: _source(place, name, rows, terms) for name, (rows, terms) in SOURCES.items()}
    annotations = [
        _annotation(place, documents, "exact_dup", {"exact_dup__kept_id": pl.Binary}, _exact),
        _annotation(
            place, documents, "near_dup", {"near_dup__kept_id": pl.Binary, "near_dup__similarity": pl.Float64}, _near
        ),
        _annotation(place, documents, "quality", {"quality__score": pl.Float64}, lambda s, r: (score(s, r),)),
        _annotation(place, documents, "contamination", {"contamination__hits": pl.Int64}, lambda s, r: (0,)),
    ]  # fmt: skip
    artifacts = {"near_dup": _pairs(place), "contamination": _coverage(place)}
    selection, split, store = _selection(place, documents), _split(place), _store(place)
    mixtures = {
        name: _mixture(place, name, replay) for name, replay in (("demo_replay_0", None), ("demo_replay_10", 0.1))
    }
    write_state(
        place,
        RecipeState(
            recipe="demo",
            finished="2026-11-20T09:30:00+00:00",
            sources={name: str(source.folder.relative_to(root)) for name, source in documents.items()},
            annotations=annotations,
            artifacts=artifacts,
            split=split,
            selection=selection,
            tokenizer=digest_json("tokenizer"),
            token_store=store,
            mixtures=mixtures,
        ),
    )


def _rows() -> list[tuple[str, int]]:
    return [(source, row) for source, (rows, _) in SOURCES.items() for row in range(rows)]


def _source(place: Workspace, name: str, rows: int, terms: str | None) -> SourceDocuments:
    folder = place.documents(name, digest_json(name))
    shards = []
    for number, (start, end) in enumerate(((0, rows // 2), (rows // 2, rows))):
        texts = [text_of(name, row) for row in range(start, end)]
        core = pl.DataFrame({
            "doc_id": [doc_id(name, row) for row in range(start, end)],
            "source": name,
            "license": pl.Series([terms] * len(texts), dtype=pl.String),
            "text_digest": [digest_bytes(text.encode()) for text in texts],
            "num_bytes": [len(text.encode()) for text in texts],
            "num_chars": [len(text) for text in texts],
        })  # fmt: skip
        empty = [pl.lit(None, dtype=pl.String).alias(c) for c in ("url", "date", "language", "domain", "read_problem")]
        write_parquet(folder / f"{number:05d}.ids.parquet", core.with_columns(empty))
        write_parquet(folder / f"{number:05d}.parquet", pl.DataFrame({"text": texts}))
        size = int(core["num_bytes"].sum())
        paths = (folder / f"{number:05d}.ids.parquet", folder / f"{number:05d}.parquet")
        shards.append(Shard(name, f"{number:05d}", f"key{number}", len(texts), size, *paths, "text", (0,)))
    source = SourceDocuments(name, digest_json(name), folder, tuple(shards), {})
    write_source(source)
    write_receipt(folder, Receipt(made_by="intake/1", digest=source.digest, rows=rows, seconds=0.1))
    return source


def _exact(source: str, row: int) -> tuple[bytes | None]:
    return (kept_id(source, row) if fate(source, row)[1] == "exact_duplicate" else None,)


def _near(source: str, row: int) -> tuple[bytes | None, float | None]:
    is_near = fate(source, row)[1] == "near_duplicate"
    return (kept_id(source, row), 0.8 + 0.01 * (row % 20)) if is_near else (None, None)


def _annotation(place: Workspace, documents: dict, stage: str, schema: dict, values) -> AnnotationState:
    folder = place.annotation(stage, digest_json(stage))
    for name, source in documents.items():
        start = 0
        for shard in source.shards:
            rows = [values(name, row) for row in range(start, start + shard.num_rows)]
            write_part(folder, shard, pl.DataFrame(rows, schema=schema, orient="row"))
            start += shard.num_rows
    relative = str(folder.relative_to(place.root))
    return AnnotationState(prefix=stage, stage=stage, digest=digest_json(stage), folder=relative, columns=list(schema))


def _pairs(place: Workspace) -> str:
    folder = place.annotation("near_dup", digest_json("near_dup")) / "_corpus" / "abc"
    pairs = [
        (kept_id(source, row), doc_id(source, row), 0.8 + 0.01 * (row % 20))
        for source, row in _rows()
        if fate(source, row)[1] == "near_duplicate"
    ]
    pairs += [(doc_id("code", row), doc_id("code", row + 1), 0.5 + 0.007 * row) for row in range(30)]
    write_parquet(
        folder / "pairs.parquet", pl.DataFrame(pairs, schema=["doc_id", "other_id", "similarity"], orient="row")
    )
    config = {"stage": "near_dup", "threshold": 0.8}
    digest, details = digest_json("near"), {"floor": 0.8, "measured_recall": MEASURED_RECALL}
    made = Receipt(made_by="near_dup/1", digest=digest, config=config, rows=len(pairs), seconds=0.1, details=details)
    write_receipt(folder, made)
    return str(folder.relative_to(place.root))


def _coverage(place: Workspace) -> str:
    folder = place.annotation("contamination", digest_json("contamination")) / "_corpus" / "abc"
    sheet = pl.DataFrame({
        "benchmark": ["general", "domain"],
        "items": [10, 10],
        "matchable_items": [10, 9],
        "searched_documents": [300, 300],
        "flagged_documents": [0, 0],
        "planted_copies": [20, 18],
        "planted_recall": [1.0, 0.985],
        **{f"{kind}_recall": [1.0, 0.985] for kind in ("verbatim", "rewrapped", "recased", "buried")},
        "control_documents": [10, 10],
        "control_flag_rate": [0.0, None],
    }, schema=COVERAGE_SCHEMA)  # fmt: skip
    write_parquet(folder / "coverage.parquet", sheet)
    return str(folder.relative_to(place.root))


def _selection(place: Workspace, documents: dict) -> str:
    folder = place.selection(digest_json("selection"))
    for name, source in documents.items():
        start = 0
        for shard in source.shards:
            rows = [fate(name, row) for row in range(start, start + shard.num_rows)]
            decided = pl.DataFrame(rows, schema=["decision", "reason"], orient="row")
            write_part(folder, shard, decided.with_columns(tags=pl.lit(None, pl.List(pl.String))))
            start += shard.num_rows
    write_parquet(folder / "ledger.parquet", _ledger())
    write_json(folder / "selection.json", {"rules": [{"reason": r} for r in RULES]})
    write_receipt(folder, Receipt(made_by="select/1", digest=digest_json("selection"), rows=300, seconds=0.1))
    return str(folder.relative_to(place.root))


def _ledger() -> pl.DataFrame:
    decided = pl.DataFrame(
        [(s, *fate(s, r), len(text_of(s, r).encode())) for s, r in _rows()],
        schema=["source", "outcome", "reason", "bytes"],
        orient="row",
    )
    counted = [pl.len().cast(pl.Int64).alias("documents"), pl.col("bytes").sum()]
    parts = [
        decided.with_columns(pl.lit("in").alias("outcome"), pl.lit(None, dtype=pl.String).alias("reason"))
        .group_by("source", "outcome", "reason", maintain_order=True)
        .agg(counted),
        decided.group_by("source", "outcome", "reason", maintain_order=True).agg(counted),
    ]  # fmt: skip
    columns = ["source", "outcome", "reason", "documents", "bytes"]
    rows = pl.concat([part.select(columns) for part in parts])
    rows = rows.with_columns(pl.lit("selection").alias("step"), pl.lit(None, dtype=pl.Int64).alias("tokens"))
    return rows.select(list(ledger_format.SCHEMA))


def rebalanced(source: str, row: int) -> tuple[str, str | None, list[str] | None]:
    """Decision, reason and tags of a document after balance and protection."""
    decision, reason = fate(source, row)
    if source == "code" and decision == "dropped":
        return "kept", None, [str(reason)]
    if source == "stdlib_docs" and decision == "kept" and row % 2:
        return "over_budget", "sources", None
    return decision, reason, ["odd"] if decision == "kept" and row % 50 == 20 else None


def balance_workspace(root: Path) -> None:
    """Rewrite the selection of a workspace with `rebalanced`; a token is four bytes."""
    place = Workspace(root)
    folder = place.selection(digest_json("selection"))
    rows = []
    for name in SOURCES:
        path = place.documents(name, digest_json(name)) / "source.json"
        if name == "code":
            write_json(path, read_json(path) | {"config": {"protected": True}})
        start = 0
        for shard in read_source(path.parent).shards:
            decided = [rebalanced(name, row) for row in range(start, start + shard.num_rows)]
            write_part(folder, shard, pl.DataFrame(decided, schema=SELECTION_SCHEMA, orient="row"))
            sizes = shard.read_core(["num_bytes"])["num_bytes"].to_list()
            for (decision, reason, _), size in zip(decided, sizes, strict=True):
                rows += [("selection", name, o, r, 1, size, size // 4) for o, r in (("in", None), (decision, reason))]
            start += shard.num_rows
    keys = ["step", "source", "outcome", "reason"]
    ledger = pl.DataFrame(rows, schema=ledger_format.SCHEMA, orient="row").group_by(keys).agg(pl.all().sum()).sort(keys)
    write_parquet(folder / "ledger.parquet", ledger)
    groups = [
        ("sources", "documents", "source = stdlib_docs", True, 50, 100, 50, 0, 100, 50),
        ("sources", "documents", "source = medquad", True, 100, 73, 73, 27, 73, 73),
        ("sources", "documents", "source = licenses", False, 40, 9, 9, 0, 9, 9),
    ]
    write_parquet(folder / "balance.parquet", pl.DataFrame(groups, schema=BALANCE_SCHEMA, orient="row"))
    examples = [
        ("stdlib_docs", "over_budget", "sources", doc_id("stdlib_docs", 11), 60, text_of("stdlib_docs", 11)),
        ("medquad", "dropped", "exact_duplicate", doc_id("medquad", 1), len(HOSTILE), HOSTILE),
        ("medquad", "dropped", "no_text", doc_id("medquad", 2), 0, None),
        ("code", "cut", "contamination", doc_id("code", 30), 900, "the passage"),
    ]
    write_parquet(folder / "examples.parquet", pl.DataFrame(examples, schema=EXAMPLES_SCHEMA, orient="row"))
    rules = [{"reason": reason, "action": "drop"} for reason in RULES] + [{"reason": "odd", "action": "tag"}]
    write_json(folder / "selection.json", {"rules": rules, "balance": [{"reason": "sources", "by": ["source"]}]})


def _split(place: Workspace) -> str:
    folder = place.split(digest_json("split"))
    held = [(s, r) for s, r in _rows() if fate(s, r)[0] == "held_out"]
    sets = {"stdlib_docs": "general", "code": "domain"}
    rows = [(doc_id(s, r), sets[s], s, doc_id(s, r), len(text_of(s, r).encode()), None, text_of(s, r)) for s, r in held]
    frame = pl.DataFrame(rows, schema=HELDOUT_SCHEMA, orient="row").sort("set", "doc_id")
    write_parquet(folder / "heldout.parquet", frame)
    write_parquet(folder / "groups.parquet", frame.select("doc_id", "group_id", "set"))
    write_receipt(folder, Receipt(made_by="split/1", digest=digest_json("split"), rows=len(rows), seconds=0.1))
    return str(folder.relative_to(place.root))


def _store(place: Workspace) -> str:
    folder = place.tokens(digest_json("store"))
    kept = sorted((doc_id(s, r), s, len(text_of(s, r).split()) * 2) for s, r in _rows() if fate(s, r)[0] == "kept")
    frame = pl.DataFrame(
        {
            "doc_id": [k[0] for k in kept],
            "source": [k[1] for k in kept],
            "offset": [sum(k[2] for k in kept[:i]) for i in range(len(kept))],
            "num_tokens": [k[2] for k in kept],
            "supervised_tokens": [k[2] - 1 for k in kept],
            "num_bytes": [k[2] * 4 for k in kept],
            "text_digest": [bytes(16) for _ in kept],
        },
        schema=STORE_DOCUMENTS,
    )
    total = int(frame["num_tokens"].sum())
    write_parquet(folder / "documents.parquet", frame)
    write_parquet(folder / CONTROL_TOKENS_FILE, pl.DataFrame(schema=CONTROL_TOKENS_SCHEMA))
    write_parquet(folder / LOOK_ALIKES_FILE, pl.DataFrame(schema=LOOK_ALIKES_SCHEMA))
    (folder / "ids.bin").write_bytes(bytes(2 * total))
    (folder / "supervised.bin").write_bytes(bytes((total + 7) // 8))
    meta = StoreMeta(
        digest=digest_json("store"), tokenizer=digest_json("tokenizer"), eos_id=1, dtype="uint16",
        num_documents=len(kept), num_tokens=total,
    )  # fmt: skip
    write_json(folder / "store.json", meta.model_dump())
    write_receipt(folder, Receipt(made_by="pack/1", digest=meta.digest, rows=len(kept), seconds=0.1))
    return str(folder.relative_to(place.root))


def _mixture(place: Workspace, name: str, replay: float | None) -> str:
    folder, schedule = place.mixture(name, 1), digest_json(["schedule", name])
    held = [
        HeldOutSet(set=s, documents=10, bytes=900, searched_documents=48, contaminated_documents=0)
        for s in ("domain", "general")
    ]
    sources = [_part("code", False, 3600 if replay else 4000)] + ([_part("stdlib_docs", True, 400)] if replay else [])
    whole = Phase(
        name="all", curriculum="shuffled", budget_tokens=4000, documents=48, tokens=4100, supervised_tokens=4000
    )
    manifest = Manifest(
        name=name, version=1, digest=digest_json(["mixture", name]), recipe="demo",
        recipe_digest=digest_json("recipe"), tokenizer=digest_json("tokenizer"),
        token_store=digest_json("store"), selection=digest_json("selection"), split=digest_json("split"), seed=1,
        curriculum="shuffled", phases=[whole], n_eff_documents_before=2.0, n_eff_documents_after=1.5,
        replay_share=replay, sources=sources, held_out=held, documents=48, tokens=4100,
        supervised_tokens=4000, n_eff_before=3.2, n_eff_after=1.3846 if replay else 1.0, schedule=schedule,
        row_tokens=64, rows_per_step=2, num_steps=40, config={"sources": ["code"], "budget_tokens": 4000},
    )  # fmt: skip
    write_json(folder / "manifest.json", manifest.model_dump())
    write_parquet(folder / "documents.parquet", pl.DataFrame(schema=MIXTURE_DOCUMENTS))
    write_parquet(folder / "ledger.parquet", pl.DataFrame(schema=ledger_format.SCHEMA))
    write_receipt(folder, Receipt(made_by="mixture/1", digest=manifest.digest, rows=48, seconds=0.1))
    meta = ScheduleMeta(
        digest=schedule, mixture=manifest.digest, token_store=digest_json("store"), row_tokens=64, rows_per_step=2,
        num_steps=40, num_tokens=4608, supervised_tokens=4000,
    )  # fmt: skip
    write_parquet(place.schedule(schedule) / "schedule.parquet", pl.DataFrame(schema=SCHEDULE_SCHEMA))
    write_json(place.schedule(schedule) / "schedule.json", meta.model_dump())
    write_receipt(place.schedule(schedule), Receipt(made_by="schedule/1", digest=schedule, rows=0, seconds=0.1))
    return f"{name}@v1"


def _part(source: str, is_replay: bool, tokens: int) -> MixtureSource:
    return MixtureSource(
        source=source, is_replay=is_replay, phase=0, objective="text", input_digest=digest_json(source),
        budget_tokens=tokens,
        available_documents=46, available_tokens=1900, documents=24, unique_tokens=1800, first_documents=24,
        first_tokens=1800, tokens=tokens + 50,
        supervised_tokens=tokens, max_repeats=3, licenses={"unknown": 24},
    )  # fmt: skip


def write_run(
    root: Path, name: str, mixture: str, rise: float, is_finished: bool = True, base: str = "tiny_base"
) -> Path:
    """Write a run whose general bits per byte rise by `rise` of step 0 at every step; the budget is 0.02."""
    folder = Workspace(root).run(name)
    recipe = {
        "name": name,
        "mixture": f"{mixture}@latest",
        "base": {"run": base},
        "optimizer": {"learning_rate": 0.0003, "betas": [0.9, 0.95]},
        "budget": {"max_general_bpb_rise": 0.02},
    }
    named = {"reference": f"{mixture}@v1", "digest": digest_json(["mixture", mixture])}
    content = {"name": name, "recipe": recipe, "mixture": named, "summary": None}
    content["base"] = {"kind": "tiny" if base == "scratch" else "run", "name": base, "digest": digest_json(base)}
    write_json(folder / "run.json", content)
    shares = {"code": 0.9, "stdlib_docs": 0.1} if mixture == "demo_replay_10" else {"code": 1.0}
    lines, rows = [], []
    for step in range(1, STEPS[-1] + 1):
        whole = {
            "loss": _loss(step, ""),
            "supervised_tokens": 100,
            "tokens": 115,
            "learning_rate": 3e-4,
            "grad_norm": 1.0,
            "seconds": 0.5,
        }
        parts = {
            s: {"loss": _loss(step, s), "supervised_tokens": round(100 * part), "tokens": round(115 * part)}
            for s, part in shares.items()
        }
        lines.append(json.dumps({"step": step, **whole, "sources": parts}))
        rows += [
            {"step": step, "source": None, **whole},
            *({"step": step, "source": s, **values} for s, values in parts.items()),
        ]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    if is_finished:
        frame = pl.DataFrame([{c: row.get(c) for c in METRICS_SCHEMA} for row in rows], schema=METRICS_SCHEMA)
        write_parquet(folder / "metrics.parquet", frame)
        write_receipt(folder, Receipt(made_by="train/1", digest=digest_json(name), rows=STEPS[-1], seconds=27.5))
    _probes(folder, rise)
    return folder


def _loss(step: int, source: str) -> float:
    return 5.2 - 1.9 * (1 - math.exp(-step / 14)) + 0.08 * math.sin(3 * step + len(source))


def _probes(folder: Path, rise: float) -> None:
    probes, measured = [], []
    for probe, start, per_step, is_general in (("general", 1.9, rise, True), ("domain", 2.4, -0.004 - rise, False)):
        for step in STEPS:
            bits = start * (1 + per_step * step)
            nats = bits * 900 * math.log(2)
            spread = [step * rise * math.sin(i) for i in range(10)]
            shares = [(1 + part - sum(spread) / 10) / 10 for part in spread]
            probes += [(step, probe, doc_id(probe, i), nats * part, 25, 90) for i, part in enumerate(shares)]
            half = 0.0001 * step
            within = per_step * step + half <= 0.02 if is_general else None
            measured.append((
                step, probe, is_general, bits, nats / 250,
                per_step * step, per_step * step - half, per_step * step + half, within,
            ))  # fmt: skip
    write_parquet(folder / "probes.parquet", pl.DataFrame(probes, schema=PROBES_SCHEMA, orient="row"))
    write_parquet(folder / "forgetting.parquet", pl.DataFrame(measured, schema=FORGETTING_SCHEMA, orient="row"))
