"""What the tests of the providers share: one transport each, closed at the end."""

from collections.abc import AsyncIterator

import pytest

from omni_app.providers.transport import CLIENTS, Transport

BOTH_CLIENTS = pytest.mark.parametrize("transport", CLIENTS, indirect=True)
"""Over our own HTTP client, and over the other one."""


@pytest.fixture
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    transport = Transport(client=getattr(request, "param", "own"))
    yield transport
    await transport.aclose()
