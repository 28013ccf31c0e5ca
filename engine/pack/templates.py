"""Chat templates as lists of segments: what is text, what is a special token, and which answer a part belongs to.

A template is a function from the messages of a chat to segments, so that text and labels come from one list: nothing is
searched for in rendered text afterwards. Four are here from their published definitions; that of a tokenizer is in
engine.pack.chat_template.

A token that ends an answer belongs to it, for a model has to learn to stop. Prompts, headers and what names a role
belong to no answer. Special tokens stand in the list by name, never as text, so a content that spells one stays text.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.base.errors import problem, unknown
from engine.base.hashing import digest_json
from engine.formats.messages import RESPONDS, SEPARATOR, Message

VERSION = 2
TEXT, TOKEN, BOS, EOS = "text", "token", "bos", "eos"
"""Kinds of segments. BOS and EOS are those of the tokenizer, however it spells them."""
TOKENIZERS_OWN = "tokenizer"


class TemplateError(ValueError):
    """A chat that a template cannot express; the message says why."""


@dataclass(frozen=True)
class Segment:
    """A piece of a rendered chat."""

    text: str
    """The text, or how the token is spelt; BOS and EOS may leave it to the tokenizer: ""."""
    kind: str = TEXT
    role: str | None = None
    """Whose message it is or frames; None where it is nobody's."""
    answer: int | None = None
    """Position of the assistant's message it belongs to and is a label of; None: of none."""


class Template(Protocol):
    """Makes segments of messages."""

    @property
    def name(self) -> str:
        """What a recipe calls it."""

    @property
    def digest(self) -> str:
        """Digest of what it does."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Special tokens it needs the tokenizer to have."""

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the chat in segments, which joined are its text; raises TemplateError where it cannot express it."""


@dataclass(frozen=True)
class NamedTemplate:
    """A template of this module."""

    name: str
    tokens: tuple[str, ...]
    make: Callable[[Sequence[Message]], Iterator[Segment]]

    @property
    def digest(self) -> str:
        """Digest of its name and of the version of this module."""
        return digest_json({"template": self.name, "version": VERSION})

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the chat in segments; raises TemplateError where the template cannot express it."""
        return list(self.make(messages))


def chatml(messages: Sequence[Message]) -> Iterator[Segment]:
    r"""Yield `<|im_start|>role\ncontent<|im_end|>\n` per message, roles as they are, in any order.

    Source: OpenAI, "Chat Markup Language" (chatml.md of openai/openai-python v0.27, 2023).
    """
    for number, message in enumerate(messages):
        role, answer = message["role"], _answer(messages, number)
        yield Segment("<|im_start|>", TOKEN, role)
        yield Segment(f"{role}\n", TEXT, role)
        yield Segment(message["content"], TEXT, role, answer)
        yield Segment("<|im_end|>", TOKEN, role, answer)
        yield Segment("\n", TEXT, role)


def llama3(messages: Sequence[Message]) -> Iterator[Segment]:
    r"""Yield BOS, then `<|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>` per message.

    What a tool returned has the role `ipython`. Contents are stripped. Roles may come in any order. Source: ChatFormat
    in llama/tokenizer.py of meta-llama/llama3; "Llama 3.1 prompt format" for ipython. The preamble of 3.1 with dates
    is not there: `template: tokenizer` takes it from the model.
    """
    yield Segment("", BOS)
    for number, message in enumerate(messages):
        role, answer = message["role"], _answer(messages, number)
        yield Segment("<|start_header_id|>", TOKEN, role)
        yield Segment("ipython" if role == "tool" else role, TEXT, role)
        yield Segment("<|end_header_id|>", TOKEN, role)
        yield Segment("\n\n", TEXT, role)
        yield Segment(message["content"].strip(), TEXT, role, answer)
        yield Segment("<|eot_id|>", TOKEN, role, answer)


def mistral(messages: Sequence[Message]) -> Iterator[Segment]:
    """Yield BOS, then `[INST]question[/INST]answer` and EOS per turn: version 3, where both marks are special tokens.

    Source: InstructTokenizerV3 of mistralai/mistral-common. No spaces stand around the marks; a SentencePiece model
    with a dummy prefix puts its own, as it does there. Spaces at the end of an answer go. The system's message stands
    before the first question, parted by a blank line (V1), and not before the last: of a chat that is trained on, every
    answer has to see it. User and assistant have to alternate; results of tools carry ids of calls, which chats do not
    have, so they are refused.
    """
    yield Segment("", BOS)
    system, turns = _turns(messages, "mistral")
    for place, (question, reply) in enumerate(turns):
        if len(question) > 1:
            raise TemplateError("two messages of the user in a row, and the template mistral needs them to alternate")
        asked = messages[question[0]]["content"]
        yield Segment("[INST]", TOKEN, "user")
        yield Segment(f"{system}{SEPARATOR}{asked}" if system is not None and not place else asked, TEXT, "user")
        yield Segment("[/INST]", TOKEN, "user")
        if reply is not None:
            yield Segment(messages[reply]["content"].rstrip(" "), TEXT, RESPONDS, reply)
            yield Segment("", EOS, RESPONDS, reply)


WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)


def alpaca(messages: Sequence[Message]) -> Iterator[Segment]:
    """Yield the preamble, `### Instruction:`, `### Input:` where there is one, `### Response:`, the answer, EOS.

    Source: PROMPT_DICT in train.py of tatsu-lab/stanford_alpaca; nothing stands between `### Response:` and the answer.
    A second message of the user in a row is the input. It is defined for one turn without a system's message: here the
    system's message takes the place of the preamble, and further turns begin with `### Instruction:` behind the EOS of
    the answer before. Results of tools are refused. It needs no special tokens.
    """
    system, turns = _turns(messages, "alpaca")
    for place, (question, reply) in enumerate(turns):
        contents = [messages[number]["content"] for number in question]
        parts = [f"### Instruction:\n{contents[0]}"]
        if len(contents) > 1:
            parts.append(f"### Input:\n{SEPARATOR.join(contents[1:])}")
        if not place:
            parts.insert(0, system if system is not None else WITH_INPUT if len(contents) > 1 else WITHOUT_INPUT)
        yield Segment(SEPARATOR.join([*parts, "### Response:"]), TEXT, "user")
        if reply is not None:
            yield Segment(messages[reply]["content"], TEXT, RESPONDS, reply)
            yield Segment("", EOS, RESPONDS, reply)


TEMPLATES = {
    template.name: template
    for template in (
        NamedTemplate("chatml", ("<|im_start|>", "<|im_end|>"), chatml),
        NamedTemplate("llama3", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), llama3),
        NamedTemplate("mistral", ("[INST]", "[/INST]"), mistral),
        NamedTemplate("alpaca", (), alpaca),
    )
}
NAMES = (*TEMPLATES, TOKENIZERS_OWN)
"""What `render: {template: ...}` may say."""


def require_one_template(value: object) -> object:
    """Return what a recipe names as its template; raises ValueError where that is no name of one template."""
    if isinstance(value, list | tuple | dict):
        found = f"{len(value)} templates: {', '.join(map(str, value))}"
        raise ValueError(problem("template", found, "one template per mixture", f"name one of {', '.join(NAMES)}"))
    if isinstance(value, str) and value not in NAMES:
        raise ValueError(unknown("template", "template", value, NAMES))
    return value


def _answer(messages: Sequence[Message], number: int) -> int | None:
    return number if messages[number]["role"] == RESPONDS else None


def _turns(messages: Sequence[Message], template: str) -> tuple[str | None, list[tuple[list[int], int | None]]]:
    """Return the system's content, and per turn the positions of the user's messages and of the answer, if any."""
    system: str | None = None
    turns: list[tuple[list[int], int | None]] = []
    for number, message in enumerate(messages):
        role = message["role"]
        if role == "system" and not number:
            system = message["content"]
        elif role == "user" and (not turns or turns[-1][1] is not None):
            turns.append(([number], None))
        elif role == "user":
            turns[-1][0].append(number)
        elif role == RESPONDS and turns and turns[-1][1] is None:
            turns[-1] = (turns[-1][0], number)
        else:
            before = messages[number - 1]["role"] if number else "nothing"
            raise TemplateError(
                f"message {number + 1} is of the role {role} behind {before}, and the template {template} "
                "needs user and assistant in turn, with one message of the system in front at most"
            )
    return system, turns
