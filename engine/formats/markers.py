"""What is a marker: a piece of a vocabulary that stands for structure and must never come out of a text.

Tokenizers mark most of them themselves (SentencePiece: CONTROL, Hugging Face: special). Some are in the vocabulary as
plain added pieces all the same, `<|im_start|>` or `<tool_call>` with `special: false`, Gemma's `<start_of_turn>` as
USER_DEFINED, so a text that spells them would become them. Here their spelling decides.
"""

import re

# U+FF5C is the bar and U+2581 the space of DeepSeek's markers.
_BARRED = re.compile("<[|\uff5c].+[|\uff5c]>")
_ANGLED = re.compile(r"</?([A-Za-z][\w:.@-]*)>|<<[^<>\s]+>>")
_BRACKETED = re.compile(r"\[/?[A-Z][A-Z0-9_]*\]|\[(?:unused|control)_?[0-9]+\]|\[@[A-Z]+@\]")
_HTML_NAMES = """
    a abbr address article aside audio b blockquote body br button canvas caption center cite code col colgroup dd del
    details dfn div dl dt em embed fieldset figcaption figure font footer form frame h1 h2 h3 h4 h5 h6 head header hr
    html i iframe img input ins kbd label legend li link main map mark meta nav object ol option p param pre q s samp
    script section select small source span strike strong style sub summary sup svg table tbody td textarea tfoot th
    thead time title tr tt u ul var video wbr
"""
_HTML = frozenset(_HTML_NAMES.split())
CHAT_MARKERS = (
    *("<|im_start|>", "<|im_end|>", "<|im_sep|>"),  # ChatML (OpenAI 2023), Qwen, OLMo
    *("<|endoftext|>", "<|endofprompt|>"),  # GPT-2, tiktoken
    *("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"),  # OpenAI harmony
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[TOOL_CALLS]", "[TOOL_RESULTS]"),  # Llama 2, Mistral
    *("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"),  # Llama 3
    *("<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>"),
    *("<start_of_turn>", "<end_of_turn>"),  # Gemma
    *("<|system|>", "<|user|>", "<|assistant|>"),  # Zephyr, Phi 3, GLM
    *("<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"),  # DeepSeek
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),  # Hermes, Qwen
)
"""Markers of widespread chat templates, whichever tokenizer is used: a text that holds one came out of a chat."""


def is_marker(piece: str) -> bool:
    """Whether a piece that the tokenizer does not mark as special is a marker by its spelling.

    Markers: anything between `<|` and `|>`, one word between angle brackets, `<<SYS>>`, capitals between square
    brackets, numbered spares such as `[unused3]`. No markers: names of HTML elements (Gemma has them as pieces of
    text), bytes such as `<0x0A>`, runs of spaces, words, and placeholders in texts such as `|||IP_ADDRESS|||`.
    """
    if _BARRED.fullmatch(piece) or _BRACKETED.fullmatch(piece):
        return True
    angled = _ANGLED.fullmatch(piece)
    return angled is not None and (angled[1] is None or angled[1].lower() not in _HTML)
