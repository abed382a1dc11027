"""How the server shows Postgres who it is: a password that is exchanged while it runs, and certificates."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from omni_app.storage.database import Database
from omni_app.storage.server_role import upgrade_for
from tests.api.conftest import HELLO, run, settings_for
from tests.servers.authority import Authority
from tests.servers.postgres import OWNER, Cluster, Postgres, PostgresMissing, account, running_cluster

HOST, NAME = "127.0.0.1", "strict"
WHO = "SELECT current_user"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def strict(authority: Authority) -> Iterator[Postgres]:
    """A server that wants a password of one role, and a certificate of another."""
    try:
        with running_cluster() as cluster:
            be_strict(cluster, authority)
            cluster.server.run(sql.SQL("CREATE ROLE keyed LOGIN PASSWORD 'before'"))
            cluster.server.run(sql.SQL("CREATE ROLE certified LOGIN"))
            upgrade_for(keyed(cluster.server, "before"), owner=cluster.server.create(NAME))
            yield cluster.server
    except PostgresMissing as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))


def be_strict(cluster: Cluster, authority: Authority) -> None:
    """Rules of who has to show what, and TLS of the server's own."""
    data = cluster.folder / "data"
    certificate, key = authority.issue(HOST)
    files = {"server.crt": certificate, "server.key": key, "root.crt": authority.file}
    for name, source in files.items():
        (data / name).write_bytes(source.read_bytes())
        (data / name).chmod(0o600)
        if runs_as := account():
            os.chown(data / name, runs_as["user"], runs_as["group"])
    (data / "pg_hba.conf").write_text(
        f"host all {OWNER} {HOST}/32 trust\n"
        f"host all keyed {HOST}/32 scram-sha-256\n"
        f"hostssl all certified {HOST}/32 cert clientcert=verify-full\n"
    )
    for name, value in (("ssl_ca_file", "root.crt"), ("ssl", "on")):
        cluster.server.run(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    cluster.server.run(sql.SQL("SELECT pg_reload_conf()"))


def keyed(server: Postgres, password: str) -> str:
    return f"postgresql://keyed:{password}@{HOST}:{server.port}/{NAME}"


async def who(database: Database) -> str:
    async with database.session() as session:
        return str(await session.scalar(text(WHO)))


async def test_a_password_is_exchanged_for_new_connections_while_open_ones_stay(strict: Postgres) -> None:
    database = Database(keyed(strict, "before"))
    async with database.session() as session:
        assert await session.scalar(text(WHO)) == "keyed"
        strict.run(sql.SQL("ALTER ROLE keyed PASSWORD 'after'"))
        with pytest.raises(OperationalError, match="password authentication failed"):
            await who(database)  # a second connection
        assert database.use_credentials(keyed(strict, "after"))
        assert await who(database) == "keyed"
        assert await session.scalar(text(WHO)) == "keyed", "the first one is open still"
    await database.close()
    strict.run(sql.SQL("ALTER ROLE keyed PASSWORD 'before'"))


async def test_a_running_server_connects_with_the_password_that_its_file_has_now(
    strict: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async for running in run(settings_for(tmp_path, database_url=keyed(strict, "before"))):
        services = running.services
        strict.run(sql.SQL("ALTER ROLE keyed PASSWORD 'after'"))
        told = services.settings.model_copy(update={"database_url": keyed(strict, "after")})
        services.exchange(told)
        strict.run(sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keyed'"))
        assert await services.database.ping() == "", "by a new connection"
        assert (await running.post("/v1/chat", HELLO)).status_code == 200
        services.exchange(told.model_copy(update={"database_url": strict.url("postgres")}))
        assert services.settings.database_url == keyed(strict, "after")
        assert "another database in its file: that takes a restart" in caplog.text
    strict.run(sql.SQL("ALTER ROLE keyed PASSWORD 'before'"))


async def test_another_name_of_a_role_is_taken_and_another_database_is_not(strict: Postgres) -> None:
    database = Database(keyed(strict, "before"))
    assert await who(database) == "keyed"
    for other in ("sqlite:///omni.db", keyed(strict, "x") + "2", keyed(strict, "x") + "?sslmode=disable"):
        assert not database.use_credentials(other)
    assert database.use_credentials(strict.url(NAME))
    await database.engine.dispose()
    assert await who(database) == OWNER
    await database.close()


async def test_a_client_s_certificate_is_shown_and_read_anew_for_each_connection(
    strict: Postgres, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("certified", to_client=True)
    own, own_key = tmp_path / "own.crt", tmp_path / "own.key"
    base = f"postgresql://certified@{HOST}:{strict.port}/{NAME}?sslmode=verify-full&sslrootcert={authority.file}"
    database = Database(f"{base}&sslcert={own}&sslkey={own_key}")
    own.write_bytes(certificate.read_bytes())
    own_key.touch(mode=0o600)
    own_key.write_bytes(key.read_bytes())
    assert await who(database) == "certified"
    own.write_bytes(authority.issue("somebody else", to_client=True)[0].read_bytes())
    async with database.session() as session:
        assert await session.scalar(text(WHO)) == "certified", "the first one is open still"
        with pytest.raises(OperationalError):
            await who(database)
    again, again_key = authority.issue("certified", to_client=True)
    own.write_bytes(again.read_bytes())
    own_key.write_bytes(again_key.read_bytes())
    await database.engine.dispose()
    assert await who(database) == "certified"
    await database.close()


def test_without_a_certificate_or_with_another_s_nobody_comes_in(strict: Postgres, authority: Authority) -> None:
    base = f"postgresql://certified@{HOST}:{strict.port}/{NAME}?sslmode=verify-full&sslrootcert={authority.file}"
    certificate, key = authority.issue("keyed", to_client=True)
    for url in (base, f"{base}&sslcert={certificate}&sslkey={key}"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
