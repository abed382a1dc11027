"""Gemini's wire format: a thin mapping from and to OpenAI's message shape.

Differences that matter: the assistant is `model`, tool results carry their function's name and no id, a stream has no
last event, and thoughts are counted beside the answer.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from omni_app.json_bytes import json_bytes, json_value
from omni_app.providers.anthropic_wire import arguments
from omni_app.providers.base import HOP_HEADER, Completion, Deltas, FaultKind, ProviderFault, ProviderRequest
from omni_app.providers.faults import fault_of
from omni_app.providers.gathering import Gathering, deltas_of
from omni_app.providers.gemini_answers import CALLS, EventReader, read_answer
from omni_app.providers.litellm import LiteLLMImages
from omni_app.providers.openai_answers import parsed
from omni_app.providers.parameters import accepted
from omni_app.providers.transport import Reply, Transport
from omni_app.routing.types import Message

PICTURES = "image_url: this model takes pictures as data:image/… only; their addresses are not fetched"
TOOLS_OR_FORM = "response_format: this model takes tools or a JSON format, not both; send one of them"
"""Until Gemini 2.5."""
UNKNOWN = ("user", "parallel_tool_calls", "logprobs", "top_logprobs")
"""Parameters that this format has no word for, or answers in a shape of its own."""
PENALTIES = ("frequency_penalty", "presence_penalty")
"""Taken until Gemini 2.5 (as LiteLLM has it)."""
RENAMED: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "stop": "stopSequences",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
MODES: Mapping[str, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
BUDGETS: Mapping[str, int] = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192}
MOST_THOUGHT = 24_576
"""Tokens of thought for an effort, as Google maps them for OpenAI's clients (ai.google.dev/gemini-api/docs/openai)."""
LEVELS: Mapping[str, str] = {"none": "low", "minimal": "low", "low": "low", "medium": "medium"}
"""The same from Gemini 3 on, which thinks by levels; all others are `high`."""
NO_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""Stands for the signature of a call's thought, which Gemini 3 wants back and OpenAI's shape has no place for: Google's
own word for "there is none" (ai.google.dev/gemini-api/docs/thought-signatures)."""


@dataclass(slots=True)
class GeminiWire:
    """Gemini, or a server that speaks its format (`POST {base_url}/models/NAME:generateContent`)."""

    base_url: str
    """With the API's version: `https://…/v1beta`."""
    api_key: str
    key_variable: str
    transport: Transport
    name: str = "gemini"
    simulated: bool = False

    def unavailable_reason(self) -> str:
        """Empty when there is a key."""
        return "" if self.api_key else f"{self.key_variable} is not set"

    def use_key(self, key: str) -> None:
        """From the next call on."""
        self.api_key = key

    async def complete(self, request: ProviderRequest) -> Completion:
        """One call. Raises `ProviderFault`. Pictures are made through LiteLLM."""
        if request.deployment.makes_images:
            return await LiteLLMImages("gemini", self.base_url, self.api_key, self.transport).complete(request)
        body, warnings = content_body(request)
        reply = await self.transport.post(
            f"{self._address(request)}:generateContent",
            headers=self._headers("application/json"),
            body=json_bytes(body),
            timeouts=request.timeouts,
        )
        if reply.status != 200:
            raise fault_of(reply)
        return read_answer(parsed(reply, calls=CALLS), request, warnings)

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        """The answer piece by piece, then whole. Raises `ProviderFault`, also when the stream ends too early."""
        if request.deployment.makes_images:
            yield await self.complete(request)
            return
        body, warnings = content_body(request)
        gathering = Gathering(request, warnings)
        request.heard.append(gathering)
        opened = self.transport.events(
            f"{self._address(request)}:streamGenerateContent?alt=sse",
            headers=self._headers("text/event-stream"),
            body=json_bytes(body),
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

    def _address(self, request: ProviderRequest) -> str:
        return f"{self.base_url}/models/{request.deployment.upstream_model or request.deployment.model_name}"

    def _headers(self, accept: str) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Accept": accept,
            HOP_HEADER: "1",
            "x-goog-api-key": self.api_key,
        }

    async def aclose(self) -> None:
        """The transport is shared and closed by its owner."""


def content_body(request: ProviderRequest) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The JSON to send, and what had to be left out. Raises `ProviderFault` for what this model is known to refuse."""
    if any(map(names_a_picture, request.messages)):
        raise ProviderFault(FaultKind.UNSUPPORTED_PARAMETER, PICTURES)
    newer = not request.deployment.model_name.startswith(("gemini-1", "gemini-2"))
    params, warnings = accepted(request, unknown=(*UNKNOWN, *PENALTIES) if newer else UNKNOWN)
    system, contents = split_system(request.messages, newer=newer)
    body: dict[str, Any] = {"contents": contents or [{"role": "user", "parts": [{"text": " "}]}]}
    if system:
        body["systemInstruction"] = {"parts": system}
    if "tools" in params:
        body["tools"] = [{"functionDeclarations": [declaration(one["function"]) for one in params["tools"]]}]
    if "tool_choice" in params:
        body["toolConfig"] = {"functionCallingConfig": calling(params["tool_choice"])}
    config = {RENAMED[name]: value for name, value in params.items() if name in RENAMED}
    if "max_tokens" in request.params:
        config["maxOutputTokens"] = request.params["max_tokens"]
    config |= (wanted := form(params.get("response_format", {})))
    if wanted and "tools" in params and not newer:
        raise ProviderFault(FaultKind.UNSUPPORTED_PARAMETER, TOOLS_OR_FORM)
    if "reasoning_effort" in params:
        config["thinkingConfig"] = thinking(params["reasoning_effort"], by_level=newer)
    if config:
        body["generationConfig"] = config
    return body, warnings


def names_a_picture(message: Mapping[str, Any]) -> bool:
    """Whether the message holds the address of a picture instead of the picture."""
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    return any("image_url" in part and not part["image_url"]["url"].startswith("data:") for part in parts)


def form(response_format: Mapping[str, Any]) -> dict[str, Any]:
    """The form of the answer: JSON, of a schema where one is given."""
    if response_format.get("type") not in ("json_object", "json_schema"):
        return {}
    schema = response_format.get("json_schema", {}).get("schema")
    return {"responseMimeType": "application/json", **({"responseJsonSchema": schema} if schema else {})}


def thinking(effort: str, *, by_level: bool) -> dict[str, Any]:
    """How much it thinks; thoughts are not told."""
    return (
        {"thinkingLevel": LEVELS.get(effort, "high")}
        if by_level
        else {"thinkingBudget": BUDGETS.get(effort, MOST_THOUGHT)}
    )


def declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    """A function tool."""
    described = {"description": function["description"]} if function.get("description") else {}
    schema = {"parametersJsonSchema": function["parameters"]} if function.get("parameters") else {}
    return {"name": function["name"], **described, **schema}


def calling(choice: Any) -> dict[str, Any]:
    """OpenAI's `auto`, `none`, `required` or a named function."""
    if isinstance(choice, str):
        return {"mode": MODES[choice]}
    return {"mode": "ANY", "allowedFunctionNames": [choice["function"]["name"]]}


def split_system(messages: Sequence[Message], *, newer: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """System parts apart; the rest as alternating turns of `user` and `model`. `newer`: for Gemini 3 and later."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        role = message["role"]
        if role in ("system", "developer"):
            system += content_parts(message.get("content"))
            continue
        calls = message.get("tool_calls") or ()
        names |= {call["id"]: call["function"]["name"] for call in calls}
        result = [tool_result(message, names, newer=newer)] if role == "tool" else content_parts(message.get("content"))
        parts = [*result, *(called(call, first=not place, newer=newer) for place, call in enumerate(calls))]
        speaker = "model" if role == "assistant" else "user"
        if not parts:
            continue  # Gemini refuses a turn without parts.
        if turns and turns[-1]["role"] == speaker:
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": speaker, "parts": parts})
    return system, turns


def content_parts(content: Any) -> list[dict[str, Any]]:
    """Text and images; empty text is left out."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"text": content}] if content else []
    return [image(part) if part["type"] == "image_url" else {"text": part["text"]} for part in content]


def image(part: Mapping[str, Any]) -> dict[str, Any]:
    """An image of a `data:` URL."""
    head, _, data = part["image_url"]["url"][5:].partition(",")
    return {"inlineData": {"mimeType": head.partition(";")[0], "data": data}}


def called(call: Mapping[str, Any], *, first: bool, newer: bool) -> dict[str, Any]:
    """A call of the model's. Newer models want its id, and a signature on the first one of a turn."""
    function = call["function"]
    told = {"name": function["name"], "args": arguments(function["arguments"])}
    if not newer:
        return {"functionCall": told}
    return {"functionCall": told | {"id": call["id"]}, **({"thoughtSignature": NO_SIGNATURE} if first else {})}


def tool_result(message: Message, names: Mapping[str, str], *, newer: bool) -> dict[str, Any]:
    """A tool's answer, an object in any case. `names`: id of a call -> its function's name."""
    call_id = message["tool_call_id"]
    text = "".join(part["text"] for part in content_parts(message.get("content")) if "text" in part)
    try:
        value = json_value(text)
    except ValueError:
        value = None
    told = {"name": names.get(call_id, call_id), "response": value if isinstance(value, dict) else {"output": text}}
    return {"functionResponse": told | ({"id": call_id} if newer else {})}
