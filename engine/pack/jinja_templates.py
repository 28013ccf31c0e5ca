"""The templates of engine.pack.templates as Jinja, for whoever loads the trained model with transformers.

Each renders what the segments say, byte for byte, and refuses what they refuse; the segments are what is trained on.
A prompt for generation ends where an answer begins. What Jinja cannot express:

- that a text which spells a special token is text: transformers makes it that token
- control tokens in front of a document, and the EOS behind the last message
- that every answer is encoded on its own: what stands before one that is to be generated gets the ids of training,
  but of answers that came before it a tokenizer may join the first characters with what precedes them
"""

import json

from engine.formats.tokenizer import Tokenizer, special_pieces
from engine.pack.chat_template import ChatTemplate
from engine.pack.templates import WITH_INPUT, WITHOUT_INPUT, Template

_CHATML = r"""
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}"""
_LLAMA3 = r"""
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + ('ipython' if message['role'] == 'tool' else message['role']) }}
    {{- '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""
_MISTRAL = r"""
{{- bos_token }}
{%- set said = namespace(system='', before='assistant') %}
{%- for message in messages %}
    {%- if message['role'] == 'system' and loop.first %}
        {%- set said.system = message['content'] + '\n\n' %}
    {%- elif message['role'] == 'user' and said.before == 'assistant' %}
        {{- '[INST]' + said.system + message['content'] + '[/INST]' }}
        {%- set said.system = '' %}
        {%- set said.before = 'user' %}
    {%- elif message['role'] == 'assistant' and said.before == 'user' %}
        {{- message['content'].rstrip(' ') + eos_token }}
        {%- set said.before = 'assistant' %}
    {%- else %}
        {{- raise_exception('user and assistant have to alternate, with one message of the system in front at most') }}
    {%- endif %}
{%- endfor %}"""
_ALPACA = r"""
{%- set said = namespace(system=none, gap='', is_first=true) %}
{%- for message in messages %}
    {%- set before = '' if loop.first else loop.previtem['role'] %}
    {%- set after = '' if loop.last else loop.nextitem['role'] %}
    {%- if message['role'] == 'system' and loop.first %}
        {%- set said.system = message['content'] %}
    {%- elif message['role'] == 'user' and before == 'user' %}
        {{- said.gap + message['content'] }}
        {%- set said.gap = '\n\n' %}
    {%- elif message['role'] == 'user' %}
        {%- if said.is_first %}
            {%- set preamble = 'WITH_INPUT' if after == 'user' else 'WITHOUT_INPUT' %}
            {{- (preamble if said.system is none else said.system) + '\n\n' }}
        {%- endif %}
        {{- '### Instruction:\n' + message['content'] }}
        {%- set said.gap = '\n\n### Input:\n' %}
        {%- set said.is_first = false %}
    {%- elif message['role'] == 'assistant' and before == 'user' %}
        {{- message['content'] + eos_token }}
    {%- else %}
        {{- raise_exception('user and assistant have to take turns, with one message of the system in front at most') }}
    {%- endif %}
    {%- if message['role'] == 'user' and after != 'user' %}
        {{- '\n\n### Response:' }}
    {%- endif %}
{%- endfor %}"""
JINJA = {
    "chatml": _CHATML.strip(),
    "llama3": _LLAMA3.strip(),
    "mistral": _MISTRAL.strip(),
    "alpaca": _ALPACA.strip().replace("WITH_INPUT", WITH_INPUT).replace("WITHOUT_INPUT", WITHOUT_INPUT),
}
"""Name of the template -> Jinja text."""


def jinja_of(template: Template, tokenizer: Tokenizer, bos_in_front: bool) -> str:
    """Return the Jinja text that renders what the template does; a tokenizer's own is its own.

    BOS and EOS stand in ours as the tokenizer spells them, so nothing depends on what a configuration calls its BOS.
    bos_in_front: every document begins with BOS, also where the template writes none.
    """
    pieces, meta = special_pieces(tokenizer), tokenizer.meta
    bos = json.dumps("" if meta.bos_id is None else pieces.get(meta.bos_id, ""), ensure_ascii=False)
    eos = json.dumps(pieces.get(meta.eos_id, ""), ensure_ascii=False)
    is_own = isinstance(template, ChatTemplate)
    source = template.source if isinstance(template, ChatTemplate) else JINJA[template.name]
    if bos_in_front and meta.bos_id is not None and "bos_token" not in source:
        source = f"{{{{- {bos} -}}}}\n{source}"
    return source if is_own else source.replace("bos_token", bos).replace("eos_token", eos)
