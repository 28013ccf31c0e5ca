"""The four templates write what their definitions say, and an answer owns its text and what ends it."""

from collections.abc import Sequence

import pytest

from engine.pack.render import RenderConfig
from engine.pack.templates import BOS, EOS, TEMPLATES, Segment, TemplateError

SYSTEM, ASKED, SAID, MORE, AGAIN = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Capital of France?"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Spain?"},
    {"role": "assistant", "content": "Madrid."},
)
INPUT = {"role": "user", "content": "France"}
TOOL = {"role": "tool", "content": "42"}
WITHOUT = "Below is an instruction that describes a task. Write a response that appropriately completes the request."


def text(segments: Sequence[Segment]) -> str:
    return "".join({BOS: "<s>", EOS: "</s>"}.get(one.kind, one.text) for one in segments)


def answers(segments: Sequence[Segment]) -> dict[int, str]:
    owners = sorted({one.answer for one in segments if one.answer is not None})
    return {owner: text([one for one in segments if one.answer == owner]) for owner in owners}


@pytest.mark.parametrize(
    ("template", "messages", "expected", "owned"),
    [
        (
            "chatml",
            [SYSTEM, ASKED, SAID, MORE, AGAIN],
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nCapital of France?<|im_end|>\n"
            "<|im_start|>assistant\nParis.<|im_end|>\n<|im_start|>user\nAnd of Spain?<|im_end|>\n"
            "<|im_start|>assistant\nMadrid.<|im_end|>\n",
            {2: "Paris.<|im_end|>", 4: "Madrid.<|im_end|>"},
        ),
        (
            "chatml",
            [ASKED, TOOL, SAID],
            "<|im_start|>user\nCapital of France?<|im_end|>\n<|im_start|>tool\n42<|im_end|>\n"
            "<|im_start|>assistant\nParis.<|im_end|>\n",
            {2: "Paris.<|im_end|>"},
        ),
        (
            "llama3",
            [SYSTEM, {"role": "user", "content": " Capital of France?\n"}, TOOL, SAID],
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nCapital of France?<|eot_id|>"
            "<|start_header_id|>ipython<|end_header_id|>\n\n42<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nParis.<|eot_id|>",
            {3: "Paris.<|eot_id|>"},
        ),
        (
            "mistral",
            [SYSTEM, ASKED, SAID, MORE, AGAIN],
            "<s>[INST]Be brief.\n\nCapital of France?[/INST]Paris.</s>[INST]And of Spain?[/INST]Madrid.</s>",
            {2: "Paris.</s>", 4: "Madrid.</s>"},
        ),
        (
            "mistral",
            [ASKED, {"role": "assistant", "content": " Paris.\n  "}],
            "<s>[INST]Capital of France?[/INST] Paris.\n</s>",
            {1: " Paris.\n</s>"},
        ),
        (
            "alpaca",
            [ASKED, SAID],
            f"{WITHOUT}\n\n### Instruction:\nCapital of France?\n\n### Response:Paris.</s>",
            {1: "Paris.</s>"},
        ),
        (
            "alpaca",
            [ASKED, INPUT, SAID, MORE, AGAIN],
            "Below is an instruction that describes a task, paired with an input that provides further context. Write a"
            " response that appropriately completes the request.\n\n### Instruction:\nCapital of France?\n\n"
            "### Input:\nFrance\n\n### Response:Paris.</s>### Instruction:\nAnd of Spain?\n\n### Response:Madrid.</s>",
            {2: "Paris.</s>", 4: "Madrid.</s>"},
        ),
        (
            "alpaca",
            [SYSTEM, ASKED, SAID],
            "Be brief.\n\n### Instruction:\nCapital of France?\n\n### Response:Paris.</s>",
            {2: "Paris.</s>"},
        ),
    ],
)
def test_a_chat_is_what_the_definition_says(
    template: str, messages: list[dict[str, str]], expected: str, owned: dict[int, str]
) -> None:
    segments = TEMPLATES[template].segments(messages)
    assert text(segments) == expected
    assert answers(segments) == owned


@pytest.mark.parametrize("template", ["mistral", "alpaca"])
@pytest.mark.parametrize("messages", [[ASKED, TOOL, SAID], [ASKED, SAID, AGAIN], [SAID], [ASKED, SYSTEM, SAID]])
def test_what_a_template_cannot_express_is_refused_with_the_message(
    template: str, messages: list[dict[str, str]]
) -> None:
    with pytest.raises(TemplateError, match=rf"message [123] is of the role .*, and the template {template} needs"):
        TEMPLATES[template].segments(messages)


def test_mistral_refuses_two_questions_in_a_row() -> None:
    with pytest.raises(TemplateError, match="two messages of the user in a row"):
        TEMPLATES["mistral"].segments([ASKED, INPUT, SAID])


def test_templates_have_digests_of_their_own() -> None:
    assert len({template.digest for template in TEMPLATES.values()}) == len(TEMPLATES)


def test_two_templates_and_unknown_ones_are_told_so() -> None:
    with pytest.raises(ValueError, match=r"2 templates: chatml, llama3\. Needed: one template per mixture"):
        RenderConfig.model_validate({"template": ["chatml", "llama3"]})
    with pytest.raises(ValueError, match=r"no template 'chatlm'.*did you mean 'chatml'\?"):
        RenderConfig.model_validate({"template": "chatlm"})
