"""The verbs about mixtures return what `--json` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.base.errors import AuditError, InputError
from engine.mixture.versions import mixture_list, mixture_show, mixture_verify

if TYPE_CHECKING:
    from conftest import Built


def test_versions_are_listed_by_name_and_number(built: Built) -> None:
    for seed in (1, 2):
        built.build({"sources": ["code"], "seed": seed}, "second")
    built.build({"sources": ["prose"]}, "first")
    listed = mixture_list(str(built.workspace.root))
    assert [row["reference"] for row in listed["mixtures"]] == ["first@v1", "second@v1", "second@v2"]
    assert json.loads(json.dumps(listed)) == listed


def test_a_workspace_without_mixtures_lists_none(tmp_path: Path) -> None:
    assert mixture_list(tmp_path) == {"mixtures": [], "damaged": []}


def test_a_version_is_shown_with_what_its_sources_are_short_of(built: Built) -> None:
    config = {"sources": ["code"], "replay": {"share": 0.2, "sources": ["prose"]}, "budget_tokens": 500}
    mixture = built.build(config)
    for reference in ("m", "m@latest", "m@v1", f"m@{mixture.manifest.digest[:8]}"):
        shown = mixture_show(reference, built.workspace.root)
        assert shown["reference"] == "m@v1"
    for row in shown["sources"]:
        assert row["short_of_budget_tokens"] == row["budget_tokens"] - row["supervised_tokens"] >= 0
    assert sum(row["supervised_share"] for row in shown["sources"]) == pytest.approx(1)
    assert shown["packing"]["tokens"] == shown["tokens"]
    assert json.loads(json.dumps(shown)) == shown


def test_a_name_that_does_not_exist_is_an_error_that_guesses(built: Built) -> None:
    built.build({"sources": ["code"]}, "medical")
    for verb in (mixture_show, mixture_verify):
        with pytest.raises(InputError, match="did you mean 'medical'"):
            verb("medicl", built.workspace.root)
        with pytest.raises(InputError, match="there is no such version"):
            verb("medical@v9", built.workspace.root)
    with pytest.raises(InputError, match="no such workspace"):
        mixture_list(built.workspace.root / "nowhere")


def test_a_manifest_that_is_no_json_fails_the_audit(built: Built) -> None:
    mixture = built.build({"sources": ["code"]})
    (mixture.folder / "manifest.json").write_text("{")
    with pytest.raises(AuditError, match="a manifest of this mixture cannot be read"):
        mixture_verify("m", built.workspace.root)
