"""Mail: a sign-up and a forgotten password say nothing of who has an account; the links of mails do what they say."""

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from omni_app.api.forms import ACCOUNT_TRIES
from omni_app.api.mails import MAILS_TO_ONE
from omni_app.limits.memory import MemoryLimiter
from tests.api.conftest import HELLO, ORIGIN, Running, run, settings_for
from tests.api.test_account import EMAIL, OURS, PASSWORD, new_key, post, sign_up
from tests.hashing import nothing_is_hashed
from tests.security.cast import told
from tests.servers.smtp import MailServer, mail_server

NEW = "a quite different lamp 77"
BOB = "bob@example.com"


@pytest.fixture
async def mailing(tmp_path: Path) -> AsyncIterator[tuple[Running, MailServer]]:
    with mail_server() as server:
        settings = settings_for(tmp_path, smtp_url=server.url, mail_from="Omni <router@example.com>")
        async for running in run(settings):
            yield running, server


def token_in(server: MailServer, kind: str) -> str:
    """Of the newest mail; its link is on our own address."""
    text = server.mails[-1].get_content()
    found = re.search(rf"http://127\.0\.0\.1:8000/{kind}/#{kind}=([\w-]+)", text)
    assert found, text
    return found[1]


async def with_account(running: Running, server: MailServer, email: str = EMAIL) -> httpx.Response:
    await sign_up(running, email)
    confirmed = await post(running, "/auth/confirm", token=token_in(server, "confirm"), password=PASSWORD)
    running.services.limiter = MemoryLimiter()  # as if time had passed
    return confirmed


async def test_from_the_sign_up_to_the_first_page_by_the_link_of_the_mail(mailing: tuple[Running, MailServer]) -> None:
    running, server = mailing
    answer = await sign_up(running)
    assert answer.headers["location"] == "/signup/?error=sent" and "set-cookie" not in answer.headers
    (mail,) = server.mails
    assert (mail["To"], mail["From"]) == (EMAIL, "Omni <router@example.com>") and PASSWORD not in mail.as_string()
    assert (await post(running, "/auth/login", email=EMAIL, password=PASSWORD)).headers["location"].endswith("wrong")
    token = token_in(server, "confirm")
    wrong = await post(running, "/auth/confirm", token=token, password=NEW)
    assert wrong.headers["location"] == "/confirm/?error=wrong_confirm", "the mailbox alone is not enough"
    done = await post(running, "/auth/confirm", token=token, password=PASSWORD)
    assert done.headers["location"] == "/start/" and (await new_key(running)).status_code == 201
    again = await post(running, "/auth/confirm", token=token, password=PASSWORD)
    assert again.headers["location"] == "/login/?error=confirmed"


async def test_whoever_confirms_while_an_invitation_waits_is_led_to_it(mailing: tuple[Running, MailServer]) -> None:
    running, server = mailing
    await post(running, "/auth/keep-invitation", token="any")
    await sign_up(running)
    done = await post(running, "/auth/confirm", token=token_in(server, "confirm"), password=PASSWORD)
    assert done.headers["location"] == "/join/"


async def test_a_taken_address_is_answered_like_a_free_one_and_its_owner_is_told(
    mailing: tuple[Running, MailServer],
) -> None:
    running, server = mailing
    await with_account(running, server)
    running.client.cookies.clear()
    free, taken = await sign_up(running, BOB), await sign_up(running, EMAIL)
    assert told(free) == told(taken)
    assert [mail["To"] for mail in server.mails[-2:]] == [BOB, EMAIL]
    assert "There is one already" in server.mails[-1].get_content() and "#confirm" not in server.mails[-1].get_content()


async def test_a_forgotten_password_is_replaced_once_by_the_link_and_ends_every_session(
    mailing: tuple[Running, MailServer],
) -> None:
    running, server = mailing
    await with_account(running, server)
    known, unknown = await post(running, "/auth/forgot", email=EMAIL), await post(running, "/auth/forgot", email=BOB)
    assert told(known) == told(unknown) and known.headers["location"] == "/forgot/?error=sent_reset"
    assert [mail["To"] for mail in server.mails[1:]] == [EMAIL]
    token = token_in(server, "reset")
    weak = await post(running, "/auth/reset", token=token, new_password="short")
    assert weak.headers["location"] == "/reset/?error=weak"
    done = await post(running, "/auth/reset", token=token, new_password=NEW)
    assert done.headers["location"] == "/login/?error=reset_done"
    assert (await new_key(running)).status_code == 401, "the session of before"
    again = await post(running, "/auth/reset", token=token, new_password=PASSWORD)
    assert again.headers["location"] == "/reset/?error=stale"
    assert (await post(running, "/auth/login", email=EMAIL, password=NEW)).headers["location"] == "/overview/"


async def test_one_link_replaces_the_password_once_however_often_it_comes_at_once_and_is_counted(
    mailing: tuple[Running, MailServer],
) -> None:
    running, server = mailing
    await with_account(running, server)
    await post(running, "/auth/forgot", email=EMAIL)
    token, key = token_in(server, "reset"), await running.new_key()
    async with nothing_is_hashed():
        forms = [{"token": token, "new_password": f"{NEW} {number}"} for number in range(20)]
        waiting = [asyncio.create_task(post(running, "/auth/reset", **form)) for form in forms]
        await asyncio.sleep(0.3)
        assert (await running.post("/v1/chat", HELLO, key=key)).status_code == 200
    answers = [one.headers["location"] for one in await asyncio.gather(*waiting)]
    assert answers.count("/login/?error=reset_done") == 1
    assert answers.count("/reset/?error=slow_down") == 20 - ACCOUNT_TRIES[0][0], "apart from log-ins and askings"
    assert set(answers) == {"/login/?error=reset_done", "/reset/?error=slow_down", "/reset/?error=stale"}


async def test_a_link_that_was_changed_or_is_old_or_of_another_kind_does_nothing(
    mailing: tuple[Running, MailServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, server = mailing
    await sign_up(running)
    token = token_in(server, "confirm")
    for wrong in ("", "x", token[:-2], ("A" if token[9] != "A" else "B").join((token[:9], token[10:])), "é" * 30):
        answer = await post(running, "/auth/confirm", token=wrong, password=PASSWORD)
        assert answer.headers["location"] == "/confirm/?error=stale", wrong
    assert (await post(running, "/auth/reset", token=token, new_password=NEW)).headers["location"].endswith("stale")
    monkeypatch.setattr("omni_app.api.mail_routes.CONFIRM_LASTS_S", -1)
    await sign_up(running)
    old = await post(running, "/auth/confirm", token=token_in(server, "confirm"), password=PASSWORD)
    assert old.headers["location"] == "/confirm/?error=stale"


async def test_nobody_is_sent_many_mails_and_a_mail_server_that_fails_changes_no_answer(
    mailing: tuple[Running, MailServer],
) -> None:
    running, server = mailing
    server.refuses = True
    assert (await sign_up(running, BOB)).headers["location"] == "/signup/?error=sent"
    server.refuses = False
    answers = {told(await sign_up(running)) for _ in range(5)}
    assert len(answers) == 1 and len(server.mails) == MAILS_TO_ONE[0][0] == 3


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/auth/login", {"password": "not the password"}),
        ("/auth/signup", {"password": PASSWORD, "org_name": "Engines"}),
        ("/auth/forgot", {}),
    ],
)
async def test_an_address_with_an_account_takes_as_long_as_one_without(
    mailing: tuple[Running, MailServer], path: str, form: dict[str, str]
) -> None:
    """Medians of interleaved tries, in processor time up to where the answer begins; a hash is most of it."""
    running, server = mailing
    await with_account(running, server)
    took: dict[str, list[float]] = {EMAIL: [], BOB: []}
    for number in range(9):
        running.services.limiter = MemoryLimiter()
        for email in (EMAIL, BOB) if number % 2 else (BOB, EMAIL):
            took[email].append(await seconds_to_answer(running, path, form | {"email": email}))
    known, unknown = (statistics.median(took[email]) for email in (EMAIL, BOB))
    assert abs(known - unknown) < max(0.004, 0.25 * known), (known, unknown)


async def seconds_to_answer(running: Running, path: str, form: dict[str, str]) -> float:
    """Until the head of the answer: what sending a mail takes comes after it."""
    began_s, answered = time.process_time(), list[float]()
    app = running.client._transport.app  # type: ignore[attr-defined]
    sent = {**OURS, "Content-Type": "application/x-www-form-urlencoded"}
    request = httpx.Request("POST", f"{ORIGIN}{path}", data=form, headers=sent)
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000), "headers": [(name.lower(), value) for name, value in request.headers.raw],
    }  # fmt: skip

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": request.content, "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 303
            answered.append(time.process_time() - began_s)

    await app(scope, receive, send)
    return answered[0]
