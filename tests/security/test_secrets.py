"""Secrets through every input, every logger at debug level: none in the log, the database, the spool, an answer."""

import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest
from pydantic import ValidationError
from reflex_base.utils.format import json_dumps

from omni_app import redaction
from omni_app.observe.log_sender import Waiting
from omni_app.observe.request_log import RequestLog
from omni_app.observe.security_log import SecurityLog
from omni_app.origin import session_cookie
from omni_app.settings import Settings
from omni_app.ui.session import backstage
from tests.api.conftest import Running, run, settings_for
from tests.security.registry import handlers
from tests.servers.collector import collecting
from tests.servers.upstream import REFUSALS, Upstream
from tests.ui.conftest import Tab

OURS = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
METRICS_TOKEN = "canary-metrics-token-90a1"
PROVIDER_KEY = "sk-canary-provider-4f9d2c7b1e"
PASSWORD = "canary-password-6b1f0e9a"
WRONG_PASSWORD = "canary-wrong-password-77aa"
PROMPT = "canary prompt quartz falcon 5521"
ANSWER = "canary answer cobalt heron 9917"
PRESENTED = "omr_live_CanaryCanaryCanaryCanaryCanary0123456789"
IDEMPOTENCY = "canary-idempotency-key-31337"


@dataclass
class Scene:
    """A product before a provider, its folder, and everything that was logged."""

    product: Running
    upstream: Upstream
    folder: Path
    log: io.StringIO


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    before = logging.getLogRecordFactory()
    redaction.install()
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)
    logging.setLogRecordFactory(before)


@pytest.fixture
async def scene(tmp_path: Path, everything_logged: io.StringIO) -> AsyncIterator[Scene]:
    async with Upstream(key=PROVIDER_KEY, text=ANSWER) as upstream:
        provider = {"openai_api_key": PROVIDER_KEY, "openai_base_url": upstream.openai_url}
        async for product in run(settings_for(tmp_path, **provider)):
            yield Scene(product, upstream, tmp_path, everything_logged)


async def every_input(scene: Scene) -> tuple[list[str], list[str]]:
    """Goes through the doors with all of them; gives the secrets that came into being, and every answer's text."""
    client, answers = scene.product.client, []
    form = {"email": "ada@example.com", "password": PASSWORD, "org_name": "Engines"}
    signed = await client.post("/auth/signup", data=form, headers=OURS)
    session = signed.headers["set-cookie"].split("=", 1)[1].split(";")[0]
    await client.post("/auth/login", data=form | {"password": WRONG_PASSWORD}, headers=OURS)
    made = await client.post("/auth/keys", json={"name": "k", "kind": "live"}, headers=OURS)
    key = made.json()["key"]
    factor = (await client.post("/auth/second-factor/begin", json={"password": PASSWORD}, headers=OURS)).json()[
        "secret"
    ]
    code = {"code": pyotp.TOTP(factor).now()}
    codes = (await client.post("/auth/second-factor/confirm", json=code, headers=OURS)).json()["recovery_codes"]
    asked = {"model": "openai/gpt-4.1", "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"Authorization": f"Bearer {key}", "User-Agent": f"tool/{PASSWORD}"}
    for fault in ("", *REFUSALS, "rst", "mid_close"):
        scene.upstream.fault = fault
        for path, stream in (("/v1/chat/completions", False), ("/v1/chat/completions", True), ("/v1/messages", False)):
            body = asked | {"stream": stream, "max_tokens": 50}
            answers.append((await client.post(path, json=body, headers=headers)).text.replace(ANSWER, ""))
        for stream in (False, True):
            body = {"model": asked["model"], "input": asked["messages"], "stream": stream, "max_output_tokens": 50}
            answers.append((await client.post("/v1/responses", json=body, headers=headers)).text.replace(ANSWER, ""))
    scene.upstream.fault = ""
    again = headers | {"Idempotency-Key": IDEMPOTENCY}
    await client.post("/v1/chat/completions", json=asked, headers=again)
    wrong = ({"Authorization": f"Bearer {PRESENTED}"}, {"X-API-Key": PRESENTED}, {"Authorization": PRESENTED})
    answers += [(await client.post("/v1/chat", json=asked, headers=presented)).text for presented in wrong]
    paths = ("/v1/models", f"/v1/usage?start={PRESENTED}", "/no/such/path", "/openapi.json", "/ready")
    answers += [(await client.get(path, headers=headers)).text for path in paths]
    await scene.product.services.drainer.flush()
    return [session, key, factor, *codes], answers


async def test_no_secret_is_logged_kept_or_told(scene: Scene) -> None:
    made, answers = await every_input(scene)
    settings: Settings = scene.product.services.settings
    own = [settings.secret_key, settings.key_pepper]
    secrets = [*made, *own, PROVIDER_KEY, PASSWORD, WRONG_PASSWORD, PRESENTED, IDEMPOTENCY]
    logged = scene.log.getvalue()
    assert len(logged) > 10_000, "nothing was logged at debug level: this proves nothing"
    assert {secret for secret in [*secrets, PROMPT, ANSWER] if secret in logged} == set()
    kept = b"".join(
        path.read_bytes() for path in scene.folder.rglob("*") if path.is_file() and "secret" not in path.name
    )
    assert b"ada@example.com" in kept, "the wrong files were read"
    found = {
        secret
        for secret in [*made, PROVIDER_KEY, PASSWORD, WRONG_PASSWORD, PRESENTED, PROMPT]
        if secret.encode() in kept
    }
    assert found == set()
    told = "".join(answers)
    assert {secret for secret in [*own, PROVIDER_KEY, PASSWORD, WRONG_PASSWORD] if secret in told} == set()


def kept(written: list[bytes], sent: Waiting) -> Callable[[bytes], None]:
    """Writes to a list, and sends."""

    def write(lines: bytes) -> None:
        written.append(lines)
        sent.put(lines)

    return write


async def test_no_secret_is_in_a_figure_a_trace_or_a_line_of_a_log(tmp_path: Path) -> None:
    written: list[bytes] = []
    made, figures = list[str](), ""
    with collecting() as collector:
        async with Upstream(key=PROVIDER_KEY, text=ANSWER) as upstream:
            told = {
                "otel_exporter_otlp_endpoint": collector.address, "metrics_token": METRICS_TOKEN, "log_requests": "on",
                "openai_api_key": PROVIDER_KEY, "openai_base_url": upstream.openai_url,
            }  # fmt: skip
            async for product in run(settings_for(tmp_path, **told)):
                services = product.services
                assert services.log_sender

                security, requests = services.log_sender.security, services.log_sender.requests
                services.security = SecurityLog("s" * 32, services.observer.figures, write=kept(written, security))
                for one in services.observer.reporters:
                    if isinstance(one, RequestLog):
                        one._write = kept(written, requests)
                made, _ = await every_input(Scene(product, upstream, tmp_path, io.StringIO()))
                operator = {"Authorization": f"Bearer {METRICS_TOKEN}"}
                figures = (await product.client.get("/metrics", headers=operator)).text
                await services.security.flush()
    assert {"security", "requests"} <= {one.facts["log"] for one in collector.lines}
    spans, lines = b"".join(collector.bodies).decode(), b"".join(written).decode()
    assert "omni_security_events_total" in figures and "gen_ai.request.model" in spans and '"key_made"' in lines
    assert '"event":"request"' in lines
    secrets = [*made, PROVIDER_KEY, PASSWORD, WRONG_PASSWORD, PRESENTED, IDEMPOTENCY, PROMPT, ANSWER, "ada@example.com"]
    for text in (figures, spans, lines):
        assert [secret for secret in (*secrets, METRICS_TOKEN) if secret in text] == []


async def test_no_secret_is_in_what_a_tab_is_sent(scene: Scene) -> None:
    """After every page has been opened: all that its states hold is what the socket may send."""
    made, _ = await every_input(scene)
    services = scene.product.services
    backstage.open(services)
    tab = Tab(cookie=f"{session_cookie(services.settings)}={made[0]}")
    opened = [(state, name) for name, (state, _) in handlers().items() if name.endswith(".load")]
    for state, name in opened:
        await tab.at(f"/{name.partition('_state.')[0]}/", mode="live").fire(state, "load")
    shown = json_dumps(tab.root.dict())  # as Reflex writes a delta
    assert len(opened) > 10 and "ada@example.com" in shown and "omr_live_…" in shown, "nothing was opened"
    secrets = [*made, PROVIDER_KEY, PASSWORD, WRONG_PASSWORD, PRESENTED, IDEMPOTENCY, PROMPT, ANSWER]
    assert [secret for secret in secrets if secret in shown] == []


def test_settings_show_no_secret_of_their_own() -> None:
    given = {"openai_api_key": PROVIDER_KEY, "omni_secret_key": f"{PASSWORD}-{PASSWORD}"}
    settings = Settings.model_validate(given)
    assert PROVIDER_KEY not in repr(settings) and PASSWORD not in f"{settings} {settings!r}"
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate(given | {"rate_limit_max": "many", "upstash_redis_rest_token": WRONG_PASSWORD})
    assert not {one for one in (PROVIDER_KEY, PASSWORD, WRONG_PASSWORD) if one[-12:] in str(refused.value)}
