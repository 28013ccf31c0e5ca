"""Text becomes ids with EOS behind it and control tokens in front, which are never labels."""

import numpy as np
import pytest

from engine.base.errors import RecipeError
from engine.formats.tokenizer import TokenizerMeta
from engine.pack.render import RenderConfig, positions, prefixes, render

META = TokenizerMeta(
    kind="sentencepiece",
    digest="d",
    vocab_size=300,
    eos_id=2,
    bos_id=1,
    control_slots={"<|control:0|>": 4, "<|control:1|>": 5},
)


def ids(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


def test_plain_text_ends_with_eos_and_its_first_token_is_no_label() -> None:
    rendered = render([ids(10, 11), ids(), ids(12)], ["a", "b", "a"], 2, prefixes(META, RenderConfig()))
    assert rendered.ids.tolist() == [10, 11, 2, 2, 12, 2]
    assert rendered.is_supervised.tolist() == [False, True, True, False, False, True]
    assert rendered.num_tokens.tolist() == [3, 1, 2]
    assert rendered.supervised_tokens.tolist() == [2, 0, 1]


def test_bos_and_control_tokens_stand_in_front_of_their_sources_and_are_no_labels() -> None:
    config = RenderConfig(bos=True, control_tokens={"b": ["<|control:1|>", "<|control:0|>"]})
    rendered = render([ids(10), ids(11, 12), ids()], ["a", "b", "b"], 2, prefixes(META, config))
    assert rendered.ids.tolist() == [1, 10, 2, 1, 5, 4, 11, 12, 2, 1, 5, 4, 2]
    assert rendered.is_supervised.tolist() == [False, True, True, *[False] * 3, True, True, True, *[False] * 3, True]
    assert rendered.num_tokens.tolist() == [3, 6, 4]
    assert rendered.supervised_tokens.tolist() == [2, 3, 1]


def test_no_documents_render_to_no_tokens() -> None:
    rendered = render([], [], 2, prefixes(META, RenderConfig()))
    assert (rendered.ids.size, rendered.is_supervised.size, rendered.supervised_tokens.size) == (0, 0, 0)


def test_a_token_the_tokenizer_lacks_is_an_error_that_guesses() -> None:
    with pytest.raises(RecipeError, match=r"did you mean '<\|control:1\|>'"):
        prefixes(META, RenderConfig(control_tokens={"a": ["<|control:11|>"]}))
    with pytest.raises(RecipeError, match="the tokenizer has no BOS"):
        prefixes(META.model_copy(update={"bos_id": None}), RenderConfig(bos=True))


def test_every_option_changes_the_digest() -> None:
    configs = [
        RenderConfig(),
        RenderConfig(bos=True),
        RenderConfig(control_tokens={"a": ["<|control:0|>"]}),
        RenderConfig(control_tokens={"a": ["<|control:1|>"]}),
        RenderConfig(control_tokens={"b": ["<|control:1|>"]}),
    ]
    assert len({config.digest for config in configs}) == len(configs)


def test_positions_are_those_of_the_runs() -> None:
    found = positions(np.array([7, 0, 3]), np.array([2, 0, 3]))
    assert found.tolist() == [7, 8, 3, 4, 5]
