"""Pages without a server: the real services over SQLite, and tabs whose events are handled in this process."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import reflex as rx
from reflex.istate.data import RouterData

from omni_app.origin import session_cookie
from omni_app.services import Services, build_services
from omni_app.settings import Settings
from omni_app.storage import accounts
from omni_app.storage.accounts import Identity
from omni_app.ui.session import backstage
from tests.migrated import migrate

PASSWORD = "teal-otter-maps-42-winter"


@dataclass
class Tab:
    """One browser tab: a state tree, the cookie it was opened with, and the address it shows."""

    cookie: str = ""
    root: Any = field(default_factory=lambda: rx.State(_reflex_internal_init=True))  # type: ignore[call-arg]
    router_data: dict[str, Any] = field(default_factory=dict)

    def at(self, path: str, **query: str) -> "Tab":
        url = path + (f"?{urlencode(query)}" if query else "")
        router = {
            "headers": {"cookie": self.cookie, "origin": "http://127.0.0.1:8000"},
            "asPath": url,
            "pathname": path,
        }
        self.router_data = router | {"ip": "127.0.0.1"}
        self.root.router = RouterData.from_router_data(self.router_data)
        return self

    def state(self, cls: type[rx.State]) -> Any:
        return self.root.get_substate(cls.get_full_name().split("."))

    async def fire(self, cls: type[rx.State], handler: str, **arguments: Any) -> Any:
        """What a message over the socket does: any handler, any arguments."""
        return await cls.event_handlers[handler].fn(self.state(cls), **arguments)


@dataclass
class Person:
    """Somebody who has signed up, and the tab they look at."""

    who: Identity
    tab: Tab


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    settings = Settings(omni_data_dir=tmp_path, local_model="off", sandbox_speed=0)
    migrate(settings.database, seeded=True)
    services = build_services(settings)
    backstage.open(services)
    yield services
    await services.database.close()
    services.spool.close()


@pytest.fixture
def sign_up(services: Services) -> Callable[[str], Any]:
    async def make(email: str) -> Person:
        async with services.database.session() as session:
            who = await accounts.sign_up(session, email=email, password=PASSWORD, org_name=email.partition("@")[0])
            token = await accounts.open_session(session, user_id=who.user_id)
            await session.commit()
        return Person(who, Tab(cookie=f"theme=dark; {session_cookie(services.settings)}={token}").at("/overview/"))

    return make
