"""The API over real services: SQLite in a temporary folder, the packaged registry, the sandbox at full speed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from omni_app.api.app import create_api
from omni_app.services import Services, build_services
from omni_app.settings import Settings
from omni_app.storage import accounts, keys
from tests.migrated import migrate

HELLO = {"messages": [{"role": "user", "content": "Hello! How are you today?"}]}
ORIGIN = "http://127.0.0.1:8000"


@dataclass
class Running:
    """A running product: its services, a client of its API, and a test key of an org."""

    services: Services
    client: httpx.AsyncClient
    org_id: UUID
    key: str

    async def post(self, path: str, body: Any, *, key: str | None = None) -> httpx.Response:
        return await self.client.post(path, json=body, headers={"Authorization": f"Bearer {key or self.key}"})

    async def get(self, path: str, *, key: str | None = None) -> httpx.Response:
        return await self.client.get(path, headers={"Authorization": f"Bearer {key or self.key}"})

    async def new_key(self, kind: Any = "test", *, org: str = "Acme") -> str:
        async with self.services.database.session() as session:
            org_id = await accounts.org_named(session, org)
            _, secret = await keys.create_key(session, org_id=org_id, name="k", kind=kind, hasher=self.services.hasher)
            await session.commit()
        return secret


def settings_for(folder: Path, **changes: Any) -> Settings:
    """Settings of a bare machine, with a quick sandbox and without the local model."""
    quiet = {"local_model": "off", "log_security": "off", "sandbox_speed": 0}
    return Settings.model_validate({"omni_data_dir": folder} | quiet | changes)


async def run(settings: Settings, *, seeded: bool = True) -> AsyncIterator[Running]:
    """Starts a product with these settings; stops it at the end. `seeded` as `migrate` has it."""
    settings.omni_data_dir.mkdir(parents=True, exist_ok=True)
    migrate(settings.database, seeded=seeded)
    services = build_services(settings)
    await services.start()
    await services.keys.poll()  # the first one: a key that is read beside it is not remembered
    # An unexpected error must come out as an answer, as it does on a server.
    transport = httpx.ASGITransport(app=create_api(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        running = Running(services, client, UUID(int=0), "")
        running.key = await running.new_key()
        async with services.database.session() as session:
            running.org_id = await accounts.org_named(session, "Acme")
        yield running
    await services.stop()


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path)):
        yield running
