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
from omni_app.services import Services
from omni_app.storage import reports
from omni_app.storage.tables import utc_now


def routes(services: Services) -> list[Route]:
    """The usage endpoint."""
    door = Doorkeeper(services.keys, services.gateway)

    async def usage(request: Request) -> Response:
        caller = await door.admit(request)
        values = query_values(request, known=("from", "to", "mode"))
        start, end = time_range(values, now=utc_now())
        mode = values.get("mode", caller.kind)
        if mode not in ("live", "test"):
            raise InvalidRequest("mode: must be live or test", param="mode")
        async with services.database.reading() as session:
            report = await reports.usage(session, org_id=caller.org_id, start=start, end=end, mode=mode)
        return json_response(usage_body(report, mode=mode))

    return [Route("/v1/usage", usage, methods=["GET"])]


def timestamp(value: datetime) -> str:
    """ISO, UTC, with `Z`."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def usage_body(report: reports.UsageReport, *, mode: str) -> dict[str, Any]:
    """The report as product.md shapes it."""
    return {
        "from": timestamp(report.start),
        "to": timestamp(report.end),
        "mode": mode,
        "total_requests": report.total_requests,
        "successful_requests": report.successful_requests,
        "total_cost": money(report.total_cost),
        "premium_cost": money(report.premium_cost),
        "estimated_savings": money(report.estimated_savings),
        "tokens": {"input": report.tokens_input, "output": report.tokens_output},
        "by_model": groups(report.by_model, "model"),
        "by_task": groups(report.by_task, "task"),
        "by_day": groups(report.by_day, "day"),
    }


def groups(rows: Sequence[reports.UsageGroup], name: str) -> list[dict[str, Any]]:
    """One breakdown; its sums are the report's totals."""
    return [
        {
            name: row.key,
            "requests": row.requests,
            "cost": money(row.cost),
            "savings": money(row.savings),
            "tokens": {"input": row.tokens_input, "output": row.tokens_output},
            "avg_latency_ms": row.avg_latency_ms,
        }
        for row in rows
    ]
