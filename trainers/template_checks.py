"""One chat template from the data to the model: what the token store was rendered with, and what the base has learnt.

A model that learns chats in one template and is asked in another does not fail, it answers badly; so a template that
differs is an error, unless the recipe says that it is meant.
"""

from typing import Any

from engine.base.errors import AuditError, InputError, problem
from engine.formats.huggingface_tokenizer import chat_template_in
from engine.formats.manifest import Manifest
from engine.formats.token_store import TokenStore
from engine.formats.tokenizer import Tokenizer
from trainers.lineage import Base

TOKENIZERS_OWN = "tokenizer"
"""What a data recipe calls the template that a tokenizer brings along."""


def template_of(manifest: Manifest) -> dict[str, str] | None:
    """Return name and digest of the template the mixture's chats are rendered with; None without chats."""
    if manifest.template is None:
        return None
    return {"name": manifest.template, "digest": str(manifest.render.get("template_digest"))}


def require_one_template(
    manifest: Manifest, store: TokenStore, tokenizer: Tokenizer, base: Base, other_is_meant: bool
) -> list[str]:
    """Return what differs from what the base has learnt and is meant; raise where it is not meant.

    Raises InputError where the token store was rendered in another way than the manifest says, AuditError where the
    runs behind the base, or the base's own files, have another chat template than the mixture's chats.
    """
    if store.meta.render != manifest.render:
        told, there = (_told(render) for render in (manifest.render, store.meta.render))
        source = next((source.source for source in manifest.sources if source.objective != "text"), "all")
        place = f"{store.folder}, documents of source {source}"
        fix = "delete the token store and run the data recipe again"
        raise InputError(problem(place, f"rendered with {there}", f"{told}, as {manifest.name} says", fix))
    found = [text for text in (_behind(manifest, base), _beside(manifest, tokenizer, base)) if text is not None]
    if found and not other_is_meant:
        raise AuditError("\n".join(found))
    return found


def _behind(manifest: Manifest, base: Base) -> str | None:
    """Return what is wrong where the last run behind the base that saw chats saw them in another template."""
    own = template_of(manifest)
    older = [(run["run"], run["mixture"]["template"]) for run in base.runs if run["mixture"].get("template")]
    if own is None or not older or older[-1][1]["digest"] == own["digest"]:
        return None
    run, learnt = older[-1]
    found = f"base run '{run}' has learnt chats in the template {_named(learnt)}, the mixture has {_named(own)}"
    return problem(
        f"{manifest.name}@v{manifest.version}", found, "one template along the lineage", _fix(learnt["name"])
    )


def _beside(manifest: Manifest, tokenizer: Tokenizer, base: Base) -> str | None:
    """Return what is wrong where the mixture says `tokenizer` and the base's folder has another template than it."""
    if manifest.template != TOKENIZERS_OWN or base.folder is None or base.runs:
        return None
    own, there = chat_template_in(tokenizer.folder), chat_template_in(base.folder)
    if own is None or there is None or own == there:
        return None
    found = "its chat template is not the one the mixture's chats were rendered with (template: tokenizer)"
    fix = "add the model again and run the data recipe with it, or set gate: {other_template: true}"
    return problem(base.folder, found, "one template", fix)


def _fix(name: str) -> str:
    return f"set render: {{template: {name}}} in the data recipe, or gate: {{other_template: true}} here"


def _named(template: dict[str, str]) -> str:
    return f"{template['name']} ({template['digest'][:12]})"


def _told(render: dict[str, Any]) -> str:
    told = {key: render.get(key) for key in ("template", "template_digest", "bos", "objective")}
    return ", ".join(f"{key} {value}" for key, value in told.items())
