"""A browser tab whose events go through Reflex's own event processor: its locks, its background tasks, its deltas."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import reflex as rx
from reflex.app_mixins.middleware import MiddlewareMixin
from reflex.istate.manager.memory import StateManagerMemory
from reflex.istate.manager.token import BaseStateToken
from reflex_base.event import Event
from reflex_base.event.processor import BaseStateEventProcessor
from reflex_base.utils.format import format_event_handler

from omni_app.ui.session import TabOwner
from tests.ui.conftest import Tab


@dataclass
class Updates:
    """Where the processor's messages to the browsers end: one list for each tab."""

    sent: dict[str, list[Any]] = field(default_factory=dict)

    async def emit_update(self, update: Any, token: str) -> None:
        self.sent.setdefault(token, []).append(update)


@dataclass
class LiveTab:
    """One open tab of the running app."""

    token: str
    tab: Tab
    processor: BaseStateEventProcessor
    states: StateManagerMemory
    updates: Updates

    async def fire(self, cls: type[rx.State], handler: str, **arguments: Any) -> asyncio.Future[Any]:
        """Sends one event; gives the future of its end (a background event ends late)."""
        name = format_event_handler(cls.event_handlers[handler])
        return await self.processor.enqueue(
            self.token, Event(name=name, payload=arguments, router_data=self.tab.router_data)
        )

    async def done(self, cls: type[rx.State], handler: str, **arguments: Any) -> None:
        """Sends one event and waits until it is through."""
        await (await self.fire(cls, handler, **arguments))

    async def state(self, cls: type[rx.State]) -> Any:
        """The tab's state as it is now."""
        root: Any = await self.states.get_state(BaseStateToken(ident=self.token, cls=cls))
        return root.get_substate(cls.get_full_name().split("."))

    async def until(self, cls: type[rx.State], wanted: Any, *, within_s: float = 15.0) -> Any:
        """The state, once `wanted(state)` holds."""
        async with asyncio.timeout(within_s):
            while True:
                state = await self.state(cls)
                if wanted(state):
                    return state
                await asyncio.sleep(0.005)

    def deltas(self) -> list[Mapping[str, Any]]:
        """What was sent to this tab so far, one mapping of variables for each message of its own states."""
        return [update.delta for update in self.updates.sent.get(self.token, []) if update.delta]


@asynccontextmanager
async def running_tabs() -> AsyncIterator[Any]:
    """Opens tabs on one running event processor: `open_tab(name, tab)`."""
    states, updates = StateManagerMemory(), Updates()  # type: ignore[abstract]
    guards = MiddlewareMixin()
    guards.add_middleware(TabOwner())
    processor = BaseStateEventProcessor(middleware=guards)
    processor.configure(state_manager=states, event_namespace=updates)  # type: ignore[arg-type]

    async def open_tab(token: str, tab: Tab) -> LiveTab:
        root: Any = await states.get_state(BaseStateToken(ident=token, cls=rx.State))
        root.router_data = {"pathname": "/"}  # as after the hydration that a browser begins with
        return LiveTab(token, tab, processor, states, updates)

    async with processor:
        yield open_tab
    await states.close()
