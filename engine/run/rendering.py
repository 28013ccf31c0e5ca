"""How the documents of a recipe are rendered: its section `render:`, with template and objectives made out."""

from dataclasses import dataclass
from pathlib import Path

from engine.formats.base_model import find_model
from engine.formats.tokenizer import Tokenizer, special_pieces
from engine.pack.chat_template import chat_template_of
from engine.pack.render import OF_CHATS, OF_TEXTS, StoreRender
from engine.pack.templates import TEMPLATES, TOKENIZERS_OWN, Template
from engine.run.steps import RunContext


@dataclass(frozen=True)
class Rendering:
    """What a token store is rendered with."""

    options: StoreRender
    template: Template | None
    """None where no mixture has chats."""


def rendering_of(context: RunContext, tokenizer: Tokenizer) -> Rendering:
    """Return how the recipe's mixtures are rendered with its tokenizer.

    Raises InputError where the tokenizer's own template is asked for and it has none.
    """
    recipe = context.recipe
    chats = chat_sources(context)
    template = _template(context, tokenizer) if chats else None
    options = StoreRender(
        template=template.name if template is not None else None,
        template_digest=template.digest if template is not None else None,
        bos=recipe.render.bos,
        objective={source: recipe.render.objective.get(source, OF_CHATS) for source in chats},
        date=recipe.render.date if template is not None and template.name == TOKENIZERS_OWN else None,
        control_tokens=recipe.control_tokens.model_dump(mode="json") if recipe.control_tokens is not None else None,
    )
    return Rendering(options, template)


def chat_sources(context: RunContext) -> list[str]:
    """Return the sources of chats that a mixture of the recipe names, by name."""
    named = {name for mixture in context.recipe.mixtures.values() for name in mixture.source_names()}
    chats = {s.config.name for s in context.recipe.sources if getattr(s.config, "has_messages", False)}
    return sorted(named & chats)


def objectives(context: RunContext) -> dict[str, str]:
    """Return source -> what is supervised, of all sources of the recipe."""
    chats = {s.config.name for s in context.recipe.sources if getattr(s.config, "has_messages", False)}
    asked: dict[str, str] = dict(context.recipe.render.objective)
    return {name: asked.get(name, OF_CHATS if name in chats else OF_TEXTS) for name in context.recipe.source_names}


def template_tokens(context: RunContext, tokenizer: Tokenizer) -> tuple[str, ...]:
    """Return the tokens of the recipe's template that the tokenizer does not have as special tokens."""
    template = TEMPLATES.get(context.recipe.render.template or "")
    if template is None or not chat_sources(context):
        return ()
    there = set(special_pieces(tokenizer).values())
    return tuple(token for token in template.tokens if token not in there)


def beside_tokenizer(context: RunContext, tokenizer: Tokenizer) -> Path:
    """Return where the files of transformers that belong to the recipe's tokenizer are: of a model with the model."""
    config = context.recipe.tokenizer
    if config is not None and config.model is not None:
        return find_model(context.workspace, config.model).folder
    return tokenizer.folder


def _template(context: RunContext, tokenizer: Tokenizer) -> Template:
    name = context.recipe.render.template
    assert name is not None, "a recipe with chats names a template"
    if name != TOKENIZERS_OWN:
        return TEMPLATES[name]
    return chat_template_of(tokenizer, beside_tokenizer(context, tokenizer), context.recipe.render.date)
