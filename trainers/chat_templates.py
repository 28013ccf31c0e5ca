"""The templates of the engine (engine.pack.templates) in Jinja, for `apply_chat_template` of transformers.

The text they make is byte for byte that of the engine's segments, and they refuse the same chats. BOS and EOS stand in
them as the tokenizer spells them, so nothing depends on what a configuration calls its BOS. What they cannot express:

- that a text which spells a special token is text: transformers makes it that token
- control tokens in front of a document, and the EOS behind the last message
- that every answer is encoded on its own: what stands before one that is to be generated gets the ids of training,
  but of answers that came before it a tokenizer may join the first characters with what precedes them
"""

import json

from engine.formats.tokenizer import Tokenizer, special_pieces

CHATML = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
LLAMA3 = """\
{{- BOS -}}
{%- for message in messages -%}
{%- set role = 'ipython' if message['role'] == 'tool' else message['role'] -%}
{{- '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
"""
MISTRAL = """\
{%- set system, turns = '', messages -%}
{%- if messages and messages[0]['role'] == 'system' -%}
{%- set system, turns = messages[0]['content'] + '\\n\\n', messages[1:] -%}
{%- endif -%}
{{- BOS -}}
{%- for message in turns -%}
{%- if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}
{{- raise_exception('user and assistant have to alternate, behind one message of the system at most') -}}
{%- endif -%}
{%- if message['role'] == 'user' -%}
{{- '[INST]' + (system if loop.first else '') + message['content'] + '[/INST]' -}}
{%- else -%}
{{- message['content'].rstrip(' ') + EOS -}}
{%- endif -%}
{%- endfor -%}
"""
ALPACA = """\
{%- set with_input = 'Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.' -%}
{%- set without_input = 'Below is an instruction that describes a task. Write a response that appropriately completes the request.' -%}
{%- macro asked(contents, is_first, system) -%}
{%- if is_first -%}
{{- (system if system is not none else with_input if contents | length > 1 else without_input) + '\\n\\n' -}}
{%- endif -%}
{{- '### Instruction:\\n' + contents[0] + '\\n\\n' -}}
{%- if contents | length > 1 -%}{{- '### Input:\\n' + contents[1:] | join('\\n\\n') + '\\n\\n' -}}{%- endif -%}
{{- '### Response:' -}}
{%- endmacro -%}
{%- set chat = namespace(system=none, contents=[], is_first=true) -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' and loop.first -%}
{%- set chat.system = message['content'] -%}
{%- elif message['role'] == 'user' -%}
{%- set chat.contents = chat.contents + [message['content']] -%}
{%- elif message['role'] == 'assistant' and chat.contents -%}
{{- asked(chat.contents, chat.is_first, chat.system) + message['content'] + EOS -}}
{%- set chat.contents, chat.is_first = [], false -%}
{%- else -%}
{{- raise_exception('user and assistant have to take turns, behind one message of the system at most') -}}
{%- endif -%}
{%- endfor -%}
{%- if chat.contents -%}{{- asked(chat.contents, chat.is_first, chat.system) -}}{%- endif -%}
"""  # noqa: E501 - a line break in a literal of Jinja would be one of the text
SOURCES = {"chatml": CHATML, "llama3": LLAMA3, "mistral": MISTRAL, "alpaca": ALPACA}


def jinja_template(name: str, tokenizer: Tokenizer, bos_in_front: bool) -> str:
    """Return a template of SOURCES as Jinja; bos_in_front: the data recipe put BOS in front of every document."""
    pieces, meta = special_pieces(tokenizer), tokenizer.meta
    bos = pieces.get(meta.bos_id, "") if meta.bos_id is not None else ""
    source = SOURCES[name]
    if "BOS" not in source and bos_in_front:
        source = f"{{{{- BOS -}}}}\n{source}"
    for word, piece in (("BOS", bos), ("EOS", pieces.get(meta.eos_id, ""))):
        for before, after in (("- ", " -}}"), ("+ ", " -}}")):
            source = source.replace(f"{before}{word}{after}", f"{before}{_literal(piece)}{after}")
    return source.removesuffix("\n")


def with_bos_in_front(source: str, tokenizer: Tokenizer) -> str:
    """Return a tokenizer's own template with BOS in front, where it writes none itself."""
    bos = special_pieces(tokenizer).get(tokenizer.meta.bos_id, "") if tokenizer.meta.bos_id is not None else ""
    return source if "bos_token" in source or not bos else f"{{{{- {_literal(bos)} -}}}}\n{source}"


def _literal(piece: str) -> str:
    """Return a piece as a string of Jinja."""
    return json.dumps(piece, ensure_ascii=False)
