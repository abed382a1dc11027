"""Alerts by webhook: a budget half, four fifths or wholly spent; a provider that stays down; a price that changed.

Each alert goes out once, whichever worker notices it first: it is claimed in the database, and the claim is given back
when nobody took the alert, so that it is tried again in the next round. The operator sets the one address; the body is
signed, so that the receiver can tell it from anybody else's. A worker that dies between claim and answer tells nobody.
"""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.authorities import web_client
from omni_app.gateway.health import Health
from omni_app.money import usd_text
from omni_app.registry.price_changes import Effect, PriceChange, effects, price_changes
from omni_app.storage.budgets import terms_of
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.meta import first_meta
from omni_app.storage.pause import pause
from omni_app.storage.tables import Budget, BudgetWindow, Meta, utc_now

log = logging.getLogger(__name__)

LOOK_S = 15.0
DELIVERY_S = 5.0
STEPS = (50, 80, 100)
"""Percent of a budget."""
DOWN_ROUNDS = 4
"""A provider is told of when it was down in so many looks in a row: a minute."""
CLAIMS_KEPT = timedelta(days=400)
"""Longer than any period of a budget but `total`, whose alerts would come again after this."""
PREFIX = "alert:"
PRICES_TOLD_FOR = timedelta(days=2)
"""A change of a price is told, and told again where nobody took it, for so long."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What happened. `key` is the same for all who notice it, at most 54 characters."""

    key: str
    kind: str
    facts: Mapping[str, Any]

    def body(self, at: datetime) -> bytes:
        """What is sent."""
        return orjson.dumps({"type": self.kind, "id": self.key, "created_at": at.isoformat(), **self.facts})


def signature(secret: str, body: bytes, *, at_s: int) -> str:
    """`t=…,v1=…`: HMAC-SHA256 over the time, a dot and the body, in hex."""
    signed = hmac.new(secret.encode(), b"%d.%b" % (at_s, body), hashlib.sha256).hexdigest()
    return f"t={at_s},v1={signed}"


class Alerts:
    """One worker's look-out."""

    def __init__(self, url: str, secret: str, *, database: Database, health: Health) -> None:
        self._url = url
        self._secret = secret
        self._database = database
        self._health = health
        self._down: dict[str, int] = {}
        self._priced: dict[UUID, list[Alert]] = {}
        """Changes of prices, with what they mean for whom: added up once, told until somebody takes it."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Looks until it is to stop."""
        while not stopping.is_set():
            await pause(stopping, LOOK_S)
            if not stopping.is_set():
                with suppress(*DATABASE_ERRORS):  # the claims are there; `/ready` tells
                    await self.look(now=utc_now(), now_s=time.monotonic())

    async def look(self, *, now: datetime, now_s: float) -> None:
        """One round. Raises what the database raises."""
        async with self._database.session() as session:
            found = [*await reached(session, now=now), *self._providers_down(now=now, now_s=now_s)]
            found += await self._prices_changed(session, now=now)
            await session.execute(
                delete(Meta).where(col(Meta.key).startswith(PREFIX), col(Meta.value) < str(now - CLAIMS_KEPT))
            )
            await session.commit()
        for alert in found:
            if await self._tell_once(alert, now=now):
                self._forget(alert)

    def _providers_down(self, *, now: datetime, now_s: float) -> Iterable[Alert]:
        """One an hour for each provider none of whose deployments answered lately, and of which some are down."""
        by_provider: dict[str, list[bool]] = {}
        for model, is_down in self._health.down(now_s=now_s).items():
            by_provider.setdefault(model.partition("/")[0], []).append(is_down)
        self._down = {name: self._down.get(name, 0) + 1 for name, are_down in by_provider.items() if all(are_down)}
        for name, rounds in self._down.items():
            if rounds >= DOWN_ROUNDS:
                yield Alert(f"down:{name[:30]}:{now:%Y%m%d%H}", "provider.down", {"provider": name})

    async def _prices_changed(self, session: AsyncSession, *, now: datetime) -> list[Alert]:
        """One for each org whose month costs more or less; what waits for the operator is told in any case."""
        changes = await price_changes(session, since=now - PRICES_TOLD_FOR)
        self._priced = {one.id: self._priced[one.id] for one in changes if one.id in self._priced}
        new = [one for one in changes if one.id not in self._priced]
        felt = await effects(session, new, now=now)
        for change in new:
            mine = [priced_alert(change, one) for one in felt if one.change is change]
            self._priced[change.id] = mine or ([priced_alert(change)] if change.is_held else [])
        return [alert for alerts in self._priced.values() for alert in alerts]

    def _forget(self, alert: Alert) -> None:
        """It is told, or another worker tells it: a price's need not be asked about again."""
        for alerts in self._priced.values():
            if alert in alerts:
                alerts.remove(alert)

    async def _tell_once(self, alert: Alert, *, now: datetime) -> bool:
        """Whether it is told, or somebody else's to tell."""
        claim = f"{now} {uuid4().hex}"
        async with self._database.session() as session:
            mine = await first_meta(session, PREFIX + alert.key, claim) == claim
            await session.commit()
        if not mine or await self._delivered(alert, now=now):
            return True
        async with self._database.session() as session:
            await session.execute(delete(Meta).where(col(Meta.key) == PREFIX + alert.key))
            await session.commit()
        return False

    async def _delivered(self, alert: Alert, *, now: datetime) -> bool:
        body = alert.body(now)
        headers = {
            "Content-Type": "application/json",
            "x-omni-signature": signature(self._secret, body, at_s=int(now.timestamp())),
        }
        try:
            async with web_client(DELIVERY_S) as client:
                answer = await client.post(self._url, content=body, headers=headers)
            problem = "" if answer.is_success else f"HTTP {answer.status_code}"
        except httpx.HTTPError as error:
            problem = type(error).__name__
        if problem:
            log.warning("the alert %s was not taken (%s); it is tried again", alert.kind, problem)
        return not problem


def priced_alert(change: PriceChange, effect: Effect | None = None) -> Alert:
    """A price that changed, or waits to, and what the org's last 30 days would cost at it; no org: nobody used it."""
    org = effect.org_id.hex if effect else "nobody"
    key = hashlib.sha256(f"{change.id.hex}:{org}".encode()).hexdigest()[:32]
    facts: dict[str, Any] = {
        "model": change.model_id,
        "held": change.is_held,
        "old_price": per_million(change.old),
        "new_price": per_million(change.new),
        "org_id": str(effect.org_id) if effect else None,
    }
    if effect is not None:
        facts["last_30_days"] = {
            "tokens": {"input": effect.tokens.input, "output": effect.tokens.output},
            "at_old_price_usd": usd_text(effect.before),
            "at_new_price_usd": usd_text(effect.after),
            "difference_usd": usd_text(effect.difference),
        }
    return Alert(f"price:{key}", "price.changed", facts)


def per_million(price: Mapping[str, Any]) -> dict[str, str]:
    """Each tariff in USD per million tokens (an image: per image), as decimal text."""
    return {
        f"{name}_usd": usd_text(tariff * (1 if name == "image" else 1_000_000))
        for name, tariff in price.items()
        if tariff is not None and (tariff or name != "image")
    }


async def reached(session: AsyncSession, *, now: datetime) -> list[Alert]:
    """For each budget the highest step that its period has reached. One query, over the budgets that were used."""
    query = select(Budget, BudgetWindow).join(BudgetWindow, col(BudgetWindow.budget_id) == col(Budget.id))
    found = []
    for row, window in await session.execute(query.where(col(BudgetWindow.spent) * 2 >= col(Budget.limit_pico))):
        terms = terms_of(row)
        if window.starts_at != terms.starts_at(now):
            continue
        step = max((one for one in STEPS if window.spent * 100 >= one * row.limit_pico), default=0)
        if step:
            facts = {
                "org_id": str(row.org_id),
                "key_id": str(row.key_id) if row.key_id else None,
                "period": row.period,
                "period_start": window.starts_at.isoformat(),
                "percent": step,
                "spent_usd": usd_text(window.spent),
                "limit_usd": usd_text(row.limit_pico),
            }
            key = f"{row.id.hex}:{window.starts_at:%Y%m%d}:{step}"
            found.append(Alert(key, "budget.reached", facts))
    return found
