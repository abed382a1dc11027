"""API keys: made by the page's script (a new key never enters this state), listed, revoked."""

from typing import Annotated
from uuid import UUID

import reflex as rx
from pydantic import StringConstraints

from omni_app.errors import NotFound
from omni_app.storage import keys
from omni_app.storage.accounts import Identity
from omni_app.ui import text
from omni_app.ui.components.basics import NativeForm, Row, badge, button, card, empty, moment
from omni_app.ui.components.shell import app_page
from omni_app.ui.components.snippets import key_problem, new_key_box
from omni_app.ui.components.table import data_table
from omni_app.ui.session import AppState, authed, backstage

PATH = "/keys/"
KeyId = Annotated[str, StringConstraints(pattern="^[0-9a-f-]{36}$")]


class KeysState(AppState):
    """The org's keys, by prefix and last four."""

    loaded: bool = False
    rows: list[Row] = []
    asking: str = ""
    """Id of the key that is about to be revoked."""
    asking_name: str = ""
    said: str = ""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Lists the keys."""
        self.asking, self.said = "", ""
        await self._list(who)

    @rx.event
    @authed
    async def ask(self, who: Identity, /, key_id: KeyId) -> None:
        """Asks before a key is revoked."""
        named = [row["name"] for row in self.rows if row["id"] == key_id]
        if named:
            self.asking, self.asking_name = key_id, named[0]

    @rx.event
    @authed
    async def keep(self, who: Identity, /) -> None:
        """Revokes nothing after all."""
        self.asking = ""

    @rx.event
    @authed
    async def revoke(self, who: Identity, /) -> None:
        """Revokes the key that was asked about."""
        key_id, self.asking = self.asking, ""
        if not key_id:
            return
        async with backstage.services.database.reading() as session:
            found = await keys.revoke_key(session, org_id=who.org_id, key_id=UUID(key_id))
            await session.commit()
        await self._list(who)
        if not found:
            raise NotFound("that key is not there any more")
        self.said = f"{self.asking_name} is revoked: requests with it are refused within a second."

    async def _list(self, who: Identity) -> None:
        async with backstage.services.database.reading() as session:
            found = await keys.list_keys(session, org_id=who.org_id)
        self.rows = [_row(key) for key in found]
        self.loaded = True


def _row(key: keys.ApiKey) -> Row:
    return {
        "id": str(key.id),
        "name": key.name,
        "kind": text.mode_name(key.kind),
        "tone": "ok" if key.kind == "live" else "sim",
        "shown": f"{key.prefix}…{key.last4}",
        "created": text.instant(key.created_at),
        "created_text": text.utc_text(key.created_at),
        "used": text.instant(key.last_used_at),
        "used_text": text.utc_text(key.last_used_at),
    }


def page() -> rx.Component:
    """Make, list, revoke."""
    return app_page(
        new_key_box(),
        _maker(),
        rx.cond(KeysState.asking != "", _question()),
        rx.cond(KeysState.said != "", rx.el.p(KeysState.said, class_name="notice", role="status")),
        rx.cond(
            KeysState.rows.length() > 0,
            card(_table(), title="Your keys"),
            empty("No keys yet", "A key lets your app call the API. Name one above and it appears here."),
        ),
        rx.el.button(
            "Refresh the list",
            type="button",
            hidden=True,
            on_click=KeysState.load,
            custom_attrs={"data-refresh-keys": ""},
        ),
        path=PATH,
        title="API keys",
        lead="Live keys reach the configured providers. "
        "Test keys reach the model on this machine and simulated ones: nothing is billed.",
        loaded=KeysState.loaded,
    )


def _maker() -> rx.Component:
    name = rx.el.div(
        rx.el.label("Name", html_for="key-name"),
        rx.el.input(
            id="key-name", name="name", type="text", class_name="input", required=True, max_length=60,
            placeholder="My app", auto_complete="off",
        ),
        class_name="field",
    )  # fmt: skip
    kind = rx.el.div(
        rx.el.label("Kind", html_for="key-kind"),
        rx.el.select(
            rx.el.option("Test", value="test"), rx.el.option("Live", value="live"), id="key-kind", name="kind"
        ),
        class_name="field",
    )
    return card(
        NativeForm.create(
            name,
            kind,
            rx.el.button("Make key", type="submit", class_name="button primary"),
            class_name="inline-form",
            custom_attrs={"data-key-form": ""},
        ),
        key_problem(),
        title="Make a key",
    )


def _question() -> rx.Component:
    return rx.el.div(
        rx.el.p(
            "Revoke “",
            rx.el.strong(KeysState.asking_name),
            "”? Apps that use it are refused at once. This cannot be undone.",
        ),
        rx.el.div(
            button("Revoke it", kind="danger", on_click=KeysState.revoke),
            button("Keep it", on_click=KeysState.keep),
            class_name="row",
        ),
        class_name="notice stack tight",
        role="alertdialog",
        custom_attrs={"data-tone": "warn", "aria-label": "Revoke this key?"},
    )


def _table() -> rx.Component:
    return data_table(
        KeysState.rows,
        [
            ("Name", lambda row: rx.el.span(row["name"], class_name="wrap")),
            ("Kind", lambda row: badge(row["kind"], tone=row["tone"])),
            ("Key", lambda row: rx.el.code(row["shown"])),
            ("Made", lambda row: moment(row["created"], row["created_text"])),
            ("Last used", lambda row: moment(row["used"], row["used_text"])),
            (
                "#Action",
                lambda row: rx.el.button(
                    "Revoke", type="button", class_name="button small danger", on_click=KeysState.ask(row["id"])
                ),
            ),
        ],
        caption="API keys",
    )
