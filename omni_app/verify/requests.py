"""The ledger row by row: a request against its attempts, its tokens, the prices of its moment and its key."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Row, Select, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.money import markup_on
from omni_app.registry.history import Listed, PastPrices
from omni_app.registry.registry import TEST_PROVIDERS
from omni_app.routing.cost import TokenSums, actual_cost
from omni_app.storage.ledger import UNKNOWN_OUTCOME
from omni_app.storage.retention import ROUTING_LOGS_KEPT
from omni_app.storage.tables import LOG_OF_REQUEST, ApiKeyRow, AttemptRow, RequestRow, RoutingLog
from omni_app.verify.findings import Finding
from omni_app.verify.reading import AT_ONCE, streamed

REQUEST = (
    "request_id", "org_id", "key_kind", "created_at", "model", "provider", "simulated", "tokens_input",
    "tokens_output", "tokens_cached", "tokens_cache_write", "images", "cost", "failed_cost", "premium_cost",
    "premium_model", "price_version", "attempts", "success", "error_code", "markup", "markup_bp",
    "byok_cost", "overrun",
)  # fmt: skip
ATTEMPT = (
    "request_id", "position", "model", "provider", "outcome", "tokens_input", "tokens_output", "cost",
    "byok", "overrun",
)  # fmt: skip
LET_GO = "it is old enough for its attempts to be let go"
LOG_LET_GO = f"routing logs are kept for {ROUTING_LOGS_KEPT.days} days"
NO_LOG = "a request of unknown outcome has no routing log"
CACHE_UNKNOWN = "an attempt keeps no cached tokens, and the model has a tariff of its own for them"
ON_ITS_WAY = "the request may still be on its way"
NO_KEY = "the key is gone"

Request = Row[Any]
"""The columns `REQUEST`, then `registry_version`, `key_org` and `kind_of_key`, each None when it is not known."""
Attempts = Sequence[Row[Any]]
"""The columns `ATTEMPT` of one request's attempts, in order."""


@dataclass(slots=True)
class RowChecks:
    """The invariants of single requests. Attempts of what is older than `kept_since` may be gone."""

    now: datetime
    kept_since: datetime
    prices: PastPrices = field(default_factory=PastPrices)
    attempts: Finding = field(default_factory=partial(Finding, "a request has the attempts that it counts, in order"))
    cost: Finding = field(default_factory=partial(Finding, "a request costs what its attempts cost"))
    failed_cost: Finding = field(
        default_factory=partial(Finding, "the failed cost is that of the attempts without the whole answer")
    )
    unknown: Finding = field(
        default_factory=partial(Finding, "a request of unknown outcome costs what its attempts cost")
    )
    negative: Finding = field(default_factory=partial(Finding, "no cost is negative"))
    price: Finding = field(default_factory=partial(Finding, "an answer costs its tokens at the price of its moment"))
    failed_price: Finding = field(
        default_factory=partial(Finding, "a failed attempt costs its tokens at the price of its moment")
    )
    premium: Finding = field(
        default_factory=partial(Finding, "the baseline's cost is the same tokens at its price of that moment")
    )
    markup: Finding = field(
        default_factory=partial(Finding, "the markup is the cost at the rate of its moment, rounded up")
    )
    byok: Finding = field(
        default_factory=partial(Finding, "what went to an org's own provider keys is what those attempts cost")
    )
    modes: Finding = field(
        default_factory=partial(Finding, "live and test are apart, and a request is of its key's org")
    )

    @property
    def findings(self) -> list[Finding]:
        """In the order in which they are told."""
        return [
            self.attempts, self.cost, self.failed_cost, self.unknown, self.negative, self.price, self.failed_price,
            self.premium, self.markup, self.byok, self.modes,
        ]  # fmt: skip

    async def run(self, session: AsyncSession) -> None:
        """All rows, a page at a time."""
        async for page, attempts in pages(session):
            await self.prices.read(session, {row.registry_version for row in page if row.registry_version})
            for row in page:
                self.check(row, attempts.get(row.request_id, ()))

    def check(self, row: Request, attempts: Attempts) -> None:
        """One request."""
        if row.created_at < self.kept_since:
            for finding in (self.attempts, self.cost, self.unknown, self.failed_price, self.byok):
                finding.skip(LET_GO)
        else:
            self._attempts(row, attempts)
            for attempt in attempts[:-1] if row.success else attempts:
                self._failed_price(row, attempt)
        self._failed_cost(row, attempts)
        amounts = (
            row.cost, row.failed_cost, row.premium_cost, row.overrun,
            *(amount for one in attempts for amount in (one.cost, one.overrun)),
        )  # fmt: skip
        self.negative.holds(row.request_id, true=min(amounts) >= 0, told=f"{min(amounts)} pico-dollars")
        self.markup.equal(row.request_id, kept=row.markup, computed=markup_on(row.cost - row.byok_cost, row.markup_bp))
        self._modes(row, attempts)
        if row.success:
            self._price(row)
        self._premium(row)

    def _attempts(self, row: Request, attempts: Attempts) -> None:
        places = [one.position for one in attempts]
        in_order = places == list(range(row.attempts))
        self.attempts.holds(row.request_id, true=in_order, told=f"{row.attempts} counted, kept at {places}")
        finding = self.unknown if row.error_code == UNKNOWN_OUTCOME else self.cost
        finding.equal(row.request_id, kept=row.cost, computed=sum(one.cost for one in attempts))
        own = sum(one.cost for one in attempts if one.byok)
        self.byok.equal(row.request_id, kept=row.byok_cost, computed=own)

    def _failed_cost(self, row: Request, attempts: Attempts) -> None:
        """Of an answer all but the last attempt, of a failed request everything."""
        if not row.success:
            self.failed_cost.equal(row.request_id, kept=row.failed_cost, computed=row.cost)
        elif row.created_at < self.kept_since:
            self.failed_cost.skip(LET_GO)
        else:
            self.failed_cost.equal(
                row.request_id, kept=row.failed_cost, computed=sum(one.cost for one in attempts[:-1])
            )

    def _failed_price(self, row: Request, attempt: Row[Any]) -> None:
        listed = self._listed(row, attempt.model)
        tokens = TokenSums(attempt.tokens_input, attempt.tokens_output)
        if isinstance(listed, str):
            self.failed_price.skip(listed)
        elif listed.is_flat or not (tokens.input or tokens.output or attempt.cost):
            where, kept = f"{row.request_id} attempt {attempt.position}", attempt.cost + attempt.overrun
            self.failed_price.equal(where, kept=kept, computed=actual_cost(listed.price, tokens))
        else:
            self.failed_price.skip(CACHE_UNKNOWN)

    def _price(self, row: Request) -> None:
        if row.registry_version is None and row.created_at >= self.now - ROUTING_LOGS_KEPT:
            self.price.holds(row.request_id, true=False, told="its routing log is missing")
            return
        listed = self._listed(row, row.model)
        if isinstance(listed, str):
            self.price.skip(listed)
        elif listed.price_version != row.price_version:
            told = f"price {row.price_version!r} is kept, the list says {listed.price_version!r}"
            self.price.holds(row.request_id, true=False, told=told)
        else:
            computed = actual_cost(listed.price, tokens_of(row))
            self.price.equal(row.request_id, kept=row.cost - row.failed_cost + row.overrun, computed=computed)

    def _premium(self, row: Request) -> None:
        """The cost itself where there is no baseline, nothing where there is no answer."""
        if not row.success or not row.premium_model:
            self.premium.equal(row.request_id, kept=row.premium_cost, computed=row.cost if row.success else 0)
            return
        listed = self._listed(row, row.premium_model)
        if isinstance(listed, str):
            self.premium.skip(listed)
        else:
            computed = actual_cost(listed.price, tokens_of(row))
            self.premium.equal(row.request_id, kept=row.premium_cost, computed=computed)

    def _listed(self, row: Request, model: str) -> Listed | str:
        if row.registry_version is None:
            return NO_LOG if row.error_code == UNKNOWN_OUTCOME else LOG_LET_GO
        return self.prices.of(row.registry_version, model)

    def _modes(self, row: Request, attempts: Attempts) -> None:
        test = row.key_kind == "test"
        providers = {one.provider for one in (row, *attempts) if one.provider}
        apart = all((one in TEST_PROVIDERS) == test for one in providers) and (test or not row.simulated)
        self.modes.holds(row.request_id, true=apart, told=f"a {row.key_kind} request at {sorted(providers)}")
        if row.kind_of_key is None:
            self.modes.skip(NO_KEY)
        else:
            true = (row.kind_of_key, row.key_org) == (row.key_kind, row.org_id)
            self.modes.holds(row.request_id, true=true, told="its key is of another kind or org")


def tokens_of(row: Request) -> TokenSums:
    """What was billed for the answer."""
    return TokenSums(row.tokens_input, row.tokens_output, row.tokens_cached, row.tokens_cache_write, row.images)


async def pages(session: AsyncSession) -> AsyncIterator[tuple[Sequence[Request], Mapping[str, Attempts]]]:
    """Requests in the order of their ids, with the attempts of each."""
    columns = [getattr(RequestRow, name) for name in REQUEST]
    query: Select[Any] = (
        select(
            *columns,
            col(RoutingLog.registry_version),
            col(ApiKeyRow.org_id).label("key_org"),
            col(ApiKeyRow.kind).label("kind_of_key"),
        )
        .outerjoin(RoutingLog, LOG_OF_REQUEST)
        .outerjoin(ApiKeyRow, col(ApiKeyRow.id) == col(RequestRow.key_id))
        .order_by(col(RequestRow.request_id))
        .limit(AT_ONCE)
    )
    last = ""
    while page := await _all(session, query.where(col(RequestRow.request_id) > last)):
        yield page, await _attempts_between(session, last, page[-1].request_id)
        last = page[-1].request_id


async def _all(session: AsyncSession, query: Select[Any]) -> Sequence[Row[Any]]:
    found: Sequence[Row[Any]] = (await session.execute(query)).all()
    return found


async def _attempts_between(session: AsyncSession, after: str, last: str) -> Mapping[str, Attempts]:
    found: dict[str, list[Row[Any]]] = {}
    query = (
        select(*(getattr(AttemptRow, name) for name in ATTEMPT))
        .where(col(AttemptRow.request_id) > after, col(AttemptRow.request_id) <= last)
        .order_by(col(AttemptRow.request_id), col(AttemptRow.position))
    )
    for attempt in await _all(session, query):
        found.setdefault(attempt.request_id, []).append(attempt)
    return found


async def once(session: AsyncSession) -> Finding:
    """No request is in the ledger twice."""
    finding = Finding("no request is there twice")
    found = col(RequestRow.request_id)
    finding.checked = await session.scalar(select(func.count()).select_from(RequestRow)) or 0
    twice = select(found, func.count()).group_by(found).having(func.count() > 1)
    async for request_id, times in streamed(session, twice):
        finding.checked -= 1
        finding.holds(request_id, true=False, told=f"{times} rows")
    return finding


async def orphans(session: AsyncSession, *, ended_before: datetime) -> Finding:
    """No attempt is without its request; one that began later may still be on its way."""
    finding = Finding("an attempt belongs to a request")
    with_request = select(literal(1)).where(col(RequestRow.request_id) == col(AttemptRow.request_id))
    alone = select(col(AttemptRow.request_id), col(AttemptRow.position), col(AttemptRow.created_at))
    finding.checked = await session.scalar(select(func.count()).select_from(AttemptRow)) or 0
    told = "no request; unless the spool of a process that ended still holds it"
    async for request_id, position, created_at in streamed(session, alone.where(~with_request.exists())):
        finding.checked -= 1
        if created_at >= ended_before:
            finding.skip(ON_ITS_WAY)
        else:
            finding.holds(f"{request_id} attempt {position}", true=False, told=told)
    return finding
