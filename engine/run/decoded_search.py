"""The token store is decoded and searched again, so the proof is about what is really trained.

Between the search of the texts and the tokens lie cuts, rendering and a tokenizer. What the audit finds that was not
left in on purpose (`action: tag`) stops the run.

audits/<digest>/
    hits.parquet    doc_id, benchmark, item, kind, score, evidence: by doc_id, best first
    receipt.json    documents and tokens decoded
"""

import re
from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from engine.annotate.contamination.index import load_index
from engine.annotate.contamination.judge import judge
from engine.annotate.contamination.search import search
from engine.base.atomic import atomic_folder, read_json
from engine.base.errors import AuditError, problem
from engine.base.hashing import digest_file, digest_json
from engine.formats.annotation import Annotation
from engine.formats.doc_ids import id_text
from engine.formats.manifest import Audit
from engine.formats.messages import WHOLE
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.token_store import TokenStore
from engine.formats.tokenizer import Tokenizer, decode_batch
from engine.run.stage_run import Annotated
from engine.run.steps import RunContext, Stopwatch

VERSION = 3
STAGE = "contamination"
HITS = ("doc_id", "benchmark", "item", "kind", "score", "evidence")
_BATCH_TOKENS = 1 << 20
_FRAMES = re.compile(
    r"^[ \t]*(?:(?:system|user|assistant|tool|ipython|model)[ \t]*$|### (?:Instruction|Input|Response):)", re.MULTILINE
)
"""What templates write between messages as text: the role alone on a line, the headings of Alpaca."""


def audit(context: RunContext, state: Annotated, tokenizer: Tokenizer, store: TokenStore) -> Audit | None:
    """Search what the token store holds for all that the recipe's last search knows; None where nothing is searched.

    Raises AuditError that names documents where something is found that was not left in on purpose.
    """
    last = widest_search(context, state)
    if last is None:
        return None
    digest = digest_json({"version": VERSION, "store": store.meta.digest, "search": last.digest})
    folder = context.workspace.audit(digest)

    def make() -> None:
        watch = Stopwatch()
        with atomic_folder(folder) as temporary:
            hits = pl.concat(list(_search(state, last, tokenizer, store))).sort(
                ["doc_id", "score", "benchmark", "item", "kind"], descending=[False, True, False, False, False]
            )
            write_parquet(temporary / "hits.parquet", hits)
            write_receipt(
                temporary,
                Receipt(
                    made_by=f"audit/{VERSION}",
                    digest=digest,
                    inputs={"token_store": store.meta.digest, last.prefix: last.digest},
                    rows=hits.height,
                    seconds=watch.seconds,
                    details={
                        "documents": store.meta.num_documents,
                        "tokens": store.meta.num_tokens,
                        "files": {"hits.parquet": digest_file(temporary / "hits.parquet")},
                    },
                ),
            )

    context.ensure("audit", folder, digest, make)
    _require_clean(context, state, read_parquet(folder / "hits.parquet"))
    return Audit(digest=digest, documents=store.meta.num_documents, tokens=store.meta.num_tokens)


def _search(state: Annotated, last: Annotation, tokenizer: Tokenizer, store: TokenStore) -> Iterator[pl.DataFrame]:
    """Yield the hits of the decoded documents, some at a time."""
    index = load_index(state.models[last.prefix])
    folder = state.artifacts[last.prefix]
    counted = read_parquet(folder / "ngram_counts.parquet")
    counts = np.zeros(index.num_ngrams, dtype=np.int64)
    counts[counted["ngram"].to_numpy()] = counted["documents"].to_numpy()
    details = read_json(folder / "details.json")
    yield pl.DataFrame(schema=dict.fromkeys(HITS, pl.String) | {"doc_id": pl.Binary, "score": pl.Float64})
    for documents, texts in _decoded(tokenizer, store):
        matches = search(pa.array(texts, type=pa.large_string()), index).matches
        hits = judge(matches, index, counts, details["searched_documents"], details["min_passage"])
        named = [documents["doc_id"].gather(hits["row"]), *index.items[hits["item"]].select("benchmark", "item")]
        yield hits.drop("item").with_columns(named).select(HITS)


def _decoded(tokenizer: Tokenizer, store: TokenStore) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    documents = store.documents()
    batch = (documents["num_tokens"].cast(pl.Int64).cum_sum() - 1) // _BATCH_TOKENS
    for _, rows in documents.group_by(batch.alias("batch"), maintain_order=True):
        ids = [
            store.ids[offset : offset + length].tolist()
            for offset, length in rows.select("offset", "num_tokens").iter_rows()
        ]
        # Control tokens and EOS as line breaks: their words neither complete nor interrupt an n-gram of the text.
        texts = decode_batch(tokenizer, ids, special="\n")
        chats = chat_sources(store)
        yield (
            rows,
            [without_frames(text) if name in chats else text for text, name in zip(texts, rows["source"], strict=True)],
        )


def chat_sources(store: TokenStore) -> frozenset[str]:
    """Return the sources whose documents a chat template framed."""
    render = store.meta.render
    return frozenset(render.get("objective") or ()) if render.get("template_digest") else frozenset()


def without_frames(text: str) -> str:
    """Return a decoded chat with line breaks for what the template wrote between the messages.

    A passage that goes over two messages is then as whole as in the text that was searched before rendering.
    """
    return _FRAMES.sub("\n", text)


def widest_search(context: RunContext, state: Annotated) -> Annotation | None:
    """Return the recipe's last search of whole texts, else its last one; None where nothing is searched."""
    searches = [annotation for annotation in state.annotations if annotation.stage == STAGE]
    whole = [search for search in searches if searched_field(context, search) in WHOLE]
    return [*searches, *whole][-1] if searches else None


def searched_field(context: RunContext, search: Annotation) -> str:
    """Return what a search took for the text."""
    configs = {stage.config.column_prefix: stage.config for stage in context.recipe.annotate}
    return str(configs[search.prefix].field)


def left_in(context: RunContext, state: Annotated) -> pl.DataFrame:
    """Return doc_id, benchmark of what any search of the recipe found and left in on purpose (`action: tag`)."""
    found = [pl.DataFrame(schema={"doc_id": pl.Binary, "benchmark": pl.String})]
    for done in state.annotations:
        if done.stage == STAGE:
            actions = state.corpus(context).all_columns(["doc_id", f"{done.prefix}__action"])
            tagged = actions.filter(pl.col(f"{done.prefix}__action") == "tag")
            hits = read_parquet(state.artifacts[done.prefix] / "hits.parquet", ["doc_id", "benchmark"])
            found.append(hits.join(tagged, on="doc_id", how="semi"))
    return pl.concat(found).unique().sort("benchmark", "doc_id")


def _require_clean(context: RunContext, state: Annotated, hits: pl.DataFrame) -> None:
    if hits.height == 0:
        return
    found = hits.join(left_in(context, state), on=["doc_id", "benchmark"], how="anti")
    if found.height:
        doc_ids = [id_text(doc_id) for doc_id in found["doc_id"].unique(maintain_order=True).head(3)]
        named = ", ".join(sorted(set(found["benchmark"])))
        text = f"{found['doc_id'].n_unique()} documents still hold items of {named} when decoded: {', '.join(doc_ids)}"
        fix = f"set action: drop in the stage {STAGE}, or leave them out with a filter"
        raise AuditError(problem(f"{context.recipe.path.name}: token store", text, "none", fix))
