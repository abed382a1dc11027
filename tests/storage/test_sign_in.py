"""Supabase Auth through the real `supabase` client, against a stand-in that speaks its wire (not Supabase itself)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from omni_app.errors import Unavailable
from omni_app.storage.accounts import EmailTaken
from omni_app.storage.database import Database, upgrade
from omni_app.storage.password_rules import WeakPassword
from omni_app.storage.sign_in import ConfirmEmail, EmbeddedSignIn
from omni_app.storage.supabase_sign_in import SupabaseSignIn
from tests.servers.asgi import serving
from tests.servers.gotrue import GoTrue

KEY = "anon-key"
EMAIL, PASSWORD = "Ada@Example.com", "a wonderful horse 9"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path / 'omni.db'}"
    upgrade(url)
    database = Database(url)
    yield database
    await database.close()


async def test_signing_up_and_in_through_supabase_gives_our_identity(database: Database) -> None:
    async with serving(GoTrue(KEY).app()) as url, database.session() as session:
        sign_in = SupabaseSignIn(url, KEY)
        made = await sign_in.sign_up(session, email=EMAIL, password=PASSWORD, org_name="Engines")
        found = await sign_in.verify_password(session, email="ada@example.com", password=PASSWORD)
        assert found == made and found.org_name == "Engines" and found.email == "ada@example.com"
        assert await sign_in.verify_password(session, email=EMAIL, password="another password") is None
        with pytest.raises(EmailTaken):
            await sign_in.sign_up(session, email=EMAIL, password=PASSWORD, org_name="Again")
        with pytest.raises(WeakPassword):
            await sign_in.sign_up(session, email="b@example.com", password="short", org_name="B")


async def test_an_unconfirmed_address_is_asked_to_confirm_and_then_let_in(database: Database) -> None:
    supabase = GoTrue(KEY, confirm=True)
    async with serving(supabase.app()) as url, database.session() as session:
        sign_in = SupabaseSignIn(url, KEY)
        with pytest.raises(ConfirmEmail):
            await sign_in.sign_up(session, email=EMAIL, password=PASSWORD, org_name="Engines")
        with pytest.raises(ConfirmEmail):
            await sign_in.verify_password(session, email=EMAIL, password=PASSWORD)
        with pytest.raises(EmailTaken):
            await sign_in.sign_up(session, email=EMAIL, password=PASSWORD, org_name="Engines")
        supabase.confirmed.add("ada@example.com")
        found = await sign_in.verify_password(session, email=EMAIL, password=PASSWORD)
        assert found is not None and found.org_name == "Engines"


async def test_a_user_whom_only_supabase_knows_gets_an_org(database: Database) -> None:
    supabase = GoTrue(KEY, passwords={"ada@example.com": PASSWORD})
    async with serving(supabase.app()) as url, database.session() as session:
        found = await SupabaseSignIn(url, KEY).verify_password(session, email=EMAIL, password=PASSWORD)
        assert found is not None and found.org_name == "ada's team"


async def test_when_supabase_is_away_nobody_is_told_that_their_password_is_wrong(database: Database) -> None:
    async with database.session() as session:
        with pytest.raises(Unavailable):
            await SupabaseSignIn("http://127.0.0.1:9", KEY).verify_password(session, email=EMAIL, password=PASSWORD)


async def test_an_account_with_a_password_of_ours_opens_only_to_a_confirmed_address(database: Database) -> None:
    stranger = GoTrue(KEY, passwords={"ada@example.com": "a stranger's password"})
    async with serving(stranger.app()) as url, database.session() as session:
        await EmbeddedSignIn().sign_up(session, email=EMAIL, password=PASSWORD, org_name="Engines")
        sign_in = SupabaseSignIn(url, KEY)
        with pytest.raises(ConfirmEmail):
            await sign_in.verify_password(session, email=EMAIL, password="a stranger's password")
        stranger.confirmed.add("ada@example.com")
        found = await sign_in.verify_password(session, email=EMAIL, password="a stranger's password")
        assert found is not None and found.org_name == "Engines"
