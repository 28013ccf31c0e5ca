"""Personal data and secrets as spans beside the text, each with its kind and what may stand in its place.

Kinds: email, phone, ipv4, ipv6, credit_card, iban, key (tokens of known services, private keys); with the extra
`presidio` also what its recognisers call by name. Where spans overlap, the first of key, email, iban, credit_card,
ipv6, ipv4, phone wins.

A replacement depends on kind and value alone: <EMAIL-3f2a91c0>, or with `replacement: surrogate` a value of the same
form that belongs to nobody. Values are compared in one form (e-mail in small letters, telephone in E.164, digits
without separators), so every way of writing one gets the same replacement. Without `key_file` anybody can try all
telephone or card numbers until one gives the tag: the replacement hides a value from a reader, not from an attacker.
A key of 32 random bytes that is kept elsewhere mends that; texts replaced under one key can be joined by their tags.

Limits: digits of ASCII; nothing that goes on behind a line break but keys; addresses that people spell out are missed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from engine.annotate._units import UNITS, as_fraction
from engine.base.errors import RecipeError, problem
from engine.base.stage import Column, StageConfig

if TYPE_CHECKING:
    from engine.annotate.pii.find import Found
    from engine.formats.annotation import ShardView

SCOPE = "shard"
VERSION = 1
READS = ("text", "num_bytes")
FILES = ("key_file", "presidio_model_folder")
Kind = Literal["email", "phone", "ipv4", "ipv6", "credit_card", "iban", "key"]
ALL_KINDS: tuple[Kind, ...] = ("email", "phone", "ipv4", "ipv6", "credit_card", "iban", "key")
REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "AU")
REPLACED_SPAN = pl.Struct({"start": pl.UInt32, "end": pl.UInt32, "kind": pl.String, "replacement": pl.String})
"""A span of engine.text.spans.SPAN with its kind and what may stand in its place."""
MIN_KEY_BYTES = 16


class Config(StageConfig):
    """Options of pii."""

    stage: Literal["pii"] = "pii"
    kinds: tuple[Kind, ...] = Field(default=ALL_KINDS, description="what is looked for")
    regions: tuple[str, ...] = Field(
        default=REGIONS, description="countries (ISO 3166) whose telephone numbers are found without a plus, in order"
    )
    replacement: Literal["tag", "surrogate"] = Field(
        default="tag", description="what may stand in place of a value: a tag, or a value that belongs to nobody"
    )
    action: Literal["tag", "replace"] = Field(
        default="tag",
        description="tag: spans beside the text only; replace: the text is rendered with the replacements",
    )
    key_file: str | None = Field(
        default=None,
        description="file with a secret of at least 16 bytes that the replacements depend on; without it they can be "
        "found by trying",
    )
    presidio: tuple[str, ...] = Field(
        default=(), description="entities that presidio looks for besides, as in PERSON (provender[presidio])"
    )
    presidio_model: str = Field(
        default="en_core_web_sm", pattern=r"^\w+$", description="package of the spaCy model that presidio reads with"
    )
    presidio_model_folder: str | None = Field(default=None, description="folder of a spaCy model instead of a package")

    @field_validator("regions")
    @classmethod
    def _regions_are_known(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        import phonenumbers

        if unknown := sorted(set(regions) - phonenumbers.SUPPORTED_REGIONS):
            raise ValueError(
                f"{', '.join(unknown)}: no region of libphonenumber, needed: ISO 3166 codes such as US, GB"
            )
        return regions

    @model_validator(mode="after")
    def _can_run(self) -> "Config":
        if not self.kinds and not self.presidio:
            raise ValueError("kinds and presidio are empty: there is nothing to look for")
        if self.presidio:
            from engine.annotate.pii.presidio import missing

            if lacking := missing(self.presidio_model, self.presidio_model_folder):
                raise ValueError(problem("presidio", lacking[0], "presidio-analyzer and a spaCy model", lacking[1]))
        return self


def _all_kinds(config: Config) -> list[str]:
    return list(dict.fromkeys([*config.kinds, *(entity.lower() for entity in config.presidio)]))


def adds(config: Config) -> dict[str, Column]:
    """Return the columns under this config: the counts are of the kinds that are looked for."""
    return {
        "pii__spans": Column(
            pl.List(REPLACED_SPAN),
            "spans in order, none overlapping: bytes of the text, kind, replacement; null without text",
        ),
        "pii__num_spans": Column(pl.UInt32, "spans of any kind; null without text"),
        **{
            f"pii__num_{kind}": Column(pl.UInt32, f"spans of kind {kind}; null without text")
            for kind in _all_kinds(config)
        },
        "pii__share": Column(pl.Float64, "bytes in spans of all bytes, rounded to 1e-4; null without text"),
    }


ADDS = adds


def edits(config: Config) -> dict[str, str]:
    """Return the column of spans as one that is applied to texts, where the recipe wants that."""
    return {"pii__spans": "replace"} if config.action == "replace" else {}


EDITS = edits


def check_files(config: Config) -> None:
    """Raise RecipeError where the key file cannot be read or is too short to be a secret."""
    if config.key_file is None:
        return
    try:
        num_bytes = len(Path(config.key_file).read_bytes())
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
    else:
        if num_bytes >= MIN_KEY_BYTES:
            return
        found = f"it has {num_bytes} bytes"
    needed = f"a file with a secret of at least {MIN_KEY_BYTES} bytes"
    fix = f"head -c 32 /dev/urandom > {config.key_file}"
    raise RecipeError(problem(f"key_file: {config.key_file}", found, needed, fix))


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:
    """Return spans and counts, one row per document."""
    from engine.annotate.pii import replacement
    from engine.annotate.pii.find import find_all

    key = _key(config.key_file)
    make = replacement.surrogate if config.replacement == "surrogate" else replacement.tag
    counts = np.zeros(len(shard.text), dtype=np.int64)
    found: list[Found] = []
    for row, of_row in _with_presidio(shard, find_all(shard.text, config.kinds, config.regions), config):
        counts[row] = len(of_row)
        found += of_row
    spans = {
        "start": pl.Series([one.start for one in found], dtype=pl.UInt32),
        "end": pl.Series([one.end for one in found], dtype=pl.UInt32),
        "kind": pl.Series([one.kind for one in found], dtype=pl.String),
        "replacement": pl.Series([make(key, one.kind, one.value) for one in found], dtype=pl.String),
    }
    # One list of all spans, cut into rows: a list per row, made one by one, takes longer than all the looking.
    edges = np.concatenate([[0], np.cumsum(counts)])
    lists = pa.LargeListArray.from_arrays(pl.Series(edges).to_arrow(), pl.DataFrame(spans).to_struct().to_arrow())
    rows = pl.select(pl.when(pl.Series(pl.from_arrow(shard.text.is_valid()))).then(pl.Series(pl.from_arrow(lists))))
    frame = rows.to_series().cast(pl.List(REPLACED_SPAN)).alias("pii__spans").to_frame()
    return _counted(frame, shard.columns(["num_bytes"])["num_bytes"], config)


def _with_presidio(
    shard: "ShardView", own: Iterator[tuple[int, list["Found"]]], config: Config
) -> Iterator[tuple[int, list["Found"]]]:
    """Yield (row, spans) with what presidio finds where nothing of ours is."""
    if not config.presidio:
        return own
    from engine.annotate.pii.presidio import find_named

    return find_named(shard.text, dict(own), config.presidio, config.presidio_model_folder or config.presidio_model)


def _counted(frame: pl.DataFrame, num_bytes: pl.Series, config: Config) -> pl.DataFrame:
    spans = pl.col("pii__spans")
    element = pl.element().struct
    covered = spans.list.eval((element.field("end") - element.field("start")).cast(pl.Int64)).list.sum()
    # In integers, halves upwards, so that no machine rounds otherwise.
    units = (2 * covered * UNITS + num_bytes) // (2 * num_bytes)
    counts = {
        f"pii__num_{kind}": spans.list.eval(element.field("kind") == kind).list.sum().cast(pl.UInt32)
        for kind in _all_kinds(config)
    }
    return frame.with_columns(
        spans.list.len().cast(pl.UInt32).alias("pii__num_spans"),
        *(count.alias(name) for name, count in counts.items()),
        as_fraction(units).alias("pii__share"),
    ).select(list(adds(config)))


def _key(key_file: str | None) -> bytes:
    from engine.annotate.pii.replacement import derived_key

    return derived_key(b"" if key_file is None else Path(key_file).read_bytes())
