"""A Gemini that plays a part, over real sockets on 127.0.0.1: `POST /v1beta/models/NAME:generateContent`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.servers.bad_manners import BAD_MANNERS
from tests.servers.raw_http import Answer, Call, Connection, RawServer, json_answer

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
        else:
            await connection.answer(good)

    def _value(self, call: Call) -> dict[str, Any]:
        if call.method == "GET":
            return {"models": [{"name": "models/m"}]}
        part: dict[str, Any] = {"text": self.text}
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


def refusal(told: tuple[int, str, str], *, reason: str = "") -> Answer:
    """An error as Google's APIs write it."""
    status, name, message = told
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason, "domain": "googleapis.com"}]
    return json_answer({"error": error}, status)
