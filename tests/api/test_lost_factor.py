"""A lost second factor: allowed on the command line, taken off by its person with the link and the password."""

import asyncio
import re
from pathlib import Path

import pytest

from omni_app.api import lost_factor
from omni_app.limits.memory import MemoryLimiter
from tests.api.conftest import Running, run, settings_for
from tests.api.test_account import EMAIL, PASSWORD, post, sign_up
from tests.api.test_mail import token_in, with_account
from tests.api.test_second_factor import is_in, log_in, turn_on
from tests.observe.test_security_log import Written
from tests.servers.smtp import mail_server
from tests.test_command_line import omni

OTHER = "bob@example.com"
STALE = "/lost-factor/?error=stale"


async def allow(folder: Path, email: str = EMAIL, **environment: str) -> tuple[int, str, str]:
    """The operator's command: status, output, errors."""
    done = await asyncio.to_thread(omni, folder, "users", "reset-second-factor", email, **environment)
    return done.returncode, done.stdout, done.stderr


async def take_off(running: Running, token: str, password: str = PASSWORD) -> str:
    answer = await post(running, "/auth/lost-factor", token=token, password=password)
    return answer.headers["location"]


async def half_way(running: Running) -> bool:
    """Whether a log-in with the password wants a code; nobody is signed in before."""
    running.services.limiter = MemoryLimiter()  # as if time had passed
    running.client.cookies.clear()
    return (await log_in(running)).headers["location"] == "/login-code/"


def printed(out: str) -> str:
    found = re.fullmatch(r"http://127\.0\.0\.1:8000/lost-factor/#lost-factor=([\w-]+)\n", out)
    assert found, out
    return found[1]


async def test_without_mail_the_link_is_printed_and_nothing_is_off_before_its_person_s_password(
    product: Running, tmp_path: Path
) -> None:
    await sign_up(product)
    status, out, err = await allow(tmp_path)
    assert (status, out, err) == (1, "", "there is no second factor\n")
    await turn_on(product)
    status, out, err = await allow(tmp_path)
    token = printed(out)
    assert status == 0 and "and to nobody else" in err and "until then it stays on" in err
    assert await is_in(product), "the command ends no session"
    assert await half_way(product), "nor does it take the factor off"
    assert not await is_in(product)

    for wrong in ("not the password", ""):
        assert await take_off(product, token, wrong) == "/lost-factor/?error=wrong_lost"
    for forged in ("", "x" * 40, token[:-2]):
        assert await take_off(product, forged) == STALE, "the password alone is nobody"
    assert await half_way(product)
    assert await take_off(product, token) == "/login/?error=factor_off"
    assert not await is_in(product), "a link is no log-in"
    assert not await half_way(product)
    assert await is_in(product)


async def test_the_link_is_for_one_account_and_for_the_factor_that_is_on(product: Running, tmp_path: Path) -> None:
    await sign_up(product, OTHER)
    await sign_up(product)
    first = dict(product.client.cookies)
    await turn_on(product)
    _, out, _ = await allow(tmp_path, f" {EMAIL.upper()}")
    token = printed(out)
    assert await take_off(product, token) == "/login/?error=factor_off"
    product.client.cookies.update(first)
    assert not await is_in(product), "every session is ended"
    assert await take_off(product, token) == STALE, "once"
    product.client.cookies.clear()
    await log_in(product)
    await turn_on(product)
    assert await take_off(product, token) == STALE, "another factor needs another link"
    assert await half_way(product)
    assert (await allow(tmp_path, "nobody@example.com"))[::2] == (1, "no user nobody@example.com\n")


async def test_the_link_lasts_a_day(product: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await sign_up(product)
    await turn_on(product)
    found = []
    for lasts_s in (-1, lost_factor.LASTS_S):
        monkeypatch.setattr("omni_app.api.lost_factor.LASTS_S", lasts_s)
        async with product.services.database.session() as session:
            link = await lost_factor.allow(session, product.services.settings, email=EMAIL)
        found.append(await take_off(product, printed(f"{link}\n")))
    assert found == [STALE, "/login/?error=factor_off"]


async def test_tries_at_the_password_are_counted(product: Running, tmp_path: Path) -> None:
    await sign_up(product)
    await turn_on(product)
    product.services.limiter = MemoryLimiter()  # as if time had passed
    token = printed((await allow(tmp_path))[1])
    seen = [await take_off(product, token, "not the password") for _ in range(6)]
    assert seen == ["/lost-factor/?error=wrong_lost"] * 5 + ["/lost-factor/?error=slow_down"]
    assert await take_off(product, token) == "/lost-factor/?error=slow_down"
    assert await half_way(product)


async def test_with_mail_the_link_goes_to_the_account_s_address_alone_and_its_person_is_told(tmp_path: Path) -> None:
    with mail_server() as server:
        environment = {"SMTP_URL": server.url, "MAIL_FROM": "router@example.com"}
        async for running in run(settings_for(tmp_path, smtp_url=server.url, mail_from="router@example.com")):
            await with_account(running, server)
            await turn_on(running)
            server.refuses, sent = True, len(server.mails)
            status, out, err = await allow(tmp_path, **environment)
            assert (status, out) == (1, "") and "did not take the mail; nothing is changed" in err
            server.refuses = False
            status, out, err = await allow(tmp_path, **environment)
            assert status == 0 and "on its way" in out and "lost-factor" not in out + err, "the operator sees no link"
            assert [mail["To"] for mail in server.mails[sent:]] == [EMAIL]
            written = Written()
            running.services.security = written.log
            token = token_in(server, "lost-factor")
            await take_off(running, token, "not the password")
            assert await take_off(running, token) == "/login/?error=factor_off"
            told = server.mails[-1]
            assert told["To"] == EMAIL and "was taken off" in told.get_content() and "#" not in told.get_content()
            found = await written.lines()
            assert [(one["event"], one["outcome"], one.get("reason")) for one in found] == [
                ("second_factor_reset", "refused", "wrong"), ("second_factor_reset", "ok", None),
            ]  # fmt: skip
            assert found[0]["about"] == found[1]["about"] == found[1]["user_id"]
            assert not await half_way(running)
