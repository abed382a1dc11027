"""A Gemini that plays a part, over real sockets on 127.0.0.1: `POST /v1beta/models/NAME:generateContent`, plain and
streamed (`:streamGenerateContent?alt=sse`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from omni_app.providers.placeholder import placeholder_png
from tests.servers.bad_manners import BAD_MANNERS
from tests.servers.raw_http import Answer, Call, Connection, RawServer, head, json_answer

KEY = "AIzaTestGeminiKey0123456789abcdef"
TEXT = "Hello from Gemini."
FIELDS = frozenset(
    ["contents", "systemInstruction", "system_instruction", "generationConfig", "tools", "toolConfig", "safetySettings"]
)
REFUSALS: Mapping[str, tuple[int, str, str]] = {
    "400": (400, "INVALID_ARGUMENT", "Invalid value at 'contents'."),
    "context_length": (
        400,
        "INVALID_ARGUMENT",
        "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "tools_and_form": (
        400,
        "INVALID_ARGUMENT",
        "Function calling with a response mime type: 'application/json' is unsupported",
    ),
    "expired": (400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."),
    "location": (400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
    "403": (403, "PERMISSION_DENIED", "Generative Language API has not been used in project 1."),
    "404": (404, "NOT_FOUND", "models/m is not found for API version v1beta."),
    "429": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota."),
    "500": (500, "INTERNAL", "An internal error has occurred."),
    "503": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
}
WRONG_KEY = (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")
"""Google says 400 to a wrong key; its reason is `API_KEY_INVALID`."""


@dataclass
class Gemini:
    """The server. Use it as `async with Gemini() as gemini`."""

    fault: str = ""
    key: str = KEY
    text: str = TEXT
    redirect_to: str = "http://127.0.0.1:9/"
    answer: Mapping[str, Any] | None = None
    told: Mapping[str, int] = field(default_factory=dict)
    """Counts beside those that each event of a stream tells."""
    calls: list[Call] = field(default_factory=list)
    _server: RawServer = field(init=False)

    async def __aenter__(self) -> Self:
        self._server = RawServer(self._respond)
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    async def _respond(self, call: Call, connection: Connection) -> None:
        self.calls.append(call)
        good = json_answer(self.answer if self.answer is not None else self._value(call))
        if call.headers.get("x-goog-api-key") != self.key and f"key={self.key}" not in call.query:
            await connection.answer(refusal(WRONG_KEY, reason="API_KEY_INVALID"))
        elif not call.path.startswith("/v1beta/models"):
            await connection.answer(Answer(404, b"", ()))
        elif self.fault in BAD_MANNERS:
            await BAD_MANNERS[self.fault](connection, good)
        elif self.fault in REFUSALS:
            await connection.answer(refusal(REFUSALS[self.fault]))
        elif self.fault == "redirect":
            await connection.answer(Answer(302, b"", (("Location", self.redirect_to),)))
        elif call.method == "POST" and (unknown := call.body.keys() - FIELDS):
            told = f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.'
            await connection.answer(refusal((400, "INVALID_ARGUMENT", told)))
        elif call.method == "POST" and tools_and_form(call):
            await connection.answer(refusal(REFUSALS["tools_and_form"]))
        elif call.path.endswith(":streamGenerateContent"):
            await self._stream(call, connection)
        else:
            await connection.answer(good)

    async def _stream(self, call: Call, connection: Connection) -> None:
        """An event a word, the last one with how it ended and the usage; `mid_close` and `mid_rst` after two words."""
        await connection.send(head(200, (("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))))
        value = json.loads(json_answer(self.answer if self.answer is not None else self._value(call)).body)
        for number, one in enumerate(events(value, self.told)):
            if number == 2 and self.fault == "mid_close":
                connection.close()
                return
            if number == 2 and self.fault == "mid_rst":
                connection.reset()
                return
            if self.fault == "no_end" and "finishReason" in str(one):
                break
            data = b"data: " + json.dumps(one).encode() + b"\r\n\r\n"
            await connection.send(b"%x\r\n%b\r\n" % (len(data), data))
        await connection.send(b"0\r\n\r\n")

    def _value(self, call: Call) -> dict[str, Any]:
        if call.method == "GET":
            return {"models": [{"name": "models/m"}]}
        part: dict[str, Any] = {"text": self.text}
        config = call.body.get("generationConfig", {})
        if "IMAGE" in (config.get("responseModalities") or config.get("response_modalities") or ()):
            part = {"inlineData": {"mimeType": "image/png", "data": placeholder_png("IMAGE")}}
        tools = call.body.get("tools")
        if tools:
            name = tools[0].get("function_declarations", tools[0].get("functionDeclarations"))[0]["name"]
            part = {"functionCall": {"name": name, "args": {"city": "Paris"}}}
        usage = {
            "promptTokenCount": 20,
            "cachedContentTokenCount": 8,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 3,
            "totalTokenCount": 28,
        }
        content = {"role": "model", "parts": [part]}
        candidate = {"content": content, "finishReason": "STOP", "index": 0}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r1"}


def tools_and_form(call: Call) -> bool:
    """What models until 2.5 refuse."""
    wants_json = call.body.get("generationConfig", {}).get("responseMimeType") == "application/json"
    return wants_json and bool(call.body.get("tools")) and "/gemini-2" in call.path


def events(value: Mapping[str, Any], told: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """The stream of an answer: its text word by word, its calls whole; each event tells the usage so far."""
    candidates = value.get("candidates") or ()
    for candidate in candidates:
        for part in candidate["content"]["parts"]:
            pieces = [{"text": word} for word in re.findall(r"\S+\s*", part["text"])] if "text" in part else [part]
            for written, piece in enumerate(pieces):
                said = {"content": {"role": "model", "parts": [piece]}, "index": 0}
                usage = {"promptTokenCount": 20, "candidatesTokenCount": written, **told}
                yield {"candidates": [said], "usageMetadata": usage}
    last = {"content": {"role": "model", "parts": [{"text": ""}]}, "index": 0}
    ends = [last | {"finishReason": candidate["finishReason"]} for candidate in candidates]
    yield {**value, "candidates": ends} if ends else dict(value)


def refusal(told: tuple[int, str, str], *, reason: str = "") -> Answer:
    """An error as Google's APIs write it."""
    status, name, message = told
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason, "domain": "googleapis.com"}]
    return json_answer({"error": error}, status)
