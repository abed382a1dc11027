"""The operator's command line, run as a process."""

import asyncio
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command

from omni_app.api.openapi import document
from omni_app.storage import accounts
from omni_app.storage.database import OLDEST_CODE, Database, _alembic_config, current_schema, hold_sqlite_lock
from omni_app.storage.keys import checksum_ok
from omni_app.storage.tables import SecondFactor, utc_now
from omni_app.version import VERSION
from tests.migrated import migrate
from tests.product import ROOT, free_port, unconfigured_environment
from tests.servers.authority import Authority
from tests.verify.world import fill


def omni(folder: Path, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "omni_app", *arguments],
        cwd=ROOT,
        env=unconfigured_environment() | {"OMNI_DATA_DIR": str(folder), **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    made = omni(tmp_path, "keys", "create", "--org", "Acme", "--live")
    key = made.stdout.strip()
    assert made.returncode == 0 and key.startswith("omr_live_") and checksum_ok(key)
    listed = omni(tmp_path, "keys", "list").stdout
    key_id = listed.split()[0]
    assert key not in listed and f"omr_live_…{key[-4:]}" in listed and "Acme" in listed
    assert "never used" in listed
    assert omni(tmp_path, "keys", "revoke", key_id).stdout.strip() == f"revoked {key_id}"
    assert "revoked" in omni(tmp_path, "keys", "list").stdout
    assert omni(tmp_path, "keys", "revoke", key_id).returncode == 1


def test_a_key_is_made_for_some_uses_only(tmp_path: Path) -> None:
    assert omni(tmp_path, "keys", "create", "--org", "Acme", "--scope", "usage", "--scope", "chat").returncode == 0
    assert "  chat, usage  Acme" in omni(tmp_path, "keys", "list").stdout
    refused = omni(tmp_path, "keys", "create", "--org", "Acme", "--scope", "everything")
    assert refused.returncode == 2 and "embeddings" in refused.stderr


def test_an_older_schema_is_left_to_who_copies_it_first(tmp_path: Path) -> None:
    command.upgrade(_alembic_config(url := f"sqlite:///{tmp_path / 'omni.db'}"), "0024")
    refused = omni(tmp_path, "keys", "list")
    assert refused.returncode == 1 and "migrate" in refused.stderr
    assert current_schema(url).revision == "0024"
    assert omni(tmp_path, "migrate").returncode == 0
    assert omni(tmp_path, "keys", "list").returncode == 0 and list((tmp_path / "backups").iterdir())


def test_a_test_key_is_the_default(tmp_path: Path) -> None:
    assert omni(tmp_path, "keys", "create", "--org", "Acme").stdout.startswith("omr_test_")


def test_somebody_is_logged_out_and_allowed_to_take_a_second_factor_off(tmp_path: Path) -> None:
    migrate(url := f"sqlite:///{tmp_path / 'omni.db'}")

    async def signed_in_with_a_factor() -> None:
        database = Database(url)
        async with database.session() as session:
            who = await accounts.join(session, email="ada@example.com", password_hash="", org_name="Acme")
            await accounts.open_session(session, user_id=who.user_id)
            session.add(SecondFactor(user_id=who.user_id, sealed=b"sealed", confirmed_at=utc_now()))
            await session.commit()
        await database.close()

    asyncio.run(signed_in_with_a_factor())
    assert omni(tmp_path, "users", "end-sessions", "Ada@Example.com").stdout == "1 sessions of this user are ended\n"
    allowed = omni(tmp_path, "users", "reset-second-factor", "Ada@example.com")
    assert allowed.returncode == 0 and "/lost-factor/#lost-factor=" in allowed.stdout
    assert "Hand this link to Ada@example.com" in allowed.stderr and "it stays on" in allowed.stderr
    assert omni(tmp_path, "users", "reset-second-factor", "bob@example.com").stderr == "no user bob@example.com\n"


def test_a_certificate_that_cannot_be_served_with_stops_the_start(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path / "authority").issue("localhost")
    for files, why in {(certificate, tmp_path / "none"): "cannot be read", (key, key): "no certificate"}.items():
        tls = dict(zip(("TLS_CERT_FILE", "TLS_KEY_FILE"), map(str, files), strict=True))
        refused = omni(tmp_path, "serve", PORT=str(free_port()), **tls)
        assert refused.returncode == 1 and why in refused.stderr and "TLS_CERT_FILE" in refused.stderr
    tls = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
    refused = omni(tmp_path, "serve", "--dev", PORT=str(free_port()), **tls)
    assert refused.returncode == 1 and "Hot reload" in refused.stderr


def test_migrate_is_production_s_own_step(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'omni.db'}"
    secrets = {"OMNI_SECRET_KEY": "s" * 40, "OMNI_KEY_PEPPER": "p" * 40}
    production = {"OMNI_ENV": "production", "PUBLIC_URL": "https://omni.example", "DATABASE_URL": url, **secrets}
    assert "older than this version" in omni(tmp_path, "keys", "list", **production).stderr
    assert omni(tmp_path, "migrate", **production).returncode == 0
    assert omni(tmp_path, "keys", "list", **production).returncode == 0


@pytest.mark.parametrize("words", [("migrate",), ("serve", "--api-workers", "1")])
def test_without_a_folder_for_its_data_nothing_starts_and_a_line_says_so(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    (folder := tmp_path / "data").write_text("no folder")
    done = omni(folder, *words, PORT=str(free_port()))
    assert done.returncode == 1
    assert done.stderr == f"omni_app: OMNI_DATA_DIR={folder} cannot be made (File exists).\n"


def test_a_wrong_environment_ends_with_2_and_a_line_each(tmp_path: Path) -> None:
    done = omni(tmp_path, "keys", "list", SUPABASE_URL="https://x.example", PORT="8001", SMTP_URL="smtp://x")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "omni_app: SUPABASE_URL is set but SUPABASE_ANON_KEY is not: set both or neither",
        "omni_app: SMTP_URL is set but MAIL_FROM is not: set both or neither",
    ]


def test_a_busy_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = omni(tmp_path, "serve", PORT=str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be used" in done.stderr and "PORT=" in done.stderr


def test_a_second_process_on_one_sqlite_is_refused(tmp_path: Path) -> None:
    descriptor = hold_sqlite_lock(f"sqlite:///{tmp_path}/omni.db")
    assert descriptor is not None
    try:
        done = omni(tmp_path, "serve", PORT="0" if os.name == "nt" else "18431")
    finally:
        os.close(descriptor)
    assert done.returncode == 1 and "SQLite takes one" in done.stderr


def test_a_backup_is_of_sqlite_into_a_file_that_is_not_there(tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")
    assert "there is no database" in omni(tmp_path, "backup", copy).stderr
    migrate(f"sqlite:///{tmp_path / 'omni.db'}")
    assert omni(tmp_path, "backup", copy).returncode == 0
    again = omni(tmp_path, "backup", copy)
    assert (again.returncode, "nothing is overwritten" in again.stderr) == (1, True)
    other = omni(tmp_path, "backup", copy, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert (other.returncode, "pg_dump" in other.stderr) == (1, True)


def test_the_version_is_stated_once(tmp_path: Path) -> None:
    assert omni(tmp_path, "--version").stdout.strip() == VERSION == document()["info"]["version"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"] and "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "omni_app.version.VERSION"}
    images = re.findall(r"image: omni-model-router:(\S+)", (ROOT / "deploy/kubernetes.yaml").read_text())
    assert images and {*images} == {VERSION}


def revision_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_serving_backs_an_older_database_up_before_it_migrates_and_refuses_a_newer_one(tmp_path: Path) -> None:
    path = tmp_path / "omni.db"
    migrate(f"sqlite:///{path}")
    newest = revision_of(path)
    command.downgrade(_alembic_config(f"sqlite:///{path}"), "-1")
    older = revision_of(path)
    assert older != newest and omni(tmp_path, "migrate").returncode == 0
    (copy,) = (tmp_path / "backups").iterdir()
    assert (revision_of(path), revision_of(copy)) == (newest, older)

    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.execute("UPDATE meta SET value = '9998' WHERE key = ?", (OLDEST_CODE,))
    before = path.read_bytes()
    done = omni(tmp_path, "serve", PORT=str(free_port()))
    assert (done.returncode, "newer than this version" in done.stderr) == (1, True), done.stderr
    assert path.read_bytes() == before and list((tmp_path / "backups").iterdir()) == [copy], "what is good stays"


def test_providers_say_what_to_set(tmp_path: Path) -> None:
    lines = omni(tmp_path, "providers", "check", ANTHROPIC_API_KEY="sk-x").stdout.splitlines()
    states = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert states["openai"] == "OPENAI_API_KEY is not set"
    assert states["anthropic"] == "ready" and states["sandbox"] == "ready"


def test_an_account_is_made_with_a_password_that_is_typed_twice(tmp_path: Path) -> None:
    def create(*words: str, typed: str = "a wonderful horse 9", again: str = "", **environment: str) -> tuple[int, str]:
        stdin = f"{typed}\n{again or typed}\n"
        done = omni(tmp_path, "users", "create", *words, stdin=stdin, **environment)
        return done.returncode, done.stdout or done.stderr.splitlines()[-1]

    refused = create("ada@example.com", again="another horse 9 away")
    assert refused == (1, "the two passwords differ")
    status, said = create("ada@example.com", typed="short")
    assert status == 1 and "12 to 128 characters" in said
    assert create("nobody", typed="a wonderful horse 9")[0] == 1
    elsewhere = {"SUPABASE_URL": "https://x.example", "SUPABASE_SERVICE_KEY": "k"}
    assert create("ada@example.com", **elsewhere) == (
        1,
        "accounts are kept at Supabase Auth (SUPABASE_URL): make it there",
    )
    status, said = create(" Ada@example.com", "--team", "Analytical Engines")
    assert status == 0 and said.endswith("there is an account for ada@example.com; it owns Analytical Engines\n")
    status, said = create("ada@example.com")
    assert status == 1 and "there is an account with this address" in said
    assert create("bob@example.com")[1].endswith("it owns bob's team\n")


@pytest.mark.parametrize("email", ["nobody@example.com"])
def test_resetting_an_unknown_users_password_says_so(tmp_path: Path, email: str) -> None:
    done = omni(tmp_path, "users", "reset-password", email, stdin="a wonderful horse 9\na wonderful horse 9\n")
    assert done.returncode == 1 and f"no user {email}" in done.stderr


def test_a_password_that_supabase_keeps_is_not_reset_here(tmp_path: Path) -> None:
    elsewhere = {"SUPABASE_URL": "https://x.example", "SUPABASE_SERVICE_KEY": "k"}
    done = omni(tmp_path, "users", "reset-password", "ada@example.com", stdin="", **elsewhere)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "passwords are kept at Supabase Auth (SUPABASE_URL): set it there\n"


@pytest.mark.parametrize("words", [("keys", "list"), ("migrate",)])
def test_a_database_that_cannot_be_reached_is_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = omni(tmp_path, *words, DATABASE_URL="postgresql://nobody:x@127.0.0.1:1/omni")
    assert done.returncode == 1 and "check DATABASE_URL" in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def kept_ledger(tmp_path: Path) -> Path:
    """A data folder's database with one of everything in its ledger."""

    async def work() -> None:
        database = Database(f"sqlite:///{tmp_path / 'omni.db'}")
        await fill(database, tmp_path, at=utc_now())
        await database.close()

    migrate(f"sqlite:///{tmp_path / 'omni.db'}")
    asyncio.run(work())
    return tmp_path / "omni.db"


def test_a_ledger_is_verified_and_left_as_it_is(tmp_path: Path, kept_ledger: Path) -> None:
    before = kept_ledger.read_bytes()
    done = omni(tmp_path, "ledger", "verify")
    assert done.returncode == 0 and done.stderr == ""
    table, *_ = done.stdout.partition("\nnot checked")
    assert all(line.split()[-1] == "0" for line in table.splitlines()[1:])
    assert "a request costs what its attempts cost" in table
    assert "an attempt keeps no cached tokens" in done.stdout
    assert kept_ledger.read_bytes() == before


def test_a_tampered_ledger_is_told_with_status_1(tmp_path: Path, kept_ledger: Path) -> None:
    with closing(sqlite3.connect(kept_ledger)) as database, database:
        database.execute("UPDATE requests SET cost = cost + 1 WHERE error_code = 'unknown_outcome'")
    done = omni(tmp_path, "ledger", "verify")
    assert done.returncode == 1
    assert (
        "a request of unknown outcome costs what its attempts cost: req_dead: 8 is kept, 7 is computed" in done.stdout
    )
    machine = omni(tmp_path, "ledger", "verify", "--json", "--settled")
    told = json.loads(machine.stdout)
    assert machine.returncode == 1 and told["ok"] is False
    broken = {one["invariant"]: one for one in told["invariants"] if one["violations"]}
    assert broken["a request of unknown outcome costs what its attempts cost"]["examples"] == [
        "req_dead: 8 is kept, 7 is computed"
    ]


def test_verifying_makes_no_database(tmp_path: Path) -> None:
    done = omni(tmp_path, "ledger", "verify")
    assert done.returncode == 1 and "there is no database at" in done.stderr
    assert not (tmp_path / "omni.db").exists()


def test_the_catalogue_is_followed_offline_and_a_model_tells_its_history(tmp_path: Path) -> None:
    done = omni(tmp_path, "catalog", "sync", "--offline")
    assert (done.returncode, done.stdout.strip()) == (0, "0 changed, 0 held")
    told = omni(tmp_path, "catalog", "history", "openai/gpt-4.1").stdout.splitlines()
    assert "added at $2 in, $8 out per 1M" in told[0] and "to now" in told[2] and "can take its place" in told[3]
    refused = omni(tmp_path, "catalog", "sync", CATALOG_OPENROUTER_URL="http://example.invalid/models")
    assert refused.returncode == 1 and "nothing is changed: must start with https://" in refused.stderr
    assert omni(tmp_path, "catalog", "accept", "openai/gpt-4.1").returncode == 1
