"""The section `render:` of a recipe: one template where there are chats, objectives that fit their sources."""

from collections.abc import Sequence
from typing import Any

from engine.base.errors import problem, unknown
from engine.pack.control_slots import too_few_slots
from engine.pack.render import OF_TEXTS, RenderConfig
from engine.pack.templates import NAMES, TEMPLATES, TOKENIZERS_OWN
from engine.pack.tokenizer import CONTROL_PIECE, TokenizerConfig
from engine.recipe.check_names import named_sources
from engine.recipe.frame import lenient
from engine.recipe.stages import Stage
from engine.select.control_tokens import Config as ControlTokensConfig
from engine.select.control_tokens import all_tokens

_OF_RENDER = ("template", "render")


def check_render(place: str, content: dict[str, Any], sources: tuple[Stage, ...]) -> list[str]:
    """Return what is wrong with templates, objectives and the slots a template needs."""
    chats = {source.config.name for source in sources if getattr(source.config, "has_messages", False)}
    given = content.get("render")
    named = given if isinstance(given, dict) else {}
    found = _templates_of_mixtures(place, content.get("mixtures"))
    if named.get("template") is None:
        fix = f"add render: {{template: {NAMES[0]}}}; there are {', '.join(NAMES[:-1])} and {NAMES[-1]}, its own"
        found += [
            problem(f"{place}: {where}", f"'{name}' holds chat records, and no template is named", "one template", fix)
            for where, name in named_sources(content.get("mixtures"), "mixtures")
            if name in chats
        ]
    found += _one_template(place, named.get("template"))
    tokenizer = content.get("tokenizer")
    is_trained = isinstance(tokenizer, dict) and tokenizer.get("train") is not None
    if named.get("template") == TOKENIZERS_OWN and is_trained:
        finding, needed = (
            "a tokenizer trained here has no template of its own",
            "the template of a model, or one of ours",
        )
        found.append(problem(f"{place}: render.template", finding, needed, _write_one()))
    objective = named.get("objective")
    items = content.get("sources")
    names = [str(one.get("name")) for one in items if isinstance(one, dict)] if isinstance(items, list) else []
    readable = {source.config.name for source in sources}
    for name, value in objective.items() if isinstance(objective, dict) else ():
        where = f"{place}: render.objective"
        if name not in names:
            found.append(unknown(where, "source", str(name), names))
        elif name in readable - chats and value in ("answers", "last_answer"):
            finding = f"{value} of '{name}', which holds texts without roles, so nothing says what an answer is"
            fix = f"write {name}: {OF_TEXTS}, or read it with stage: chat"
            found.append(problem(where, finding, f"{OF_TEXTS} for sources of texts", fix))
    return found + _check_slots(place, content)


def without_templates(content: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe without several templates and those inside of mixtures, which `check_render` reports."""
    mixtures, render = content.get("mixtures"), content.get("render")
    if isinstance(render, dict) and isinstance(render.get("template"), list | dict):
        content = content | {"render": {key: value for key, value in render.items() if key != "template"}}
    if not isinstance(mixtures, dict):
        return content
    kept = {
        name: {key: value for key, value in one.items() if key not in _OF_RENDER} if isinstance(one, dict) else one
        for name, one in mixtures.items()
    }
    return content | {"mixtures": kept}


def _one_template(place: str, given: Any) -> list[str]:
    """Return the mistake of templates per source, or of several in a list."""
    if not isinstance(given, list | dict):
        return []
    named = [name for name in (given.values() if isinstance(given, dict) else given) if name in NAMES]
    what = f"{len(given)} template{'s' * (len(given) != 1)}: {', '.join(map(str, given))}"
    found = "a template per source" if isinstance(given, dict) else what
    needed = "one template per mixture, the same for all chats of a recipe, for a document is rendered once"
    return [problem(f"{place}: render.template", found, needed, _write_one(named))]


def _write_one(named: Sequence[str] = ()) -> str:
    ours = [*named, *(name for name in NAMES if name != TOKENIZERS_OWN and name not in named)]
    others = [name for name in ours[1:] if name != TOKENIZERS_OWN]
    return f"write render: {{template: {ours[0]}}}; there are also {', '.join(others[:-1])} and {others[-1]}"


def _templates_of_mixtures(place: str, mixtures: Any) -> list[str]:
    return [
        problem(
            f"{place}: mixtures.{name}.{key}",
            "a mixture has no template of its own",
            "one template per mixture, the same for all of a recipe, for the token store holds each document once",
            "write it in the section render: {template: NAME}",
        )
        for name, one in (mixtures.items() if isinstance(mixtures, dict) else ())
        for key in (_OF_RENDER if isinstance(one, dict) else ())
        if key in one
    ]


def _check_slots(place: str, content: dict[str, Any]) -> list[str]:
    """Return the mistake of a template for whose tokens a tokenizer that is yet to be trained has too few slots."""
    render = lenient(RenderConfig, content.get("render") or {})
    tokenizer = lenient(TokenizerConfig, content.get("tokenizer"))
    template = TEMPLATES.get(render.template or "") if render is not None else None
    if template is None or render is None or render.grow or tokenizer is None or tokenizer.train is None:
        return []
    tags = lenient(ControlTokensConfig, content.get("control_tokens"))
    tokens = {*template.tokens, *(all_tokens(tags) if tags is not None else ())}
    slots = {CONTROL_PIECE.format(number) for number in range(tokenizer.train.control_slots)}
    wanted, free = len(tokens - slots), len(slots - tokens)
    return [too_few_slots(f"{place}: render", "the tokenizer to be trained", wanted, free)] if wanted > free else []
