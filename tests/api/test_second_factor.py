"""The second factor from end to end: set up, log-in in two steps, limits, off again; sessions and known browsers."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from sqlalchemy import select
from sqlmodel import col
from starlette.requests import Request

from omni_app.api.devices import known_device
from omni_app.api.forms import ANYWHERE_TRIES, CODE_TRIES
from omni_app.limits.memory import MemoryLimiter
from omni_app.storage import accounts
from omni_app.storage.supabase_sign_in import SupabaseSignIn
from omni_app.storage.tables import Session
from tests.api.conftest import Running
from tests.api.test_account import EMAIL, OURS, PASSWORD, new_key, post, sign_up
from tests.codes import code_of
from tests.servers.asgi import serving
from tests.servers.gotrue import GoTrue

NEW = "a quite different lamp 77"
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"}


async def asked(product: Running, step: str, **body: str) -> httpx.Response:
    return await product.client.post(f"/auth/second-factor/{step}", json=body, headers=OURS)


async def turn_on(product: Running) -> tuple[str, list[str]]:
    secret = (await asked(product, "begin", password=PASSWORD)).json()["secret"]
    confirmed = await asked(product, "confirm", code=code_of(secret))
    assert confirmed.status_code == 200, confirmed.text
    return secret, confirmed.json()["recovery_codes"]


async def log_in(product: Running, **more: str) -> httpx.Response:
    return await post(product, "/auth/login", email=EMAIL, password=PASSWORD, **more)


async def is_in(product: Running) -> bool:
    return (await new_key(product)).status_code == 201


async def test_a_log_in_wants_both_and_there_is_no_session_before(product: Running) -> None:
    await sign_up(product)
    secret, codes = await turn_on(product)
    assert await is_in(product), "who turned it on stays logged in"
    product.client.cookies.clear()
    half = await log_in(product, next="/usage/?days=7")
    assert half.headers["location"] == "/login-code/?next=%2Fusage%2F%3Fdays%3D7"
    assert "omr_session" not in half.headers["set-cookie"] and "HttpOnly" in half.headers["set-cookie"]
    assert not await is_in(product)
    wrong = await post(product, "/auth/second-factor", code="000000", next="/usage/")
    assert wrong.headers["location"] == "/login-code/?error=code&next=%2Fusage%2F"
    assert not await is_in(product)
    code = code_of(secret, later=1)
    right = await post(product, "/auth/second-factor", code=code, next="/usage/?days=7")
    assert right.headers["location"] == "/usage/?days=7" and await is_in(product)
    product.client.cookies.clear()
    await log_in(product)
    again = await post(product, "/auth/second-factor", code=code)
    assert "error=code" in again.headers["location"], "a code that was used"
    assert (await post(product, "/auth/second-factor", code=codes[3])).headers["location"] == "/overview/"
    assert await is_in(product)


async def test_the_second_step_needs_the_first_and_soon(product: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await sign_up(product)
    secret, _ = await turn_on(product)
    product.client.cookies.clear()
    code = code_of(secret, later=1)
    for forged in ("", "00", "zz", "01" + "00" * 60):
        product.client.cookies.set("omr_half", forged, domain="127.0.0.1")
        answer = await post(product, "/auth/second-factor", code=code)
        assert answer.headers["location"] == "/login/?error=too_late", forged
    product.client.cookies.clear()
    await log_in(product)
    monkeypatch.setattr("omni_app.api.second_step.LASTS_S", -1)
    await log_in(product)
    assert (await post(product, "/auth/second-factor", code=code)).headers["location"] == "/login/?error=too_late"
    assert not await is_in(product)


async def by_its_owner(product: Running) -> None:
    changed = await post(product, "/auth/password", password=PASSWORD, new_password=NEW)
    assert changed.headers["location"] == "/settings/?said=password"


async def by_the_operator(product: Running) -> None:
    async with product.services.database.session() as session:
        assert await accounts.reset_password(session, email=EMAIL, password=NEW)
        await session.commit()


@pytest.mark.parametrize("change", [by_its_owner, by_the_operator])
async def test_a_new_password_ends_a_log_in_that_waits_for_its_code(
    product: Running, change: Callable[[Running], Awaitable[None]]
) -> None:
    await sign_up(product)
    secret, codes = await turn_on(product)
    owner = dict(product.client.cookies)
    product.client.cookies.clear()
    await log_in(product)
    half = dict(product.client.cookies)
    product.client.cookies.clear()
    product.client.cookies.update(owner)
    await change(product)
    product.client.cookies.clear()
    product.client.cookies.update(half)
    for code in (code_of(secret, later=1), codes[0]):
        answer = await post(product, "/auth/second-factor", code=code, next="/usage/")
        assert answer.headers["location"] == "/login/?error=changed&next=%2Fusage%2F"
    assert not await is_in(product)
    await post(product, "/auth/login", email=EMAIL, password=NEW)
    answer = await post(product, "/auth/second-factor", code=code_of(secret, later=1))
    assert answer.headers["location"] == "/overview/", "no code was used up"


async def test_where_supabase_keeps_the_password_the_code_is_asked_for_as_well(product: Running) -> None:
    async with serving(GoTrue("anon-key").app()) as url:
        product.services.sign_in = SupabaseSignIn(url, "anon-key")
        await sign_up(product)
        secret, _ = await turn_on(product)
        product.client.cookies.clear()
        assert (await log_in(product)).headers["location"] == "/login-code/"
    answer = await post(product, "/auth/second-factor", code=code_of(secret, later=1))
    assert answer.headers["location"] == "/overview/" and await is_in(product)


async def test_codes_cannot_be_guessed_from_any_number_of_addresses(product: Running) -> None:
    await sign_up(product)
    secret, _ = await turn_on(product)
    product.client.cookies.clear()
    await log_in(product)
    seen = []
    for _ in range(CODE_TRIES[0][0]):
        answer = await post(product, "/auth/second-factor", code="000000")
        seen.append(answer.headers["location"])
    assert seen[:4] == ["/login-code/?error=code"] * 4 and seen[-1] == "/login-code/?error=slow_down", seen
    late = await post(product, "/auth/second-factor", code=code_of(secret, later=1))
    assert late.headers["location"] == "/login-code/?error=slow_down"


async def test_it_is_turned_on_with_the_password_and_off_with_both(product: Running) -> None:
    await sign_up(product)
    refused = await asked(product, "begin", password="not my password")
    assert refused.status_code == 403 and "secret" not in refused.json()
    for body in ({}, {"password": PASSWORD, "more": "x"}, {"code": "1"}):
        assert (await asked(product, "begin", **body)).status_code == 400
    assert (await asked(product, "confirm", code="123456")).status_code == 409, "nothing is pending"
    begun = (await asked(product, "begin", password=PASSWORD)).json()
    assert begun["qr"].startswith("data:image/svg+xml") and len(begun["secret"]) == 32
    assert (await asked(product, "confirm", code="000000")).status_code == 400
    secret, _ = await turn_on(product)
    product.services.limiter = MemoryLimiter()  # as if time had passed
    off = "/auth/second-factor/off"
    for form, code in (({"password": "wrong", "code": "1"}, "wrong"), ({"password": PASSWORD, "code": "1"}, "code")):
        assert (await post(product, off, **form)).headers["location"] == f"/settings/?said={code}"
    done = await post(product, off, password=PASSWORD, code=code_of(secret, later=1))
    assert done.headers["location"] == "/settings/?said=second_factor_off"
    product.client.cookies.clear()
    assert (await log_in(product)).headers["location"] == "/overview/"


async def test_turning_it_on_logs_every_other_browser_out(product: Running) -> None:
    await sign_up(product)
    first = product.client.cookies["omr_session"]
    product.client.cookies.clear()
    await log_in(product)
    await turn_on(product)
    assert await is_in(product)
    product.client.cookies.clear()
    product.client.cookies.set("omr_session", first, domain="127.0.0.1")
    assert not await is_in(product)


# ------------------------------------------------------------------------------------------------------ known browsers


async def test_tries_from_everywhere_at_one_account_are_bounded_and_its_owners_browser_comes_in(
    product: Running,
) -> None:
    """A thousand addresses, one try each: after some nobody unknown gets a try; who was there before does."""
    limiter, now_s = product.services.limiter, 0.0
    assert isinstance(limiter, MemoryLimiter)
    limiter.clock = lambda: now_s
    proxied = product.services.settings.model_copy(update={"trusted_proxies": "127.0.0.1"})
    product.services.settings = proxied
    await sign_up(product)
    device = product.client.cookies["omr_device"]
    product.client.cookies.clear()

    async def guess(number: int, password: str) -> str:
        headers = OURS | {"X-Forwarded-For": f"203.0.{number // 250}.{number % 250 + 1}"}
        form = {"email": EMAIL, "password": password}
        answer = await product.client.post("/auth/login", data=form, headers=headers)
        product.client.cookies.clear()
        return answer.headers["location"].partition("error=")[2]

    outcomes = [await guess(number, "not the password") for number in range(ANYWHERE_TRIES[0][0] + 10)]
    assert outcomes.count("wrong") == ANYWHERE_TRIES[0][0] and outcomes[-1] == "slow_down"
    assert await guess(900, PASSWORD) == "slow_down", "an unknown browser waits, right or wrong"
    product.client.cookies.set("omr_device", device, domain="127.0.0.1")
    assert await guess(901, PASSWORD) == "", "a known one does not"
    for forged in (device[:-1] + ("A" if device[-1] != "A" else "B"), "", "x.y", device.replace(".", "")):
        product.client.cookies.set("omr_device", forged, domain="127.0.0.1")
        assert await guess(902, PASSWORD) == "slow_down", forged
    now_s += ANYWHERE_TRIES[0][1]
    assert await guess(903, PASSWORD) == ""


async def test_a_known_browser_has_a_bounded_number_of_tries_too_and_is_known_to_its_own_account_only(
    product: Running,
) -> None:
    await sign_up(product, "bob@example.com")
    await post(product, "/auth/logout")
    await sign_up(product)
    outcomes = [
        (await post(product, "/auth/login", email=EMAIL, password="not the password")).headers["location"]
        for _ in range(7)
    ]
    assert outcomes == ["/login/?error=wrong"] * 5 + ["/login/?error=slow_down"] * 2
    services, sent = product.services, {"Cookie": f"omr_device={product.client.cookies['omr_device']}"}
    request = Request({"type": "http", "headers": [(b"cookie", sent["Cookie"].encode())]})
    assert known_device(request, services, email=EMAIL.upper())
    assert not known_device(request, services, email="bob@example.com")


# ------------------------------------------------------------------------------------------------------------- sessions


async def test_a_session_says_which_browser_it_is_in_fixed_words(product: Running) -> None:
    await post(product, "/auth/signup", headers=OURS | BROWSER, email=EMAIL, password=PASSWORD)
    await post(product, "/auth/login", headers=OURS | {"User-Agent": "<b>Chrome</b>"}, email=EMAIL, password=PASSWORD)
    product.client.cookies.clear()
    await post(product, "/auth/login", headers=OURS | BROWSER, email=EMAIL, password=PASSWORD)
    async with product.services.database.session() as session:
        rows = (await session.execute(select(col(Session.browser), col(Session.address)))).all()
    assert sorted(map(tuple, rows)) == [("Chrome", "127.0.0.1"), ("Firefox on Linux", "127.0.0.1")]
