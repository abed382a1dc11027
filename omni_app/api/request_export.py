"""Requests one by one as CSV, with all that is needed to compute each cost again (`docs/recompute.py` does).

`GET /v1/requests.csv` for programs, `GET /auth/requests.csv` for the Requests page. Money and prices are whole
pico-dollars, instants UTC. Texts that a spreadsheet would take for formulas get an apostrophe in front.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from omni_app.api.auth import Doorkeeper
from omni_app.api.checks import check_choice, check_id
from omni_app.api.exports import no_formula, refuse_other_sites
from omni_app.api.forms import signed_in
from omni_app.api.query import instant, query_values
from omni_app.api.usage import mode_of
from omni_app.errors import InvalidRequest
from omni_app.registry.history import PastPrices
from omni_app.routing.types import KeyKind, Price
from omni_app.services import Services
from omni_app.storage import reports
from omni_app.storage.database import Database
from omni_app.storage.ledger import AttemptRecord, RequestRecord, attempts_of, registry_versions_of
from omni_app.storage.log_pages import LogFilter, Outcome, log_rows

PAGE = 500
FILTERS = ("mode", "task", "model", "key", "outcome", "session", "id", "from", "to")
OUTCOMES: Mapping[str, Outcome] = {"answered": "answered", "rescued": "rescued", "failed": "failed"}
TOKENS = ("tokens_input", "tokens_output", "tokens_cached", "tokens_cache_write", "tokens_reasoning", "images")
PRICES = ("input", "output", "cached_input", "cache_write", "image")
HEADINGS = (
    "created_at_utc", "request_id", "mode", "endpoint", "key_id", "key", "task", "model", "provider", "simulated",
    "outcome", "error_code", "session_id", "step_id", "latency_ms",
    *TOKENS, "tokens_estimated",
    "cost_pico", "failed_cost_pico", "premium_model", "premium_cost_pico", "savings_pico",
    "overrun_pico", "byok_cost_pico", "markup_bp", "markup_pico", "billed_pico",
    "price_version", "registry_version",
    *(f"price_{name}_pico" for name in PRICES),
    *(f"premium_price_{name}_pico" for name in PRICES),
    "failed_attempts",
)  # fmt: skip


def routes(services: Services) -> list[Route]:
    """The same file by two doors."""
    door = Doorkeeper(services)

    async def by_key(request: Request) -> Response:
        caller = await door.admit(request)
        return await export(request, services, org_id=caller.org_id, default=caller.kind)

    async def by_session(request: Request) -> Response:
        refuse_other_sites(request)
        who = await signed_in(request, services)
        return await export(request, services, org_id=who.org_id, default="live")

    return [
        Route("/v1/requests.csv", by_key, methods=["GET"]),
        Route("/auth/requests.csv", by_session, methods=["GET"]),
    ]


async def export(request: Request, services: Services, *, org_id: UUID, default: KeyKind) -> Response:
    """The file, newest first, read a page at a time while it is sent; what is wrong is told before it begins."""
    wanted = filter_of(query_values(request, known=FILTERS), default=default)
    pages = Pages(services.database, org_id, wanted)
    first = await pages.next()
    return StreamingResponse(
        pages.as_csv(first),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="requests-{wanted.mode}.csv"'},
    )


def filter_of(values: Mapping[str, str], *, default: KeyKind) -> LogFilter:
    """The filters of the query. Raises `InvalidRequest`."""
    given = {name: check_id(values[name], name) for name in ("task", "model", "session", "id") if name in values}
    outcome = values.get("outcome")
    start, end = (instant(values[name], name=name) if name in values else None for name in ("from", "to"))
    if start and end and start >= end:
        raise InvalidRequest("from: must be before to", param="from")
    return LogFilter(
        mode=mode_of(values.get("mode", default)),
        task=given.get("task", ""),
        model=given.get("model", ""),
        key_id=key_id_of(values["key"]) if "key" in values else None,
        outcome=OUTCOMES[check_choice(outcome, "outcome", tuple(OUTCOMES))] if outcome else "",
        session_id=given.get("session", ""),
        id_prefix=given.get("id", ""),
        start=start,
        end=end,
    )


def key_id_of(text: str) -> UUID:
    """Raises `InvalidRequest`."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest("key: must be the id of a key", param="key") from None


@dataclass(slots=True)
class Pages:
    """The rows that are wanted, a page at a time, each page in a short transaction of its own."""

    database: Database
    org_id: UUID
    wanted: LogFilter
    _prices: PastPrices = field(default_factory=PastPrices)
    _keys: Mapping[str, str] | None = None
    _last: RequestRecord | None = None

    async def as_csv(self, page: Sequence[Sequence[Any]]) -> AsyncIterator[str]:
        """The headings, this page, and those that follow it."""
        yield written([HEADINGS])
        while page:
            yield written(page)
            page = await self.next()

    async def next(self) -> Sequence[Sequence[Any]]:
        """The lines of the next page; none after the last. Raises `Unavailable`."""
        async with self.database.reading() as session:
            if self._keys is None:
                self._keys = await reports.key_names(session, org_id=self.org_id)
            records = await log_rows(session, org_id=self.org_id, wanted=self.wanted, limit=PAGE, after=self._last)
            moments = {one.request_id: one.created_at for one in records}
            versions = await registry_versions_of(session, moments=moments)
            attempts = await attempts_of(session, moments=moments)
            await self._prices.read(session, set(versions.values()))
        self._last = records[-1] if records else None
        return [self._line(one, versions.get(one.request_id, ""), attempts.get(one.request_id, [])) for one in records]

    def _line(self, record: RequestRecord, version: str, attempts: Sequence[AttemptRecord]) -> Sequence[Any]:
        key_id = str(record.key_id)
        failed = attempts[:-1] if record.success else attempts
        texts = (record.request_id, record.key_kind, record.endpoint, key_id, (self._keys or {}).get(key_id, key_id))
        told = ("rescued" if record.rescued else "answered") if record.success else "failed"
        line = (
            record.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            *texts, record.task, record.model, record.provider, record.simulated,
            told, record.error_code, record.session_id, record.step_id, record.latency_ms,
            *(getattr(record, name) for name in TOKENS), record.estimated,
            record.cost, record.failed_cost, record.premium_model, record.premium_cost, record.savings,
            record.overrun, record.byok_cost, record.markup_bp, record.markup, record.billed,
            record.price_version, version,
            *self._prices_of(version, record.model if record.success else ""),
            *self._prices_of(version, record.premium_model),
            "; ".join(map(told_of, failed)),
        )  # fmt: skip
        return [no_formula(value) if isinstance(value, str) else value for value in line]

    def _prices_of(self, version: str, model: str) -> Iterable[int | str]:
        """In force at that moment; empty where there is no model, or they are not known any more."""
        listed = self._prices.of(version, model)
        return [""] * len(PRICES) if isinstance(listed, str) else in_force(listed.price)


def in_force(price: Price) -> list[int]:
    """Pico-dollars per token (per image, the last): where the cache has no tariff, input's holds."""
    cached, write = price.cached_input, price.cache_write
    return [
        price.input, price.output, price.input if cached is None else cached, price.input if write is None else write,
        price.image,
    ]  # fmt: skip


def told_of(attempt: AttemptRecord) -> str:
    """`openai/gpt-4.1 timeout 12 0 24000000`: model, outcome, tokens in and out, pico-dollars."""
    return f"{attempt.model} {attempt.outcome} {attempt.tokens_input} {attempt.tokens_output} {attempt.cost}"


def written(lines: Iterable[Sequence[Any]]) -> str:
    """The lines as CSV; true and false in lower case."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerows([str(one).lower() if isinstance(one, bool) else one for one in line] for line in lines)
    return out.getvalue()
