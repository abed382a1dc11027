"""`GET /auth/usage.csv`: what the Usage page shows, as a file, for whoever is signed in.

Money is a decimal string to the last digit, instants are UTC. A name that a spreadsheet would take for a formula gets
an apostrophe in front (OWASP, CSV injection).
"""

import csv
import io
from collections.abc import Iterable
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.checks import check_choice
from omni_app.api.forms import signed_in
from omni_app.api.query import query_values, time_range
from omni_app.errors import InvalidRequest, PermissionDenied
from omni_app.money import usd_text
from omni_app.services import Services
from omni_app.storage import reports
from omni_app.storage.reports import Line
from omni_app.storage.tables import utc_now

HEADINGS = (
    "time_utc",
    "requests",
    "answered",
    "tokens_input",
    "tokens_output",
    "mean_latency_ms",
    "cost_usd",
    "baseline_cost_usd",
    "saved_usd",
    "failed_attempts_cost_usd",
    "billed_usd",
)
BREAKDOWNS = ("model", "task", "key", "provider")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
LONGEST_IN_MINUTES = timedelta(days=1)
"""Buckets of minutes are read from the rows themselves."""


def routes(services: Services) -> list[Route]:
    """The one export."""

    async def usage_csv(request: Request) -> Response:
        refuse_other_sites(request)
        who = await signed_in(request, services)
        values = query_values(request, known=("mode", "by", "bucket", "from", "to"))
        mode = check_choice(values.get("mode", "live"), "mode", ("live", "test"))
        by = check_choice(values.get("by", "model"), "by", BREAKDOWNS)
        bucket = check_choice(values.get("bucket", "day"), "bucket", tuple(reports.BUCKET_FORMATS))
        start, end = time_range(values, now=utc_now())
        if bucket == "minute" and end - start > LONGEST_IN_MINUTES:
            raise InvalidRequest("bucket: minutes are for at most a day", param="bucket")
        async with services.database.reading() as session:
            lines = await reports.lines(
                session, org_id=who.org_id, start=start, end=end, mode=mode, bucket=bucket, by=by
            )
        return Response(
            as_csv(lines, by=by),
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": f'attachment; filename="{file_name(start, end, mode=mode, by=by)}"'},
        )

    return [Route("/auth/usage.csv", usage_csv, methods=["GET"])]


def refuse_other_sites(request: Request) -> None:
    """Raises `PermissionDenied` for a download that another site's page began."""
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise PermissionDenied("this request came from another site")


def file_name(start: datetime, end: datetime, *, mode: str, by: str) -> str:
    """`usage-live-by-model-2026-01-01-2026-01-31.csv`: `end` is the first instant that is not in it."""
    last = end - timedelta(microseconds=1)
    return f"usage-{mode}-by-{by}-{start:%Y-%m-%d}-{last:%Y-%m-%d}.csv"


def as_csv(lines: Iterable[Line], *, by: str) -> str:
    """The lines with their headings."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow((HEADINGS[0], by, *HEADINGS[1:]))
    for line in lines:
        group = line.group
        writer.writerow(
            (
                line.at,
                no_formula(line.name),
                group.requests,
                group.successful,
                group.tokens_input,
                group.tokens_output,
                "" if group.avg_latency_ms is None else group.avg_latency_ms,
                usd_text(group.cost),
                usd_text(group.premium_cost),
                usd_text(group.savings),
                usd_text(group.overhead.failed_cost),
                usd_text(group.cost + group.markup),
            )
        )
    return out.getvalue()


def no_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
