"""What the log looks at, as its address says it: read with care, and written again for every link of the page."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from string import hexdigits
from typing import get_args
from urllib.parse import urlencode
from uuid import UUID

from omni_app.api.query import instant
from omni_app.errors import InvalidRequest
from omni_app.routing.types import KeyKind
from omni_app.storage.by_id import ID_LENGTH
from omni_app.storage.keys import ApiKey
from omni_app.storage.log_pages import LogFilter, Outcome
from omni_app.ui import text
from omni_app.ui.components.basics import Row

PATH = "/requests/"
CSV_PATH = "/auth/requests.csv"
MAX_LENGTH = 200
OUTCOMES: Sequence[tuple[Outcome, str]] = (
    ("", "All"),
    ("answered", "Answered"),
    ("rescued", "Rescued"),
    ("failed", "Failed"),
)
NARROWING = ("task", "model", "key", "outcome", "session", "id", "from", "to")
"""The address's names of the filters; `mode`, `after` and `before` are its others."""


def filter_of(query: Mapping[str, str], *, mode: KeyKind) -> LogFilter:
    """The filters of an address. What cannot be one is left out: the page shows what it did take."""
    given = {name: typed(query.get(name, ""), most=MAX_LENGTH) for name in NARROWING}
    return LogFilter(
        mode=mode,
        task=given["task"] if given["task"] in text.TASK_NAMES else "",
        model=given["model"],
        key_id=_key_id(given["key"]),
        outcome=next((one for one in get_args(Outcome) if one == given["outcome"]), ""),
        session_id=given["session"],
        id_prefix=_prefix(given["id"]),
        start=_instant(given["from"], name="from"),
        end=_instant(given["to"], name="to"),
    )


def typed(text: str, *, most: int) -> str:
    """What can have been meant by a value of an address: no control characters, which Postgres takes in no text."""
    return "".join(sign for sign in text if sign.isprintable()).strip()[:most]


def values_of(wanted: LogFilter) -> Row:
    """The filters as the form and the address write them; every name is there."""
    return {
        "mode": wanted.mode,
        "task": wanted.task,
        "model": wanted.model,
        "key": str(wanted.key_id) if wanted.key_id else "",
        "outcome": wanted.outcome,
        "session": wanted.session_id,
        "id": wanted.id_prefix,
        "from": _written(wanted.start),
        "to": _written(wanted.end),
    }


def address(values: Mapping[str, str], *, path: str = PATH, **changes: str) -> str:
    """The page's address with these filters; empty ones are left out."""
    merged = {**values, **changes}
    return f"{path}?{urlencode({name: value for name, value in merged.items() if value})}"


def outcome_links(values: Mapping[str, str]) -> list[Row]:
    """One link for each outcome, as `choice_links` shows them."""
    return [_choice(name, values["outcome"] == one, address(values, outcome=one)) for one, name in OUTCOMES]


def mode_links(values: Mapping[str, str]) -> list[Row]:
    """Live and test. A key and a model belong to one of them, so the other begins without."""
    return [
        _choice(text.mode_name(one), values["mode"] == one, address(values, mode=one, key="", model=""))
        for one in ("live", "test")
    ]


def task_options() -> list[Row]:
    """Every task that the ledger knows."""
    return [_option(task, text.task_name(task)) for task in text.TASK_NAMES]


def model_options(models: Iterable[str], *, chosen: str) -> list[Row]:
    """The models to choose from; the chosen one also when the registry no longer has it."""
    return [_option(model, model) for model in sorted({*models, *([chosen] if chosen else [])})]


def key_options(keys: Iterable[ApiKey], *, chosen: str) -> list[Row]:
    """The org's keys by name, revoked ones last; the chosen one also when it is of the other mode."""
    found = [_option(str(key.id), key_label(key)) for key in sorted(keys, key=lambda key: key.revoked_at is not None)]
    known = not chosen or any(option["value"] == chosen for option in found)
    return found if known else [*found, _option(chosen, "a key that is gone")]


def key_label(key: ApiKey) -> str:
    """A key's name as people read it, and whether it is revoked."""
    name = key.name if key.hidden else f"{key.name} (…{key.last4})"
    return name if key.revoked_at is None else f"{name} (revoked)"


def _option(value: str, label: str) -> Row:
    return {"value": value, "label": label}


def _choice(label: str, current: bool, href: str) -> Row:  # noqa: FBT001 three plain values of one row
    return {"label": label, "current": "true" if current else "false", "href": href}


def _key_id(given: str) -> UUID | None:
    try:
        return UUID(given)
    except ValueError:
        return None


def _prefix(given: str) -> str:
    """An id or its beginning, as it is copied from anywhere: with or without `req_`."""
    digits = given.lower().removeprefix("req_")
    whole = f"req_{digits}" if digits and all(digit in hexdigits for digit in digits) else given
    return whole[:ID_LENGTH]


def _instant(given: str, *, name: str) -> datetime | None:
    try:
        return instant(given, name=name) if given else None
    except InvalidRequest:
        return None


def _written(moment: datetime | None) -> str:
    """As a browser's field for date and time wants it; UTC."""
    return "" if moment is None else moment.strftime("%Y-%m-%dT%H:%M")
