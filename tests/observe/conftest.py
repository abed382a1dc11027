"""The whole API, and what it tells of itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.conftest import Running, run, settings_for

TOKEN = "a-token-for-the-metrics"


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path, metrics_token=TOKEN)):
        yield running
