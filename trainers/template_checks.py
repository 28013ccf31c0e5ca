"""One chat template from the data to the model: what the token store was rendered with, and what the base has learnt.

A model that learns chats in one template and is asked in another does not fail, it answers badly; so a template that
differs is an error, unless the recipe says that it is meant.
"""

from pathlib import Path
from typing import Any

from engine.base.atomic import read_json
from engine.base.errors import AuditError, InputError, problem
from engine.formats.huggingface_tokenizer import chat_template_in
from engine.formats.manifest import Manifest
from engine.formats.token_store import TokenStore
from trainers.lineage import Base

CONFIG = "tokenizer_config.json"
ASKED = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
CHATS = (ASKED, ASKED * 2, [{"role": "system", "content": "three"}, *ASKED])
"""What two templates have to write alike, unless one of them refuses it."""


def template_of(manifest: Manifest) -> dict[str, str] | None:
    """Return name and digest of the template the mixture's chats are rendered with; None without chats."""
    if manifest.template is None:
        return None
    return {"name": manifest.template, "digest": str(manifest.render.get("template_digest"))}


def require_one_template(manifest: Manifest, store: TokenStore, base: Base, other_is_meant: bool) -> list[str]:
    """Return what differs from what the base has learnt and is meant; raise where it is not meant.

    Raises InputError where the token store was rendered in another way than the manifest says, AuditError where the
    runs behind the base have another chat template than the mixture's chats, or where there are none the base's files.
    """
    if store.meta.render != manifest.render:
        told, there = (_told(render) for render in (manifest.render, store.meta.render))
        source = next((source.source for source in manifest.sources if source.objective != "text"), "all")
        place = f"{store.folder}, documents of source {source}"
        fix = "delete the token store and run the data recipe again"
        raise InputError(problem(place, f"rendered with {there}", f"{told}, as {manifest.name} says", fix))
    found = [text for text in (_behind(manifest, base), _beside(manifest, store, base)) if text is not None]
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


def _beside(manifest: Manifest, store: TokenStore, base: Base) -> str | None:
    """Return what is wrong where the template beside a base writes other things around messages than the mixture's."""
    if base.folder is None or base.runs:
        return None
    own, there = store.meta.chat_template, chat_template_in(base.folder)
    if own is None or there is None or own == there:
        return None
    pairs = [(_written(own, chat, base.folder), _written(there, chat, base.folder)) for chat in CHATS]
    both = [pair for pair in pairs if None not in pair]
    if both and all(one == other for one, other in both):
        return None
    other = next((f"{other!r}, the mixture's {one!r}" for one, other in both if one != other), "what the other refuses")
    found = f"it brings another chat template along than {manifest.template}: it writes {other}"
    return problem(base.folder, found, "one template", _fix("tokenizer"))


def _written(source: str, messages: list[dict[str, str]], folder: Path) -> str | None:
    """Return what a template writes, without a BOS in front, which a recipe adds or leaves out; None: it refuses."""
    import jinja2
    from transformers.utils.chat_template_utils import render_jinja_template

    named = {name: token_in(folder, name) for name in ("bos_token", "eos_token")}
    told = {name: token for name, token in named.items() if token is not None}
    try:
        rendered, _ = render_jinja_template([messages], chat_template=source, **told)
    except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None
    return str(rendered[0]).removeprefix(told.get("bos_token", ""))


def token_in(folder: Path, name: str) -> str | None:
    """Return what tokenizer_config.json in a folder says that a token is, such as `pad_token`; None: nothing."""
    token = read_json(folder / CONFIG).get(name) if (folder / CONFIG).is_file() else None
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def _fix(name: str) -> str:
    return f"set render: {{template: {name}}} in the data recipe, or gate: {{other_template: true}} here"


def _named(template: dict[str, str]) -> str:
    return f"{template['name']} ({template['digest'][:12]})"


def _told(render: dict[str, Any]) -> str:
    told = {key: render.get(key) for key in ("template", "template_digest", "bos", "objective")}
    return ", ".join(f"{key} {value}" for key, value in told.items())
