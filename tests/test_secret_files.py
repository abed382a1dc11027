"""Credentials that are exchanged in their files: used from then on, without a restart and without a failed request."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from omni_app.api.mails import deliver
from omni_app.secret_files import SecretFiles
from omni_app.settings import Settings
from tests.api.conftest import HELLO, Running, run, settings_for
from tests.product import ROOT, free_port, stop, unconfigured_environment, wait_until_ready
from tests.servers.collector import collecting
from tests.servers.smtp import mail_server
from tests.servers.upstash import TOKEN, running_upstash
from tests.servers.upstream import Upstream

OLD, NEW = "sk-before-the-exchange-0123456789", "sk-after-the-exchange-0123456789"
WITHIN_S = 10.0
MODEL = "openai/gpt-4.1"


async def eventually(happened: Callable[[], bool]) -> None:
    until_s = time.monotonic() + WITHIN_S
    while not happened() and time.monotonic() < until_s:  # noqa: ASYNC110 another process's doing
        await asyncio.sleep(0.05)
    assert happened()


def put(folder: Path, name: str, value: str) -> None:
    """As a vault does: another file takes the place of the one before."""
    (folder / ".next").write_text(value)
    (folder / ".next").rename(folder / name)


# Files


def test_files_are_others_once_they_have_come_to_rest(tmp_path: Path) -> None:
    put(tmp_path, "OPENAI_API_KEY", OLD)
    files = SecretFiles(tmp_path)
    assert [files.changed() for _ in range(3)] == [False, True, False], "what was read at start may be older"
    put(tmp_path, "OPENAI_API_KEY", NEW)
    assert not files.changed()
    with (tmp_path / "OPENAI_API_KEY").open("a") as written:
        written.write("x")
    assert [files.changed() for _ in range(3)] == [False, True, False]


def test_a_mount_that_is_exchanged_as_kubernetes_does_is_seen(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "OPENAI_API_KEY").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "OPENAI_API_KEY").symlink_to("..data/OPENAI_API_KEY")
    files = SecretFiles(tmp_path)
    assert [files.changed() for _ in range(3)] == [False, True, False]
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").rename(tmp_path / "..data")
    assert [files.changed() for _ in range(3)] == [False, True, False]


def test_a_folder_that_is_away_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path, "OPENAI_API_KEY", OLD)
    files = SecretFiles(tmp_path)
    assert [files.changed() for _ in range(2)] == [False, True]
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    assert [files.changed() for _ in range(3)] == [False] * 3


# One server


def told(running: Running, **changes: Any) -> Settings:
    return Settings.model_validate(running.services.settings.model_dump() | changes)


@contextlib.asynccontextmanager
async def product(folder: Path, **changes: Any) -> AsyncIterator[Running]:
    async for running in run(settings_for(folder, **changes)):
        yield running


async def test_redis_is_shown_the_new_token(tmp_path: Path) -> None:
    with running_upstash() as upstash:
        redis = {"upstash_redis_rest_url": upstash.url, "upstash_redis_rest_token": "the one before"}
        async with product(tmp_path, **redis) as running:
            answer = await running.post("/v1/chat", HELLO)
            assert answer.headers["x-ratelimit-mode"] == "local"
            running.services.exchange(told(running, upstash_redis_rest_token=TOKEN))
            until_s = time.monotonic() + WITHIN_S
            while answer.headers["x-ratelimit-mode"] != "shared" and time.monotonic() < until_s:
                answer = await running.post("/v1/chat", HELLO)
                await asyncio.sleep(0.1)
            assert answer.headers["x-ratelimit-mode"] == "shared"


async def test_the_collector_is_shown_the_new_header(tmp_path: Path) -> None:
    with collecting() as collector:
        headers = {"otel_exporter_otlp_headers": "x-token=old", "otel_exporter_otlp_endpoint": collector.address}
        async with product(tmp_path, log_requests="on", **headers) as running:
            await running.post("/v1/chat", HELLO)
            await eventually(lambda: len(collector.headers) >= 2)
            assert {one["x-token"] for one in collector.headers} == {"old"}
            running.services.exchange(told(running, otel_exporter_otlp_headers="x-token=new"))
            del collector.headers[:]
            await running.post("/v1/chat", HELLO)
            await eventually(lambda: len(collector.headers) >= 2)
            assert {one["x-token"] for one in collector.headers} == {"new"}, "traces and logs"


async def test_the_next_mail_goes_by_the_new_address(tmp_path: Path) -> None:
    with mail_server() as before, mail_server() as after:
        async with product(tmp_path, smtp_url=before.url, mail_from="omni@example.com") as running:
            running.services.exchange(told(running, smtp_url=after.url))
            assert await deliver(running.services.settings, "ada@example.com", "Hello", "text")
    assert (len(before.mails), len(after.mails)) == (0, 1)


async def test_what_is_gone_empty_or_another_kind_of_setting_stays_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with product(tmp_path, openai_api_key=OLD, log_security="on") as running:
        services, before = running.services, running.services.settings
        services.exchange(told(running, openai_api_key="", omni_secret_key="s" * 40, rate_limit_max=1))
        services.exchange(told(running, anthropic_api_key=NEW))
        assert services.settings is before, "a provider that had no key is turned on by a restart"
        services.exchange(told(running, openai_api_key=NEW, rate_limit_max=1))
        assert services.settings.provider_key("openai") == NEW
        assert services.settings.rate_limit_max == before.rate_limit_max
    lines = [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(one["event"], one["about"]) for one in lines if "about" in one] == [("secret_exchanged", "OPENAI_API_KEY")]


# A server of its own


@contextlib.contextmanager
def serving(folder: Path, secrets: Path, base_url: str) -> Iterator[tuple[str, str]]:
    """The address of a server whose provider is there, and a key of it; what it says is in the file `log`."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = unconfigured_environment() | {
        "PORT": str(port),
        "OMNI_DATA_DIR": str(folder / "data"),
        "OMNI_SECRETS_DIR": str(secrets),
        "OPENAI_BASE_URL": base_url,
        "LOCAL_MODEL": "off",
        "RATE_LIMIT_MAX": "100000",
    }
    omni = [sys.executable, "-m", "omni_app"]
    making = [*omni, "keys", "create", "--org", "Acme", "--live"]
    made = subprocess.run(making, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    log_file = folder / "log"
    with log_file.open("wb") as log:
        command = [*omni, "serve", "--api-workers", "1"]
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        wait_until_ready(url, server, log_file)
        yield url, made.stdout.strip()
    finally:
        stop(server)


async def test_a_running_server_calls_with_the_new_key_and_no_request_fails(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    put(secrets, "OPENAI_API_KEY", OLD)
    async with Upstream(key=OLD, more_keys=(NEW,)) as upstream:
        with serving(tmp_path, secrets, upstream.openai_url) as (url, key):
            await ask_until_the_new_key_is_used(url, key, upstream, secrets)
    written = (tmp_path / "log").read_text()
    assert OLD not in written and NEW not in written
    assert '"event":"secret_exchanged"' in written


async def ask_until_the_new_key_is_used(url: str, key: str, upstream: Upstream, secrets: Path) -> None:
    """One request after the other; each is answered."""

    def shown() -> list[str]:
        return [call.headers["authorization"] for call in upstream.calls]

    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as client:
        began_s, exchanged = time.monotonic(), False
        while f"Bearer {NEW}" not in shown()[-20:-10] and time.monotonic() - began_s < 2 * WITHIN_S:
            answer = await client.post("/v1/chat/completions", json={**HELLO, "model": MODEL})
            assert answer.status_code == 200, answer.text
            if not exchanged and len(shown()) > 20:
                exchanged = True
                put(secrets, "OPENAI_API_KEY", NEW)
            await asyncio.sleep(0.02)
    first = shown().index(f"Bearer {NEW}")
    assert set(shown()[:first]) == {f"Bearer {OLD}"} and set(shown()[first:]) == {f"Bearer {NEW}"}
