"""`GET /v1/usage`: what the caller's org used, spent and saved. The dashboard calls the same ledger function."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.auth import Doorkeeper
from omni_app.api.query import query_values, time_range
from omni_app.api.responses import json_response, money
from omni_app.errors import InvalidRequest
from omni_app.gateway.comparison import Comparison, chosen, compared, recorded_band
from omni_app.registry import Registry
from omni_app.routing.band import OF_MANY, Band
from omni_app.routing.types import KeyKind
from omni_app.services import Services
from omni_app.storage import org_settings, reports
from omni_app.storage.tables import utc_now


def routes(services: Services) -> list[Route]:
    """The usage endpoint."""
    door = Doorkeeper(services)

    async def usage(request: Request) -> Response:
        caller = await door.admit(request)
        values = query_values(request, known=("from", "to", "mode"))
        start, end = time_range(values, now=utc_now())
        mode = mode_of(values.get("mode", caller.kind))
        async with services.database.reading() as session:
            report = await reports.usage(session, org_id=caller.org_id, start=start, end=end, mode=mode)
            others = await org_settings.comparisons(session, org_id=caller.org_id)
        return json_response(usage_body(report, services.gateway.registry, others, mode=mode))

    return [Route("/v1/usage", usage, methods=["GET"])]


def mode_of(text: str) -> KeyKind:
    """Raises `InvalidRequest`."""
    if text == "live":
        return "live"
    if text == "test":
        return "test"
    raise InvalidRequest("mode: must be live or test", param="mode")


def timestamp(value: datetime) -> str:
    """ISO, UTC, with `Z`."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def usage_body(
    report: reports.UsageReport, registry: Registry, others: Sequence[str], *, mode: KeyKind
) -> dict[str, Any]:
    """The report as JSON; `others` are the models that the org compares with."""
    band = recorded_band(report.by_baseline, registry.get)
    return {
        "from": timestamp(report.start),
        "to": timestamp(report.end),
        "mode": mode,
        "total_requests": report.total_requests,
        "successful_requests": report.successful_requests,
        "total_cost": money(report.total_cost),
        "total_billed": money(report.total_cost + report.markup),
        "premium_cost": money(report.premium_cost),
        "premium_models": list(report.premium_models),
        "estimated_savings": money(report.estimated_savings),
        "savings_band": {
            **ends(band),
            "output_ratio": [OF_MANY.low / 100, OF_MANY.high / 100],
            "source": OF_MANY.source,
        },
        "comparisons": [comparison_body(one) for one in compared(report.by_baseline, chosen(others, registry, mode))],
        "overhead": overhead_body(report.overhead),
        "tokens": {"input": report.tokens_input, "output": report.tokens_output},
        "by_model": groups(report.by_model, "model"),
        "by_task": groups(report.by_task, "task"),
        "by_day": groups(report.by_day, "day"),
    }


def ends(band: Band) -> dict[str, Any]:
    """A band's two savings."""
    return {"low": money(band.low), "high": money(band.high)}


def comparison_body(one: Comparison) -> dict[str, Any]:
    """A model's cost for the same tokens, at today's price."""
    return {
        "model": one.model,
        "price_version": one.price_version,
        "cost": money(one.cost),
        "savings": money(one.savings),
        "savings_band": ends(one.band),
    }


def overhead_body(overhead: reports.Overhead) -> dict[str, Any]:
    """What failed attempts cost, which is part of the total cost, and what routing took."""
    return {
        "failed_attempts_cost": money(overhead.failed_cost),
        "routed_requests": overhead.routed,
        "routing_ms": overhead.routing_ms,
    }


def groups(rows: Sequence[reports.UsageGroup], name: str) -> list[dict[str, Any]]:
    """One breakdown; its sums are the report's totals."""
    return [
        {
            name: row.key,
            "requests": row.requests,
            "cost": money(row.cost),
            "billed": money(row.cost + row.markup),
            "savings": money(row.savings),
            "tokens": {"input": row.tokens_input, "output": row.tokens_output},
            "avg_latency_ms": row.avg_latency_ms,
        }
        for row in rows
    ]
