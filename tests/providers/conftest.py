"""What the tests of the providers share: one transport each, closed at the end."""

from collections.abc import AsyncIterator

import pytest

from omni_app.providers.transport import Transport


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.aclose()
