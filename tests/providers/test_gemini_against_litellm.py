"""Our mapping to Gemini's format beside LiteLLM's: both ask the same server, and must say and hear the same.

Where the two differ on purpose, the difference is in `meant_alike`, and nowhere else.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from omni_app.providers.gemini_wire import GeminiWire
from omni_app.providers.litellm import imported
from omni_app.providers.transport import Transport
from omni_app.routing.types import Message
from tests.providers.asking import HELLO, PICTURE, TOOL_TALK, WEATHER_TOOL, ask, model
from tests.servers.gemini import KEY, Gemini

pytestmark = pytest.mark.filterwarnings("ignore:Item 'summary' on TypedDict:UserWarning")  # of LiteLLM's types
SYSTEMS: Sequence[Message] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
    {"role": "user", "content": "Three"},
)
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
REQUESTS: dict[str, tuple[Sequence[Message], dict[str, Any]]] = {
    "plain": (HELLO, {"max_tokens": 50}),
    "systems": (SYSTEMS, {"max_tokens": 50, "temperature": 0.3, "stop": ["END", "STOP"]}),
    "sampling": (HELLO, {"top_p": 0.5, "seed": 7, "frequency_penalty": 0.1, "presence_penalty": 0.2}),
    "picture": (PICTURE, {"max_tokens": 50}),
    "tools": (HELLO, {"tools": [WEATHER_TOOL]}),
    "tool_required": (HELLO, {"tools": [WEATHER_TOOL], "tool_choice": "required"}),
    "tool_none": (HELLO, {"tools": [WEATHER_TOOL], "tool_choice": "none"}),
    "tool_named": (
        HELLO,
        {"tools": [WEATHER_TOOL], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
    ),
    "tool_talk": (TOOL_TALK, {"max_tokens": 50, "tools": [WEATHER_TOOL]}),
    "json": (HELLO, {"response_format": {"type": "json_object"}}),
    "schema": (HELLO, {"response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}}),
}


async def litellms(gemini: Gemini, name: str, messages: Sequence[Message], params: dict[str, Any]) -> dict[str, Any]:
    """LiteLLM's answer, over its own HTTP client, in a thread."""
    litellm = await asyncio.to_thread(imported)
    from litellm.llms.custom_httpx.http_handler import HTTPHandler

    client = HTTPHandler()
    try:
        answer = await asyncio.to_thread(
            litellm.completion,
            model=f"gemini/{name}",
            messages=json.loads(json.dumps(list(messages))),
            api_key=KEY,
            api_base=f"{gemini.url}/v1beta",
            num_retries=0,
            max_retries=0,
            client=client,
            _skip_mcp_handler=True,
            **json.loads(json.dumps(params)),
        )
    finally:
        client.close()
    value: dict[str, Any] = answer.model_dump()
    return value


def meant_alike(value: Any) -> Any:
    """The request without differences of spelling: Google takes both cases, both names of a function's schema, and a
    tool's result under any name. And without what LiteLLM adds: Gemini 3's own temperature, and how closely to look at
    a picture (`detail`), which is left to Gemini here.
    """
    if isinstance(value, list):
        return [meant_alike(one) for one in value]
    if not isinstance(value, dict):
        return value
    renamed = {re.sub("_([a-z])", lambda found: found[1].upper(), name): one for name, one in value.items()}
    if "parametersJsonSchema" in renamed:
        renamed["parameters"] = renamed.pop("parametersJsonSchema")
    if "functionResponse" in renamed:
        told = renamed["functionResponse"]
        renamed["functionResponse"] = told | {"response": [*told["response"].values()]}
    renamed = {name: one for name, one in renamed.items() if (name, one) != ("temperature", 1.0)}
    renamed.pop("mediaResolution", None)
    alike = {name: meant_alike(one) for name, one in renamed.items()}
    return {name: one for name, one in alike.items() if (name, one) != ("generationConfig", {})}


@pytest.mark.parametrize("name", ["gemini-2.5-flash", "gemini-3-flash-preview"])
@pytest.mark.parametrize("request_name", REQUESTS)
async def test_both_say_and_hear_the_same(request_name: str, name: str, transport: Transport) -> None:
    messages, params = REQUESTS[request_name]
    async with Gemini() as gemini:
        theirs = await litellms(gemini, name, messages, params)
        wire = GeminiWire(f"{gemini.url}/v1beta", KEY, "GEMINI_API_KEY", transport)
        ours = await wire.complete(ask(messages, params, deployment=model(f"gemini/{name}")))
        their_call, our_call = gemini.calls
    assert our_call.path == their_call.path
    assert meant_alike(our_call.body) == meant_alike(their_call.body)
    message, usage = theirs["choices"][0]["message"], theirs["usage"]
    assert ours.text == (message["content"] or "")
    assert ours.finish_reason == theirs["choices"][0]["finish_reason"]
    functions = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in ours.tool_calls]
    assert functions == [
        (call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message["tool_calls"] or ()
    ]
    assert (ours.usage.input, ours.usage.output) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert ours.usage.cached_input == usage["prompt_tokens_details"]["cached_tokens"]
    assert ours.usage.reasoning == usage["completion_tokens_details"]["reasoning_tokens"]
