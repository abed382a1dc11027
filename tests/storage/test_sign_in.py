"""Supabase Auth through the real `supabase` client, against a stand-in that speaks its wire (not Supabase itself)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from omni_app.errors import Unavailable
from omni_app.storage import accounts
from omni_app.storage.accounts import EmailTaken, Identity
from omni_app.storage.database import Database, upgrade
from omni_app.storage.password_rules import WeakPassword
from omni_app.storage.sign_in import ConfirmEmail, EmbeddedSignIn, SignIn
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


async def shown_in(database: Database, sign_in: SignIn, email: str, password: str) -> Identity | None:
    proof = await sign_in.verify_password(database, email=email, password=password)
    async with database.session() as session:
        return await accounts.proven(session, proof) if proof else None


async def test_signing_up_and_in_through_supabase_gives_our_identity(database: Database) -> None:
    async with serving(GoTrue(KEY).app()) as url:
        sign_in = SupabaseSignIn(url, KEY)
        made = await sign_in.sign_up(database, email=EMAIL, password=PASSWORD, org_name="Engines")
        found = await shown_in(database, sign_in, "ada@example.com", PASSWORD)
        assert found == made and found.org_name == "Engines" and found.email == "ada@example.com"
        assert await sign_in.verify_password(database, email=EMAIL, password="another password") is None
        with pytest.raises(EmailTaken):
            await sign_in.sign_up(database, email=EMAIL, password=PASSWORD, org_name="Again")
        with pytest.raises(WeakPassword):
            await sign_in.sign_up(database, email="b@example.com", password="short", org_name="B")


async def test_an_unconfirmed_address_is_asked_to_confirm_and_then_let_in(database: Database) -> None:
    supabase = GoTrue(KEY, confirm=True)
    async with serving(supabase.app()) as url:
        sign_in = SupabaseSignIn(url, KEY)
        with pytest.raises(ConfirmEmail):
            await sign_in.sign_up(database, email=EMAIL, password=PASSWORD, org_name="Engines")
        with pytest.raises(ConfirmEmail):
            await sign_in.verify_password(database, email=EMAIL, password=PASSWORD)
        with pytest.raises(EmailTaken):
            await sign_in.sign_up(database, email=EMAIL, password=PASSWORD, org_name="Engines")
        supabase.confirmed.add("ada@example.com")
        found = await shown_in(database, sign_in, EMAIL, PASSWORD)
        assert found is not None and found.org_name == "Engines"


async def test_a_user_whom_only_supabase_knows_gets_an_org(database: Database) -> None:
    supabase = GoTrue(KEY, passwords={"ada@example.com": PASSWORD})
    async with serving(supabase.app()) as url:
        found = await shown_in(database, SupabaseSignIn(url, KEY), EMAIL, PASSWORD)
        assert found is not None and found.org_name == "ada's team"


async def test_when_supabase_is_away_nobody_is_told_that_their_password_is_wrong(database: Database) -> None:
    with pytest.raises(Unavailable):
        await SupabaseSignIn("http://127.0.0.1:9", KEY).verify_password(database, email=EMAIL, password=PASSWORD)


async def test_an_account_with_a_password_of_ours_opens_only_to_a_confirmed_address(database: Database) -> None:
    stranger = GoTrue(KEY, passwords={"ada@example.com": "a stranger's password"})
    async with serving(stranger.app()) as url:
        await EmbeddedSignIn().sign_up(database, email=EMAIL, password=PASSWORD, org_name="Engines")
        sign_in = SupabaseSignIn(url, KEY)
        with pytest.raises(ConfirmEmail):
            await sign_in.verify_password(database, email=EMAIL, password="a stranger's password")
        stranger.confirmed.add("ada@example.com")
        found = await shown_in(database, sign_in, EMAIL, "a stranger's password")
        assert found is not None and found.org_name == "Engines"
