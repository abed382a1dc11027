"""Anthropic's messages wire format: a thin mapping from and to OpenAI's message shape.

Differences that matter: the system prompt stands apart, `max_tokens` is required, tool results are user blocks, and
`input_tokens` leaves out what was read from or written to the prompt cache.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from omni_app.json_bytes import json_bytes, json_value
from omni_app.providers.anthropic_answers import EventReader, read_message
from omni_app.providers.base import HOP_HEADER, Completion, Deltas, ProviderFault, ProviderRequest
from omni_app.providers.faults import fault_of
from omni_app.providers.gathering import Gathering, deltas_of
from omni_app.providers.openai_answers import parsed
from omni_app.providers.parameters import accepted
from omni_app.providers.transport import Reply, Transport
from omni_app.routing.types import Message

VERSION = "2023-06-01"
UNKNOWN = ("seed", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "reasoning_effort")
"""Parameters that this format has no word for."""
NOTHING_SAID = "."
"""Stands for a user who has said nothing, as in a request of instructions alone: a turn with some text is wanted."""
FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")
"""What an id of a call may not hold here, and has at other providers."""
CALLS = b"tool_use"
"""Stands in an answer with a call of a tool, whose input is JSON."""
JSON_INSTRUCTION = "Answer with one JSON object and nothing else."


@dataclass(slots=True)
class AnthropicWire:
    """Anthropic, or a server that speaks its format (`POST {base_url}/v1/messages`)."""

    base_url: str
    api_key: str
    key_variable: str
    transport: Transport
    name: str = "anthropic"
    simulated: bool = False

    def unavailable_reason(self) -> str:
        """Empty when there is a key."""
        return "" if self.api_key else f"{self.key_variable} is not set"

    def use_key(self, key: str) -> None:
        """From the next call on."""
        self.api_key = key

    async def complete(self, request: ProviderRequest) -> Completion:
        """One call. Raises `ProviderFault`."""
        body, warnings = message_body(request)
        reply = await self.transport.post(
            f"{self.base_url}/v1/messages",
            headers=self._headers("application/json"),
            body=json_bytes(body),
            timeouts=request.timeouts,
        )
        if reply.status != 200:
            raise fault_of(reply)
        return read_message(parsed(reply, calls=CALLS), request, warnings)

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        """The answer piece by piece, then whole. Raises `ProviderFault`, also when the stream ends too early."""
        body, warnings = message_body(request)
        gathering = Gathering(request, warnings)
        request.heard.append(gathering)
        opened = self.transport.events(
            f"{self.base_url}/v1/messages",
            headers=self._headers("text/event-stream"),
            body=json_bytes(body | {"stream": True}),
            timeouts=request.timeouts,
            check_size=gathering.check_size,
        )
        try:
            async with opened as lines:
                if isinstance(lines, Reply):
                    raise fault_of(lines)
                async with aclosing(deltas_of(lines, EventReader(gathering).read, gathering)) as pieces:
                    async for deltas in pieces:
                        yield deltas
        except ProviderFault as fault:
            raise gathering.broken(fault) from None
        yield gathering.completion()

    def _headers(self, accept: str) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Accept": accept,
            HOP_HEADER: "1",
            "x-api-key": self.api_key,
            "anthropic-version": VERSION,
        }

    async def aclose(self) -> None:
        """The transport is shared and closed by its owner."""


def message_body(request: ProviderRequest) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The JSON to send, and what had to be left out or changed."""
    params, dropped = accepted(request, unknown=UNKNOWN)
    deployment = request.deployment
    system, messages = split_system(request.messages)
    body: dict[str, Any] = {
        "model": deployment.upstream_model or deployment.model_name,
        "messages": messages or [{"role": "user", "content": [{"type": "text", "text": NOTHING_SAID}]}],
        "max_tokens": request.params.get("max_tokens") or deployment.max_output_tokens,
    }
    warnings = list(dropped)
    response_format = params.get("response_format", {})
    if deployment.supports_response_schema and (schema := strict_schema(response_format)):
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    elif response_format.get("type") in ("json_object", "json_schema"):
        system = [*system, json_instruction(response_format)]
        warnings.append("response_format is asked for in words: this lane does not enforce it")
    if system:
        body["system"] = "\n\n".join(system)
    if request.keep_prompt:
        body["cache_control"] = {"type": "ephemeral"}
    if "user" in params:
        body["metadata"] = {"user_id": params["user"]}
    if "stop" in params:
        _stopping(body, params["stop"], warnings)
    if "tools" in params:
        body["tools"] = [tool(one["function"]) for one in params["tools"]]
        if "tool_choice" in params or "parallel_tool_calls" in params:
            body["tool_choice"] = tool_choice(params.get("tool_choice", "auto"))
        if params.get("parallel_tool_calls") is False and body["tool_choice"]["type"] != "none":
            body["tool_choice"]["disable_parallel_tool_use"] = True
    elif used := used_tools(messages):
        body["tools"] = [tool({"name": name}) for name in used]
        body["tool_choice"] = {"type": "none"}
    _sampling(body, params, warnings)
    return body, tuple(warnings)


def _stopping(body: dict[str, Any], stop: Sequence[str], warnings: list[str]) -> None:
    """Whitespace alone is refused as a stop sequence."""
    taken = [one for one in stop if not one.isspace()]
    if taken:
        body["stop_sequences"] = taken
    if len(taken) < len(stop):
        warnings.append("stop: sequences of whitespace alone were dropped: anthropic does not take them")


def _sampling(body: dict[str, Any], params: Mapping[str, Any], warnings: list[str]) -> None:
    """Temperature goes from 0 to 1 here, and newer models take one of the two sampling parameters at most."""
    if "temperature" in params:
        body["temperature"] = min(1.0, params["temperature"])
        if params["temperature"] > 1:
            warnings.append("temperature was lowered to 1: the highest that anthropic takes")
        if "top_p" in params:
            warnings.append("top_p was dropped: anthropic takes temperature or top_p, not both")
    elif "top_p" in params:
        body["top_p"] = params["top_p"]


def strict_schema(response_format: Mapping[str, Any]) -> Any:
    """The schema where the caller says that it is strict; None otherwise.

    Anthropic enforces strict ones (every object closed, few keywords) and refuses others, as OpenAI does.
    """
    wanted = response_format.get("json_schema", {})
    return wanted.get("schema") if wanted.get("strict") is True else None


def json_instruction(response_format: Mapping[str, Any]) -> str:
    """The wish for JSON as a sentence of the system prompt."""
    schema = response_format.get("json_schema", {}).get("schema")
    return (
        f"{JSON_INSTRUCTION} It must match this JSON schema: {json_bytes(schema).decode()}"
        if schema
        else JSON_INSTRUCTION
    )


def split_system(messages: Sequence[Message]) -> tuple[list[str], list[dict[str, Any]]]:
    """System texts apart; the rest as alternating user and assistant turns of blocks."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = message["role"]
        if role in ("system", "developer"):
            system += [block["text"] for block in content_blocks(message.get("content")) if block["type"] == "text"]
            continue
        speaker = "assistant" if role == "assistant" else "user"
        blocks = tool_result(message) if role == "tool" else spoken(message)
        if not blocks:
            continue  # Anthropic refuses a turn without content.
        if turns and turns[-1]["role"] == speaker:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": speaker, "content": blocks})
    return system, turns


def spoken(message: Message) -> list[dict[str, Any]]:
    """A user's or the assistant's words, images and tool calls."""
    blocks = content_blocks(message.get("content"))
    for call in message.get("tool_calls") or ():
        function = call["function"]
        blocks.append(
            {
                "type": "tool_use",
                "id": FOREIGN.sub("_", call["id"]),
                "name": function["name"],
                "input": arguments(function["arguments"]),
            }
        )
    return blocks


def tool_result(message: Message) -> list[dict[str, Any]]:
    """A tool's answer, as a block of the user's turn."""
    content = content_blocks(message.get("content"))
    return [{"type": "tool_result", "tool_use_id": FOREIGN.sub("_", message["tool_call_id"]), "content": content}]


def content_blocks(content: Any) -> list[dict[str, Any]]:
    """Text and images; text that is empty or whitespace is left out, as Anthropic refuses it."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if is_said(content) else []
    return [
        image(part) if part["type"] == "image_url" else {"type": "text", "text": part["text"]}
        for part in content
        if part["type"] == "image_url" or is_said(part["text"])
    ]


def is_said(text: str) -> bool:
    """Whether there is more to it than whitespace."""
    return bool(text) and not text.isspace()


def image(part: Mapping[str, Any]) -> dict[str, Any]:
    """An image part: `data:` URLs as base64, others by their URL (the provider fetches it, not we)."""
    url = part["image_url"]["url"]
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    head, _, data = url[5:].partition(",")
    return {"type": "image", "source": {"type": "base64", "media_type": head.partition(";")[0], "data": data}}


def arguments(text: str) -> Any:
    """A tool call's arguments as an object; text that is none is kept under one name."""
    try:
        value = json_value(text or "{}")
    except ValueError:
        return {"arguments": text}
    return value if isinstance(value, dict) else {"arguments": value}


def tool(function: Mapping[str, Any]) -> dict[str, Any]:
    """A function tool."""
    described = {"description": function["description"]} if function.get("description") else {}
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    return {"name": function["name"], "input_schema": schema, **described}


def used_tools(turns: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tools that the conversation has called: Anthropic wants them declared as long as it tells of them."""
    blocks = (block for turn in turns if turn["role"] == "assistant" for block in turn["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def tool_choice(choice: Any) -> dict[str, Any]:
    """OpenAI's `auto`, `none`, `required` or a named function."""
    if isinstance(choice, str):
        return {"type": {"required": "any"}.get(choice, choice)}
    return {"type": "tool", "name": choice["function"]["name"]}
