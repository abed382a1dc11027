"""Text that means something to a database, a template, a shell, a log or a browser means nothing here.

Every line of `corpus.txt`, and some with control characters, in every field of text, over a real Postgres whose own log
is read afterwards.
"""

import io
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import text

from omni_app import redaction
from omni_app.origin import session_cookie
from omni_app.ui.pages.playground_state import PlaygroundState
from omni_app.ui.session import UNEXPECTED, AppState, backstage
from tests.api.conftest import Running, run, settings_for
from tests.security.cast import signed_up
from tests.security.registry import handlers
from tests.servers.postgres import running_cluster
from tests.ui.conftest import Tab

CORPUS = tuple((Path(__file__).with_name("corpus.txt")).read_text().splitlines())
SQL = CORPUS[:12]
CONTROL = (
    "a\r\nSet-Cookie: x=1",
    "a\nERROR forged line",
    "\x1b[2J\x1b[31mred",
    "a\x00b",
    "\u202eevil",
    "a\u2028b",
    "\ufeff",
    "'\ud7ff",
)
OURS = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
HELLO = [{"role": "user", "content": "Hello!"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

QUERIES = ("id", "key", "q", "model", "models", "task", "outcome", "session", "mode", "range", "from", "to", "by",
           "bucket", "scope", "after", "before", "status", "error", "next", "page", "sort")  # fmt: skip
"""What pages read of their address, and some more."""
TEXTS = {"key_id", "user_id", "org_id", "invitation_id", "model_id", "model", "provider", "prompt"}
SEARCHES = {
    name: (cls, handler)
    for name, (cls, handler) in handlers().items()
    if not handler.is_background and (handler.fn.__name__ == "load" or TEXTS & set(list(handler._parameters)[1:]))
}
"""The handlers that look something up."""


@dataclass
class Scene:
    """A product on Postgres, Postgres's log, and ours."""

    product: Running
    postgres_log: Path
    log: io.StringIO

    async def rows(self) -> Mapping[str, int]:
        """Table -> rows, of those that nothing here may change."""
        async with self.product.services.database.session() as session:
            return {
                name: (await session.execute(text(f"SELECT count(*) FROM {name}"))).scalar_one()
                for name in ("users", "orgs", "api_keys", "memberships", "policies", "budgets")
            }


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    before = logging.getLogRecordFactory()
    redaction.install()
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)
    logging.setLogRecordFactory(before)


@pytest.fixture
async def scene(tmp_path: Path, logged: io.StringIO) -> AsyncIterator[Scene]:
    with running_cluster() as cluster:
        url = cluster.server.create("omni")
        async for product in run(settings_for(tmp_path, database_url=url, rate_limit_max=1_000_000)):
            yield Scene(product, cluster.folder / "log", logged)


def bodies(said: str) -> list[tuple[str, dict[str, Any]]]:
    """(path, body) with the text in every field that takes text."""
    step = {"messages": HELLO, "session_id": said, "step_id": said}
    chat: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": said}]},
        {"messages": [{"role": "system", "content": said}, *HELLO]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": said}]}]},
        {"messages": [{"role": "user", "content": "Hello!", "name": said}]},
        {"messages": HELLO, "metadata": {said: said}},
        {"messages": HELLO, "metadata": {"sandbox_fail": said}},
        {"messages": HELLO, "stop": said},
        {"messages": HELLO, "priority": said},
        {"messages": HELLO, "tools": [TOOL | {"function": {"name": said, "description": said}}]},
        {"messages": HELLO, "tools": [TOOL], "tool_choice": said},
        {"messages": HELLO, "response_format": {"type": said}},
        {said: said, "messages": HELLO},
    ]
    openai: list[dict[str, Any]] = [
        {"messages": HELLO, "model": said},
        {"messages": HELLO, "user": said},
        {"messages": HELLO, "omni": {said: 1}},
    ]
    return [
        *(("/v1/chat", body) for body in chat),
        ("/v1/agent-step", step),
        ("/v1/router/debug", chat[0]),
        *(("/v1/chat/completions", body) for body in openai),
        ("/v1/messages", {"model": said, "max_tokens": 5, "messages": HELLO}),
        ("/v1/responses", {"model": "auto", "input": said, "instructions": said, "metadata": {"note": said}}),
        ("/v1/responses", {"model": said, "input": [{"type": said}]}),
        ("/v1/embeddings", {"model": "auto", "input": said}),
        ("/v1/images/generations", {"prompt": said, "response_format": said}),
    ]


async def told(scene: Scene, said: str) -> list[httpx.Response]:
    """Every answer to one text, by every way in."""
    client, key = scene.product.client, {"Authorization": f"Bearer {scene.product.key}"}
    answers = [await client.post(path, json=body, headers=key) for path, body in bodies(said)]
    queries = [
        ("/v1/usage", {"start": said}), ("/v1/usage", {"mode": said}), ("/v1/usage", {said[:40]: said}),
        ("/v1/models", {"task": said}), ("/v1/requests.csv", {"start": said}),
    ]  # fmt: skip
    answers += [await client.get(path, params=query, headers=key) for path, query in queries]
    printable = "".join(one for one in said if " " <= one <= "~")
    strange = [{"Authorization": f"Bearer {printable}"}, {"X-API-Key": printable}, key | {"Idempotency-Key": printable}]
    strange += [key | {"User-Agent": printable, "X-Omni-Timeout-Ms": printable, "Referer": printable}]
    answers += [await client.post("/v1/chat", json={"messages": HELLO}, headers=one) for one in strange]
    forms = [
        ("/auth/login", {"email": said, "password": said, "next": said}),
        ("/auth/signup", {"email": said, "password": "short", "org_name": said}),
        ("/auth/password", {"password": said, "new_password": said}),
    ]
    answers += [await client.post(path, data=form, headers=OURS) for path, form in forms]
    return answers


async def test_hostile_text_in_any_field_is_text(scene: Scene) -> None:
    before = await scene.rows()
    for said in (*CORPUS, *CONTROL):
        for answer in await told(scene, said):
            assert answer.status_code < 500 or answer.status_code == 502, (said, answer.request.url, answer.text)
            assert "x=1" not in answer.headers.get("set-cookie", "")
            assert "1788906" not in answer.text, said  # 1337 * 1338
    await scene.product.services.drainer.flush()
    assert await scene.rows() == before
    assert sql_errors(scene) == []
    assert not [line for line in scene.log.getvalue().splitlines() if line.startswith("ERROR forged")]
    assert "\x1b" not in scene.log.getvalue()


async def test_hostile_text_in_an_address_or_an_event_is_text_to_the_pages_queries(scene: Scene) -> None:
    """Every page that reads its address, and every handler that takes a text, as somebody who is signed in."""
    services = scene.product.services
    backstage.open(services)
    person = await signed_up(services, "ada@example.com")
    tab = Tab(cookie=f"{session_cookie(services.settings)}={person.token}")
    await tab.at("/playground/").fire(PlaygroundState, "load")  # which makes itself a key, once
    before = await scene.rows()
    for said in (*SQL, *CONTROL):
        for name, (cls, handler) in SEARCHES.items():
            tab.at(f"/{name.partition('_state.')[0]}/", **dict.fromkeys(QUERIES, said))
            await tab.fire(cls, handler.fn.__name__, **dict.fromkeys(list(handler._parameters)[1:], said))
            assert UNEXPECTED not in tab.state(AppState).problem, (name, said)
    assert await scene.rows() == before
    assert sql_errors(scene) == []


async def test_what_was_sent_is_decoded_once(tmp_path: Path) -> None:
    """As JSON and as a form: texts that would mean something else if they were decoded again."""
    async for product in run(settings_for(tmp_path)):
        for said in ("%41", "%2541", "+", "&#65;", "&amp;lt;", "\\u0041", "=?utf-8?q?=41?="):
            step = await product.post("/v1/agent-step", {"messages": HELLO, "session_id": said, "step_id": said})
            assert (step.json()["session_id"], step.json()["step_id"]) == (said, said)
        for said in ("%41", "%2541", "+"):
            form = {"email": "ada@example.com", "password": "wrong-wrong-wrong", "next": f"/requests/?q={said}"}
            back = (await product.client.post("/auth/login", data=form, headers=OURS)).headers["location"]
            assert parse_qs(urlsplit(back).query)["next"] == [form["next"]]


def sql_errors(scene: Scene) -> list[str]:
    return [line for line in scene.postgres_log.read_text(errors="replace").splitlines() if "ERROR:" in line]


def test_a_log_record_is_one_line_of_printable_text(logged: io.StringIO) -> None:
    for said in CONTROL:
        logging.getLogger("any").error("refused: %s", said)
    lines = logged.getvalue().splitlines()
    assert len(lines) == len(CONTROL)
    assert all(line.isprintable() for line in lines)


def test_no_line_of_a_traceback_looks_like_a_record(logged: io.StringIO) -> None:
    try:
        raise ValueError("a\nERROR forged line")
    except ValueError:
        logging.getLogger("any").exception("it failed")
    first, *others = logged.getvalue().splitlines()
    assert first == "it failed" and len(others) > 2
    assert all(line.startswith("  ") for line in others)
