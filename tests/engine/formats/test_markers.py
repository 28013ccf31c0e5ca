"""Markers are known by their spelling, and pieces of text are none, however they look."""

import pytest

from engine.formats.markers import CHAT_MARKERS, is_marker


@pytest.mark.parametrize(
    "piece",
    [
        "<|im_start|>", "<|control:0|>", "<|quality:high|>", "<|fim prefix|>", "<tool_call>", "</tool_call>", "<think>",
        "<start_of_turn>", "<repo_name>", "<unused7>", "[unused7]", "[control_8]", "<SPECIAL_20>", "[INST]", "[/INST]",
        "<<SYS>>", "<</SYS>>", "[TOOL_CALLS]", "<\uff5cUser\uff5c>", "<\uff5cplace\u2581holder\u2581no\u25810\uff5c>",
    ],
)  # fmt: skip
def test_structure_is_a_marker(piece: str) -> None:
    assert is_marker(piece)


@pytest.mark.parametrize(
    "piece",
    [
        "    ", "\n\n", "word", "<", "<0x0A>", "<b>", "</td>", "<TABLE>", "<h1>", "|||IP_ADDRESS|||", "[1]", "[a]",
        "<a b>", "x<|y|>", "\u2581the", "->", "<-", "[]", "<>",
    ],
)  # fmt: skip
def test_text_is_none(piece: str) -> None:
    assert not is_marker(piece)


def test_markers_of_chats_are_markers() -> None:
    assert [piece for piece in CHAT_MARKERS if not is_marker(piece)] == []
