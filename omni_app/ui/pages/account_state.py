"""One's own account on the settings page: where it is logged in, and whether a second factor is on.

Passwords, the factor's secret and its codes go by `/auth/*` (`omni_app.api.factor_routes`), never through this state.
"""

from typing import Annotated
from uuid import UUID

import reflex as rx
from pydantic import StringConstraints

from omni_app.errors import NotFound
from omni_app.storage import second_factors, sessions
from omni_app.storage.accounts import Identity
from omni_app.storage.sessions import OpenSession
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.session import AppState, backstage, for_self, note

Id = Annotated[str, StringConstraints(pattern="^[0-9a-f-]{36}$")]


class AccountState(AppState):
    """The signed-in browsers of this person, and their second factor."""

    places: list[Row] = []
    factor_on: bool = False
    recovery_left: int = 0
    ended: str = ""

    @rx.event
    @for_self
    async def load(self, who: Identity, /) -> None:
        """Lists what there is."""
        self.ended = ""
        await self._read(who)

    @rx.event
    @for_self
    async def end_session(self, who: Identity, /, session_id: Id) -> None:
        """Logs one of this person's browsers out."""
        self.ended = ""
        async with backstage.services.database.reading() as session:
            found = await sessions.end_session(session, user_id=who.user_id, session_id=UUID(session_id))
            await session.commit()
        if not found:
            raise NotFound("that browser is logged out already")
        note(self, who, "session_ended", about=session_id)
        await self._read(who)
        self.ended = "That browser is logged out."

    async def _read(self, who: Identity) -> None:
        async with backstage.services.database.reading() as session:
            found = await sessions.open_sessions(session, user_id=who.user_id)
            self.factor_on = await second_factors.is_on(session, user_id=who.user_id)
            self.recovery_left = await second_factors.recovery_codes_left(session, user_id=who.user_id)
        self.places = [_place(one, who) for one in found]


def _place(one: OpenSession, who: Identity) -> Row:
    return {
        "id": str(one.id),
        "browser": one.browser or "Unknown",
        "address": one.address or "unknown",
        "here": "this one" if one.id == who.session_id else "",
        "since": text.instant(one.created_at),
        "since_text": text.utc_text(one.created_at),
        "seen": text.instant(one.last_seen_at),
        "seen_text": text.utc_text(one.last_seen_at),
    }
