"""`/auth/*`: native forms, the cookie, cross-site requests, and the one hand-over of a new key."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from omni_app.api.account import MAX_KEYS
from omni_app.api.forms import ACCOUNT_TRIES
from omni_app.limits.memory import MemoryLimiter
from omni_app.settings import Settings
from omni_app.storage import accounts, keys
from omni_app.storage.supabase_sign_in import SupabaseSignIn
from tests.api.conftest import HELLO, ORIGIN, Running, run, settings_for
from tests.hashing import nothing_is_hashed
from tests.security.cast import told
from tests.servers.asgi import serving
from tests.servers.gotrue import GoTrue

OURS = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
EMAIL, PASSWORD = "ada@example.com", "teal-otter-maps-42-winter"
TRIED = (EMAIL, " ADA@Example.com ", "bob@example.com", "nobody")


async def post(product: Running, path: str, *, headers: Any = OURS, **form: str) -> httpx.Response:
    return await product.client.post(path, data=form, headers=headers)


async def sign_up(product: Running, email: str = EMAIL) -> httpx.Response:
    return await post(product, "/auth/signup", email=email, password=PASSWORD, org_name="Analytical Engines")


async def new_key(product: Running, **body: Any) -> httpx.Response:
    return await product.client.post("/auth/keys", json={"name": "My app", "kind": "test"} | body, headers=OURS)


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path, public_url="https://omni.example")):
        yield running


async def test_sign_up_leads_to_the_first_run_page_with_a_closed_cookie(product: Running) -> None:
    answer = await sign_up(product)
    assert (answer.status_code, answer.headers["location"]) == (303, "/start/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("omr_session=")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie


@pytest.mark.parametrize("path", ["/auth/login", "/auth/signup"])
async def test_passwords_that_wait_to_be_hashed_keep_nobody_from_the_database(product: Running, path: str) -> None:
    await sign_up(product)
    key = await product.new_key()
    async with nothing_is_hashed():
        emails = [f"{number}@example.com" for number in range(25)]
        waiting = [asyncio.create_task(post(product, path, email=one, password=PASSWORD)) for one in emails]
        await asyncio.sleep(0.3)
        answer = await product.post("/v1/chat", HELLO, key=key)
        assert (answer.status_code, any(one.done() for one in waiting)) == (200, False), answer.text
    assert {one.status_code for one in await asyncio.gather(*waiting)} == {303}


async def test_a_supabase_that_takes_its_time_keeps_nobody_from_the_database(product: Running) -> None:
    class Slow(GoTrue):
        asked = 0

        async def token(self, request: Request) -> Response:
            self.asked += 1
            if self.asked == 25:
                all_asked.set()
            await go_on.wait()
            return await super().token(request)

    key, all_asked, go_on, supabase = await product.new_key(), asyncio.Event(), asyncio.Event(), Slow("anon-key")
    async with serving(supabase.app()) as url:
        product.services.sign_in = SupabaseSignIn(url, "anon-key")
        emails = [f"{number}@example.com" for number in range(25)]
        waiting = [asyncio.create_task(post(product, "/auth/login", email=one, password=PASSWORD)) for one in emails]
        await asyncio.wait_for(all_asked.wait(), 10)
        assert (await product.post("/v1/chat", HELLO, key=key)).status_code == 200
        go_on.set()
        assert {one.headers["location"] for one in await asyncio.gather(*waiting)} == {"/login/?error=wrong"}


async def test_on_https_the_cookie_is_bound_to_the_host(secure: Running) -> None:
    headers = {"Origin": "https://omni.example", "Sec-Fetch-Site": "same-origin"}
    answer = await post(secure, "/auth/signup", headers=headers, email=EMAIL, password=PASSWORD)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-omr_session=")
    assert "Secure" in cookie and "Domain" not in cookie


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"email": EMAIL, "password": PASSWORD}, "taken"),
        ({"email": " ADA@Example.com ", "password": PASSWORD}, "taken"),
        ({"email": "bob@example.com", "password": "short"}, "weak"),
        ({"email": "bob@example.com", "password": "password1234"}, "weak"),
        ({"email": "bob@example.com"}, "weak"),
        ({"email": "nobody", "password": PASSWORD}, "email"),
        ({"org_name": ""}, "email"),
    ],
)
async def test_a_refused_sign_up_comes_back_with_a_code_and_nothing_typed(
    product: Running, form: dict[str, str], code: str
) -> None:
    await sign_up(product)
    product.client.cookies.clear()
    answer = await product.client.post("/auth/signup", data=form, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/signup/?error={code}")
    assert "set-cookie" not in answer.headers


def in_production(folder: Path, **more: str) -> Settings:
    secrets = {"omni_secret_key": "a" * 40, "omni_key_pepper": "b" * 40}
    database = f"sqlite:///{folder / 'omni.db'}"
    return settings_for(
        folder, omni_env="production", public_url=ORIGIN, database_url=database, **secrets, **more
    )  # fmt: skip


@pytest.mark.parametrize("settings", [in_production, partial(settings_for, sign_up_without_mail="off")])
async def test_where_nobody_signs_up_by_themselves_every_address_is_told_the_same(
    tmp_path: Path, settings: Callable[[Path], Settings]
) -> None:
    async for running in run(settings(tmp_path)):
        await make_account(running, EMAIL)
        answers = [await post(running, "/auth/signup", email=one, password=PASSWORD) for one in TRIED]
        assert {told(one) for one in answers} == {told(answers[0])}
        assert answers[0].headers["location"] == "/signup/?error=closed" and "set-cookie" not in answers[0].headers
        made = await post(running, "/auth/login", email=EMAIL, password=PASSWORD)
        assert made.headers["location"] == "/overview/"


async def test_production_takes_sign_ups_without_mail_where_that_is_set(tmp_path: Path) -> None:
    async for running in run(in_production(tmp_path, sign_up_without_mail="on")):
        answer = await sign_up(running)
        assert answer.headers["location"] == "/start/"


async def make_account(product: Running, email: str) -> None:
    """As the command line does."""
    async with product.services.database.session() as session:
        await accounts.sign_up(session, email=email, password=PASSWORD, org_name="Analytical Engines")
        await session.commit()


@pytest.mark.parametrize(("email", "password"), [(EMAIL, "wrong password!"), ("x@example.com", PASSWORD), ("", "")])
async def test_a_wrong_log_in_does_not_say_what_was_wrong(product: Running, email: str, password: str) -> None:
    await sign_up(product)
    answer = await post(product, "/auth/login", email=email, password=password)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login/?error=wrong")


@pytest.mark.parametrize(
    ("after", "location"),
    [
        ("", "/overview/"),
        ("/keys/", "/keys/"),
        ("//evil.example", "/overview/"),
        ("/\\evil.example", "/overview/"),
        ("https://evil.example", "/overview/"),
        ("javascript:alert(1)", "/overview/"),
        ("%2f%2fevil.example", "/overview/"),
        ("/keys/../../evil", "/overview/"),
    ],
)
async def test_log_in_leads_back_to_own_pages_only(product: Running, after: str, location: str) -> None:
    await sign_up(product)
    answer = await post(product, "/auth/login", email=EMAIL, password=PASSWORD, next=after)
    assert (answer.status_code, answer.headers["location"]) == (303, location)


async def tries_until_refused(product: Running) -> int:
    """How many wrong passwords are looked at before the form says to slow down."""
    for count in range(100):
        answer = await post(product, "/auth/login", email=EMAIL, password="wrong password!")
        if answer.headers["location"] == "/login/?error=slow_down":
            return count
    raise AssertionError("nobody was slowed down")


async def test_the_more_tries_at_one_account_the_longer_the_wait_and_others_are_not_locked_out(
    product: Running,
) -> None:
    limiter, now_s = product.services.limiter, 0.0
    assert isinstance(limiter, MemoryLimiter)
    limiter.clock = lambda: now_s
    looked_at = await tries_until_refused(product)
    assert looked_at == ACCOUNT_TRIES[0][0] == 5
    for (_, waited_s), (so_far, _) in pairwise(ACCOUNT_TRIES):
        now_s += waited_s / 2
        assert await tries_until_refused(product) == 0
        while looked_at < so_far:
            now_s += waited_s
            tries = await tries_until_refused(product)
            assert 0 < tries <= ACCOUNT_TRIES[0][0]
            looked_at += tries
        assert looked_at == so_far
    now_s += ACCOUNT_TRIES[-2][1]
    assert await tries_until_refused(product) == 0
    other = await sign_up(product, "bob@example.com")
    assert other.headers["location"] == "/start/"


async def test_log_out_ends_the_session_for_good(product: Running) -> None:
    await sign_up(product)
    token = product.client.cookies["omr_session"]
    answer = await post(product, "/auth/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    product.client.cookies.set("omr_session", token, domain="127.0.0.1")
    assert (await new_key(product)).status_code == 401


async def test_a_log_in_ends_the_session_that_the_browser_had(product: Running) -> None:
    await sign_up(product)
    first = product.client.cookies["omr_session"]
    await post(product, "/auth/login", email=EMAIL, password=PASSWORD)
    second = product.client.cookies["omr_session"]
    assert second != first
    for token, status in ((first, 401), (second, 201)):
        product.client.cookies.clear()
        product.client.cookies.set("omr_session", token, domain="127.0.0.1")
        assert (await new_key(product)).status_code == status


async def test_a_wrong_log_in_leaves_the_session_alone(product: Running) -> None:
    await sign_up(product)
    await post(product, "/auth/login", email=EMAIL, password="wrong password!")
    assert (await new_key(product)).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://127.0.0.1:80001"},
        {"Origin": "http://127.0.0.1:8000.evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/auth/signup", "/auth/login", "/auth/logout", "/auth/keys"])
async def test_what_does_not_come_from_our_own_page_is_refused(
    product: Running, path: str, headers: dict[str, str]
) -> None:
    await sign_up(product)
    answer = await post(product, path, headers=headers, email="eve@example.com", password=PASSWORD)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "permission_denied"
    assert "set-cookie" not in answer.headers


async def test_a_new_key_is_handed_over_once_and_opens_the_api(product: Running) -> None:
    await sign_up(product)
    made = await new_key(product)
    assert made.status_code == 201
    body = made.json()
    assert body["key"].startswith("omr_test_") and made.headers["cache-control"] == "no-store"
    assert (await product.post("/v1/chat", HELLO, key=body["key"])).status_code == 200


async def test_a_cookie_does_not_open_the_api_and_a_key_does_not_make_keys(product: Running) -> None:
    await sign_up(product)
    assert (await product.client.get("/v1/models", headers=OURS)).status_code == 401
    product.client.cookies.clear()
    headers = OURS | {"Authorization": f"Bearer {product.key}"}
    answer = await product.client.post("/auth/keys", json={"name": "x"}, headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"kind": "root"}, "kind"),
        ({"kind": None}, "kind"),
        ({"org_id": "1"}, "org_id"),
        ({"hidden": True}, "hidden"),
        ({"scopes": "chat"}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["chat", "root"]}, "scopes"),
        ({"scopes": [["chat"]]}, "scopes"),
    ],
)
async def test_a_wrong_field_of_a_new_key_is_named(product: Running, body: dict[str, Any], param: str) -> None:
    await sign_up(product)
    answer = await new_key(product, **body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_a_key_that_is_made_for_figures_answers_no_prompt(product: Running) -> None:
    await sign_up(product)
    key = (await new_key(product, scopes=["usage"])).json()["key"]
    assert (await product.get("/v1/usage", key=key)).status_code == 200
    answer = await product.post("/v1/chat", HELLO, key=key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


async def test_an_org_holds_a_bounded_number_of_keys(product: Running) -> None:
    await sign_up(product)
    await new_key(product)
    async with product.services.database.session() as session:
        org_id = await org_of(product)
        for number in range(MAX_KEYS - 1):
            await keys.create_key(
                session, org_id=org_id, name=f"k{number}", kind="test", hasher=product.services.hasher
            )
        await session.commit()
    answer = await new_key(product)
    assert answer.status_code == 400
    assert "revoke one first" in answer.json()["error"]["message"]


async def org_of(product: Running) -> Any:
    async with product.services.database.session() as session:
        who = await accounts.read_session(session, token=product.client.cookies["omr_session"])
    assert who is not None
    return who.org_id


async def test_new_keys_are_limited(product: Running) -> None:
    await sign_up(product)
    statuses = [(await new_key(product)).status_code for _ in range(22)]
    assert statuses.count(201) == 20
    assert statuses[-1] == 429


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"a" * 9_000, "application/x-www-form-urlencoded", 413),
        (b"a=1&" * 20, "application/x-www-form-urlencoded", 400),
        (b"%ff%fe=%ff", "application/x-www-form-urlencoded", 400),
        (b"nonsense", "application/x-www-form-urlencoded", 400),
        (b'{"email": "a@b.c"}', "application/json", 400),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400),
    ],
)
async def test_a_form_that_is_none_is_refused(product: Running, content: bytes, content_type: str, status: int) -> None:
    headers = OURS | {"Content-Type": content_type}
    answer = await product.client.post("/auth/login", content=content, headers=headers)
    assert answer.status_code == status
    assert "message" in answer.json()["error"]


async def test_no_answer_holds_a_password_or_its_hash(product: Running) -> None:
    answers = [await sign_up(product), await post(product, "/auth/login", email=EMAIL, password=PASSWORD)]
    for answer in [*answers, await new_key(product)]:
        seen = answer.text + str(answer.headers)
        assert PASSWORD not in seen and "$argon2" not in seen
