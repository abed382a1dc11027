"""Postgres over TLS: in production another machine has to show a certificate for its name, of an authority of ours."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from omni_app.settings import Settings
from omni_app.storage.database import DATABASE_ERRORS, Database, sync_url
from tests.servers.authority import Authority
from tests.servers.postgres import FASTER, Postgres, account, folder_for_postgres, or_skipped, running_cluster

NAME = "db.omni.invalid"
"""No resolver knows it: the address is told beside it."""
USED = text("SELECT coalesce((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl), 'none')")


@dataclass(frozen=True, slots=True)
class Secured:
    """A server whose certificate is for `NAME` alone."""

    server: Postgres
    authority: Authority

    def url(self, *, host: str = NAME, **asked: str) -> str:
        more = {"host": host, "hostaddr": "127.0.0.1"} | asked
        query = "&".join(f"{name}={quote(value)}" for name, value in more.items())
        return f"postgresql://omni@/postgres?{query}&port={self.server.port}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with ExitStack() as running:
        files = for_postgres(running.enter_context(folder_for_postgres()), *authority.issue(NAME))
        tls = ("ssl=on", f"ssl_cert_file={files[0]}", f"ssl_key_file={files[1]}")
        with or_skipped():
            cluster = running.enter_context(running_cluster((*FASTER, *tls)))
        yield Secured(cluster.server, authority)


def for_postgres(folder: Path, *files: Path) -> list[Path]:
    """Copies that the server's user owns: so it wants its key."""
    copies = [folder / path.name for path in files]
    for path, copy in zip(files, copies, strict=True):
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o600)
        if runs_as := account():
            os.chown(copy, runs_as["user"], runs_as["group"])
    return copies


def in_production(url: str, *, plain_hosts: str = "") -> Settings:
    secret = SecretStr("a" * 40)
    return Settings(
        omni_env="production", omni_secret_key=secret, omni_key_pepper=secret, public_url="https://omni.example",
        omni_data_dir=Path("/nowhere"), database_url=url, plain_hosts=plain_hosts,
    )  # fmt: skip


async def spoken(settings: Settings) -> str:
    """The version of TLS that serving speaks, and migrating. Raises what a refused connection raises."""
    database = Database(settings.database)
    try:
        async with database.engine.connect() as connection:
            serving = str(await connection.scalar(USED))
    finally:
        await database.close()
    with create_engine(sync_url(settings.database_owner), poolclass=NullPool).connect() as owner:
        assert owner.scalar(USED) == serving
    return serving


async def test_who_shows_the_right_certificate_is_spoken_with(secured: Secured) -> None:
    assert await spoken(in_production(secured.url(sslrootcert=str(secured.authority.file)))) == "TLSv1.3"


async def test_an_authority_of_ssl_cert_file_will_do(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.authority.file))
    assert await spoken(in_production(secured.url())) == "TLSv1.3"
    assert await spoken(in_production(secured.url(sslrootcert="system"))) == "TLSv1.3"


async def test_another_name_is_refused(secured: Secured) -> None:
    url = secured.url(host="other.omni.invalid", sslrootcert=str(secured.authority.file))
    with pytest.raises(DATABASE_ERRORS, match=r'server certificate for "db\.omni\.invalid" does not match host name'):
        await spoken(in_production(url))


async def test_an_authority_that_nobody_named_is_refused(secured: Secured, tmp_path: Path) -> None:
    for url in (secured.url(), secured.url(sslrootcert=str(Authority(tmp_path).file))):
        with pytest.raises(DATABASE_ERRORS, match="certificate verify failed"):
            await spoken(in_production(url))


async def test_a_server_without_tls_is_refused_unless_it_may_be_plain(postgres: Postgres) -> None:
    url = f"postgresql://omni@/postgres?host={NAME}&hostaddr=127.0.0.1&port={postgres.port}"
    with pytest.raises(DATABASE_ERRORS, match="server does not support SSL"):
        await spoken(in_production(url))
    assert await spoken(in_production(url, plain_hosts=f"{NAME}, 127.0.0.1")) == "none"
