"""Reading query strings as strictly as bodies: unknown and repeated names are refused, dates are UTC."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from starlette.requests import Request

from omni_app.errors import InvalidRequest

DEFAULT_RANGE = timedelta(days=30)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def query_values(request: Request, *, known: Collection[str]) -> Mapping[str, str]:
    """The query's values by name; empty ones count as left out. Raises `InvalidRequest` on a name that is not known."""
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            allowed = f"; known: {', '.join(known)}" if known else ""
            raise InvalidRequest(f"{name[:80]}: unknown query parameter{allowed}", param=name[:80])
        if name in values:
            raise InvalidRequest(f"{name}: given twice", param=name)
        values[name] = value
    return {name: value for name, value in values.items() if value}


def instant(text: str, *, name: str) -> datetime:
    """An ISO date or timestamp as an aware UTC datetime; without a zone it is UTC."""
    try:
        value = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise InvalidRequest(f"{name}: must be an ISO date or timestamp, like 2026-01-31", param=name) from None
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if not EARLIEST <= value <= LATEST:
        raise InvalidRequest(f"{name}: must be between the years 2000 and 2200", param=name)
    return value


def time_range(values: Mapping[str, str], *, now: datetime) -> tuple[datetime, datetime]:
    """The half-open range `[from, to)`; by default the last 30 days up to and including now."""
    end = instant(values["to"], name="to") if "to" in values else now
    start = instant(values["from"], name="from") if "from" in values else end - DEFAULT_RANGE
    if start >= end:
        raise InvalidRequest("from: must be before to", param="from")
    return start, end
