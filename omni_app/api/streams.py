"""A chat's answer as a stream, in whichever wire format: what the three of them have in common."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from omni_app.api.responses import request_id
from omni_app.api.sse import EventStream
from omni_app.errors import OmniError
from omni_app.gateway.rate_limits import token_headers
from omni_app.gateway.types import Answer, Caller, ChatRequest, Opened
from omni_app.providers.base import Deltas
from omni_app.routing.types import Deployment
from omni_app.services import Services


class Writer(Protocol):
    """Writes one stream's events in one wire format; each call gives whole events, or nothing."""

    def opened(self, deployment: Deployment) -> bytes:
        """Who answers is known: what stands before the first words."""

    def deltas(self, deltas: Deltas) -> bytes:
        """Pieces of the answer that came together."""

    def ended(self, answer: Answer) -> bytes:
        """The answer is whole."""

    def broken(self, error: OmniError) -> bytes:
        """The answer broke off."""


async def streamed(
    services: Services, caller: Caller, asked: ChatRequest, request: Request, writer: Writer
) -> Response:
    """The answer as events. Raises an error that comes before the first of them."""
    headers: dict[str, str] = {}

    async def events() -> AsyncGenerator[bytes, None]:
        opening = b""  # goes out with the first words
        async with aclosing(services.gateway.stream(caller, asked, request_id=request_id(request))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Opened):
                    headers.update(opened_headers(piece))
                    opening = writer.opened(piece.deployment)
                    continue
                yield opening + (writer.ended(piece) if isinstance(piece, Answer) else writer.deltas(piece))
                opening = b""

    return await EventStream(events(), on_error=writer.broken, headers_of=lambda: headers).opened()


def opened_headers(opened: Opened) -> dict[str, str]:
    """What is known of a stream when it begins; its cost is in its last event."""
    return {"x-omni-model": opened.deployment.id, "x-omni-fallbacks": str(opened.fallbacks)} | token_headers(
        opened.tokens_left
    )
