"""Every event handler × everybody who may send to a socket: what happens is what `verdicts.toml` says."""

import re
from collections.abc import AsyncIterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import reflex as rx

from omni_app.origin import session_cookie
from omni_app.ui.session import AppState, backstage, verdict
from tests.security.cast import Cast, Signed, a_cast, owner_without_the_factor, with_second_factors
from tests.security.knocks import ARGUMENTS, PLAYS, Play
from tests.security.registry import VERDICTS, handlers
from tests.ui.conftest import Tab
from tests.ui.test_pages import record, write

HANDLERS = handlers()
EXPECTED: dict[str, str] = VERDICTS["handlers"]
MISSING = "00000000-0000-4000-8000-000000000000"
THEIR_REQUEST, NO_REQUEST = "req_theirs_1f2e3d", "req_nobody_1f2e3d"
THEIR_SESSION, NO_SESSION = "run-theirs-1f2e3d", "run-nobody-1f2e3d"
PAGES = sorted(name for name in HANDLERS if name.endswith(".load") and EXPECTED.get(name) != "anybody")
ID_ARGUMENTS = {
    "key_id": "key", "user_id": "user", "org_id": "org", "invitation_id": "invitation", "session_id": "session",
}  # fmt: skip
"""Argument -> the id of that kind in the cast. A model's id belongs to nobody."""
ID_QUERIES = ("key", "id", "scope", "session", "after", "before", "models")
NOW = re.compile(r"T\d\d%3A\d\d%3A\d\d\.\d+")
"""The instant up to which figures are shown, in links to them."""
OWNERS_ONLY = "only an owner"
WITH_A_FACTOR = ("settings_state.ask_for_factor",)
"""Handlers that want their owner to have a second factor."""


def of(*verdicts: str) -> list[str]:
    """Those that are not a task in the background; these have no part that is for owners alone."""
    return sorted(n for n, one in EXPECTED.items() if one in verdicts and not HANDLERS[n][1].is_background)


@pytest.fixture
async def cast(tmp_path: Path) -> AsyncIterator[Cast]:
    async with a_cast(tmp_path) as cast:
        backstage.open(cast.services)
        await cast.services._sync_registry(seeded=False)
        await write(
            cast.services,
            record(cast.owner.who.org_id, 1, request_id=THEIR_REQUEST, key_kind="test", session_id=THEIR_SESSION),
        )
        yield cast


def tab_of(cast: Cast, person: Signed) -> Tab:
    return Tab(cookie=f"{session_cookie(cast.services.settings)}={person.token}").at("/overview/")


async def play(tab: Tab, name: str, play: Play) -> Any:
    """Opens the page, does what comes before, sends the event; gives what it answers."""
    cls, handler = HANDLERS[name]
    page = name.partition("_state.")[0]
    tab.at(f"/{page}/", **play.query)
    if "load" in cls.event_handlers and handler.fn.__name__ != "load":
        await tab.fire(cls, "load")
    for step, arguments in play.before:
        await tab.fire(cls, step, **arguments)
    tab.state(AppState).problem = ""
    arguments = {one: ARGUMENTS[one] for one in list(handler._parameters)[1:]} | play.arguments
    return await tab.fire(cls, handler.fn.__name__, **arguments)


def usual(cast: Cast, name: str) -> Play:
    return PLAYS[name](cast) if name in PLAYS else Play()


# ------------------------------------------------------------------------------------------------------- the verdicts


def test_every_handler_has_a_verdict_and_every_verdict_a_handler() -> None:
    assert HANDLERS.keys() == EXPECTED.keys()
    assert set(EXPECTED.values()) == {"anybody", "self", "member", "owner"}
    assert set(PLAYS) <= HANDLERS.keys()


@pytest.mark.parametrize("name", sorted(HANDLERS))
def test_the_handler_is_guarded_as_its_verdict_says(name: str) -> None:
    guards = {"anybody": "public", "self": "for_self"}
    assert verdict(HANDLERS[name][1].fn) == guards.get(EXPECTED[name], "authed")


def test_reflexs_own_handlers_are_the_ones_that_were_looked_at() -> None:
    assert sorted(handlers(ours=False)) == VERDICTS["reflex"]["handlers"]


def test_reflexs_own_routes_are_the_ones_that_were_looked_at() -> None:
    """No upload, no list of all routes: what the bare app adds, and pages."""
    api: Any = rx.App()._api
    assert sorted(route.path for route in api.routes) == VERDICTS["reflex"]["routes"]


def test_every_argument_that_names_somebody_elses_thing_is_tried() -> None:
    taken = {one for _, handler in HANDLERS.values() for one in list(handler._parameters)[1:]}
    assert {one for one in taken if one.endswith("_id")} == {*ID_ARGUMENTS, "model_id"}
    assert {"keys_state.load", "request_state.load", "requests_state.load", "policy_state.load"} <= set(PAGES)


# ------------------------------------------------------------------------------------------------- members and owners


@pytest.mark.parametrize("name", of("owner"))
async def test_what_is_for_owners_a_member_does_not_and_an_owner_does(cast: Cast, name: str) -> None:
    before = await cast.rows()
    tab = tab_of(cast, cast.member)
    await play(tab, name, usual(cast, name))
    assert OWNERS_ONLY in tab.state(AppState).problem.lower()
    assert await cast.rows() == before
    if name in WITH_A_FACTOR:
        await with_second_factors(cast, confirmed=True)
        before = await cast.rows()
    tab = tab_of(cast, cast.owner)
    await play(tab, name, usual(cast, name))
    assert tab.state(AppState).problem == ""
    assert await cast.rows() != before, "else the member's refusal would prove nothing"


@pytest.mark.parametrize("name", [one for one in of("self", "member") if one != "settings_state.take_out"])
async def test_what_is_for_members_a_member_does(cast: Cast, name: str) -> None:
    tab = tab_of(cast, cast.member)
    answer = await play(tab, name, usual(cast, name))
    assert OWNERS_ONLY not in tab.state(AppState).problem.lower()
    assert "/login/" not in str(answer)


async def test_a_member_takes_out_themselves_and_nobody_else(cast: Cast) -> None:
    before = await cast.rows()
    tab = tab_of(cast, cast.member)
    await play(tab, "settings_state.take_out", Play(before=[("ask", {"user_id": cast.ids["user"]})]))
    assert OWNERS_ONLY in tab.state(AppState).problem.lower()
    assert await cast.rows() == before
    await play(tab_of(cast, cast.member), "settings_state.take_out", usual(cast, "settings_state.take_out"))
    assert await cast.rows() != before


# ----------------------------------------------------------------------------------- a team that asks for a factor


@pytest.mark.parametrize("name", sorted(n for n, one in EXPECTED.items() if one in ("member", "owner")))
async def test_without_the_factor_that_their_team_asks_for_an_owner_is_led_to_set_it_up(cast: Cast, name: str) -> None:
    lacking = await owner_without_the_factor(cast)
    before = await cast.rows()
    tab = tab_of(cast, lacking)
    answer = await play(tab, name, usual(cast, name))
    assert '"/settings/' in str(answer)
    assert tab.state(AppState).dict() == Tab().at("/").state(AppState).dict(), "the tab holds nothing"
    assert await cast.rows() == before


@pytest.mark.parametrize("name", of("self"))
async def test_without_it_what_is_their_own_goes_on_and_shows_nothing_of_the_team(cast: Cast, name: str) -> None:
    lacking = await owner_without_the_factor(cast)
    tab = tab_of(cast, lacking)
    answer = await play(tab, name, usual(cast, name))
    assert '"/settings/' not in str(answer)
    shown = str(tab.state(AppState).dict())
    theirs = {one for one, value in cast.ids.items() if value in shown} - {"member"}
    assert not theirs and cast.owner.who.email not in shown and "mistral" not in shown


# ---------------------------------------------------------------------------------------------- what belongs to others


async def seen(cast: Cast, person: Signed, name: str, one: Play, mask: str) -> str:
    """All that a tab of this person shows after the event, without the id that they gave themselves."""
    tab = tab_of(cast, person)
    answer = await play(tab, name, one)
    shown = f"{answer} {tab.state(AppState).dict()}"
    return NOW.sub("(now)", shown.replace(mask, "(id)"))


def with_id(name: str, value: str) -> Play:
    """The event with this id in each of its arguments that takes one."""
    taken = list(HANDLERS[name][1]._parameters)[1:]
    return Play(arguments={one: value for one in taken if one in ID_ARGUMENTS})


@pytest.mark.parametrize(
    "name", sorted(n for n in HANDLERS if ID_ARGUMENTS.keys() & set(list(HANDLERS[n][1]._parameters)[1:]))
)
async def test_in_an_argument_another_orgs_id_is_as_good_as_a_missing_one(cast: Cast, name: str) -> None:
    before = await cast.rows()
    missing = await seen(cast, cast.stranger, name, with_id(name, MISSING), MISSING)
    for theirs in ("test key", "hidden key", "user", "member", "org", "invitation", "session"):
        found = await seen(cast, cast.stranger, name, with_id(name, cast.ids[theirs]), cast.ids[theirs])
        assert found == missing, theirs
    assert await cast.rows() == before


@pytest.mark.parametrize("name", ["keys_state.ask", "keys_state.revoke", "settings_state.take_out"])
async def test_what_was_asked_about_cannot_be_another_orgs(cast: Cast, name: str) -> None:
    """The id that a question keeps in the tab's state comes from the rows that were shown."""
    before = await cast.rows()
    asked: Mapping[str, Any] = (
        {"user_id": cast.ids["member"]} if name.startswith("settings") else {"key_id": cast.ids["test key"]}
    )
    await play(tab_of(cast, cast.stranger), name, Play(before=[("ask", dict(asked))], arguments=with_id(
        name, cast.ids["test key"]).arguments))  # fmt: skip
    assert await cast.rows() == before


@pytest.mark.parametrize("name", PAGES)
async def test_in_an_address_another_orgs_id_is_as_good_as_a_missing_one(cast: Cast, name: str) -> None:
    await play(tab_of(cast, cast.stranger), name, Play())  # the playground makes its own key when it is first opened
    before = await cast.rows()
    ids = {THEIR_REQUEST: NO_REQUEST, THEIR_SESSION: NO_SESSION, cast.ids["test key"]: MISSING}
    for query, (theirs, missing) in product(ID_QUERIES, ids.items()):
        shown = [
            await seen(cast, cast.stranger, name, Play(query={query: one, "mode": "test"}), one)
            for one in (theirs, missing)
        ]
        assert shown[0] == shown[1], query
    assert await cast.rows() == before


@pytest.mark.parametrize(
    ("name", "query", "own"),
    [
        ("keys_state.load", "key", "test key"),
        ("policy_state.load", "scope", "test key"),
        ("request_state.load", "id", THEIR_REQUEST),
        ("requests_state.load", "session", THEIR_SESSION),
    ],
)
async def test_to_its_own_people_the_same_address_shows_it(cast: Cast, name: str, query: str, own: str) -> None:
    """So the test above can fail."""
    own = cast.ids.get(own, own)
    shown = [
        await seen(cast, cast.member, name, Play(query={query: one, "mode": "test"}), one) for one in (own, MISSING)
    ]
    assert shown[0] != shown[1]
