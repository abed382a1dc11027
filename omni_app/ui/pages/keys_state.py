"""What the keys page shows and does: the org's keys, and one of them with everything that can be set of it.

A new secret is never here: `POST /auth/keys` and `/auth/keys/rotate` give it to the page's script.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated
from uuid import UUID

import reflex as rx
from pydantic import StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.errors import InvalidRequest, NotFound
from omni_app.money import pico, usd_text
from omni_app.storage import budgets, key_changes, keys, teams
from omni_app.storage.accounts import Identity
from omni_app.storage.budgets import PERIOD_OF, Standing
from omni_app.storage.key_changes import KeySettings
from omni_app.storage.scopes import Scope, in_words
from omni_app.storage.tables import utc_now
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.session import AppState, authed, backstage, note

KeyId = Annotated[str, StringConstraints(pattern="^[0-9a-f-]{36}$")]
ModelId = Annotated[str, StringConstraints(max_length=200)]
FieldText = Annotated[str, StringConstraints(max_length=200)]
MAX_BUDGET_USD = 1_000_000
EXPIRES_DAYS = {"30": 30, "90": 90}
GONE = "that key is not there any more"


class KeysState(AppState):
    """The org's keys, by prefix and last four; `key` is the one that the address names."""

    loaded: bool = False
    rows: list[Row] = []
    key: Row = {}
    org_budget: Row = {}
    models: list[Row] = []
    owner: bool = False
    asking: str = ""
    """Id of the key that is about to be revoked."""
    asking_name: str = ""
    said: str = ""
    wrong: str = ""
    """What is wrong with the form, at the field `wrong_field`."""
    wrong_field: str = ""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Lists the keys, and opens the one that the address names."""
        self.asking = self.said = self.wrong = self.wrong_field = ""
        await self._show(who)

    @rx.event
    @authed
    async def refresh(self, who: Identity, /) -> None:
        """The same once the page's script has made or replaced a secret; what is ticked stays."""
        self.asking = self.said = self.wrong = self.wrong_field = ""
        await self._show(who, keeps_ticks=True)

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
        await self._show(who)
        if not found:
            raise NotFound(GONE)
        note(self, who, "key_revoked", key_id=key_id)
        self.said = f"{self.asking_name} is revoked: requests with it are refused within a second."

    @rx.event
    @authed
    async def save(self, who: Identity, /, form: dict[str, FieldText]) -> None:
        """The open key's name, expiry and rate limits; its models stay."""
        if form and self.key:
            await self._set(who, form, allowed=_ticked(self.models))

    @rx.event
    @authed
    async def tick(self, who: Identity, /, model: ModelId) -> None:
        """Allows the open key a model, or takes it away; kept with "Save"."""
        flip = {"yes": "no", "no": "yes"}
        self.models = [row | {"on": flip[row["on"]]} if row["id"] == model else row for row in self.models]

    @rx.event
    @authed
    async def allow_all(self, who: Identity, /) -> None:
        """No model ticked: every model of the key's kind is allowed."""
        self.models = [row | {"on": "no"} for row in self.models]

    @rx.event
    @authed
    async def switch(self, who: Identity, /) -> None:
        """Switches the open key off, or on again."""
        if not self.key:
            return
        off = not self.key["disabled"]
        async with backstage.services.database.reading() as session:
            found = await key_changes.set_disabled(
                session, org_id=who.org_id, key_id=UUID(self.key["id"]), disabled_at=utc_now() if off else None
            )
            await session.commit()
        if not found:
            raise NotFound(GONE)
        note(self, who, "key_disabled" if off else "key_enabled", key_id=self.key["id"])
        await self._show(who, keeps_ticks=True)
        self.said = "The key is disabled: it is refused within a second." if off else "The key works again."

    @rx.event
    @authed
    async def save_budget(self, who: Identity, /, form: dict[str, FieldText]) -> None:
        """The open key's budget, or the org's; an empty amount takes it away."""
        whose = form.get("whose", "")
        if whose not in ("org", "key") or (whose == "key" and not self.key):
            return
        teams.refuse_all_but_owners(who)
        self.said = self.wrong = self.wrong_field = ""
        try:
            limit = _amount(form.get("amount", ""))
        except InvalidRequest as error:
            self.wrong, self.wrong_field = error.message, f"{whose}-budget"
            return
        key_id = UUID(self.key["id"]) if whose == "key" else None
        async with backstage.services.database.reading() as session:
            if key_id is not None and all(key.id != key_id for key in await keys.list_keys(session, org_id=who.org_id)):
                raise NotFound(GONE)
            await _keep_budget(session, who, key_id=key_id, limit=limit, period=form.get("period", ""))
            await session.commit()
        await self._show(who, keeps_ticks=True)
        self.said = "The budget holds within a second." if limit else "There is no budget any more."

    async def _set(self, who: Identity, form: Mapping[str, str], *, allowed: frozenset[str] | None) -> None:
        self.said = self.wrong = self.wrong_field = ""
        key_id, now = UUID(self.key["id"]), utc_now()
        try:
            async with backstage.services.database.reading() as session:
                had = next((one for one in await keys.list_keys(session, org_id=who.org_id) if one.id == key_id), None)
                if had is None:
                    raise NotFound(GONE)
                settings = KeySettings(
                    form.get("name", ""), _expiry(form, had=had.expires_at, now=now),
                    _limit(form, "rate_limit"), allowed, _limit(form, "token_limit"), _scopes(form),
                )  # fmt: skip
                await key_changes.change_key(session, org_id=who.org_id, key_id=key_id, settings=settings, now=now)
                await session.commit()
        except InvalidRequest as error:
            self.wrong, self.wrong_field = error.message, error.param or "name"
            return
        note(self, who, "key_changed", key_id=key_id)
        await self._show(who)
        self.said = "Saved. It holds within a second."

    async def _show(self, who: Identity, *, keeps_ticks: bool = False) -> None:
        """`keeps_ticks`: models that are ticked and not saved stay so, while it is the same key."""
        now = utc_now()
        async with backstage.services.database.reading() as session:
            found = await keys.list_keys(session, org_id=who.org_id)
            standing = {one.terms.key_id: one for one in await budgets.standings(session, org_id=who.org_id, now=now)}
            ends = await key_changes.replaced_secrets(
                session, org_id=who.org_id, key_ids=[key.id for key in found], now=now
            )
        self.owner = who.is_owner
        self.org_budget = _budget(standing.get(None), now=now)
        self.rows = [_row(key, standing.get(key.id), old_ends=ends.get(key.id), now=now) for key in found]
        wanted = self.router.url.query_parameters.get("key", "")
        is_open_yet = self.key.get("id") == wanted
        self.key = next((row for row in self.rows if row["id"] == wanted), {})
        opened = next((key for key in found if str(key.id) == wanted), None)
        ticked = _ticked(self.models) if keeps_ticks and is_open_yet else opened and opened.allowed_models
        self.models = _models(opened, ticked or frozenset()) if opened else []
        if wanted and opened is None:
            self.said = "There is no such key in your team."
        self.loaded = True


async def _keep_budget(session: AsyncSession, who: Identity, *, key_id: UUID | None, limit: int, period: str) -> None:
    if not limit:
        await budgets.remove_budget(session, org_id=who.org_id, key_id=key_id)
        return
    await budgets.set_budget(
        session, org_id=who.org_id, key_id=key_id, period=PERIOD_OF.get(period, "month"), limit=limit, now=utc_now()
    )


def _amount(typed: str) -> int:
    """Pico-dollars; 0 for an empty field."""
    plain = typed.strip().lstrip("$").strip()
    if not plain:
        return 0
    try:
        amount = Decimal(plain)
        if amount.is_finite() and 0 < amount <= MAX_BUDGET_USD:
            return pico(amount)
    except (InvalidOperation, ValueError):
        pass
    raise InvalidRequest(f"budget: must be dollars above 0 and up to {MAX_BUDGET_USD:,}, such as 5 or 0.50")


def _limit(form: Mapping[str, str], field: str) -> int | None:
    typed = form.get(field, "").strip()
    if not typed:
        return None
    if typed.isascii() and typed.isdigit():
        return int(typed)
    raise InvalidRequest(f"{field}: must be a whole number, or empty", param=field)


def _expiry(form: Mapping[str, str], *, had: datetime | None, now: datetime) -> datetime | None:
    """As chosen: as it is, never, in some days, or at the end of a day (UTC)."""
    choice = form.get("expires", "keep")
    if choice == "keep":
        return had
    if choice in EXPIRES_DAYS:
        return now + timedelta(days=EXPIRES_DAYS[choice])
    if choice != "date":
        return None
    try:
        return datetime.strptime(form.get("date", ""), "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise InvalidRequest("expires: choose a day", param="expires") from None


def _scopes(form: Mapping[str, str]) -> frozenset[Scope] | None:
    """Nothing ticked: everything is allowed."""
    return frozenset(scope for scope in Scope if form.get(f"scope-{scope}")) or None


def _ticked(models: list[Row]) -> frozenset[str] | None:
    on = frozenset(row["id"] for row in models if row["on"] == "yes")
    return on or None


def _models(key: keys.ApiKey, ticked: frozenset[str]) -> list[Row]:
    known = [one.id for one in backstage.services.gateway.registry.serving(key.kind)]
    ids = [*known, *sorted((key.allowed_models or frozenset()) - set(known))]
    return [{"id": model, "on": "yes" if model in ticked else "no"} for model in ids]


def _row(key: keys.ApiKey, standing: Standing | None, *, old_ends: datetime | None, now: datetime) -> Row:
    state, tone = _state(key, now=now)
    return (
        {
            "id": str(key.id),
            "href": f"/keys/?key={key.id}",
            "policy_href": f"/policy/?scope={key.id}",
            "name": key.name,
            "kind": text.mode_name(key.kind),
            "tone": "ok" if key.kind == "live" else "sim",
            "shown": f"{key.prefix}…{key.last4}",
            "state": state,
            "state_tone": tone,
            "disabled": "yes" if key.disabled_at else "",
            "expires": text.instant(key.expires_at),
            "expires_text": text.utc_text(key.expires_at),
            "old_ends": text.instant(old_ends),
            "old_ends_text": text.utc_text(old_ends) if old_ends else "",
            "used": text.instant(key.last_used_at),
            "used_text": text.utc_text(key.last_used_at),
            "rate": "" if key.rate_limit is None else str(key.rate_limit),
            "tokens": "" if key.token_limit is None else str(key.token_limit),
            "models": "all" if key.allowed_models is None else str(len(key.allowed_models)),
            "scopes": in_words(key.scopes),
        }
        | _scope_marks(key)
        | _budget(standing, now=now)
    )


def _scope_marks(key: keys.ApiKey) -> Row:
    return {f"scope-{scope}": "yes" if key.scopes and scope in key.scopes else "" for scope in Scope}


def _state(key: keys.ApiKey, *, now: datetime) -> tuple[str, str]:
    if key.disabled_at is not None:
        return "disabled", "bad"
    if key.expires_at is None:
        return "active", "ok"
    if key.expires_at <= now:
        return "expired", "bad"
    days = (key.expires_at - now).days
    return (f"expires in {days} days", "ok" if days > 7 else "warn") if days else ("expires today", "warn")


def _budget(standing: Standing | None, *, now: datetime) -> Row:
    """`limit` is empty without a budget."""
    if standing is None:
        return {"limit": "", "amount": "", "period": "month", "width": "0"}
    terms, used = standing.terms, standing.spent + standing.reserved
    ends = terms.ends_at(now)
    return {
        "limit": text.money(terms.limit),
        "limit_exact": text.exact_money(terms.limit),
        "amount": usd_text(terms.limit),
        "period": terms.period,
        "span": "in total" if terms.period == "total" else f"a {terms.period}",
        "spent": text.money(standing.spent),
        "spent_exact": text.exact_money(standing.spent),
        "reserved": text.money(standing.reserved),
        "reserved_exact": text.exact_money(standing.reserved),
        "left": text.money(standing.left),
        "left_exact": text.exact_money(standing.left),
        "width": str(min(100, 100 * used // terms.limit)),
        "resets": text.instant(ends),
        "resets_text": text.utc_text(ends) if ends else "",
    }
