"""The settings' state: what the team has set, and who is in it.

Passwords and invitation links go by native forms to `/auth/*` (`omni_app.api.team`), never through this state.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import reflex as rx
from pydantic import StringConstraints

from omni_app.errors import InvalidRequest
from omni_app.gateway.comparison import MOST_COMPARISONS, check_comparisons, comparable_models
from omni_app.providers.catalog import base_url_of
from omni_app.storage import org_settings, provider_keys, teams
from omni_app.storage.accounts import MEMBER, OWNER, Identity
from omni_app.storage.provider_keys import ShownKey
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.session import AppState, authed, backstage, for_self, note

PATH = "/settings/"
SAID = {
    "password": "Your password is changed. Every other browser is logged out.",
    "email_changed": "Your e-mail address is changed. Log in with it from now on.",
    "provider_key": "Your key is kept, sealed. The next live request to that provider goes out with it.",
    "second_factor_off": "Your second factor is off. A log-in needs your password alone.",
    "invited": "The link below lets one person join. It is shown only now, and works for a week, if you stay an owner.",
}
WRONG = {
    "wrong": "That is not your current password. Nothing was changed.",
    "code": "That code is wrong, or was used before. Nothing was changed.",
    "weak": "Choose another password: 12 to 128 characters, no common or leaked one, not made of your address or team.",
    "taken": "There is another account with that e-mail address.",
    "owners": "Only an owner of the team may do that.",
    "conflict": "That is not possible: the last owner has to stay, and accounts at Supabase are changed there.",
    "team_asks": "A team of yours asks for a second factor: leave that team, or have an owner not ask any more.",
    "gone": "That link or person is not there any more. Ask for another invitation.",
    "name": "The team's name was not typed as it is. Nothing was deleted.",
    "slow_down": "Too many tries. Wait a minute, then try again; after many tries the wait grows.",
    "away": "That could not be done now. Try again in a moment.",
    "wrong_input": "That could not be read. Check what you typed.",
}
FACTOR = {True: "second factor", False: "no second factor"}
DAYS = {"0": "Do not store them", "7": "For 7 days", "30": "For 30 days", "90": "For 90 days"}
Name = Annotated[str, StringConstraints(max_length=60)]
ModelId = Annotated[str, StringConstraints(max_length=200)]
ProviderName = Annotated[str, StringConstraints(max_length=50)]
Id = Annotated[str, StringConstraints(pattern="^[0-9a-f-]{36}$")]
Place = Literal["0", "1", "2"]
"""Of a model to compare with."""
Days = Literal["0", "7", "30", "90"]
Role = Literal["owner", "member"]
YesOrNo = Literal["yes", "no"]


class SettingsState(AppState):
    """What the team has set, and who is in it."""

    loaded: bool = False
    owner: bool = False
    name: str = ""
    baseline: str = ""
    models: list[str] = []
    others: list[str] = [""] * MOST_COMPARISONS
    """The models to compare with, one a place; "" = none."""
    comparable: list[str] = []
    days: str = "0"
    asks_factor: bool = False
    """Whether the team asks its members for a second factor."""
    lacks_factor: bool = False
    """It does, and this person has none: of the team nothing but its name is here."""
    people: list[Row] = []
    invitations: list[Row] = []
    orgs: list[Row] = []
    provider_keys: list[Row] = []
    keyed_providers: list[str] = []
    """Those that a key can be entered for."""
    done: str = ""
    leaving: str = ""
    """Id of the person who is about to be taken out."""
    leaving_name: str = ""

    @rx.event
    @for_self
    async def load(self, who: Identity, /) -> None:
        """Reads everything."""
        code = self.router.url.query_parameters.get("said", "")
        self.done, self.problem, self.leaving = SAID.get(code, ""), WRONG.get(code, ""), ""
        await self._read(who)

    @rx.event
    @authed
    async def rename(self, who: Identity, /, form: dict[str, Name]) -> None:
        """Another name for the team."""
        teams.refuse_all_but_owners(who)
        async with backstage.services.database.reading() as session:
            await org_settings.rename_org(session, org_id=who.org_id, name=form.get("name", ""))
            await session.commit()
        self.org_name = self.name = form.get("name", "").strip()
        self.done = "The team has its new name."

    @rx.event
    @authed
    async def choose_baseline(self, who: Identity, /, model: ModelId) -> None:
        """Which model savings are measured against."""
        teams.refuse_all_but_owners(who)
        if model and model not in _baselines():
            raise InvalidRequest("that model is not in this server's catalogue")
        async with backstage.services.database.reading() as session:
            await org_settings.set_baseline(session, org_id=who.org_id, model_id=model)
            await session.commit()
        self.baseline = model
        self.done = "From the next request on, savings are measured against that."

    @rx.event
    @authed
    async def choose_comparison(self, who: Identity, /, place: Place, model: ModelId) -> None:
        """Which model the team compares with at this place; "" = none."""
        teams.refuse_all_but_owners(who)
        registry = backstage.services.gateway.registry
        async with backstage.services.database.reading() as session:
            now = await org_settings.read_settings(session, org_id=who.org_id)
            kept = [one if registry.get(one) else "" for one in _places(now.comparisons)]
            kept[int(place)] = model
            models = [one for one in kept if one]
            check_comparisons(models, registry)
            await org_settings.set_comparisons(session, org_id=who.org_id, models=models)
            await session.commit()
        self.others = _places(models)
        self.done = "Overview and the usage report compare with these, for past requests too."

    @rx.event
    @authed
    async def choose_days(self, who: Identity, /, days: Days) -> None:
        """How long prompts are kept."""
        teams.refuse_all_but_owners(who)
        async with backstage.services.database.reading() as session:
            await org_settings.set_prompt_days(session, org_id=who.org_id, days=int(days))
            await session.commit()
        self.days = days
        self.done = (
            "Prompts and answers are stored from the next request on."
            if int(days)
            else "Nothing is stored any more, and what was stored is deleted."
        )

    @rx.event
    @authed
    async def give_role(self, who: Identity, /, user_id: Id, role: Role) -> None:
        """Makes somebody an owner or a member."""
        async with backstage.services.database.reading() as session:
            await teams.set_role(session, who=who, user_id=UUID(user_id), role=role)
            await session.commit()
        note(self, who, "role_given", about=user_id)
        await self._read(who)

    @rx.event
    @authed
    async def ask(self, who: Identity, /, user_id: Id) -> None:
        """Asks before somebody is taken out."""
        named = [row["email"] for row in self.people if row["id"] == user_id]
        if named:
            self.leaving, self.leaving_name = user_id, named[0]

    @rx.event
    @authed
    async def keep(self, who: Identity, /) -> None:
        """Takes nobody out after all."""
        self.leaving = ""

    @rx.event
    @authed
    async def take_out(self, who: Identity, /) -> Any:
        """Takes the person out who was asked about."""
        user_id, self.leaving = self.leaving, ""
        if not user_id:
            return None
        async with backstage.services.database.reading() as session:
            await teams.remove(session, who=who, user_id=UUID(user_id))
            await session.commit()
        note(self, who, "member_removed", about=user_id)
        if user_id == str(who.user_id):
            (await self.get_state(AppState)).reset()
            return rx.redirect("/overview/")
        await self._read(who)
        return None

    @rx.event
    @authed
    async def forget_provider_key(self, who: Identity, /, provider: ProviderName) -> None:
        """Requests to that provider go out with the server's key again."""
        teams.refuse_all_but_owners(who)
        async with backstage.services.database.reading() as session:
            await provider_keys.forget_provider_key(session, org_id=who.org_id, provider=provider)
            await session.commit()
        note(self, who, "provider_key_deleted", about=provider)
        await self._read(who)
        self.done = "Your key is deleted."

    @rx.event
    @authed
    async def take_back(self, who: Identity, /, invitation_id: Id) -> None:
        """Ends an open invitation."""
        async with backstage.services.database.reading() as session:
            await teams.take_back(session, who=who, invitation_id=UUID(invitation_id))
            await session.commit()
        note(self, who, "invitation_taken_back", about=invitation_id)
        await self._read(who)

    @rx.event
    @authed
    async def ask_for_factor(self, who: Identity, /, wanted: YesOrNo) -> None:
        """Whether the team's members need a second factor."""
        async with backstage.services.database.reading() as session:
            await teams.ask_for_factor(session, who=who, wanted=wanted == "yes")
            await session.commit()
        note(self, who, "second_factor_asked" if wanted == "yes" else "second_factor_not_asked")
        self.asks_factor = wanted == "yes"
        self.done = (
            "Whoever has no second factor sees nothing of the team until they set one up. Its keys work as before."
            if self.asks_factor
            else "Nobody needs a second factor for this team any more."
        )

    @rx.event
    @for_self
    async def leave(self, who: Identity, /) -> Any:
        """Out of the team that this person acts for."""
        async with backstage.services.database.reading() as session:
            await teams.remove(session, who=who, user_id=who.user_id)
            await session.commit()
        note(self, who, "member_removed", about=who.user_id)
        (await self.get_state(AppState)).reset()
        return rx.redirect("/overview/")

    @rx.event
    @for_self
    async def switch_team(self, who: Identity, /, org_id: Id) -> Any:
        """Shows another team of this person."""
        async with backstage.services.database.reading() as session:
            await teams.act_for(session, who=who, org_id=UUID(org_id))
            await session.commit()
        (await self.get_state(AppState)).reset()
        return rx.redirect("/overview/")

    async def _read(self, who: Identity) -> None:
        async with backstage.services.database.reading() as session:
            orgs = await teams.orgs_of(session, user_id=who.user_id)
        self.orgs = [{"id": str(org_id), "name": name} for org_id, name in orgs if org_id != who.org_id]
        self.owner, self.lacks_factor = who.is_owner, who.lacks_factor
        if not who.lacks_factor:
            await self._read_team(who)
        self.loaded = True

    async def _read_team(self, who: Identity) -> None:
        async with backstage.services.database.reading() as session:
            now = await org_settings.read_settings(session, org_id=who.org_id)
            people = await teams.members(session, org_id=who.org_id)
            invitations = await teams.open_invitations(session, org_id=who.org_id)
            own_keys = await provider_keys.shown_keys(session, org_id=who.org_id)
        self.name, self.baseline, self.days = now.name, now.premium_model, str(now.keep_prompts_days)
        self.asks_factor = now.asks_second_factor
        self.models = _baselines()
        self.others, self.comparable = _places(now.comparisons), _comparable()
        reached = {name: base_url_of(one) for name, one in backstage.services.providers.items()}
        self.provider_keys = [_provider_key(one, reached.get(one.provider, "")) for one in own_keys]
        self.keyed_providers = [name for name, base_url in reached.items() if base_url]
        self.people = [_person(one, who) for one in people]
        self.invitations = [_invitation(one) for one in invitations]


def _baselines() -> list[str]:
    """Every model that writes text, of both kinds of key."""
    registry = backstage.services.gateway.registry
    found = [one for kind in ("live", "test") for one in registry.serving(kind) if not one.makes_images]
    return [one.id for one in found]


def _comparable() -> list[str]:
    """Every model that a comparison can be made with, of both kinds of key."""
    registry = backstage.services.gateway.registry
    return [one.id for kind in ("live", "test") for one in comparable_models(registry, kind)]


def _places(models: Sequence[str]) -> list[str]:
    return [*models, *[""] * MOST_COMPARISONS][:MOST_COMPARISONS]


def _person(member: teams.Member, who: Identity) -> Row:
    return {
        "id": str(member.user_id),
        "email": member.email,
        "you": "you" if member.user_id == who.user_id else "",
        "role": member.role,
        "other_role": MEMBER if member.role == OWNER else OWNER,
        "joined": text.instant(member.joined_at),
        "joined_text": text.utc_text(member.joined_at),
        "factor": FACTOR[member.factor_on] if who.is_owner else "",
    }


def _provider_key(one: ShownKey, base_url: str) -> Row:
    return {
        "provider": one.provider,
        "last4": f"…{one.last4}",
        "by": one.entered_by,
        "since": text.instant(one.created_at),
        "since_text": text.utc_text(one.created_at),
        "state": "in use" if one.base_url == base_url else f"entered for {one.base_url}: not used",
    }


def _invitation(one: teams.OpenInvitation) -> Row:
    return {
        "id": str(one.id),
        "role": one.role,
        "by": one.invited_by,
        "until": text.instant(one.expires_at),
        "until_text": text.utc_text(one.expires_at),
    }
