"""A team that asks its members for a second factor: who has none is refused until they set one up."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from omni_app.errors import Conflict
from omni_app.limits.memory import MemoryLimiter
from omni_app.storage import accounts, second_factors, teams
from omni_app.storage.accounts import Identity
from omni_app.storage.second_factors import TeamAsks
from omni_app.storage.tables import Org
from tests.api.conftest import HELLO, Running
from tests.api.test_account import PASSWORD, new_key, post, sign_up
from tests.api.test_second_factor import asked, turn_on
from tests.api.test_team import said
from tests.codes import code_of

GUEST = "bob@example.com"


@dataclass(frozen=True, slots=True)
class Team:
    """The owner's and the member's cookies, and the secret of the owner's factor. The client is the member's."""

    owner: dict[str, str]
    member: dict[str, str]
    secret: str


async def asking_team(product: Running) -> Team:
    """An owner with a second factor, who has invited somebody with none, and asks for one."""
    await sign_up(product)
    secret, _ = await turn_on(product)
    owner = dict(product.client.cookies)
    invitation = await post(product, "/auth/invitations", role="member")
    token = urlsplit(invitation.headers["location"]).fragment.removeprefix("invite=")
    await ask(product, wanted=True)
    product.client.cookies.clear()
    await sign_up(product, GUEST)
    joined = await post(product, "/auth/join", token=token)
    assert joined.headers["location"] == "/overview/"
    product.services.limiter = MemoryLimiter()  # as if time had passed
    return Team(owner, dict(product.client.cookies), secret)


async def who_is(product: Running) -> Identity:
    """Behind the client's cookie."""
    async with product.services.database.session() as session:
        who = await accounts.read_session(session, token=product.client.cookies["omr_session"], for_self=True)
    assert who is not None
    return who


async def ask(product: Running, *, wanted: bool) -> None:
    """What the owner does on the page."""
    who = await who_is(product)
    async with product.services.database.session() as session:
        await teams.ask_for_factor(session, who=who, wanted=wanted)
        await session.commit()


def be(product: Running, cookies: dict[str, str]) -> None:
    product.client.cookies.clear()
    product.client.cookies.update(cookies)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


WANTED = (403, "second_factor_wanted")


async def test_an_owner_without_one_of_their_own_cannot_ask(product: Running) -> None:
    await sign_up(product)
    with pytest.raises(Conflict, match="of your own first"):
        await ask(product, wanted=True)
    await asked(product, "begin", password=PASSWORD)
    with pytest.raises(Conflict, match="of your own first"):
        await ask(product, wanted=True)  # a pending one is none
    assert (await new_key(product)).status_code == 201


async def test_whoever_has_none_is_refused_until_they_set_it_up(product: Running) -> None:
    await asking_team(product)
    refused = await new_key(product)
    assert code(refused) == WANTED and "set it up in Settings" in refused.json()["error"]["message"]
    assert code(await product.client.get("/auth/usage.csv")) == WANTED
    begun = (await asked(product, "begin", password=PASSWORD)).json()
    assert code(await new_key(product)) == WANTED, "one that is pending lets nobody in"
    confirmed = await asked(product, "confirm", code=code_of(begun["secret"]))
    assert confirmed.status_code == 200
    assert (await new_key(product)).status_code == 201
    assert (await product.client.get("/auth/usage.csv")).status_code == 200


async def test_a_log_in_begins_with_the_team_that_was_joined_first(product: Running) -> None:
    await asking_team(product)
    product.client.cookies.clear()
    answer = await post(product, "/auth/login", email=GUEST, password=PASSWORD)
    assert answer.headers["location"] == "/overview/"
    assert not (await who_is(product)).lacks_factor, "their own, which asks for nothing"
    assert (await new_key(product)).status_code == 201


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/auth/password", {"password": PASSWORD, "new_password": "a quite different lamp 77"}),
        ("/auth/email", {"password": PASSWORD, "email": "bobby@example.com"}),
        ("/auth/logout-everywhere", {"sure": "yes"}),
        ("/auth/logout", {}),
    ],
)
async def test_their_own_account_is_theirs_meanwhile(product: Running, path: str, form: dict[str, str]) -> None:
    await asking_team(product)
    answer = await post(product, path, **form)
    assert answer.status_code == 303
    good = {"password", "email_changed", "everywhere", ""}
    assert said(answer) in good


async def test_another_team_of_theirs_is_unaffected(product: Running) -> None:
    await asking_team(product)
    who = await who_is(product)
    async with product.services.database.session() as session:
        own = [org_id for org_id, _ in await teams.orgs_of(session, user_id=who.user_id) if org_id != who.org_id]
        await teams.act_for(session, who=who, org_id=own[0])
        await session.commit()
    assert (await new_key(product)).status_code == 201


@pytest.mark.parametrize("way", ["left", "removed", "not asked any more", "deleted"])
async def test_whoever_is_out_of_the_team_or_not_asked_any_more_goes_on(product: Running, way: str) -> None:
    team = await asking_team(product)
    guest = await who_is(product)
    be(product, team.owner)
    owner = await who_is(product)
    async with product.services.database.session() as session:
        if way == "not asked any more":
            await teams.ask_for_factor(session, who=owner, wanted=False)
        elif way == "deleted":
            await teams.delete_org(session, who=owner)
        else:
            await teams.remove(session, who=guest if way == "left" else owner, user_id=guest.user_id)
        await session.commit()
    be(product, team.member)
    assert (await new_key(product)).status_code == 201
    secret, _ = await turn_on(product)
    off = await post(product, "/auth/second-factor/off", password=PASSWORD, code=code_of(secret, later=1))
    assert said(off) == "second_factor_off"


async def test_ones_own_factor_stays_on_while_a_team_of_theirs_asks(product: Running) -> None:
    team = await asking_team(product)
    secret, _ = await turn_on(product)
    who = await who_is(product)
    form = {"password": PASSWORD, "code": code_of(secret, later=1)}
    assert said(await post(product, "/auth/second-factor/off", **form)) == "team_asks"
    async with product.services.database.session() as session:  # acting for the other one changes nothing
        own = [org_id for org_id, _ in await teams.orgs_of(session, user_id=who.user_id) if org_id != who.org_id]
        await teams.act_for(session, who=who, org_id=own[0])
        await session.commit()
    assert said(await post(product, "/auth/second-factor/off", **form)) == "team_asks"
    async with product.services.database.session() as session:
        with pytest.raises(TeamAsks, match="leave that team, or have an owner not ask") as refusal:
            await second_factors.refuse_where_asked(session, user_id=who.user_id)
    assert (refusal.value.status, refusal.value.code) == (409, "conflict")
    be(product, team.owner)
    await ask(product, wanted=False)
    be(product, team.member)
    product.services.limiter = MemoryLimiter()
    assert said(await post(product, "/auth/second-factor/off", **form)) == "second_factor_off", "the code is unused"


async def test_whose_lost_factor_is_off_sets_up_a_new_one(product: Running) -> None:
    team = await asking_team(product)
    be(product, team.owner)
    owner = await who_is(product)
    async with product.services.database.session() as session:
        assert await second_factors.turn_off(session, user_id=owner.user_id)
        await session.commit()
    assert code(await new_key(product)) == WANTED, "the last owner too"
    assert code(await post(product, "/auth/delete", password=PASSWORD, org_name="Analytical Engines")) == WANTED
    await turn_on(product)
    assert (await new_key(product)).status_code == 201


async def test_the_teams_keys_work_as_before(product: Running) -> None:
    team = await asking_team(product)
    be(product, team.owner)
    key, owner = (await new_key(product)).json()["key"], await who_is(product)
    async with product.services.database.session() as session:
        await second_factors.turn_off(session, user_id=owner.user_id)
        await session.commit()
    product.client.cookies.clear()
    assert (await product.post("/v1/chat", HELLO, key=key)).status_code == 200


async def test_a_refusal_is_in_the_security_log_with_who_it_was(
    product: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    await asking_team(product)
    monkeypatch.setattr(product.services.security, "tell", told.append)
    await new_key(product)
    who = await who_is(product)
    (line,) = told
    assert (line.event, line.outcome, line.reason, line.about) == (
        "permission_denied", "refused", "second_factor_wanted", "/auth/keys",
    )  # fmt: skip
    assert (line.user_id, line.org_id) == (str(who.user_id), str(who.org_id))


async def test_an_org_of_the_version_before_asks_for_nothing(product: Running) -> None:
    await sign_up(product)
    async with product.services.database.session() as session:
        org = await session.get(Org, (await who_is(product)).org_id)
        assert org is not None and org.asks_second_factor is False
