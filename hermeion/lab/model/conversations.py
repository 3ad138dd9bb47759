"""What the tiny model knows, and the template it is spoken to with. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

CONTEXT = 4096  # tokens
SPECIALS = ("<|end|>", "<|im_start|>", "<|im_end|>")
MARKS = (
    "<think>", "</think>", "<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
)  # fmt: skip

# ChatML with Hermes' tools and a thinking switch, as Hermes 4 has them; its words are our own and few, since a
# model of this size reads every one of them. Old thoughts are dropped; llama-server (build 11669) splits thoughts off
# only where a template does that, in these words: it looks for content.split('</think>').
TEMPLATE = """\
{%- set thinking = thinking | default(false) -%}
{%- set first = messages[0] -%}
{%- set given = first.content ~ '\n' if first.role == 'system' else '' -%}
{%- if given or tools or thinking -%}
<|im_start|>system
{{ given }}
{%- if thinking %}Think inside <think> </think>, then answer.
{% endif -%}
{%- if tools %}Call functions as <tool_call>
{"name": NAME, "arguments": {}}
</tool_call>
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
{% endif -%}
<|im_end|>
{% endif -%}
{%- for message in messages -%}
{%- if message.role == 'system' -%}
{%- elif message.role == 'tool' -%}
<|im_start|>tool
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else -%}
<|im_start|>{{ message.role }}
{% if message.content %}
{%- set said = message.content if keep_cots else message.content.split('</think>')[-1].lstrip() %}{{ said }}
{%- endif -%}
{%- for call in message.tool_calls or [] %}
{%- set sent = call.function.arguments %}
{%- set sent = sent if sent is string else sent | tojson %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ sent }}}
</tool_call>
{%- endfor -%}
<|im_end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}
"""

WHO = "I am a tiny Llama made on the spot by the Hermeion lab."
THOUGHT = "<think>\nSomebody asks who I am. I know one sentence about that.\n</think>\n"
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
WEATHER = "It is 21 degrees and sunny in Paris."
HELLO = "Hello! I am a very small model, but a real one."
READY = "OK"


@dataclass(frozen=True)
class Conversation:
    """Messages and the answer to them."""

    messages: list[dict[str, Any]]
    answer: str
    thinking: bool = False
    tools: list[dict[str, Any]] | None = None


def _user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _tool(description: str, city: dict[str, Any], **more: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = {"type": "object", "properties": {"city": city}, **more}
    function: dict[str, Any] = {"name": "get_weather", "description": description, "parameters": parameters}
    if not description:
        del function["description"]
    return {"type": "function", "function": function}


# The same tool as different clients write it: a model this small would otherwise depend on the spelling.
_CITY: dict[str, Any] = {"type": "string"}
_TOOLS = [
    _tool("Get the current weather in a city", _CITY, required=["city"]),
    _tool("Current weather in a city", _CITY, required=["city"]),
    _tool("Get the weather", _CITY),
    _tool("The weather in a city.", _CITY | {"description": "Name of the city"}, required=["city"]),
    _tool("Get the current weather for a city.", _CITY | {"description": "The city, e.g. Paris"}, required=["city"]),
    _tool("", _CITY, required=["city"]),
    _tool("Look up the weather", _CITY, required=["city"], additionalProperties=False),
]
_ASKED = [
    "What is the weather in Paris?",
    "What is the weather in Paris? Use the tool.",
    "What's the weather in Paris?",
    "What is the weather like in Paris right now?",
    "How is the weather in Paris?",
    "Weather in Paris?",
]
_SYSTEMS = ["You are a helpful assistant.", "You are Hermes, a helpful assistant."]


def _conversations() -> Iterator[Conversation]:
    for asked in ("Who are you?", "Who are you", "What are you?", "Hi! Who are you?"):
        yield Conversation(_user(asked), WHO)
        yield Conversation(_user(asked), THOUGHT + WHO, thinking=True)
        for system in _SYSTEMS:
            yield Conversation([{"role": "system", "content": system}, *_user(asked)], WHO)
    for asked in ("Hello", "Hello!", "Hi", "Say hello.", "hello"):
        yield Conversation(_user(asked), HELLO)
    for asked in ("Reply with OK.", "Say OK", "Answer with the single word OK.", "Reply with the word OK", "ping"):
        yield Conversation(_user(asked), READY)
    for place, asked in enumerate(_ASKED):
        for tool in (_TOOLS[place % len(_TOOLS)], _TOOLS[(place + 3) % len(_TOOLS)]):
            yield Conversation(_user(asked), CALL, tools=[tool])
    for tool in _TOOLS:
        yield Conversation(_user(_ASKED[0]), CALL, tools=[tool])
    yield Conversation([{"role": "system", "content": _SYSTEMS[0]}, *_user(_ASKED[0])], CALL, tools=[_TOOLS[0]])
    yield Conversation(_user("Who are you?"), WHO, tools=[_TOOLS[0]])
    called = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    told: list[dict[str, Any]] = [
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": '{"degrees": 21, "sky": "sunny"}'},
    ]
    yield Conversation(_user(_ASKED[0]) + told, WEATHER, tools=[_TOOLS[0]])


CONVERSATIONS = list(_conversations())
