"""What carries LiteLLM's requests: httpx's interface over our own transport. Loaded with LiteLLM, on first use."""

from dataclasses import dataclass

import httpx

from omni_app.providers.base import Timeouts
from omni_app.providers.faults import fault_of
from omni_app.providers.transport import Transport


@dataclass(slots=True)
class Carrier(httpx.AsyncBaseTransport):
    """Sends what LiteLLM has written, once, through our own transport. Raises `ProviderFault`, also for a refusal."""

    transport: Transport
    timeouts: Timeouts
    answered: bool = False
    """Whether an answer has come: what LiteLLM finds wrong after that is the answer's fault."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = {name: value for name, value in request.headers.items() if name not in CONNECTION_HEADERS}
        body = await request.aread()
        reply = await self.transport.post(str(request.url), headers=headers, body=body, timeouts=self.timeouts)
        if reply.status != 200:
            raise fault_of(reply)
        self.answered = True
        return httpx.Response(200, headers={"Content-Type": "application/json"}, content=reply.body)


CONNECTION_HEADERS = frozenset({"host", "connection", "accept-encoding", "content-length"})
"""Headers that the transport writes itself."""
