"""The one door between a socket event and anybody's data.

Any client of the websocket can call any event handler with any argument. So each handler carries a verdict:

- `@authed`: the session is read again from the HttpOnly cookie on every event, the identity is handed in as the first
  argument, the other arguments are checked against their annotations. Without a session nothing runs, nor for whoever
  lacks the second factor that their team asks for: they are led to Settings, to set it up.
- `@for_self`: the same, but also for these; it must reach nothing of the team's.
- `@public`: runs for everybody; its arguments are checked the same way.

A tab is filled for a person and the team they act for. When either is another one now, as after a switch of teams in
another tab, it is emptied, and of its events only those run that read anew: the others were meant for what it showed.

`tests/security` walks the registry of handlers and fails on one without a line in its table of who may do what.
"""

import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from http.cookies import CookieError, SimpleCookie
from typing import Any, get_type_hints
from urllib.parse import urlencode

import reflex as rx
from pydantic import ConfigDict, TypeAdapter, ValidationError
from reflex.istate.proxy import StateProxy
from reflex.middleware.middleware import Middleware
from reflex.state import BaseState
from reflex_base.event import Event
from reflex_base.utils.format import format_event_handler

from omni_app.errors import OmniError, PermissionDenied
from omni_app.observe.security_log import Outcome, SecurityEvent
from omni_app.origin import client_address, session_cookie
from omni_app.services import Services
from omni_app.storage import accounts
from omni_app.storage.accounts import Identity, SecondFactorWanted

log = logging.getLogger(__name__)

MAX_COOKIE_LENGTH = 8_192
SET_UP = "/settings/"
"""Where a second factor is set up."""
FIRST = "/overview/"
"""Where a tab is led that was filled for somebody else, or for another team."""
READS = ("load", "refresh", "key_made")
"""Handlers that read what the address names and change nothing. The last two are called where a new secret is shown."""
UNEXPECTED = "Something went wrong on our side. Try again; if it stays, tell whoever runs this server."
HYDRATIONS = frozenset(format_event_handler(rx.State.event_handlers[name]) for name in ("hydrate", "hydrate_and_load"))
"""Reflex's own events that send a tab everything it holds."""
Handler = Callable[..., Awaitable[Any]]


class Backstage:
    """Holds the running services for the page states: Reflex makes the states, so nothing can be handed to them."""

    _services: Services | None = None
    _tab_is_open: Callable[[str], bool] | None = None

    def open(self, services: Services, *, tab_is_open: Callable[[str], bool] | None = None) -> None:
        """Called once, where the app is put together. `tab_is_open` tells of a tab's token whether it is connected."""
        self._services, self._tab_is_open = services, tab_is_open

    def tab_is_open(self, token: str) -> bool:
        """Whether somebody may still look at this tab; True where that cannot be known."""
        return self._tab_is_open is None or self._tab_is_open(token)

    @property
    def services(self) -> Services:
        """The running services. Raises `RuntimeError` before `open`."""
        if self._services is None:
            raise RuntimeError("the pages were used before the app was put together")
        return self._services


backstage = Backstage()


class AppState(rx.State):
    """What every page shows of who is signed in. The pages' states are its children, so one reset empties them all."""

    email: str = ""
    org_name: str = ""
    origin: str = ""
    """Where this server is reached, for the snippets."""
    mode: str = ""
    """`live` or `test`, once a page with figures has been opened; the pages share it."""
    range: str = ""
    problem: str = ""
    """What went wrong at the last event, and what to do."""
    _owner: str = ""
    """The person whom the tab is filled for, and in which team."""
    _lacked_factor: bool = False

    async def _adopt(self, who: Identity) -> bool:
        """Makes this tab show `who`; whatever it held for somebody else is dropped first.

        Gives whether it was another person's until now, or another team's.
        """
        root = await self.get_state(AppState)
        changed_hands = root._owner not in ("", _owner_of(who))
        if not root._is_filled_for(who):
            if root._owner:
                root.reset()
            root._owner, root._lacked_factor = _owner_of(who), who.lacks_factor
            root.origin = backstage.services.settings.origin
        if (root.email, root.org_name) != (who.email, who.org_name):
            root.email, root.org_name = who.email, who.org_name
        return changed_hands

    def _is_filled_for(self, who: Identity) -> bool:
        """While they lack the factor that their team asks for, somebody is somebody else."""
        return (self._owner, self._lacked_factor) == (_owner_of(who), who.lacks_factor)


class TabOwner(Middleware):
    """Before a tab is sent all that it holds, as at each connection: to nobody but whoever it was filled for.

    The tab's token stands in the socket's address, and outlives a log-out; so it opens nothing by itself.
    """

    async def preprocess(self, app: Any, state: BaseState, event: Event) -> None:
        """Empties the tab when another person, or nobody, is signed in; or when that cannot be told.

        So too when its person acts for another team now, or has come to lack the second factor that theirs asks for.
        """
        if event.name not in HYDRATIONS:
            return
        root = await state.get_state(AppState)
        if not root._owner:
            return
        try:
            who = await identity(root, for_self=True)
        except OmniError:
            who = None
        if who is None or not root._is_filled_for(who):
            root.reset()


def _owner_of(who: Identity) -> str:
    return f"{who.user_id} of {who.org_id}"


async def identity(state: rx.State, *, for_self: bool = False) -> Identity | None:
    """Who is behind this event, read now from the cookie; None when there is no living session.

    Raises `SecondFactorWanted` as `accounts.read_session` does.
    """
    services = backstage.services
    token = cookie_value(state.router.headers.cookie, session_cookie(services.settings))
    if not token:
        return None
    async with services.database.reading() as session:
        return await accounts.read_session(session, token=token, for_self=for_self)


async def is_still(state: rx.State, who: Identity) -> bool:
    """Whether `who` began what runs in the background and is signed in yet, for the same team.

    Raises as `identity` does.
    """
    now = await identity(state)
    return now is not None and (now.user_id, now.org_id) == (who.user_id, who.org_id)


def cookie_value(header: str, name: str) -> str:
    """One cookie of a Cookie header; "" when it is not there or the header is not to be read."""
    if not header or len(header) > MAX_COOKIE_LENGTH:
        return ""
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def address_of(state: rx.State) -> str:
    """The client's address, for limits."""
    forwarded = state.router.headers.raw_headers.get("x-forwarded-for", "")
    return client_address(state.router.session.client_ip, [forwarded], backstage.services.settings)


def note(
    state: rx.State,
    who: Identity,
    event: str,
    *,
    key_id: object = "",
    about: object = "",
    outcome: Outcome = "ok",
    reason: str = "",
) -> None:
    """Writes to the security log what a person did, or was refused, on a page."""
    backstage.services.security.tell(
        SecurityEvent(
            event,
            outcome,
            reason=reason,
            address=address_of(state),
            user_id=str(who.user_id),
            org_id=str(who.org_id),
            key_id=str(key_id),
            about=str(about),
        )
    )


def authed(handler: Handler) -> Handler:
    """A handler for people who are signed in: `async (self, who: Identity, /, …)`."""
    return _for_people(handler, "authed")


def for_self(handler: Handler) -> Handler:
    """A handler about the person alone, in the form of `authed`: also while their team waits for their second factor.

    What it shows or changes must be nothing of the team's then (`Identity.lacks_factor`).
    """
    return _for_people(handler, "for_self")


def _for_people(handler: Handler, name: str) -> Handler:
    checks = _checks(handler, given=2)

    @wraps(handler)
    async def guarded(self: Any, *args: Any, **arguments: Any) -> Any:
        values = _checked(handler, checks, args, arguments)
        if values is None:
            return None
        who = None
        try:
            who = await identity(self, for_self=name == "for_self")
            if who is None:
                return await _to_login(self)
            if await _adopted(self, who) and handler.__name__ not in READS:
                return rx.redirect(FIRST)
            return await handler(self, who, *values)
        except SecondFactorWanted as refusal:
            return await _to_set_up(self, handler, refusal)
        except Exception as error:  # noqa: BLE001 the outermost edge of an event
            if isinstance(error, PermissionDenied) and who is not None:
                note(self, who, "permission_denied", outcome="refused", about=handler.__qualname__)
            return await _tell(self, handler, error)

    return _with_verdict(guarded, handler, checks, name)


async def _adopted(state: Any, who: Identity) -> bool:
    """Makes the tab show `who`; whether it was filled for somebody else, or for another team, until now."""
    if not _may_change(state):
        async with state:
            return bool(await state._adopt(who))
    changed_hands = bool(await state._adopt(who))
    state.problem = ""
    return changed_hands


def public(handler: Handler) -> Handler:
    """A handler that anybody may call: `async (self, …)`; it must reach no org's data."""
    checks = _checks(handler, given=1)

    @wraps(handler)
    async def guarded(self: Any, *args: Any, **arguments: Any) -> Any:
        values = _checked(handler, checks, args, arguments)
        if values is None:
            return None
        try:
            return await handler(self, *values)
        except SecondFactorWanted as refusal:
            return await _to_set_up(self, handler, refusal)
        except Exception as error:  # noqa: BLE001 the outermost edge of an event
            return await _tell(self, handler, error)

    return _with_verdict(guarded, handler, checks, "public")


def verdict(function: Callable[..., Any]) -> str:
    """`authed`, `for_self`, `public`, or "" for a handler that nobody has thought about."""
    return str(getattr(function, "omni_verdict", ""))


async def _to_login(state: Any) -> Any:
    """Empties the tab and leads to the log-in page, which leads back."""
    path = state.router.url.path
    if query := state.router.url.query:
        path += f"?{query}"
    if _may_change(state):
        (await state.get_state(AppState)).reset()
    return rx.redirect("/login/?" + urlencode({"error": "ended", "next": path}))


async def _to_set_up(state: Any, handler: Handler, refusal: SecondFactorWanted) -> Any:
    """Empties the tab and leads to Settings, which says what the team asks for."""
    about = handler.__qualname__
    note(state, refusal.who, "permission_denied", outcome="refused", about=about, reason=refusal.code)
    here = state.router.url
    is_there = here.path.rstrip("/") == SET_UP.rstrip("/") and not here.query
    if _may_change(state):
        (await state.get_state(AppState)).reset()
    else:
        async with state:
            (await state.get_state(AppState)).reset()
    return rx.redirect(f"{SET_UP}?again=1" if is_there else SET_UP)  # a page that is there already loads nothing anew


async def _tell(state: Any, handler: Handler, error: Exception) -> None:
    """Shows an error on the page, in the words that the API would use; an unexpected one is logged without its text."""
    message = UNEXPECTED
    if isinstance(error, OmniError):
        message = error.message[:1].upper() + error.message[1:]
    else:
        log_unexpected(handler.__qualname__, error)
    if _may_change(state):
        state.problem = message
        return
    async with state:
        state.problem = message


def log_unexpected(where: str, error: BaseException) -> None:
    """The error's type and place: its text could hold what somebody typed."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "no place"
    log.error("%s failed: %s at %s", where, type(error).__name__, place)


def _may_change(state: Any) -> bool:
    """Whether the event holds the tab's state; a background event holds a proxy that is closed at first."""
    return isinstance(state, AppState) and not issubclass(type(state), StateProxy)


def _checks(handler: Handler, *, given: int) -> Mapping[str, TypeAdapter[Any]]:
    """Argument name -> what it must be, in order; the first `given` parameters do not come from the client."""
    hints = get_type_hints(handler, include_extras=True)
    names = list(inspect.signature(handler).parameters)[given:]
    return {name: TypeAdapter(hints[name], config=ConfigDict(strict=True)) for name in names}


def _checked(
    handler: Handler, checks: Mapping[str, TypeAdapter[Any]], args: tuple[Any, ...], arguments: Mapping[str, Any]
) -> list[Any] | None:
    """The arguments in order, each as its annotation wants it; None when they are not."""
    given = dict(zip(checks, args, strict=False)) | dict(arguments)
    if len(args) > len(checks) or given.keys() != checks.keys():
        log.warning("%s: called with other arguments than it takes", handler.__qualname__)
        return None
    try:
        return [check.validate_python(given[name]) for name, check in checks.items()]
    except ValidationError as error:
        log.warning("%s: %s refused", handler.__qualname__, error.error_count())
        return None


def _with_verdict(
    guarded: Callable[..., Any], handler: Handler, checks: Mapping[str, TypeAdapter[Any]], name: str
) -> Handler:
    """Shows Reflex only the arguments that a client gives, by their plain types."""
    signature = inspect.signature(handler)
    state, *_ = signature.parameters.values()
    visible = [state.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    visible += [signature.parameters[one] for one in checks]
    hints = get_type_hints(handler)
    guarded.__signature__ = signature.replace(parameters=visible)  # type: ignore[attr-defined]
    guarded.__annotations__ = {one: hints[one] for one in checks}
    guarded.omni_verdict = name  # type: ignore[attr-defined]
    return guarded
