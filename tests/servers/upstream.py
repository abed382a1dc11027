"""A provider that plays a part, good or faulty, over real sockets on 127.0.0.1.

It speaks OpenAI's wire (`/v1/chat/completions`, `/v1/embeddings`, `/v1/images/generations`, `/v1/models`), OpenRouter's
`/v1/key` and Anthropic's wire (`/v1/messages`), plain and streamed, asks for the right key, refuses fields that the
real ones refuse, and keeps every call it got. `fault` names what it does wrong from then on; `answer` and `usage`
replace parts of what it says.

By hand: `python -m tests.servers.upstream --port 9001 --fault drip` (`--fault list` prints the names).
"""

import argparse
import asyncio
import copy
import json
import re
import struct
import sys
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from types import TracebackType
from typing import Any, NamedTuple, Self

from omni_app.providers.placeholder import placeholder_png
from tests.servers.bad_manners import BAD_MANNERS, DRIP_S
from tests.servers.raw_http import Answer, Call, Connection, RawServer, head, json_answer

KEY = "sk-test-upstream-0123456789"
TEXT = "Hello from upstream: all is well."


class Refusal(NamedTuple):
    """An error in both dialects. `code` and `type` as OpenAI and Anthropic name them."""

    status: int
    message: str
    openai_type: str = "invalid_request_error"
    openai_code: str | None = None
    anthropic_type: str = "invalid_request_error"
    headers: tuple[tuple[str, str], ...] = ()

    def answer(self, *, anthropic: bool) -> Answer:
        if anthropic:
            told = {"type": self.anthropic_type, "message": self.message}
            return json_answer({"type": "error", "error": told, "request_id": "req_1"}, self.status, self.headers)
        error = {
            "message": self.message,
            "type": self.openai_type,
            "param": None,
            "code": self.openai_code,
        }
        return json_answer({"error": error}, self.status, self.headers)


WRONG_KEY = Refusal(
    401, f"Incorrect API key provided: {KEY[:7]}***********6789.", openai_code="invalid_api_key",
    anthropic_type="authentication_error",
)  # fmt: skip
REFUSALS: Mapping[str, Refusal] = {
    "400": Refusal(400, "Invalid value: 'assistent'. Supported values are: 'system', 'assistant' and 'user'."),
    "401": WRONG_KEY,
    "401_echo": Refusal(401, f"Incorrect API key provided: {KEY}. Header was 'Bearer {KEY}'.", openai_code="bad"),
    "402": Refusal(402, "This request requires more credits.", anthropic_type="billing_error"),
    "403": Refusal(403, "Project does not have access.", anthropic_type="permission_error"),
    "404": Refusal(
        404, "The model `m` does not exist.", openai_code="model_not_found", anthropic_type="not_found_error"
    ),
    "408": Refusal(408, "Request timed out.", anthropic_type="timeout_error"),
    "413": Refusal(413, "Request exceeds the maximum size.", anthropic_type="request_too_large"),
    "422": Refusal(422, "messages: input should be a valid list"),
    "429": Refusal(429, "Rate limit reached.", "tokens", "rate_limit_exceeded", "rate_limit_error"),
    "429_retry_after": Refusal(
        429, "Rate limit reached.", "requests", "rate_limit_exceeded", "rate_limit_error", (("Retry-After", "7"),)
    ),
    "quota": Refusal(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    "no_credit": Refusal(400, "Your credit balance is too low to access the API. Please go to Plans & Billing."),
    "500": Refusal(500, "The server had an error.", "server_error", None, "api_error"),
    "502": Refusal(502, "Bad gateway.", "server_error", None, "api_error"),
    "503": Refusal(503, "Overloaded.", "server_error", None, "api_error", (("Retry-After", "3"),)),
    "504": Refusal(504, "Gateway timeout.", "server_error", None, "timeout_error"),
    "529": Refusal(529, "Overloaded", "server_error", None, "overloaded_error"),
    "context_length": Refusal(
        400, "This model's maximum context length is 8192 tokens.", openai_code="context_length_exceeded"
    ),
    "context_length_words": Refusal(400, "prompt is too long: 200001 tokens > 200000 maximum"),
    "context_length_xai": Refusal(
        400, "This model's maximum prompt length is 131072 but the request contains 136973 tokens."
    ),
    "context_length_both": Refusal(
        400, "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease one of them"
    ),
    "unsupported_parameter": Refusal(
        400, "Unsupported parameter: 'temperature' is not supported with this model.",
        openai_code="unsupported_parameter",
    ),
    "content_policy": Refusal(
        400, "Your request was rejected by our safety system.", openai_code="content_policy_violation"
    ),
}  # fmt: skip
"""Errors that are told as such, by name."""

USAGES: Mapping[str, tuple[int, int] | None] = {
    "usage_missing": None,
    "usage_zero": (0, 0),
    "usage_negative": (-5, -7),
    "usage_absurd": (10**15, 10**15),
}
"""Token counts that nobody should believe."""

HOLLOW = ("error_200", "no_choices", "empty_choices", "null_content")
"""Answers with status 200 and JSON that hold no answer."""
MID_STREAM = ("mid_close", "mid_rst", "mid_hang", "mid_error", "mid_bad_json", "mid_bad_utf8", "mid_end", "redirect")
FAULTS = ("", *BAD_MANNERS, *REFUSALS, *USAGES, *HOLLOW, *MID_STREAM)

OPENAI_FIELDS = frozenset({
    "model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop", "tools",
    "tool_choice", "response_format", "n", "parallel_tool_calls", "frequency_penalty", "presence_penalty",
    "logprobs", "top_logprobs", "logit_bias", "user", "stream", "stream_options", "reasoning_effort", "store",
    "metadata", "service_tier",
})  # fmt: skip
MESSAGE_FIELDS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal"})
IMAGE_FIELDS = frozenset({
    "model", "prompt", "n", "size", "quality", "style", "response_format", "user", "background",
    "output_format",
})  # fmt: skip
EMBEDDING_FIELDS = frozenset({"model", "input", "encoding_format", "dimensions", "user"})
ANTHROPIC_FIELDS = frozenset({
    "model", "messages", "max_tokens", "system", "stop_sequences", "temperature", "top_p", "top_k", "tools",
    "tool_choice", "stream", "metadata", "thinking", "service_tier", "output_config", "cache_control",
})  # fmt: skip


@dataclass
class Upstream:
    """The server. Use it as `async with Upstream(fault="hang") as upstream`."""

    fault: str = ""
    key: str = KEY
    more_keys: Collection[str] = ()
    """Those of others, which it takes as well."""
    text: str = TEXT
    delay_s: float = 0.0
    """Before every answer, and between the pieces of a streamed one a tenth of it."""
    port: int = 0
    idle_s: float | None = None
    """How long an idle connection is kept; None: for ever."""
    redirect_to: str = "http://127.0.0.1:9/"
    usage: Mapping[str, Any] | None = None
    """Replaces the answer's usage."""
    answer: Mapping[str, Any] | None = None
    """Replaces the whole answer's JSON."""
    vector_size: int = 1536
    """How many numbers its embeddings have."""
    calls: list[Call] = field(default_factory=list)
    words_sent: int = 0
    """Of streamed answers."""
    _server: RawServer = field(init=False)

    async def __aenter__(self) -> Self:
        self._server = RawServer(self._respond, self.port, self.idle_s)
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop()

    @property
    def anthropic_url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def openai_url(self) -> str:
        return f"{self.anthropic_url}/v1"

    @property
    def connections(self) -> int:
        """How many were opened."""
        return self._server.connections

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return self._server.open_connections

    @property
    def last_body(self) -> dict[str, Any]:
        body: dict[str, Any] = self.calls[-1].body
        return body

    async def _respond(self, call: Call, connection: Connection) -> None:
        self.calls.append(call)
        anthropic = call.path == "/v1/messages"
        if refusal := self._refusal(call):
            await connection.answer(refusal.answer(anthropic=anthropic))
            return
        await asyncio.sleep(self.delay_s)
        if self.fault in BAD_MANNERS:
            await BAD_MANNERS[self.fault](connection, self._good(call))
        elif self.fault in REFUSALS:
            await connection.answer(REFUSALS[self.fault].answer(anthropic=anthropic))
        elif self.fault == "redirect":
            await connection.answer(Answer(302, b"", (("Location", self.redirect_to),)))
        elif isinstance(call.body, dict) and call.body.get("stream"):
            await self._stream(call, connection)
        else:
            await connection.answer(self._good(call))

    # ------------------------------------------------------------------------------------------ what it refuses

    def _refusal(self, call: Call) -> Refusal | None:
        anthropic = call.path == "/v1/messages" or "anthropic-version" in call.headers
        given = call.headers.get("x-api-key") if anthropic else call.headers.get("authorization")
        if given not in [one if anthropic else f"Bearer {one}" for one in (self.key, *self.more_keys)]:
            return WRONG_KEY
        if call.method == "GET":
            told = call.path in ("/v1/models", "/v1/key")
            return None if told else Refusal(404, "Not found", anthropic_type="not_found_error")
        checks = {
            "/v1/chat/completions": wrong_in_chat,
            "/v1/images/generations": wrong_in_images,
            "/v1/embeddings": wrong_in_embeddings,
            "/v1/messages": wrong_in_messages,
        }
        if call.path not in checks:
            return Refusal(404, f"Invalid URL (POST {call.path})", anthropic_type="not_found_error")
        if not isinstance(call.body, dict):
            return Refusal(400, "We could not parse the JSON body of your request.")
        wrong = checks[call.path](call.body)
        return Refusal(400, wrong) if wrong else None

    # ------------------------------------------------------------------------------------------ what it answers

    def _good(self, call: Call) -> Answer:
        if call.path == "/v1/models":
            return json_answer({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "tests"}]})
        if call.path == "/v1/key":
            return json_answer({"data": {"label": "sk-or-v1-abc...123", "limit": None, "usage": 0}})
        value = copy.deepcopy(dict(self.answer)) if self.answer is not None else self._value(call)
        if self.fault in HOLLOW:
            value = hollow(self.fault, value, anthropic=call.path == "/v1/messages")
        return json_answer(value)

    def _value(self, call: Call) -> dict[str, Any]:
        if call.path == "/v1/images/generations":
            usage = {"input_tokens": 9, "output_tokens": 1056, "total_tokens": 1065}
            return {"created": 1, "data": [{"b64_json": placeholder_png("IMAGE")}], "usage": usage}
        if call.path == "/v1/embeddings":
            return self._embeddings(call.body)
        if call.path == "/v1/messages":
            return self._message(call.body)
        return self._completion(call.body)

    def _embeddings(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A vector for each input, all 0.5 but for the first number, which is the input's place."""
        single = isinstance(body["input"], str) or isinstance(body["input"][0], int)
        inputs = [body["input"]] if single else body["input"]
        size = body.get("dimensions", self.vector_size)
        data = [
            {"object": "embedding", "index": place, "embedding": vector(place, size, body.get("encoding_format"))}
            for place in range(len(inputs))
        ]
        value = {"object": "list", "data": data[::-1], "model": body["model"]}
        counts = USAGES.get(self.fault, (12, 0))
        return value | ({"usage": {"prompt_tokens": counts[0], "total_tokens": counts[0]}} if counts else {})

    def _completion(self, body: Mapping[str, Any]) -> dict[str, Any]:
        tool = called_tool(body)
        message: dict[str, Any] = {"role": "assistant", "content": None if tool else self.text, "refusal": None}
        if tool:
            function = {"name": tool["function"]["name"], "arguments": '{"city": "Paris"}'}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        finish = "tool_calls" if tool else "stop"
        choice = {"message": message, "logprobs": None, "finish_reason": finish}
        value = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": body["model"],
            "choices": [{"index": index, **choice} for index in range(body.get("n") or 1)],
        }
        return value | self._usage("prompt_tokens", "completion_tokens")

    def _message(self, body: Mapping[str, Any]) -> dict[str, Any]:
        tool = called_tool(body)
        block: dict[str, Any] = {"type": "text", "text": self.text}
        if tool:
            block = {"type": "tool_use", "id": "toolu_1", "name": tool["name"], "input": {"city": "Paris"}}
        value = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [block],
            "stop_reason": "tool_use" if tool else "end_turn",
            "stop_sequence": None,
        }
        return value | self._usage("input_tokens", "output_tokens")

    def _usage(self, name_in: str, name_out: str) -> dict[str, Any]:
        if self.usage is not None:
            return {"usage": dict(self.usage)}
        counts = USAGES.get(self.fault, (12, 7))
        if counts is None:
            return {}
        usage = {name_in: counts[0], name_out: counts[1]}
        return {"usage": usage | ({"total_tokens": sum(counts)} if name_in == "prompt_tokens" else {})}

    # ------------------------------------------------------------------------------------------ streams

    async def _stream(self, call: Call, connection: Connection) -> None:
        """Chunked server-sent events; a fault of `MID_STREAM` strikes after the second word."""
        await connection.send(head(200, (("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))))
        anthropic = call.path == "/v1/messages"
        value = json.loads(self._good(call).body)
        if "choices" not in value and "content" not in value:
            await connection.send(chunk(event(value)) + b"0\r\n\r\n")
            return
        words_sent = 0
        for data in message_events(value) if anthropic else completion_events(value, call.body):
            if self.fault.startswith("mid_") and words_sent == 2:
                await self._strike(connection)
                return
            await connection.send(chunk(data))
            word = b'"text_delta"' in data or b'"content"' in data
            words_sent += word
            self.words_sent += word
            await asyncio.sleep(self.delay_s / 10)
        await connection.send(b"0\r\n\r\n")

    async def _strike(self, connection: Connection) -> None:
        odd = {
            "mid_error": event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            "mid_bad_json": b'data: {"choices": [\n\n',
            "mid_bad_utf8": b'data: {"text": "\xff\xfe"}\n\n',
        }
        if self.fault in odd:
            await connection.send(chunk(odd[self.fault]))
        if self.fault == "mid_hang":
            await connection.until_gone()
        elif self.fault == "mid_rst":
            await asyncio.sleep(DRIP_S)
            connection.reset()
        elif self.fault == "mid_close":
            connection.close()
        else:
            await connection.send(b"0\r\n\r\n")


def called_tool(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tool that a model would call: the first, unless tools are off or one has just answered."""
    tools = body.get("tools")
    choice = body.get("tool_choice")
    last = body["messages"][-1]
    content = last["content"] if isinstance(last["content"], list) else []
    answered = last["role"] == "tool" or any(block.get("type") == "tool_result" for block in content)
    if not tools or answered or choice == "none" or choice == {"type": "none"}:
        return None
    first: dict[str, Any] = tools[0]
    return first


def vector(place: int, size: int, encoding: str | None) -> str | list[float]:
    """An embedding in the form that was asked for."""
    numbers = [float(place)] + [0.5] * (size - 1)
    return b64encode(struct.pack(f"<{size}f", *numbers)).decode() if encoding == "base64" else numbers


def hollow(fault: str, value: dict[str, Any], *, anthropic: bool) -> dict[str, Any]:
    """The answer without what makes it one."""
    if fault == "error_200":
        return {"error": {"message": "Provider returned error", "type": "api_error", "code": 502}}
    listed = "content" if anthropic else "choices"
    if fault == "no_choices":
        return {name: part for name, part in value.items() if name != listed}
    if fault == "null_content" and not anthropic:
        value["choices"][0]["message"]["content"] = None
        return value
    return value | {listed: []}


def event(value: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def pieces(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")[:-1]] + text.split(" ")[-1:]


def completion_events(value: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[bytes]:
    """A completion as OpenAI streams it."""
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": value["model"]}

    def one(number: int, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event(common | {"choices": [choice]})

    def words_of(choice: Mapping[str, Any]) -> Iterator[bytes]:
        number, message = choice["index"], choice["message"]
        yield one(number, {"role": "assistant", "refusal": None})
        for name in ("content", "refusal"):
            for word in filter(None, pieces(message.get(name) or "")):
                yield one(number, {name: word})
        for index, call in enumerate(message.get("tool_calls", ())):
            function = call["function"]
            yield one(number, {"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]})
            for piece in pieces(function["arguments"]):
                yield one(number, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield one(number, {}, choice["finish_reason"])

    for side_by_side in zip_longest(*map(words_of, value["choices"])):
        yield from filter(None, side_by_side)
    if body.get("stream_options", {}).get("include_usage") and "usage" in value:
        yield event(common | {"choices": [], "usage": value["usage"]})
    yield b"data: [DONE]\n\n"


GROWING = {
    "text": ("text", "text_delta", "text"),
    "thinking": ("thinking", "thinking_delta", "thinking"),
    "tool_use": ("input", "input_json_delta", "partial_json"),
}
"""Anthropic's block -> its field that grows, its delta, and the delta's field."""


def message_events(value: Mapping[str, Any]) -> Iterator[bytes]:
    """A message as Anthropic streams it: the input of a call without any is one empty piece."""
    usage = value.get("usage", {})
    started = {**value, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield event({"type": "message_start", "message": started}, "message_start")
    yield event({"type": "ping"}, "ping")
    for index, block in enumerate(value.get("content", ())):
        grows, delta_type, delta_name = GROWING[block["type"]]
        opened = {**block, grows: {} if grows == "input" else ""}
        start = {"type": "content_block_start", "index": index, "content_block": opened}
        yield event(start, "content_block_start")
        whole = block[grows] if grows != "input" else json.dumps(block["input"]) if block["input"] else ""
        for piece in pieces(whole):
            delta = {"type": delta_type, delta_name: piece}
            yield event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")
        yield event({"type": "content_block_stop", "index": index}, "content_block_stop")
    ended = {"stop_reason": value["stop_reason"], "stop_sequence": None}
    counts = {"output_tokens": usage["output_tokens"]} if "output_tokens" in usage else {}
    yield event({"type": "message_delta", "delta": ended, "usage": counts}, "message_delta")
    yield event({"type": "message_stop"}, "message_stop")


def unknown_field(body: Mapping[str, Any], known: frozenset[str]) -> str:
    return next((name for name in body if name not in known), "")


def wrong_in_chat(body: Mapping[str, Any]) -> str:
    """What OpenAI would say about the body; "" when it is right."""
    if unknown := unknown_field(body, OPENAI_FIELDS):
        return f"Unrecognized request argument supplied: {unknown}"
    if not isinstance(body.get("model"), str) or not body["model"]:
        return "you must provide a model parameter"
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        return "Invalid 'messages': empty array."
    roles = {"system", "developer", "user", "assistant", "tool"}
    for index, message in enumerate(body["messages"]):
        if message.get("role") not in roles:
            return f"Invalid value for 'messages[{index}].role'"
        if unknown := unknown_field(message, MESSAGE_FIELDS):
            return f"Unknown parameter: 'messages[{index}].{unknown}'."
    if len(user := body.get("user", "")) > 64:
        return (
            f"Invalid 'user': string too long. Expected a string with maximum length 64, but got {len(user)} instead."
        )
    if "stream_options" in body and not body.get("stream"):
        return "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    return "'tool_choice' is only allowed when 'tools' are specified." if no_tools(body) else ""


def no_tools(body: Mapping[str, Any]) -> bool:
    return "tool_choice" in body and not body.get("tools")


def wrong_in_images(body: Mapping[str, Any]) -> str:
    if unknown := unknown_field(body, IMAGE_FIELDS):
        return f"Unknown parameter: '{unknown}'."
    return "" if body.get("prompt") else "Missing required parameter: 'prompt'."


def wrong_in_embeddings(body: Mapping[str, Any]) -> str:
    if unknown := unknown_field(body, EMBEDDING_FIELDS):
        return f"Unknown parameter: '{unknown}'."
    return "" if body.get("input") else "'$.input' is invalid."


def wrong_in_messages(body: Mapping[str, Any]) -> str:
    """What Anthropic would say about the body; "" when it is right."""
    if unknown := unknown_field(body, ANTHROPIC_FIELDS):
        return f"{unknown}: Extra inputs are not permitted"
    if not isinstance(body.get("max_tokens"), int):
        return "max_tokens: Field required"
    if not 0 <= body.get("temperature", 0) <= 1:
        return "temperature: range: 0..1"
    if "temperature" in body and "top_p" in body:
        return "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "messages: at least one message is required"
    for index, message in enumerate(messages):
        if message.get("role") not in ("user", "assistant"):
            return f"messages.{index}.role: Input should be 'user' or 'assistant'"
        if not message.get("content"):
            return f"messages.{index}: all messages must have non-empty content"
        if wrong := wrong_in_blocks(message["content"]):
            return f"messages.{index}: {wrong}"
    if any(not one.strip() for one in body.get("stop_sequences", ())):
        return "stop_sequences: each stop sequence must contain non-whitespace"
    return ""


def wrong_in_blocks(content: str | list[dict[str, Any]]) -> str:
    """What Anthropic would say about a message's content; "" when it is right."""
    return next(filter(None, map(wrong_in_block, [] if isinstance(content, str) else content)), "")


def wrong_in_block(block: Mapping[str, Any]) -> str:
    if block["type"] == "text" and not block["text"].strip():
        return f"text content blocks must {'contain non-whitespace text' if block['text'] else 'be non-empty'}"
    if block["type"] == "tool_result":
        return wrong_in_blocks(block.get("content", "")) or wrong_id(block["tool_use_id"])
    return wrong_id(block["id"]) if block["type"] == "tool_use" else ""


def wrong_id(told: str) -> str:
    return (
        "" if re.fullmatch(r"[a-zA-Z0-9_-]+", told) else "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
    )


async def serve(arguments: argparse.Namespace) -> None:
    upstream = Upstream(fault=arguments.fault, delay_s=arguments.delay_s, port=arguments.port, key=arguments.key)
    async with upstream:
        urls = f"OPENAI_BASE_URL={upstream.openai_url} ANTHROPIC_BASE_URL={upstream.anthropic_url}"
        sys.stdout.write(f"{urls} KEY={upstream.key}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted, faulty provider on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", default="", choices=(*FAULTS, "list"), metavar="FAULT")
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--key", default=KEY)
    arguments = parser.parse_args()
    if arguments.fault == "list":
        sys.stdout.write("\n".join(filter(None, FAULTS)) + "\n")
        return
    asyncio.run(serve(arguments))


if __name__ == "__main__":
    main()
