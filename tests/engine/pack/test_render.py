"""Text becomes ids with EOS behind it and control tokens in front, which are never labels."""

import numpy as np
import pytest

from engine.base.errors import RecipeError
from engine.formats.tokenizer import TokenizerMeta
from engine.pack.render import Fronts, RenderConfig, StoreRender, bos_of, positions, render

META = TokenizerMeta(kind="sentencepiece", digest="d", vocab_size=300, eos_id=2, bos_id=1)


def ids(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


def fronts(*of_documents: list[int]) -> Fronts:
    flat = [token for tokens in of_documents for token in tokens]
    return Fronts(np.array([len(tokens) for tokens in of_documents], dtype=np.int64), ids(*flat))


def test_plain_text_ends_with_eos_and_its_first_token_is_no_label() -> None:
    rendered = render([ids(10, 11), ids(), ids(12)], fronts([], [], []), 2)
    assert rendered.ids.tolist() == [10, 11, 2, 2, 12, 2]
    assert rendered.is_supervised.tolist() == [False, True, True, False, False, True]
    assert rendered.num_tokens.tolist() == [3, 1, 2]
    assert rendered.supervised_tokens.tolist() == [2, 0, 1]


def test_control_tokens_stand_in_front_of_their_documents_and_are_no_labels() -> None:
    rendered = render([ids(10), ids(11, 12), ids()], fronts([], [5, 4], [4]), 2)
    assert rendered.ids.tolist() == [10, 2, 5, 4, 11, 12, 2, 4, 2]
    assert rendered.is_supervised.tolist() == [False, True, False, False, True, True, True, False, True]
    assert rendered.num_tokens.tolist() == [2, 5, 2]
    assert rendered.supervised_tokens.tolist() == [1, 3, 1]


def test_bos_stands_before_the_control_tokens() -> None:
    rendered = render([ids(10), ids(11, 12)], fronts([], [5, 4]), 2, bos_id=1)
    assert rendered.ids.tolist() == [1, 10, 2, 1, 5, 4, 11, 12, 2]
    assert rendered.is_supervised.tolist() == [False, True, True, *[False] * 3, True, True, True]


def test_no_documents_render_to_no_tokens() -> None:
    rendered = render([], fronts(), 2)
    assert (rendered.ids.size, rendered.is_supervised.size, rendered.supervised_tokens.size) == (0, 0, 0)


def test_bos_of_a_tokenizer_without_one_is_an_error() -> None:
    assert (bos_of(META, RenderConfig()), bos_of(META, RenderConfig(bos=True))) == (None, 1)
    with pytest.raises(RecipeError, match="the tokenizer has no BOS"):
        bos_of(META.model_copy(update={"bos_id": None}), RenderConfig(bos=True))


def test_every_option_changes_the_digest() -> None:
    configs = [
        RenderConfig(),
        RenderConfig(bos=True),
        RenderConfig(template="chatml"),
        RenderConfig(template="chatml", objective={"chats": "text"}),
        StoreRender(template="tokenizer", template_digest="one"),
        StoreRender(template="tokenizer", template_digest="other"),
        StoreRender(control_tokens={"tags": [{"tag": "quality"}]}),
        StoreRender(control_tokens={"tags": [{"tag": "lang"}]}),
    ]
    assert len({config.digest for config in configs}) == len(configs)


def test_positions_are_those_of_the_runs() -> None:
    found = positions(np.array([7, 0, 3]), np.array([2, 0, 3]))
    assert found.tolist() == [7, 8, 3, 4, 5]
