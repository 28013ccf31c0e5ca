"""The chat template a tokenizer brings along, as segments: rendered by Jinja, and taken apart without a guess.

The template is rendered twice: with contents that nobody writes, which shows what comes out before, between and behind
them, and with the true contents. Both must agree byte for byte (contents may be stripped), or the document is refused:
a template that rewrites earlier turns would otherwise be labelled wrongly. What is spelt like a special token is one
between the contents and text inside of them.

Rendered as `apply_chat_template` of transformers 5 does (utils/chat_template_utils.py): sandboxed, with `trim_blocks`,
`lstrip_blocks`, loop controls, `raise_exception`, `tojson` and `{% generation %}`. Only `strftime_now` differs: with no
`date` in the recipe a template has no such function, because a version must not depend on the day it is made.
"""

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem
from engine.base.hashing import digest_json
from engine.formats.huggingface_tokenizer import chat_template_in
from engine.formats.messages import RESPONDS, Message
from engine.formats.tokenizer import Tokenizer, special_pieces
from engine.pack.templates import BOS, NAMES, TEXT, TOKEN, TOKENIZERS_OWN, Segment, TemplateError

if TYPE_CHECKING:
    import jinja2

VERSION = 2
_CONFIG = "tokenizer_config.json"
# U+FDD0 and U+FDD1 are no characters and stand in no text that was ever meant for exchange.
_STAND_IN = "\ufdd0{}\ufdd1"
_STAND_INS = re.compile("\ufdd0([0-9]+)\ufdd1")
_BOS_STAND_IN = "\ufdd2"
_SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class ChatTemplate:
    """The template of a tokenizer."""

    source: str
    """The Jinja text."""
    pieces: tuple[str, ...]
    """How the tokenizer's special tokens are spelt."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Names of special tokens and how they are spelt: bos_token and so on."""
    date: datetime.date | None = None
    """What day the template is told it is; None: it is told nothing."""
    name: str = TOKENIZERS_OWN
    tokens: tuple[str, ...] = ()
    _frames: "dict[tuple[str, ...], _Frame]" = field(default_factory=dict, init=False, repr=False, compare=False)
    """By the roles of the messages; shared by threads, each of which finds the same."""

    @property
    def digest(self) -> str:
        """Digest of the Jinja text and of what it is told."""
        told = {"variables": dict(self.variables), "date": self.date.isoformat() if self.date else None}
        return digest_json({"version": VERSION, "jinja": self.source, **told})

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the chat in segments; raises TemplateError where the template refuses it or does not agree.

        BOS is what the template writes as `bos_token` in front of all. What it spells itself is a token like any other,
        even if the tokenizer calls it its BOS: that of SmolLM2 is `<|im_start|>`, which opens every message.
        """
        frame = self._frame(tuple(message["role"] for message in messages))
        rendered = self._render([dict(message) for message in messages])
        contents = _contents_in(rendered, frame.between, [messages[number]["content"] for number in frame.order])
        if contents is None:
            raise TemplateError(
                "the tokenizer's template changes what the messages say, or writes other things around them because of "
                "it, so it is not known which tokens are whose"
            )
        bos = self.variables["bos_token"] if frame.has_bos else ""
        segments = [Segment(bos, BOS)] if bos else []
        role, answer = None, None
        between = [frame.between[0].removeprefix(bos), *frame.between[1:]]
        for number, content, before in zip(frame.order, contents, between, strict=False):
            opening = frame.openings.get(number, "")
            segments += self._literal(before.removesuffix(opening), role, answer)
            role = messages[number]["role"]
            answer = number if role == RESPONDS else None
            segments += [Segment(text, TEXT, role, answer) for text in (opening, content) if text]
        return [*segments, *self._literal(between[-1], role, answer)]

    def _literal(self, text: str, role: str | None, answer: int | None) -> list[Segment]:
        """Return what stands between two contents; up to its first special token it belongs to the answer before."""
        parts = [part for part in self._spellings.split(text) if part] if self.pieces else [text]
        kinds = [TOKEN if part in self._pieces else TEXT for part in parts]
        stop = kinds.index(TOKEN) if TOKEN in kinds else len(kinds)
        return [
            Segment(part, kind, role, answer if place <= stop else None)
            for place, (part, kind) in enumerate(zip(parts, kinds, strict=True))
        ]

    def _render(self, messages: list[dict[str, str]], prompts: bool = False, **told: str) -> str:
        import jinja2

        try:
            return self._compiled.render(messages=messages, add_generation_prompt=prompts, **(self._told | told))
        except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            asks = isinstance(error, jinja2.UndefinedError) and "strftime_now" in str(error)
            hint = "; it asks for the day: name one with render: {date: 2026-01-31}" if asks else ""
            raise TemplateError(f"the tokenizer's template refuses it ({error}){hint}") from error

    @cached_property
    def _compiled(self) -> "jinja2.Template":
        return _environment(self.date).from_string(self.source)

    @property
    def _told(self) -> dict[str, Any]:
        return {"tools": None, "documents": None, **self.variables}

    @cached_property
    def _pieces(self) -> frozenset[str]:
        return frozenset(self.pieces)

    @cached_property
    def _spellings(self) -> re.Pattern[str]:
        # The longest first, as one may begin with another.
        longest = sorted(self.pieces, key=lambda piece: (-len(piece), piece))
        return re.compile(f"({'|'.join(map(re.escape, longest))})")

    def _frame(self, roles: tuple[str, ...]) -> "_Frame":
        """Return what stands around the contents of messages with these roles."""
        frame = self._frames.get(roles)
        if frame is None:
            messages = [{"role": role, "content": _STAND_IN.format(number)} for number, role in enumerate(roles)]
            whole = self._render(messages)
            parts = _STAND_INS.split(whole)
            order = [int(number) for number in parts[1::2]]
            if sorted(order) != list(range(len(roles))):
                raise TemplateError(f"the tokenizer's template does not write each message once ({', '.join(roles)})")
            answers = [number for number in order if roles[number] == RESPONDS]
            openings = {number: self._opening(messages[: number + 1], whole) for number in answers}
            frame = self._frames[roles] = _Frame(parts[::2], order, openings, self._has_bos(messages))
        return frame

    def _has_bos(self, messages: list[dict[str, str]]) -> bool:
        return self.variables.get("bos_token") in self._pieces and self._render(
            messages, bos_token=_BOS_STAND_IN
        ).startswith(_BOS_STAND_IN)

    def _opening(self, messages: list[dict[str, str]], whole: str) -> str:
        """Return the white space before an answer that no prompt ends with, so that a model has to write it."""
        try:
            prompt = self._render(messages[:-1], prompts=True)
        except TemplateError:
            return ""  # Not every template takes a chat that begins with an answer, or ends with a question.
        rest = whole.removeprefix(prompt).partition(messages[-1]["content"])[0] if whole.startswith(prompt) else ""
        return rest if rest.isspace() else ""


@dataclass(frozen=True)
class _Frame:
    """What a template writes around contents, whatever they are."""

    between: list[str]
    """Before the first content, between two, and behind the last."""
    order: list[int]
    """Which message's content stands where."""
    openings: Mapping[int, str]
    """Position of an answer -> the end of what stands before it that belongs to it."""
    has_bos: bool
    """Whether it begins with what the template is told is the BOS."""


def chat_template_of(tokenizer: Tokenizer, beside: Path, day: datetime.date | None = None) -> ChatTemplate:
    """Return the template that lies beside a tokenizer.

    beside: folder of tokenizer_config.json or chat_template.jinja. Raises InputError where there is none or it is no
    Jinja.
    """
    import jinja2

    folder = next((place for place in (tokenizer.folder, beside) if chat_template_in(place) is not None), None)
    source = chat_template_in(folder) if folder is not None else None
    if folder is None or source is None:
        named = ", ".join(name for name in NAMES if name != TOKENIZERS_OWN)
        needed = "chat_template.jinja, or chat_template in tokenizer_config.json"
        raise InputError(
            problem(beside, "the tokenizer has no chat template", needed, f"name one: render: {{template: {named}}}")
        )
    template = ChatTemplate(source, tuple(special_pieces(tokenizer).values()), _variables(folder), day)
    try:
        _environment(day).parse(source)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(problem(folder, f"its chat template is no Jinja (line {error.lineno}: {error})")) from error
    return template


def _variables(folder: Path) -> dict[str, str]:
    config = read_json(folder / _CONFIG) if (folder / _CONFIG).is_file() else {}
    named = {name: config.get(name) for name in _SPECIAL_NAMES}
    spelt = {name: value.get("content") if isinstance(value, dict) else value for name, value in named.items()}
    return {name: value for name, value in spelt.items() if isinstance(value, str)}


def _contents_in(rendered: str, between: Sequence[str], contents: Sequence[str]) -> list[str] | None:
    """Return the contents as they stand in `rendered`, stripped or not; None where it is anything else."""
    place, found = len(between[0]), []
    if not rendered.startswith(between[0]):
        return None
    for content, behind in zip(contents, between[1:], strict=True):
        written = (content, content.strip(), content.rstrip(), content.lstrip())
        fits = next((one for one in written if rendered.startswith(one + behind, place)), None)
        if fits is None:
            return None
        found.append(fits)
        place += len(fits) + len(behind)
    return found if place == len(rendered) else None


@lru_cache(maxsize=8)
def _environment(day: datetime.date | None) -> "jinja2.Environment":
    import jinja2
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}`: marks answers elsewhere; here its contents as they are."""

        tags = {"generation"}  # noqa: RUF012 - what Jinja wants to find

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.Scope(body, lineno=line)

    def refuse(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        # Jinja's own filter escapes what HTML would read as markup.
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = refuse
    if day is not None:
        made.globals["strftime_now"] = day.strftime
    return made
