"""Every route × every caller × both headers: who is let in is what `verdicts.toml` says, and nobody else."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from omni_app.api import openapi, scopes
from omni_app.api.app import create_api
from omni_app.providers.base import HOP_HEADER
from omni_app.services import build_services
from omni_app.storage import key_changes, keys
from omni_app.storage.scopes import Scope
from omni_app.storage.tables import utc_now
from tests.api.conftest import settings_for
from tests.security.cast import FROM_OUR_PAGE, Cast, a_cast, owner_without_the_factor, told, with_second_factors
from tests.security.knocks import KNOCKS
from tests.security.registry import VERDICTS, routes

ROUTES: dict[str, str] = VERDICTS["routes"]
SCOPES: dict[str, str] = VERDICTS["scopes"]
REFUSED_KEYS = ("empty", "malformed", "unknown", "revoked", "expired", "disabled", "hidden")
GOOD_KEYS = ("test", "live", "other")
ELSEWHERE: tuple[dict[str, str], ...] = (
    {},
    {"Origin": "https://evil.example"},
    {**FROM_OUR_PAGE, "Sec-Fetch-Site": "cross-site"},
)


FACTORS = {"POST /auth/second-factor/confirm": False, "POST /auth/second-factor/off": True}
"""Routes that want a second factor to be there: pending, or on."""


def of(*verdicts: str) -> list[str]:
    return [name for name, verdict in ROUTES.items() if verdict in verdicts]


def in_either_header(key: str) -> tuple[dict[str, str], dict[str, str]]:
    return {"Authorization": f"Bearer {key}"}, {"X-API-Key": key}


@pytest.fixture
async def cast(tmp_path: Path) -> AsyncIterator[Cast]:
    async with a_cast(tmp_path) as cast:
        yield cast


async def knock(cast: Cast, name: str, **more: Any) -> httpx.Response:
    """The route's good request, with the headers or the cookie of somebody."""
    method, _, path = name.partition(" ")
    return await cast.send(method, **{"path": path, **KNOCKS[name](cast), **more})


def outcome(answer: httpx.Response) -> str:
    """`unknown` (who are you?), `forbidden` (not you, or not from there), else `in`."""
    if answer.status_code == 401:
        return "unknown"
    forbidden = answer.status_code == 403 or answer.headers.get("location") == "/settings/?said=owners"
    return "forbidden" if forbidden else "in"


def test_every_route_has_a_verdict_and_every_verdict_a_route(tmp_path: Path) -> None:
    services = build_services(settings_for(tmp_path))
    assert routes(create_api(services)).keys() == ROUTES.keys() == KNOCKS.keys()
    assert set(ROUTES.values()) == {"anybody", "page", "key", "self", "member", "owner", "operator"}
    services.spool.close()


@pytest.mark.parametrize("name", of("key"))
async def test_without_a_working_key_nobody_is_let_in_and_both_headers_are_told_the_same(cast: Cast, name: str) -> None:
    before = await cast.rows()
    assert outcome(await knock(cast, name)) == "unknown"
    assert outcome(await knock(cast, name, token=cast.owner.token, headers=FROM_OUR_PAGE)) == "unknown", "a cookie"
    for key in REFUSED_KEYS:
        answers = [await knock(cast, name, headers=headers) for headers in in_either_header(cast.keys[key])]
        assert [outcome(one) for one in answers] == ["unknown", "unknown"], key
        assert told(answers[0]) == told(answers[1]), key
    assert await cast.rows() == before


@pytest.mark.parametrize("name", of("key"))
async def test_a_working_key_is_let_in_and_both_headers_are_served_the_same(cast: Cast, name: str) -> None:
    for key in GOOD_KEYS:
        answers = [await knock(cast, name, headers=headers) for headers in in_either_header(cast.keys[key])]
        assert [outcome(one) for one in answers] == ["in", "in"], key
        assert told(answers[0]) == told(answers[1]), key
        assert answers[0].status_code == 200 or key == "live", "no provider is configured: a live key has no models"


@pytest.mark.parametrize("name", of("key"))
async def test_two_different_keys_are_refused_wherever_they_stand(cast: Cast, name: str) -> None:
    mine, theirs = cast.keys["test"], cast.keys["other"]
    before = await cast.rows()
    for one, other in ((mine, theirs), (theirs, mine), (mine, cast.keys["unknown"]), ("nonsense", mine)):
        for headers in (
            [("Authorization", f"Bearer {one}"), ("X-API-Key", other)],
            [("X-API-Key", one), ("X-API-Key", other)],
            [("Authorization", f"Bearer {one}"), ("Authorization", f"Bearer {other}")],
            [("Authorization", f"Bearer {one}"), ("X-API-Key", other), ("Idempotency-Key", "once")],
        ):
            answer = await knock(cast, name, headers=headers)
            assert answer.status_code == 400, headers
            assert "two different keys" in answer.text
    assert await cast.rows() == before
    same = [("Authorization", f"Bearer {mine}"), ("X-API-Key", mine), ("X-API-Key", mine)]
    assert outcome(await knock(cast, name, headers=same)) == "in"


@pytest.mark.parametrize("name", of("anybody"))
async def test_what_anybody_may_read_is_the_same_for_everybody(cast: Cast, name: str) -> None:
    answers = [await knock(cast, name)]
    answers += [await knock(cast, name, token=token) for token in (cast.owner.token, cast.ended)]
    for key in ("test", "revoked"):
        answers += [await knock(cast, name, headers=headers) for headers in in_either_header(cast.keys[key])]
    assert len({told(one) for one in answers}) == 1


@pytest.mark.parametrize("token", ["", "a-token-for-the-metrics"])
@pytest.mark.parametrize("name", of("operator"))
async def test_what_is_the_operators_is_shown_to_the_token_alone(tmp_path: Path, name: str, token: str) -> None:
    refused = 401 if token else 404
    async with a_cast(tmp_path, metrics_token=token) as cast:
        strangers: list[dict[str, str]] = [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer a-token-for"}]
        for key in (*GOOD_KEYS, *REFUSED_KEYS):
            strangers += in_either_header(cast.keys[key])
        for headers in strangers:
            assert (await knock(cast, name, headers=headers)).status_code == refused, headers
        for session in (cast.owner.token, cast.member.token, cast.ended):
            assert (await knock(cast, name, headers=FROM_OUR_PAGE, token=session)).status_code == refused
        operator = {"Authorization": "Bearer a-token-for-the-metrics"}
        assert (await knock(cast, name, headers=operator)).status_code == (200 if token else 404)


@pytest.mark.parametrize("name", of("page", "member", "owner"))
async def test_what_does_not_come_from_our_pages_changes_nothing(cast: Cast, name: str) -> None:
    before = await cast.rows()
    for headers in ELSEWHERE:
        if name.startswith("GET") and headers.get("Sec-Fetch-Site") != "cross-site":
            continue  # a link that is opened by hand has neither header
        assert outcome(await knock(cast, name, headers=headers, token=cast.owner.token)) == "forbidden", headers
    assert await cast.rows() == before


@pytest.mark.parametrize("name", of("page"))
async def test_our_pages_forms_are_open_to_everybody(cast: Cast, name: str) -> None:
    assert outcome(await knock(cast, name, headers=FROM_OUR_PAGE)) == "in"


@pytest.mark.parametrize("name", of("self", "member", "owner"))
async def test_without_a_living_session_nobody_is_let_in(cast: Cast, name: str) -> None:
    before = await cast.rows()
    for token in ("", cast.ended, "forged", cast.owner.who.session_id.hex if cast.owner.who.session_id else ""):
        assert outcome(await knock(cast, name, headers=FROM_OUR_PAGE, token=token)) == "unknown"
    for key in GOOD_KEYS:
        for headers in in_either_header(cast.keys[key]):
            assert outcome(await knock(cast, name, headers=FROM_OUR_PAGE | headers)) == "unknown", "a key"
    assert await cast.rows() == before


@pytest.mark.parametrize("name", of("self", "member", "owner"))
async def test_members_do_what_members_may_and_owners_everything(cast: Cast, name: str) -> None:
    if name in FACTORS:
        await with_second_factors(cast, confirmed=FACTORS[name])
    before = await cast.rows()
    by_member = await knock(cast, name, headers=FROM_OUR_PAGE, token=cast.member.token)
    changed = await cast.rows() != before
    if ROUTES[name] == "owner":
        assert (outcome(by_member), changed) == ("forbidden", False)
        assert outcome(await knock(cast, name, headers=FROM_OUR_PAGE, token=cast.owner.token)) == "in"
        assert await cast.rows() != before, "else the member's refusal would prove nothing"
    else:
        assert (outcome(by_member), changed) == ("in", not name.startswith("GET"))


@pytest.mark.parametrize("name", ROUTES)
async def test_without_the_factor_that_their_team_asks_for_an_owner_does_what_is_their_own(
    cast: Cast, name: str
) -> None:
    lacking = await owner_without_the_factor(cast)
    if name in FACTORS and not FACTORS[name]:
        await with_second_factors(cast, lacking.who, confirmed=False)
    before = await cast.rows()
    answer = await knock(cast, name, headers=FROM_OUR_PAGE, token=lacking.token)
    if ROUTES[name] in ("member", "owner"):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "second_factor_wanted")
        assert await cast.rows() == before
    elif ROUTES[name] == "self":
        assert outcome(answer) == "in" and await cast.rows() != before
    else:
        refused = {"key": (401,), "operator": (404,)}
        assert answer.status_code in refused.get(ROUTES[name], (200, 204, 303)), "as to everybody else"


@pytest.mark.parametrize("name", of("key"))
async def test_a_call_that_this_server_made_itself_ends_at_every_route(cast: Cast, name: str) -> None:
    answer = await knock(cast, name, headers={"X-API-Key": cast.keys["test"], HOP_HEADER: "1"})
    assert answer.status_code == 508


HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


async def test_every_answer_of_every_route_carries_the_security_headers(tmp_path: Path) -> None:
    async with a_cast(tmp_path, public_url="https://omni.example") as cast:
        for name in [*ROUTES, "GET /v1/nothing", "PUT /v1/chat"]:
            method, _, path = name.partition(" ")
            answer = await cast.send(method, path)
            assert {key: answer.headers[key] for key in HEADERS} == HEADERS, name
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; "), name
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], name
            assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains", name
            assert "server" not in answer.headers, name


async def test_every_answer_says_what_it_is_and_in_which_characters(cast: Cast) -> None:
    """A type for each body, and the character set for each text that does not state it itself, as JSON does."""
    for name in [*ROUTES, "GET /v1/nothing", "PUT /v1/chat", "GET /estimate"]:
        for headers in ({}, FROM_OUR_PAGE | {"X-API-Key": cast.keys["test"]}):
            answer = await knock(cast, name, headers=headers) if name in ROUTES else await cast.send(*name.split())
            if not answer.content:
                continue
            kind, _, rest = answer.headers["content-type"].partition(";")
            assert kind == "application/json" or (kind.startswith("text/") and rest.strip() == "charset=utf-8"), name
            if kind == "application/json":
                answer.json()


@pytest.mark.parametrize("name", of("key", "operator"))
async def test_a_program_is_never_sent_elsewhere(tmp_path: Path, name: str) -> None:
    """Whoever asks without TLS by mistake is to notice: no redirect leads to https."""
    async with a_cast(tmp_path, public_url="https://omni.example") as cast:
        for headers in ({}, {"X-API-Key": cast.keys["test"]}, {"Host": "omni.example", "X-Forwarded-Proto": "http"}):
            answer = await knock(cast, name, headers=headers)
            assert not answer.is_redirect and "location" not in answer.headers


async def test_nothing_is_echoed_to_who_traces(cast: Cast) -> None:
    for path in {name.partition(" ")[2] for name in ROUTES}:
        answer = await cast.send("TRACE", path, headers={"X-API-Key": cast.keys["test"], "X-Echo": "said-by-me"})
        assert answer.status_code in (404, 405), path
        assert "said-by-me" not in answer.text and cast.keys["test"] not in answer.text


# ------------------------------------------------------------------------------------------- scopes


def test_every_route_for_keys_wants_the_scope_that_its_line_says_and_no_other_path_any() -> None:
    assert SCOPES.keys() == set(of("key"))
    assert {name.partition(" ")[2]: scope for name, scope in SCOPES.items()} == scopes.ROUTES
    document = openapi.document()["paths"]
    for name, scope in SCOPES.items():
        method, _, path = name.partition(" ")
        operation = document[path.replace("{id:path}", "{id}")][method.lower()]
        assert operation["security"] == [{"bearer": [scope]}, {"apiKey": [scope]}] and "403" in operation["responses"]
    for path in ("/v1", "/v1/chat/", "/v1/usagex", "/v1/model", "/health", "/auth/keys", ""):
        assert scopes.scope_of(path) is None, path


@pytest.mark.parametrize("name", of("key"))
async def test_a_key_is_let_in_by_the_routes_own_scope_and_by_no_other(cast: Cast, name: str) -> None:
    made = {scope: await scoped_key(cast, {scope}) for scope in Scope} | {None: await scoped_key(cast, set())}
    before = await cast.rows()
    for scope, key in made.items():
        if scope == SCOPES[name]:
            continue
        answers = [await knock(cast, name, headers=headers) for headers in in_either_header(key)]
        assert [(one.status_code, outcome(one)) for one in answers] == [(403, "forbidden")] * 2, scope
        assert told(answers[0]) == told(answers[1])
        assert f"wants the scope {SCOPES[name]}" in answers[0].text and "permission" in answers[0].text
        once = await knock(cast, name, headers={"X-API-Key": key, "Idempotency-Key": "once"})
        assert outcome(once) == "forbidden"
    assert await cast.rows() == before
    assert outcome(await knock(cast, name, headers={"X-API-Key": made[Scope(SCOPES[name])]})) == "in"


async def scoped_key(cast: Cast, allowed: set[Scope]) -> str:
    async with cast.services.database.session() as session:
        _, secret = await keys.create_key(
            session, org_id=cast.owner.who.org_id, name="k", kind="test", hasher=cast.services.hasher,
            scopes=frozenset(allowed),
        )  # fmt: skip
        await session.commit()
    return secret


async def test_a_scope_that_is_taken_away_ends_kept_answers_too(cast: Cast) -> None:
    """What an `Idempotency-Key` kept is given again only to a key that might ask for it anew."""
    key, body = await scoped_key(cast, {Scope.CHAT}), {"messages": [{"role": "user", "content": "Hello!"}]}
    headers = {"X-API-Key": key, "Idempotency-Key": "once"}
    first = await cast.send("POST", "/v1/chat", headers=headers, body=body)
    assert first.status_code == 200
    (made,) = [one for one in await made_keys(cast) if one.scopes == frozenset({Scope.CHAT})]
    async with cast.services.database.session() as session:
        settings = key_changes.KeySettings("k", scopes=frozenset({Scope.USAGE}))
        await key_changes.change_key(session, org_id=made.org_id, key_id=made.id, settings=settings, now=utc_now())
        await session.commit()
    await cast.services.keys.poll()
    assert (await cast.send("POST", "/v1/chat", headers=headers, body=body)).status_code == 403


async def made_keys(cast: Cast) -> list[keys.ApiKey]:
    async with cast.services.database.session() as session:
        return await keys.list_keys(session, org_id=cast.owner.who.org_id)


# ------------------------------------------------------------------------------------------- what belongs to others


@pytest.mark.parametrize("theirs", ["test key", "live key", "revoked key", "hidden key", "org", "user", "invitation"])
async def test_another_orgs_key_cannot_be_rotated_and_is_answered_as_a_missing_one(cast: Cast, theirs: str) -> None:
    before = await cast.rows()
    missing, found = [
        await cast.send(
            "POST", "/auth/keys/rotate", headers=FROM_OUR_PAGE, token=cast.stranger.token,
            body={"id": one, "grace_hours": 1},
        )
        for one in ("00000000-0000-4000-8000-000000000000", cast.ids[theirs])
    ]  # fmt: skip
    assert missing.status_code == 404
    assert told(missing) == told(found)
    assert await cast.rows() == before


async def test_another_orgs_agent_session_is_another_session(cast: Cast) -> None:
    step = {"messages": [{"role": "user", "content": "Go on."}], "session_id": "run-1"}
    answers = [
        await cast.send("POST", "/v1/agent-step", headers={"X-API-Key": cast.keys[key]}, body=step)
        for key in ("test", "test", "other")
    ]
    assert [one.status_code for one in answers] == [200, 200, 200]
    _, mine, theirs = (one.json()["session"] for one in answers)
    assert mine and theirs is None


@pytest.mark.parametrize("other", ["other", "live"])
async def test_an_idempotent_answer_is_of_the_key_that_asked(cast: Cast, other: str) -> None:
    """Another org's key, and another key of the same org, whose models, kind and limits may be others."""
    body = {"messages": [{"role": "user", "content": "Hello!"}]}
    once = {"Idempotency-Key": "once"}
    first = await cast.send("POST", "/v1/chat", headers={"X-API-Key": cast.keys["test"], **once}, body=body)
    again = await cast.send("POST", "/v1/chat", headers={"X-API-Key": cast.keys["test"], **once}, body=body)
    assert "idempotent-replayed" in again.headers and first.content == again.content
    theirs = await cast.send("POST", "/v1/chat", headers={"X-API-Key": cast.keys[other], **once}, body=body)
    assert theirs.status_code == (200 if other == "other" else 422)
    assert "idempotent-replayed" not in theirs.headers and first.json()["request_id"] not in theirs.text


async def test_figures_are_of_the_callers_org_alone(cast: Cast) -> None:
    await cast.send("POST", "/v1/chat", headers={"X-API-Key": cast.keys["test"]}, body={"messages": [
        {"role": "user", "content": "Hello!"}]})  # fmt: skip
    await cast.services.drainer.flush()
    totals = [
        (await cast.send("GET", "/v1/usage?mode=test", headers={"X-API-Key": cast.keys[key]})).json()["total_requests"]
        for key in ("test", "other")
    ]
    assert totals == [1, 0]


async def test_in_a_query_another_orgs_id_is_as_good_as_a_missing_one(cast: Cast) -> None:
    step = {"messages": [{"role": "user", "content": "Go on."}], "session_id": "run-theirs"}
    made = await cast.send("POST", "/v1/agent-step", headers={"X-API-Key": cast.keys["test"]}, body=step)
    await cast.services.drainer.flush()
    missing = {"key": str(UUID(int=1)), "id": "req_0123456789abcdef", "session": "run-nobodys"}
    theirs = {"key": cast.ids["test key"], "id": made.json()["request_id"], "session": "run-theirs"}
    for path, mine in (
        ("/v1/requests.csv", {"headers": {"X-API-Key": cast.keys["other"]}}),
        ("/auth/requests.csv", {"headers": FROM_OUR_PAGE, "token": cast.stranger.token}),
    ):
        for name, value in theirs.items():
            answers = [
                await cast.send("GET", f"{path}?mode=test&{name}={one}", **mine) for one in (missing[name], value)
            ]
            assert [one.status_code for one in answers] == [200, 200]
            assert told(answers[0]) == told(answers[1]), (path, name)
    own = await cast.send(
        "GET", "/v1/requests.csv?mode=test&session=run-theirs", headers={"X-API-Key": cast.keys["test"]}
    )
    assert made.json()["request_id"] in own.text


# ------------------------------------------------------------------------------------------- the path is not the key


@pytest.mark.parametrize(
    "path",
    [
        "//v1/usage", "/v1//usage", "/v1/./usage", "/v1/../v1/usage", "/health/../v1/usage", "/v1/usage/", "/V1/USAGE",
        "/v1/usage%2f", "/v1%2fusage", "/v1/usage;a=b", "/docs/../v1/usage", "/v1/usage%00", "/v1/usage?/health",
    ],
)  # fmt: skip
@pytest.mark.parametrize("host", ["127.0.0.1:8000", "evil.example/health?", "a b", ""])
async def test_no_spelling_of_a_path_or_host_opens_a_route_without_a_key(cast: Cast, path: str, host: str) -> None:
    answer = await cast.send("GET", path, headers={"Host": host})
    assert answer.status_code in (400, 401, 404), answer.text
    assert "total_requests" not in answer.text
