"""`/auth/*` of the Settings page: passwords, addresses, invitations, the end of a team; through the real routes."""

import asyncio
import sqlite3
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from omni_app.api.forms import ACCOUNT_TRIES, safe_next
from omni_app.storage import accounts, teams
from omni_app.storage.database import Database, sqlite_path
from omni_app.storage.supabase_sign_in import SupabaseSignIn
from tests.api.conftest import HELLO, Running
from tests.api.test_account import EMAIL, OURS, PASSWORD, new_key, post, sign_up
from tests.hashing import nothing_is_hashed

NEW = "a quite different lamp 77"


def said(answer: httpx.Response) -> str:
    """The code of a form's answer."""
    assert answer.status_code == 303, answer.text
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    return (query.get("said") or query.get("error") or [""])[0]


async def log_in(product: Running, password: str, email: str = EMAIL) -> bool:
    return (await post(product, "/auth/login", email=email, password=password)).headers["location"] == "/overview/"


async def test_a_new_password_opens_the_door_and_the_old_one_and_other_browsers_do_not(product: Running) -> None:
    await sign_up(product)
    first = dict(product.client.cookies)
    assert said(await post(product, "/auth/password", password=PASSWORD, new_password=NEW)) == "password"
    assert dict(product.client.cookies) != first
    assert (await new_key(product)).status_code == 201, "this browser stays signed in"
    product.client.cookies.update(first)
    assert (await new_key(product)).status_code == 401
    product.client.cookies.clear()
    assert not await log_in(product, PASSWORD)
    assert await log_in(product, NEW)


@pytest.mark.parametrize(
    ("path", "form", "code"),
    [
        ("/auth/password", {"password": "wrong", "new_password": NEW}, "wrong"),
        ("/auth/password", {"password": PASSWORD, "new_password": "short"}, "weak"),
        ("/auth/email", {"password": "wrong", "email": "b@example.com"}, "wrong"),
        ("/auth/email", {"password": PASSWORD, "email": "no address"}, "wrong_input"),
        ("/auth/email", {"password": PASSWORD, "email": "taken@example.com"}, "taken"),
        ("/auth/delete", {"password": "wrong", "org_name": "Analytical Engines"}, "wrong"),
        ("/auth/delete", {"password": PASSWORD, "org_name": "Something"}, "name"),
        ("/auth/join", {"token": "nonsense"}, "gone"),
    ],
)
async def test_what_is_wrong_is_told_and_changes_nothing(
    product: Running, path: str, form: dict[str, str], code: str
) -> None:
    await sign_up(product, "taken@example.com")
    await sign_up(product)
    assert said(await post(product, path, **form)) == code
    assert (await new_key(product)).status_code == 201
    assert await log_in(product, PASSWORD)


async def test_tries_at_the_password_are_limited(product: Running) -> None:
    await sign_up(product)
    answers = [
        said(await post(product, "/auth/password", password="wrong", new_password=NEW))
        for _ in range(ACCOUNT_TRIES[0][0] + 1)
    ]
    assert answers[-1] == "slow_down" and "wrong" in answers


async def test_a_database_that_is_busy_is_not_told_as_a_typing_error(
    product: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_up(product)
    path = sqlite_path(product.services.settings.database)
    assert path is not None
    monkeypatch.setattr("omni_app.storage.database.BUSY_TIMEOUT_MS", 50)  # of the connections that are opened now
    product.services.database = Database(product.services.settings.database)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert said(await post(product, "/auth/invitations", role="member")) == "away"
    assert said(await post(product, "/auth/invitations", role="member")) == "invited"
    await product.services.database.close()


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
async def test_a_supabase_that_is_away_is_not_told_as_a_typing_error(product: Running, password: str) -> None:
    await sign_up(product)
    product.services.sign_in = SupabaseSignIn("http://127.0.0.1:9", "anon-key")
    assert said(await post(product, "/auth/email", password=password, email="b@example.com")) == "away"


@pytest.mark.parametrize("path", ["/auth/password", "/auth/email", "/auth/delete", "/auth/second-factor/off"])
@pytest.mark.parametrize("form", [{}, {"password": ""}])
async def test_a_form_without_a_password_is_refused_and_nothing_hashed(
    product: Running, path: str, form: dict[str, str]
) -> None:
    await sign_up(product)
    async with nothing_is_hashed(), asyncio.timeout(3):
        assert said(await post(product, path, new_password=NEW, **form)) == "wrong"


async def test_a_new_address_is_the_one_to_log_in_with(product: Running) -> None:
    await sign_up(product)
    assert said(await post(product, "/auth/email", password=PASSWORD, email=" New@Example.com")) == "email_changed"
    product.client.cookies.clear()
    assert not await log_in(product, PASSWORD)
    assert await log_in(product, PASSWORD, "new@example.com")


async def test_logging_out_everywhere_ends_every_session(product: Running) -> None:
    await sign_up(product)
    one = dict(product.client.cookies)
    await log_in(product, PASSWORD)
    assert said(await post(product, "/auth/logout-everywhere", sure="yes")) == "everywhere"
    for cookies in (one, dict(product.client.cookies)):
        product.client.cookies.update(cookies)
        assert (await new_key(product)).status_code == 401


async def test_an_invitation_stands_behind_the_hash_and_brings_a_second_person_in(product: Running) -> None:
    await sign_up(product)
    answer = await post(product, "/auth/invitations", role="member")
    location = urlsplit(answer.headers["location"])
    token = location.fragment.removeprefix("invite=")
    assert token and token not in location.query
    product.client.cookies.clear()
    await sign_up(product, "bob@example.com")
    joined = await post(product, "/auth/join", token=token)
    assert joined.headers["location"] == "/overview/"
    assert said(await post(product, "/auth/invitations", role="member")) == "owners", "a member invites nobody"
    async with product.services.database.session() as session:
        cookie = product.client.cookies["omr_session"]
        who = await accounts.read_session(session, token=cookie)
        assert who is not None and who.org_name == "Analytical Engines"
        assert [one.role for one in await teams.members(session, org_id=who.org_id)] == ["owner", "member"]
    assert said(await post(product, "/auth/delete", password=PASSWORD, org_name="Analytical Engines")) == "owners"


async def invited(product: Running) -> str:
    """The secret of a new invitation into the team of a new account; nobody is signed in afterwards."""
    await sign_up(product)
    answer = await post(product, "/auth/invitations", role="member")
    await post(product, "/auth/logout")
    return urlsplit(answer.headers["location"]).fragment.removeprefix("invite=")


async def test_an_invitation_waits_for_the_log_in_sealed_in_a_cookie_that_no_script_reads(product: Running) -> None:
    token = await invited(product)
    kept = await post(product, "/auth/keep-invitation", token=token)
    cookie = kept.headers["set-cookie"]
    assert (kept.status_code, kept.content) == (204, b"") and cookie.startswith("omr_invitation=")
    assert {"HttpOnly", "SameSite=lax", "Max-Age=3600"} <= {part.strip() for part in cookie.split(";")}
    assert token not in cookie and token.encode().hex() not in cookie
    await sign_up(product, "bob@example.com")
    assert (await post(product, "/auth/join", token="")).headers["location"] == "/overview/"
    assert "omr_invitation" not in product.client.cookies
    assert said(await post(product, "/auth/invitations", role="member")) == "owners", "they are in the team"
    assert said(await post(product, "/auth/join", token="")) == "gone"


async def test_an_invitation_that_waits_is_where_whoever_comes_in_is_led(product: Running) -> None:
    token = await invited(product)
    await post(product, "/auth/keep-invitation", token=token)
    come = await sign_up(product, "bob@example.com")
    assert come.headers["location"] == "/join/"
    again = await post(product, "/auth/login", email="bob@example.com", password=PASSWORD)
    wanted = await post(product, "/auth/login", email="bob@example.com", password=PASSWORD, next="/keys/")
    assert (again.headers["location"], wanted.headers["location"]) == ("/join/", "/keys/")
    await post(product, "/auth/join", token="")
    joined = await post(product, "/auth/login", email="bob@example.com", password=PASSWORD)
    assert joined.headers["location"] == "/overview/"


async def test_an_invitation_waits_an_hour_and_not_over_a_log_out(
    product: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await invited(product)
    await sign_up(product, "bob@example.com")
    await post(product, "/auth/keep-invitation", token=token)
    await post(product, "/auth/logout")
    assert "omr_invitation" not in product.client.cookies
    await post(product, "/auth/login", email="bob@example.com", password=PASSWORD)
    monkeypatch.setattr("omni_app.api.invitations.LASTS_S", -1)
    kept = await post(product, "/auth/keep-invitation", token=token)
    sealed = kept.headers["set-cookie"].partition("=")[2].partition(";")[0]
    for cookie in (sealed, sealed[:-2] + "00", "zz", ""):
        product.client.cookies.set("omr_invitation", cookie, domain="127.0.0.1")
        assert said(await post(product, "/auth/join", token="")) == "gone"
    assert (await post(product, "/auth/join", token=token)).headers["location"] == "/overview/"


async def test_whoever_was_taken_out_of_their_only_team_logs_in_to_an_empty_one(product: Running) -> None:
    await sign_up(product)
    async with product.services.database.session() as session:
        cookie = product.client.cookies["omr_session"]
        who = await accounts.read_session(session, token=cookie)
        assert who is not None
        other = await accounts.join(session, email="bob@example.com", password_hash="", org_name="Bob's")
        token = await teams.invite(session, who=who, role="owner")
        await teams.accept(session, user_id=other.user_id, token=token)
        await teams.remove(session, who=who, user_id=who.user_id)
        await session.commit()
    assert (await new_key(product)).status_code == 401
    assert await log_in(product, PASSWORD)
    assert (await new_key(product)).status_code == 201
    async with product.services.database.session() as session:
        now = await accounts.read_session(session, token=product.client.cookies["omr_session"])
    assert now is not None and (now.org_name, now.role) == ("ada's team", "owner")


async def test_a_deleted_team_is_closed_and_its_address_is_free(product: Running) -> None:
    await sign_up(product)
    key = (await new_key(product)).json()["key"]
    assert (await product.post("/v1/chat", HELLO, key=key)).status_code == 200
    gone = await post(product, "/auth/delete", password=PASSWORD, org_name="Analytical Engines")
    assert said(gone) == "deleted"
    await product.services.keys.poll()
    assert (await product.post("/v1/chat", HELLO, key=key)).status_code == 401
    assert not await log_in(product, PASSWORD)
    assert (await sign_up(product)).headers["location"] == "/start/"


FORMS: dict[str, dict[str, str]] = {
    "/auth/password": {"password": PASSWORD, "new_password": NEW},
    "/auth/email": {"password": PASSWORD, "email": "b@example.com"},
    "/auth/logout-everywhere": {"sure": "yes"},
    "/auth/invitations": {"role": "owner"},
    "/auth/join": {"token": "x"},
    "/auth/delete": {"password": PASSWORD, "org_name": "Analytical Engines"},
}


@pytest.mark.parametrize("path", FORMS)
async def test_other_sites_and_strangers_are_refused(product: Running, path: str) -> None:
    await sign_up(product)
    crossed = await post(product, path, headers={**OURS, "Sec-Fetch-Site": "cross-site"}, **FORMS[path])
    assert crossed.status_code == 403
    product.client.cookies.clear()
    assert (await post(product, path, **FORMS[path])).status_code == 401
    assert await log_in(product, PASSWORD)


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("/requests/?task=coding&after=req_1", "/requests/?task=coding&after=req_1"),
        ("/overview/", "/overview/"),
        ("/usage/?range=2026-01-01..2026-02-01#top", "/usage/?range=2026-01-01..2026-02-01"),
        ("//evil.example/overview/", ""),
        ("https://evil.example/overview/", ""),
        ("/\\evil.example", ""),
        ("/overview/\r\nSet-Cookie: a=b", ""),
        ("javascript:alert(1)", ""),
        ("/overview/?" + "x" * 600, ""),
        ("/auth/logout", ""),
        ("", ""),
    ],
)
def test_only_own_pages_are_gone_on_to(address: str, safe: str) -> None:
    assert safe_next(address) == safe


async def test_an_address_with_its_query_survives_the_log_in(product: Running) -> None:
    await sign_up(product)
    wanted: Any = "/requests/?task=coding"
    wrong = await post(product, "/auth/login", email=EMAIL, password="wrong", next=wanted)
    assert parse_qs(urlsplit(wrong.headers["location"]).query)["next"] == [wanted]
    right = await post(product, "/auth/login", email=EMAIL, password=PASSWORD, next=wanted)
    assert right.headers["location"] == wanted
