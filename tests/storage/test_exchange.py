"""The secret key, exchanged by the steps of docs/OPERATIONS.md."""

import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import select

from omni_app.storage import provider_keys, second_factors
from omni_app.storage.tables import ProviderKeyRow, SecondFactor
from tests.api.conftest import HELLO, Running, run, settings_for
from tests.product import ROOT, unconfigured_environment

OLD, NEW = "o" * 40, "n" * 40
AGAIN = {"Idempotency-Key": "the same request"}


async def ask(running: Running, key: str) -> tuple[bool, str]:
    """Whether the answer is the one that was kept, and it."""
    headers = {"Authorization": f"Bearer {key}"} | AGAIN
    answer = await running.client.post("/v1/chat", json=HELLO, headers=headers)
    return answer.headers.get("idempotent-replayed") == "true", answer.text


async def enter_what_lasts(running: Running) -> None:
    """A provider key of a team's own, and a second factor."""
    async with running.services.database.session() as session:
        await provider_keys.set_provider_key(
            session, org_id=running.org_id, provider="groq", base_url="https://groq.example", secret="gsk_own-key",
            entered_by="ada@example.com", sealer=running.services.key_sealer,
        )  # fmt: skip
        await second_factors.begin(session, user_id=running.org_id, sealer=running.services.factor_sealer)
        await session.commit()


async def opened(running: Running) -> list[bool]:
    """Whether the key of the team and the second factor open."""
    services = running.services
    async with services.database.session() as session:
        (kept,) = await session.scalars(select(ProviderKeyRow))
        factor = await session.get_one(SecondFactor, running.org_id)
    key = services.key_sealer.open(
        provider_keys.own_key(kept).sealed, about=provider_keys.about(running.org_id, "groq", "https://groq.example")
    )
    secret = services.factor_sealer.open(factor.sealed, about=f"second factor of {running.org_id}")
    return [key == b"gsk_own-key", len(secret) == second_factors.SECRET_CHARACTERS]


def reseal(folder: Path, command: str) -> str:
    environment = {"OMNI_DATA_DIR": str(folder), "OMNI_SECRET_KEY": NEW, "OMNI_SECRET_KEY_OTHER": OLD}
    done = subprocess.run(
        [sys.executable, "-m", "omni_app", command, "reseal"],
        cwd=ROOT, env=unconfigured_environment() | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


async def test_the_secret_key_is_exchanged_and_nobody_notices(tmp_path: Path) -> None:
    old, new = SecretStr(OLD), SecretStr(NEW)
    kept, key = "", ""
    async for running in run(settings_for(tmp_path, omni_secret_key=old)):
        key = running.key
        _, kept = await ask(running, key)
        await enter_what_lasts(running)
    for one, other in ((old, new), (new, old)):
        async for running in run(settings_for(tmp_path, omni_secret_key=one, omni_secret_key_other=other)):
            assert await ask(running, key) == (True, kept)
            assert await opened(running) == [True, True]
    assert reseal(tmp_path, "users") == "1 second factors sealed anew\n"
    assert reseal(tmp_path, "providers") == "1 keys sealed anew\n"
    async for running in run(settings_for(tmp_path, omni_secret_key=new)):
        assert await opened(running) == [True, True]
