"""`Idempotency-Key`: a POST that is sent again gives the first one's answer, for a day, from one call and one charge.

A layer between the envelope and the routes: it sees whole answers, plain and streamed, as they leave. Only whole,
successful answers are kept; after an error or a broken stream the request may be sent again. What is to be refused is
left for `Doorkeeper.admit` to raise, so that each route words it in its own shape. An answer is given again to the API
key alone that got it.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omni_app.api.auth import Doorkeeper
from omni_app.api.json_body import read_body
from omni_app.errors import Conflict, IdempotencyMismatch, InvalidRequest, OmniError
from omni_app.gateway.types import Caller
from omni_app.services import Services
from omni_app.storage import idempotency
from omni_app.storage.idempotency import Claim, InFlight, KeptAnswer, OtherRequest
from omni_app.storage.keys import ApiKey
from omni_app.storage.sealing import Sealer

log = logging.getLogger(__name__)

HEADER = b"idempotency-key"
REPLAYED = (b"idempotent-replayed", b"true")
MAX_KEY_LENGTH = 255
MAX_KEPT_BYTES = 20_000_000
"""A larger answer is not kept: the same request would be served again."""
LAPSE_MARGIN = timedelta(seconds=60)
"""A claim lapses this long after its request must have ended: then its process is gone."""
NEVER = timedelta(days=36_500)
"""A claim that this process serves itself: whatever the wall clock is set to meanwhile."""
NOT_KEPT = (b"content-length", b"x-request-id", b"x-ratelimit-")
"""Beginnings of the headers that each answer has anew."""


class Idempotency:
    """The layer. A request without the header passes untouched."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services
        self._door = Doorkeeper(services)
        secret, other = services.settings.secret_key, services.settings.secret_key_other
        self._sealer = Sealer(secret, purpose="idempotent answers", other_key=other)
        self._lapses_after = timedelta(seconds=services.settings.provider_timeout_sec) + LAPSE_MARGIN
        self._serving: set[tuple[UUID, str]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = header_of(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        if name is None or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = b""
        try:
            key = await self._door.identify(request)
            body = await read_body(request, max_bytes=self._services.settings.max_body_bytes)
            found = await self._claim(key, name, fingerprint(scope, body))
            if isinstance(found, KeptAnswer):
                await self._services.gateway.admit(Caller.with_key(key))
        except OmniError as refusal:
            scope["omni_refusal"] = refusal
            await self._app(scope, with_body(body, receive), send)
            return
        if isinstance(found, KeptAnswer):
            await replay(found, send)
        else:
            await self._serve(found, scope, with_body(body, receive), send)

    async def _claim(self, key: ApiKey, name: str, mark: str) -> Claim | KeptAnswer:
        if not (0 < len(name) <= MAX_KEY_LENGTH and name.isascii() and name.isprintable()):
            raise InvalidRequest(f"Idempotency-Key: must be 1 to {MAX_KEY_LENGTH} printable ASCII characters")
        whose = key.org_id, name_of(key, name)
        try:
            async with self._services.database.reading() as session:
                found = await idempotency.claim(
                    session,
                    org_id=whose[0],
                    key=whose[1],
                    fingerprint=mark,
                    lapses_after=NEVER if whose in self._serving else self._lapses_after,
                    sealer=self._sealer,
                )
                await session.commit()
                return found
        except OtherRequest:
            message = "this Idempotency-Key came with another request before: use a new key for a new request"
            raise IdempotencyMismatch(message) from None
        except InFlight:
            message = "the first request with this Idempotency-Key is still being served: try again shortly"
            raise Conflict(message, headers={"Retry-After": "1"}) from None

    async def _serve(self, claim: Claim, scope: Scope, receive: Receive, send: Send) -> None:
        recorder = Recorder(send, scope, keep=lambda answer: self._end(claim, answer))
        self._serving.add((claim.org_id, claim.key))
        try:
            await self._app(scope, receive, recorder.send)
        finally:
            self._serving.discard((claim.org_id, claim.key))
            if not recorder.kept:
                await self._end(claim, None)

    async def _end(self, claim: Claim, answer: KeptAnswer | None) -> None:
        """Keeps the answer or gives the claim back. With the database away the claim stays until it lapses."""
        try:
            async with self._services.database.reading() as session:
                if answer is None:
                    await idempotency.release(session, claim)
                else:
                    await idempotency.keep(session, claim, answer, sealer=self._sealer)
                await session.commit()
        except OmniError as error:
            log.warning("an idempotent answer could not be kept: %s", error.code)


@dataclass(slots=True)
class Recorder:
    """Passes an answer on and keeps it, when it was whole, before its last bytes leave."""

    pass_on: Send
    scope: Scope
    keep: Callable[[KeptAnswer], Awaitable[None]]
    kept: bool = False
    _headers: dict[str, str] | None = None
    _body: bytearray = field(default_factory=bytearray)

    async def send(self, message: Message) -> None:
        """One message of the answer."""
        if message["type"] == "http.response.start" and message["status"] == 200:
            pairs = [(name.lower(), value) for name, value in message["headers"]]
            self._headers = {
                name.decode(): value.decode("latin-1") for name, value in pairs if not name.startswith(NOT_KEPT)
            }
        elif message["type"] == "http.response.body" and self._headers is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._whole(self._headers)
        await self.pass_on(message)

    async def _whole(self, headers: dict[str, str]) -> None:
        if self.scope.get("omni_broken") or len(self._body) > MAX_KEPT_BYTES:
            return
        await self.keep(KeptAnswer(headers, bytes(self._body)))
        self.kept = True


def header_of(scope: Scope) -> str | None:
    """The header's value; None when it was not sent."""
    for name, value in scope["headers"]:
        if name == HEADER:
            return str(value.decode("latin-1")).strip()
    return None


def name_of(key: ApiKey, name: str) -> str:
    """What the claim is kept under: another API key of the org may stand for other models and limits."""
    return hashlib.sha256(f"{key.id}\n{name}".encode()).hexdigest()


def fingerprint(scope: Scope, body: bytes) -> str:
    """What tells one request from another: its path and its body, to the byte."""
    return hashlib.sha256(scope["path"].encode() + b"\n" + body).hexdigest()


def with_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that has been read, then what comes after it."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def replay(answer: KeptAnswer, send: Send) -> None:
    """Sends a kept answer."""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    headers += [REPLAYED, (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
