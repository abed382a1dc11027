"""The security log: who came in, who was refused, what was done; no secret in it, and no flood."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from omni_app.api.auth import UNKNOWN_KEYS_A_MINUTE
from omni_app.observe.metrics import Figures
from omni_app.observe.security_log import MOST_LINES, WINDOW_S, SecurityEvent, SecurityLog
from omni_app.storage import keys
from omni_app.storage.keys import generate_key
from omni_app.storage.scopes import Scope
from tests.api.conftest import HELLO, Running, run, settings_for
from tests.security.cast import FROM_OUR_PAGE, PASSWORD

EMAIL = "ada@example.com"
WRONG = "canary-a-wrong-password-31"


class Written:
    """A log that keeps its lines, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s, self.text = 0.0, b""
        self.log = SecurityLog("s" * 32, Figures(), write=self._keep, clock=lambda: self.now_s)

    def _keep(self, lines: bytes) -> None:
        self.text += lines

    async def lines(self) -> list[dict[str, Any]]:
        await self.log.flush()
        found, self.text = [orjson.loads(line) for line in self.text.splitlines()], b""
        return found


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[tuple[Running, Written]]:
    async for running in run(settings_for(tmp_path)):
        written = Written()
        running.services.security = written.log
        yield running, written


async def test_who_comes_and_goes_and_what_is_done_to_keys_is_told_without_a_secret(
    product: tuple[Running, Written],
) -> None:
    running, written = product
    form = {"email": EMAIL, "password": PASSWORD, "org_name": "Blue"}

    async def send(path: str, **fields: Any) -> Any:
        return await running.client.post(path, headers=FROM_OUR_PAGE, **fields)

    first = await send("/auth/signup", data=form)
    await send("/auth/login", data=form | {"password": WRONG})
    await send("/auth/login", data=form | {"email": " ADA@example.com"})
    made = (await send("/auth/keys", json={"name": "k", "kind": "test"})).json()
    rotated = (await send("/auth/keys/rotate", json={"id": made["id"], "grace_hours": 1})).json()
    await send("/auth/password", data={"password": WRONG, "new_password": "a quite different lamp 77"})
    await send("/auth/password", data={"password": PASSWORD, "new_password": "a quite different lamp 77"})
    await send("/auth/logout")
    await send("/auth/keys", json={"name": "k", "kind": "test"})
    await running.client.post("/auth/logout", headers={"Origin": "https://evil.example"})
    found = await written.lines()
    assert [(one["event"], one["outcome"], one.get("reason")) for one in found] == [
        ("sign_up", "ok", None), ("log_in", "refused", "wrong"), ("log_in", "ok", None), ("key_made", "ok", None),
        ("key_rotated", "ok", None), ("password_changed", "refused", "wrong"), ("password_changed", "ok", None),
        ("log_out", "ok", None), ("session_refused", "refused", "no_session"),
        ("permission_denied", "refused", "not_allowed"),
    ]  # fmt: skip
    assert found[0]["request_id"] == first.headers["x-request-id"] and found[0]["address"] == "127.0.0.1"
    assert len({one["user_id"] for one in found if "user_id" in one}) == 1 and "user_id" not in found[1]
    assert len({one["account"] for one in found[:3]}) == 1
    assert found[3]["key_id"] == found[4]["key_id"] == made["id"]
    text = orjson.dumps(found).decode()
    for secret in (PASSWORD, WRONG, EMAIL, made["key"], rotated["key"], "evil.example"):
        assert secret not in text


async def test_refused_keys_are_told_with_what_is_known_of_them(product: tuple[Running, Written]) -> None:
    running, written = product
    await running.client.post("/v1/chat", json=HELLO)
    for key in ("omr_test_nonsense", generate_key("live")):
        await running.post("/v1/chat", HELLO, key=key)
    async with running.services.database.session() as session:
        made, secret = await keys.create_key(
            session, org_id=running.org_id, name="k", kind="test", hasher=running.services.hasher,
            scopes=frozenset({Scope.USAGE}),
        )  # fmt: skip
        await session.commit()
    await running.post("/v1/chat", HELLO, key=secret)
    found = await written.lines()
    assert [(one["event"], one["reason"], one.get("key_id")) for one in found] == [
        ("key_refused", "missing", None), ("key_refused", "not_valid", None), ("key_refused", "not_valid", None),
        ("permission_denied", "scope", str(made.id)),
    ]  # fmt: skip
    assert secret not in orjson.dumps(found).decode() and found[3]["org_id"] == str(running.org_id)


async def test_calls_that_are_refused_for_what_they_hold_or_a_limit_are_told_with_their_key(tmp_path: Path) -> None:
    async for running in run(settings_for(tmp_path, rate_limit_max=2)):
        written = Written()
        running.services.security = written.log
        await running.post("/v1/chat/completions", {"messages": "canary in the wrong place"})
        await running.post("/v1/chat", HELLO)
        await running.post("/v1/chat", HELLO)
        found = await written.lines()
        assert [(one["event"], one["reason"], one["about"]) for one in found] == [
            ("request_refused", "input", "/v1/chat/completions"), ("request_refused", "limit", "/v1/chat"),
        ]  # fmt: skip
        assert {one["org_id"] for one in found} == {str(running.org_id)} and found[0]["key_id"] == found[1]["key_id"]
        assert "canary" not in orjson.dumps(found).decode()


async def test_a_flood_of_bad_keys_is_counted_and_does_not_fill_the_log(product: tuple[Running, Written]) -> None:
    running, written = product
    for _ in range(3 * UNKNOWN_KEYS_A_MINUTE):
        await running.post("/v1/chat", HELLO, key="omr_test_nonsense")
    await running.client.post("/auth/login", data={"email": EMAIL, "password": WRONG}, headers=FROM_OUR_PAGE)
    found = await written.lines()
    assert [one["event"] for one in found].count("key_refused") == MOST_LINES + 1
    assert "log_in" in {one["event"] for one in found}, "another kind of event is told all the same"
    (count,) = [one for one in found if "not_written" in one]
    assert count["not_written"] == 3 * UNKNOWN_KEYS_A_MINUTE - MOST_LINES
    assert count["addresses"] == {"127.0.0.1": count["not_written"]}


async def test_a_new_window_tells_again_and_a_count_stays_short() -> None:
    written = Written()
    for number in range(MOST_LINES + 60):
        written.log.tell(SecurityEvent("key_refused", "refused", address=f"10.0.0.{number}"))
    written.now_s = WINDOW_S
    written.log.tell(SecurityEvent("key_refused", "refused", address="10.0.0.1"))
    *lines, count, last = await written.lines()
    assert (len(lines), last["address"]) == (MOST_LINES, "10.0.0.1")
    assert count["not_written"] == 60 == sum(count["addresses"].values()) and count["addresses"]["other"] == 40


async def test_a_line_is_cleaned_and_stays_one_line() -> None:
    written = Written()
    written.log.tell(SecurityEvent("log_in", about="a\nb omr_live_CanaryCanaryCanaryCanaryCanary0123456789"))
    (line,) = await written.lines()
    assert line["about"] == "a\nb [removed]"


async def test_without_the_log_events_are_counted_all_the_same() -> None:
    figures = Figures()
    log = SecurityLog("s" * 32, figures, writes=False)
    log.tell(SecurityEvent("log_in", "refused"))
    await log.flush()
    assert 'omni_security_events_total{event="log_in",outcome="refused"' in str(figures.lines([], worker="0"))
