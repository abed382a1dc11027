"""Whose certificates are believed, for each kind of service: real servers with a certificate of an authority that this
machine does not know, and `SSL_CERT_FILE` that names it.
"""

import ast
import asyncio
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from omni_app import authorities
from omni_app.api.mails import _deliver
from omni_app.errors import Unavailable
from omni_app.limits import Quota, build_limiter
from omni_app.providers.base import ProviderFault
from omni_app.providers.fetch import FetchError, fetch
from omni_app.providers.transport import CLIENTS, Transport
from omni_app.settings import Settings
from omni_app.storage.database import Database
from omni_app.storage.supabase_sign_in import SupabaseSignIn
from tests.migrated import migrate
from tests.providers.asking import ask, wire
from tests.servers.asgi import serving
from tests.servers.authority import Authority, believing
from tests.servers.collector import collecting
from tests.servers.gotrue import GoTrue
from tests.servers.smtp import mail_server
from tests.servers.tls_front import in_front_of
from tests.servers.upstash import TOKEN, running_upstash
from tests.servers.upstream import TEXT, Upstream

PASSWORD = "teal-otter-maps-42-winter"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@asynccontextmanager
async def secured(url: str, authority: Authority, *, scheme: str = "https") -> AsyncIterator[str]:
    """The same server's address over TLS."""
    port = int(url.rstrip("/").rpartition(":")[2])
    async with in_front_of(port, authority.serves("127.0.0.1")) as secure:
        yield f"{scheme}://127.0.0.1:{secure}"


@pytest.mark.parametrize("client", CLIENTS)
async def test_of_a_provider(authority: Authority, client: str) -> None:
    async with Upstream() as upstream, secured(upstream.anthropic_url, authority) as url:
        for file in (None, authority.file):
            with believing(file):
                transport = Transport(client=client)
                provider = wire("openai", upstream, transport)
                provider.base_url = f"{url}/v1"
                if file:
                    assert (await provider.complete(ask())).text == TEXT
                else:
                    with pytest.raises(ProviderFault):
                        await provider.complete(ask())
                await transport.aclose()


async def test_of_upstash(authority: Authority) -> None:
    with running_upstash() as upstash:
        async with secured(upstash.url, authority) as url:
            for file in (None, authority.file):
                with believing(file):
                    verdicts = [await asked_anew(url) for _ in range(2)]
                assert verdicts == [True, not file], "each counts for itself, unless both ask the same Redis"


async def asked_anew(url: str) -> bool:
    """Whether a process that has just started lets the caller in, of whom one request is let in an hour."""
    limiter = build_limiter(url, TOKEN)
    for _ in range(2):  # connecting may take longer than a request waits
        await limiter.take(Quota("anybody", 1_000, 3_600.0))
    verdict = await limiter.take(Quota("somebody", 1, 3_600.0))
    await limiter.aclose()
    return verdict.allowed


async def test_of_supabase(authority: Authority, tmp_path: Path) -> None:
    theirs, address = GoTrue("a-key"), f"sqlite:///{tmp_path}/omni.db"
    migrate(address)
    database = Database(address)
    async with serving(theirs.app()) as plain, secured(plain, authority) as url:
        for file in (None, authority.file):
            with believing(file):
                if file:
                    await signs_up(database, url)
                else:
                    with pytest.raises(Unavailable):
                        await signs_up(database, url)
    await database.close()
    assert list(theirs.passwords) == ["ada@example.com"]


async def signs_up(database: Database, url: str) -> None:
    who = SupabaseSignIn(url, "a-key")
    await who.sign_up(database, email="ada@example.com", password=PASSWORD, org_name="Ada")


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
async def test_of_the_mail_server(authority: Authority, scheme: str) -> None:
    """`smtp` becomes TLS by STARTTLS."""
    with mail_server(starttls=authority.serves("127.0.0.1")) as server:
        async with secured(server.url, authority, scheme="smtps") as url:
            settings = Settings(smtp_url=SecretStr(url if scheme == "smtps" else server.url), mail_from="a@example.com")
            for file in (None, authority.file):
                with believing(file):
                    if file:
                        await in_thread(settings)
                    else:
                        with pytest.raises(OSError, match=r"(?i)certificate"):
                            await in_thread(settings)
    assert len(server.mails) == 1 and server.secure == (scheme == "smtp")


async def in_thread(settings: Settings) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", "s"
    await asyncio.to_thread(_deliver, settings, message)


@pytest.mark.parametrize("host", ["127.1", "127.0.0.1"])
def test_in_production_no_mail_goes_in_the_clear_to_another_machine(
    host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`127.1` leads here, and is none of the names that this machine is known by."""
    secrets = {"OMNI_SECRET_KEY": "a" * 40, "OMNI_KEY_PEPPER": "b" * 40, "OMNI_DATA_DIR": str(tmp_path)}
    for name, value in {
        "OMNI_ENV": "production",
        "PUBLIC_URL": "https://x.example",
        "DATABASE_URL": "sqlite://",
    }.items():
        monkeypatch.setenv(name, value)
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", "s"
    with mail_server() as server:
        url = SecretStr(server.url.replace("127.0.0.1", host))
        if host == "127.1":
            with pytest.raises(smtplib.SMTPNotSupportedError):
                _deliver(Settings(smtp_url=url, mail_from="a@example.com"), message)
            assert server.mails == []
        _deliver(Settings(smtp_url=url, mail_from="a@example.com", plain_hosts="127.1"), message)
        assert len(server.mails) == 1


async def test_of_a_catalogue_and_of_a_collector_of_traces(authority: Authority) -> None:
    with collecting() as collector:
        async with secured(collector.address, authority) as url:
            for file in (None, authority.file):
                with believing(file):
                    with pytest.raises(FetchError) as why:
                        await fetch(f"{url}/x", most_bytes=10)
                    assert ("501" in str(why.value)) == bool(file), "it answers GET with 501, whom it speaks with"
                    async with httpx.AsyncClient(verify=authorities.web_context()) as client:
                        if file:
                            await client.post(f"{url}/v1/traces", json={}, headers={"Content-Type": "application/json"})
                        else:
                            with pytest.raises(httpx.ConnectError):
                                await client.post(f"{url}/v1/traces", json={})


def test_every_client_is_told_whom_to_believe() -> None:
    """httpx would believe a list of its own, and aiohttp OpenSSL's places alone."""
    clients = {"AsyncClient", "Client", "AsyncHTTPTransport", "Connector", "SMTP_SSL"}
    silent = []
    for path in Path(authorities.__file__).parent.rglob("*.py"):
        for call in (one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if name in clients and not {one.arg for one in call.keywords} & {"verify", "ssl", "context", "transport"}:
                silent.append(f"{path.name}:{call.lineno} {name}")
    assert silent == []


def test_the_system_is_believed_beside_the_file(authority: Authority, tmp_path: Path) -> None:
    with believing(None):
        system = {one["serialNumber"] for one in authorities.client_context().get_ca_certs()}
    with believing(authority.file):
        both = {one["serialNumber"] for one in authorities.client_context().get_ca_certs()}
        assert authorities.file() == str(authority.file)
    assert system < both


def test_a_file_without_certificates_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "gone.pem"):
        assert name in authorities.problem(tmp_path / name)
