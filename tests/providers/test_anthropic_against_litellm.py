"""Our mapping to Anthropic's format beside LiteLLM's: both ask the same server, and must say and hear the same.

Where the two differ on purpose, the difference is in `meant_alike`, and nowhere else.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from omni_app.providers.litellm import imported
from omni_app.providers.transport import Transport
from omni_app.routing.types import Message
from tests.providers.asking import FOREIGN_IDS, HELLO, PICTURE, TOOL_TALK, WEATHER_TOOL, ask, model, talk_of, wire
from tests.providers.golden import ANTHROPIC, Golden
from tests.servers.upstream import Upstream

CLAUDE = "claude-sonnet-4-20250514"
SYSTEMS: Sequence[Message] = (
    {"role": "system", "content": "Be brief."},
    {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
    {"role": "user", "content": "Three"},
)
REQUESTS: dict[str, tuple[Sequence[Message], dict[str, Any]]] = {
    "plain": (HELLO, {"max_tokens": 50}),
    "systems": (SYSTEMS, {"max_tokens": 50, "temperature": 0.3, "stop": ["END", "STOP"]}),
    "picture": (PICTURE, {"max_tokens": 50, "top_p": 0.5}),
    "tools": (HELLO, {"max_tokens": 50, "tools": [WEATHER_TOOL]}),
    "tool_auto": (HELLO, {"max_tokens": 50, "tools": [WEATHER_TOOL], "tool_choice": "auto"}),
    "tool_required": (HELLO, {"max_tokens": 50, "tools": [WEATHER_TOOL], "tool_choice": "required"}),
    "tool_none": (HELLO, {"max_tokens": 50, "tools": [WEATHER_TOOL], "tool_choice": "none"}),
    "tool_named": (
        HELLO,
        {
            "max_tokens": 50,
            "tools": [WEATHER_TOOL],
            "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        },
    ),
    "one_tool_at_a_time": (
        HELLO,
        {"max_tokens": 50, "tools": [WEATHER_TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
    ),
    "tool_talk": (TOOL_TALK, {"max_tokens": 50, "tools": [WEATHER_TOOL]}),
    "foreign_ids": (talk_of(*FOREIGN_IDS), {"max_tokens": 50, "tools": [WEATHER_TOOL]}),
}


async def litellms(upstream: Upstream, messages: Sequence[Message], params: dict[str, Any]) -> dict[str, Any]:
    """LiteLLM's answer, over its own HTTP client, in a thread."""
    litellm = await asyncio.to_thread(imported)
    from litellm.llms.custom_httpx.http_handler import HTTPHandler

    client = HTTPHandler()
    try:
        answer = await asyncio.to_thread(
            litellm.completion,
            model=f"anthropic/{CLAUDE}",
            messages=json.loads(json.dumps(list(messages))),
            api_key=upstream.key,
            api_base=upstream.anthropic_url,
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


def meant_alike(body: dict[str, Any]) -> dict[str, Any]:
    """The request without differences of spelling: one text may be a string or a block, system texts one or many."""
    body = {name: value for name, value in body.items() if name not in ("stream", "metadata")}
    body["messages"] = [{**message, "content": blocks(message["content"])} for message in body["messages"]]
    if "system" in body:
        body["system"] = "\n\n".join(block["text"] for block in blocks(body["system"]))
    for tool in body.get("tools", ()):
        tool.pop("type", None)
    return body


def blocks(content: Any) -> list[dict[str, Any]]:
    listed = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [{**block, "content": blocks(block["content"])} if "content" in block else block for block in listed]


@pytest.mark.parametrize("case", REQUESTS)
async def test_both_ask_the_same(case: str, transport: Transport) -> None:
    messages, params = REQUESTS[case]
    async with Upstream() as upstream:
        await litellms(upstream, messages, params)
        ours = ask(messages, params, deployment=model(f"anthropic/{CLAUDE}"))
        await wire("anthropic", upstream, transport).complete(ours)
    theirs, mine = (meant_alike(call.body) for call in upstream.calls)
    assert mine == theirs


@pytest.mark.parametrize("golden", ANTHROPIC, ids=lambda golden: golden.finish_reason)
async def test_both_hear_the_same(golden: Golden, transport: Transport) -> None:
    async with Upstream(answer=golden.body) as upstream:
        theirs = await litellms(upstream, HELLO, {"max_tokens": 50})
        mine = await wire("anthropic", upstream, transport).complete(ask())
    choice = theirs["choices"][0]
    assert (mine.text, mine.finish_reason) == (choice["message"]["content"] or "", choice["finish_reason"])
    calls = [(call["id"], json.loads(call["function"]["arguments"])) for call in mine.tool_calls]
    said = choice["message"].get("tool_calls") or ()
    assert calls == [(call["id"], json.loads(call["function"]["arguments"])) for call in said]
    usage = theirs["usage"]
    assert (mine.usage.input, mine.usage.output) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert mine.usage.cached_input == (usage.get("cache_read_input_tokens") or 0)
    assert mine.usage.cache_write == (usage.get("cache_creation_input_tokens") or 0)
