"""The sandbox: simulated models for test keys, the playground and the tests.

Nothing here is real, and every answer says so. The same input gives the same answer, tokens and delay. It plays
faults on demand, so that fallback can be seen.
"""

import asyncio
import hashlib
import math
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omni_app.json_bytes import json_bytes
from omni_app.providers.base import Completion, Delta, Deltas, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.embeddings import counted_inputs, packed
from omni_app.providers.openai_answers import last_user_text
from omni_app.providers.parameters import accepted
from omni_app.providers.placeholder import placeholder_png
from omni_app.providers.usage import counted

FAULTS: Mapping[str, tuple[FaultKind, str]] = {
    "error": (FaultKind.SERVER_ERROR, "[simulated] the provider answered 500"),
    "timeout": (FaultKind.FIRST_BYTE_TIMEOUT, "[simulated] the provider did not answer in time"),
    "rate_limit": (FaultKind.RATE_LIMITED, "[simulated] the provider answered 429"),
}
FAULT_DELAY_S = 0.05
WORDS_OF_TASK: Mapping[str, str] = {
    "sandbox/coder": "Here a coding model would show the code and say how to run it.",
    "sandbox/reasoner": "Here a reasoning model would go through the problem step by step and end with the result.",
}
UNKNOWN = ("logprobs", "top_logprobs")
GENERAL_WORDS = "Here a real model would answer."
FILLER = (
    "The text only stands for an answer of plausible length.",
    "Its tokens, price and delay are made up, but counted and billed to the ledger like real ones.",
    "With a live key and a provider key, the same request gets a real answer.",
)


@dataclass(slots=True)
class Sandbox:
    """Every deployment of provider `sandbox`. `speed` scales the delays; 0 answers at once."""

    speed: float = 1.0
    name: str = "sandbox"
    simulated: bool = True

    def unavailable_reason(self) -> str:
        """Always there."""
        return ""

    async def complete(self, request: ProviderRequest) -> Completion:
        """A simulated answer, or the fault that was asked for."""
        if request.sandbox_fail:
            kind, detail = FAULTS[request.sandbox_fail]
            await asyncio.sleep(FAULT_DELAY_S * self.speed)
            raise ProviderFault(kind, detail)
        await self._wait(delay_s(request), request)
        return simulate(request)

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        """The same answer, word by word: a third of the delay before the first, the rest between them."""
        if request.sandbox_fail:
            await self.complete(request)
        completion = simulate(request)
        words = re.findall(r"\S+\s*", completion.text)
        whole_s = delay_s(request)
        await self._wait(whole_s / 3, request)
        for index, call in enumerate(completion.tool_calls):
            yield (Delta(tool_call={"index": index, **call}),)
        for word in words:
            await asyncio.sleep(whole_s * 2 / 3 / len(words) * self.speed)
            yield (Delta(text=word),)
        yield completion

    async def _wait(self, seconds: float, request: ProviderRequest) -> None:
        """The simulated delay, within the request's deadline."""
        delay = seconds * self.speed
        await asyncio.sleep(min(delay, request.timeouts.total_s))
        if delay > request.timeouts.total_s:
            raise ProviderFault(FaultKind.TOTAL_TIMEOUT, "[simulated] no whole answer in time")

    async def aclose(self) -> None:
        """Nothing to close."""


def fingerprint(request: ProviderRequest) -> int:
    """A number that depends on the model, the conversation and the choice alone."""
    numbered = [request.choice] if request.choice else []
    content = json_bytes([request.deployment.id, list(request.messages), *numbered])
    return int.from_bytes(hashlib.sha256(content).digest()[:8])


def delay_s(request: ProviderRequest) -> float:
    """Around the deployment's stated latency: 80 to 120 % of it."""
    return request.deployment.prior_latency_ms / 1000 * (0.8 + 0.4 * (fingerprint(request) % 1000) / 1000)


def simulate(request: ProviderRequest) -> Completion:
    """The answer, with a warning for each parameter that means nothing here."""
    _, warnings = accepted(request, unknown=UNKNOWN)
    return replace(simulated(request), warnings=warnings)


def simulated(request: ProviderRequest) -> Completion:
    """The answer, by what the request asks for: vectors, an image, a tool call, JSON or text."""
    if request.deployment.vector_size:
        return simulated_vectors(request)
    if request.deployment.makes_images:
        image = placeholder_png("SANDBOX IMAGE")
        tokens = counted(request, "").input
        return Completion(
            text="[simulated image: a placeholder, not a picture of what was asked for]",
            usage=Usage(tokens, 0, images=1),
            images=({"b64_json": image},),
        )
    tools = request.params.get("tools")
    answered = bool(request.messages) and request.messages[-1].get("role") == "tool"
    if tools and not answered and request.params.get("tool_choice") != "none":
        return tool_call(request, tools)
    kind = request.params.get("response_format", {}).get("type")
    text = json_text(request.params["response_format"]) if kind in ("json_object", "json_schema") else prose(request)
    return limited(text, request)


def simulated_vectors(request: ProviderRequest) -> Completion:
    """A vector for each input: its words hashed into the numbers, so that texts with common words are near."""
    inputs = request.params["input"]
    size = request.params.get("dimensions", request.deployment.vector_size)
    return Completion(
        text="",
        usage=Usage(counted_inputs(inputs), 0),
        vectors=tuple(packed(hashed_words(one, size)) for one in inputs),
    )


def hashed_words(text: str | Sequence[int], size: int) -> list[float]:
    """A vector of length 1 with a number for each of `size` groups of words."""
    words = text.lower().split() if isinstance(text, str) else map(str, text)
    numbers = [0.0] * size
    for word in words:
        digest = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        numbers[digest // 2 % size] += 1.0 if digest % 2 else -1.0
    length = math.hypot(*numbers)
    return [number / length for number in numbers] if length else [1.0, *numbers[1:]]


def prose(request: ProviderRequest) -> str:
    """Sentences that say what they are; how many depends on the input."""
    asked = " ".join(last_user_text(request.messages).split())
    quoted = asked if len(asked) <= 60 else asked[:57] + "…"
    number = fingerprint(request)
    filler = [FILLER[(number + index) % len(FILLER)] for index in range(1 + number % 3)]
    choice = f", choice {request.choice + 1}" if request.choice else ""
    opening = f"[simulated answer of {request.deployment.id}{choice}] You asked: “{quoted}”."
    return " ".join([opening, WORDS_OF_TASK.get(request.deployment.id, GENERAL_WORDS), *filler])


def limited(text: str, request: ProviderRequest) -> Completion:
    """The text with its tokens, cut where `max_tokens` is reached."""
    usage = counted(request, text)
    limit = request.params.get("max_tokens", request.deployment.max_output_tokens)
    finish = "stop"
    while usage.output > limit and " " in text:
        text, finish = text.rsplit(" ", max(1, (usage.output - limit) // 2))[0], "length"
        usage = counted(request, text)
    output = min(usage.output, limit)
    return Completion(text=text, usage=Usage(usage.input, output), finish_reason=finish)


def tool_call(request: ProviderRequest, tools: list[Mapping[str, Any]]) -> Completion:
    """A call of the named tool, or of the first one, with arguments that fit its schema."""
    choice = request.params.get("tool_choice")
    named = choice["function"]["name"] if isinstance(choice, dict) else None
    functions = [one["function"] for one in tools]
    function = next((one for one in functions if one["name"] == named), functions[0])
    arguments = json_bytes(instance(function.get("parameters") or {"type": "object"})).decode()
    call = {
        "id": f"call_sandbox_{fingerprint(request) % 10**8:08d}",
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }
    usage = counted(request, "", (call,))
    return Completion(text="", usage=Usage(usage.input, usage.output), finish_reason="tool_calls", tool_calls=(call,))


def json_text(response_format: Mapping[str, Any]) -> str:
    """A JSON answer: an instance of the schema, or an object that says it is simulated."""
    schema = response_format.get("json_schema", {}).get("schema")
    value = instance(schema) if schema else {"simulated": True, "answer": "a real model would fill this object"}
    return json_bytes(value).decode()


MAX_DEPTH = 20
MAX_ITEMS = 10


def instance(schema: Any, depth: int = 0) -> Any:
    """A small value that fits a plain JSON schema (types, enums, const, required properties)."""
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(union), list) and schema[union]:
            return instance(schema[union][0], depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        wanted = [name for name in required if isinstance(name, str)] if isinstance(required, list) else properties
        return {name: instance(properties.get(name, {"type": "string"}), depth + 1) for name in wanted}
    if kind == "array":
        count = schema.get("minItems")
        most = MAX_ITEMS if depth <= 1 else 1  # Deeper down they would multiply.
        one = instance(schema.get("items", {"type": "string"}), depth + 1)
        return [one] * min(count if isinstance(count, int) else 1, most)
    return {
        "integer": schema.get("minimum", 1),
        "number": schema.get("minimum", 1.0),
        "boolean": True,
        "null": None,
    }.get(str(kind), "simulated")
