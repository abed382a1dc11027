"""Settings: the team, its baseline, its prompts and members; one's own account; the end of it all.

Passwords and invitation links go by native forms to `/auth/*` (`omni_app.api.team`), never through this state.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import reflex as rx
from pydantic import StringConstraints

from omni_app.errors import InvalidRequest
from omni_app.gateway.comparison import MOST_COMPARISONS, check_comparisons, comparable_models
from omni_app.storage import org_settings, teams
from omni_app.storage.accounts import MEMBER, OWNER, Identity
from omni_app.storage.retention import DELETED_ORGS_KEPT
from omni_app.ui import text
from omni_app.ui.components.basics import NativeForm, Row, badge, card, copy_button, moment, question
from omni_app.ui.components.shell import app_page
from omni_app.ui.components.table import data_table
from omni_app.ui.session import AppState, authed, backstage

PATH = "/settings/"
SAID = {
    "password": "Your password is changed. Every other browser is logged out.",
    "email_changed": "Your e-mail address is changed. Log in with it from now on.",
    "invited": "The link below lets one person join. It is shown only now, and works for a week.",
}
WRONG = {
    "wrong": "That is not your current password. Nothing was changed.",
    "weak": "Choose a longer password: 12 to 128 characters, not a common one, not your e-mail address.",
    "taken": "There is another account with that e-mail address.",
    "owners": "Only an owner of the team may do that.",
    "conflict": "That is not possible: the last owner has to stay, and accounts at Supabase are changed there.",
    "gone": "That link or person is not there any more. Ask for another invitation.",
    "name": "The team's name was not typed as it is. Nothing was deleted.",
    "slow_down": "Too many tries. Wait five minutes, then try again.",
    "wrong_input": "That could not be read. Check what you typed.",
}
DAYS = {"0": "Do not store them", "7": "For 7 days", "30": "For 30 days", "90": "For 90 days"}
Name = Annotated[str, StringConstraints(max_length=60)]
ModelId = Annotated[str, StringConstraints(max_length=200)]
Id = Annotated[str, StringConstraints(pattern="^[0-9a-f-]{36}$")]
Place = Literal["0", "1", "2"]
"""Of a model to compare with."""
Days = Literal["0", "7", "30", "90"]
Role = Literal["owner", "member"]


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
    people: list[Row] = []
    invitations: list[Row] = []
    orgs: list[Row] = []
    done: str = ""
    leaving: str = ""
    """Id of the person who is about to be taken out."""
    leaving_name: str = ""

    @rx.event
    @authed
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
        if user_id == str(who.user_id):
            return rx.redirect("/overview/")
        await self._read(who)
        return None

    @rx.event
    @authed
    async def take_back(self, who: Identity, /, invitation_id: Id) -> None:
        """Ends an open invitation."""
        async with backstage.services.database.reading() as session:
            await teams.take_back(session, who=who, invitation_id=UUID(invitation_id))
            await session.commit()
        await self._read(who)

    @rx.event
    @authed
    async def switch_team(self, who: Identity, /, org_id: Id) -> Any:
        """Shows another team of this person."""
        async with backstage.services.database.reading() as session:
            await teams.act_for(session, who=who, org_id=UUID(org_id))
            await session.commit()
        (await self.get_state(AppState)).reset()
        return rx.redirect("/overview/")

    async def _read(self, who: Identity) -> None:
        async with backstage.services.database.reading() as session:
            now = await org_settings.read_settings(session, org_id=who.org_id)
            people = await teams.members(session, org_id=who.org_id)
            invitations = await teams.open_invitations(session, org_id=who.org_id)
            orgs = await teams.orgs_of(session, user_id=who.user_id)
        self.owner = who.is_owner
        self.name, self.baseline, self.days = now.name, now.premium_model, str(now.keep_prompts_days)
        self.models = _baselines()
        self.others, self.comparable = _places(now.comparisons), _comparable()
        self.people = [_person(one, who) for one in people]
        self.invitations = [_invitation(one) for one in invitations]
        others = [(org_id, name) for org_id, name in orgs if org_id != who.org_id]
        self.orgs = [{"id": str(org_id), "name": name} for org_id, name in others]
        self.loaded = True


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
    }


def _invitation(one: teams.OpenInvitation) -> Row:
    return {
        "id": str(one.id),
        "role": one.role,
        "by": one.invited_by,
        "until": text.instant(one.expires_at),
        "until_text": text.utc_text(one.expires_at),
    }


def page() -> rx.Component:
    """Team, baseline, prompts, members, you, danger."""
    return app_page(
        rx.cond(SettingsState.done != "", rx.el.p(SettingsState.done, class_name="notice", role="status")),
        rx.cond(
            SettingsState.owner,
            rx.fragment(),
            rx.el.p("You are a member: an owner of the team can change what is greyed out.", class_name="notice"),
        ),
        rx.el.div(rx.el.div(_team(), _baseline(), class_name="stack"), _prompts(), class_name="two"),
        _members(),
        rx.cond(SettingsState.orgs.length() > 0, _other_teams()),
        rx.el.div(_password(), _email(), class_name="two"),
        _danger(),
        path=PATH,
        title="Settings",
        lead="What holds for the whole team, who is in it, and your own account.",
        loaded=SettingsState.loaded,
    )


def _labelled(label: str, field: rx.Component, *, name: str, hint: str = "") -> rx.Component:
    note = rx.el.span(hint, id=f"{name}-hint", class_name="hint") if hint else rx.fragment()
    return rx.el.div(rx.el.label(label, html_for=name), field, note, class_name="field")


def _input(name: str, *, kind: str = "text", **attrs: Any) -> rx.Component:
    return rx.el.input(id=name, name=name, type=kind, class_name="input", required=True, **attrs)


def _password_now(name: str) -> rx.Component:
    field = rx.el.input(
        id=name, name="password", type="password", class_name="input", auto_complete="current-password",
        required=True, max_length=128,
    )  # fmt: skip
    return _labelled("Your current password", field, name=name)


def _team() -> rx.Component:
    field = rx.el.input(
        id="team-name", name="name", class_name="input", default_value=SettingsState.name, key=SettingsState.name,
        required=True, max_length=60, disabled=~SettingsState.owner,
    )  # fmt: skip
    form = rx.el.form(
        _labelled("Name", field, name="team-name"),
        rx.el.button("Rename", type="submit", class_name="button", disabled=~SettingsState.owner),
        on_submit=SettingsState.rename,
        class_name="form",
    )
    return card(form, title="Team")


def _baseline() -> rx.Component:
    field = rx.el.select(
        rx.el.option("This server's baseline", value=""),
        rx.foreach(SettingsState.models, lambda model: rx.el.option(model, value=model)),
        id="baseline",
        value=SettingsState.baseline,
        on_change=SettingsState.choose_baseline,
        disabled=~SettingsState.owner,
    )
    hint = "Savings say what the same tokens would have cost with this model. Past requests keep the one of their time."
    further = rx.el.div(
        rx.el.span("Compare with", class_name="label", id="comparisons"),
        *(_comparison(place) for place in range(MOST_COMPARISONS)),
        rx.el.span(
            "Overview and the usage report also say what the same tokens would cost with these, at today's prices.",
            class_name="hint",
        ),
        class_name="field",
        role="group",
        custom_attrs={"aria-labelledby": "comparisons"},
    )
    return card(
        _labelled("Measure savings against", field, name="baseline", hint=hint),
        further,
        title="Baseline",
        class_name="stack tight",
    )


def _comparison(place: int) -> rx.Component:
    return rx.el.select(
        rx.el.option("None", value=""),
        rx.foreach(SettingsState.comparable, lambda model: rx.el.option(model, value=model)),
        id=f"comparison-{place + 1}",
        value=SettingsState.others[place],
        on_change=lambda model: SettingsState.choose_comparison(str(place), model),
        disabled=~SettingsState.owner,
        custom_attrs={"aria-label": f"Model {place + 1} to compare with"},
    )


def _prompts() -> rx.Component:
    field = rx.el.select(
        *(rx.el.option(label, value=value) for value, label in DAYS.items()),
        id="prompt-days",
        value=SettingsState.days,
        on_change=SettingsState.choose_days,
        disabled=~SettingsState.owner,
    )
    hint = (
        "Stored prompts can be copied and run again from a request's page. They are kept encrypted, seen by your team "
        "only, and deleted after that time. Switching it off deletes them at once."
    )
    return card(_labelled("Store prompts and answers", field, name="prompt-days", hint=hint), title="Prompts")


def _members() -> rx.Component:
    table = data_table(
        SettingsState.people,
        [
            ("E-mail", lambda row: rx.el.span(row["email"], " ", rx.cond(row["you"] != "", badge(row["you"]), ""))),
            ("Role", lambda row: row["role"]),
            ("Joined", lambda row: moment(row["joined"], row["joined_text"])),
            ("#Change", _person_actions),
        ],
        caption="Members of the team",
    )
    return card(
        table,
        rx.cond(SettingsState.leaving != "", _question()),
        rx.cond(SettingsState.owner, _inviting()),
        rx.cond(SettingsState.invitations.length() > 0, _invitations()),
        title="Members",
        class_name="stack tight",
    )


def _person_actions(row: Any) -> rx.Component:
    def small(label: Any, event: Any, *, off: Any) -> rx.Component:
        return rx.el.button(label, type="button", class_name="button small", on_click=event, disabled=off)

    return rx.el.div(
        small(
            rx.cond(row["role"] == OWNER, "Make a member", "Make an owner"),
            SettingsState.give_role(row["id"], row["other_role"]),
            off=~SettingsState.owner,
        ),
        small(
            rx.cond(row["you"] != "", "Leave", "Take out"),
            SettingsState.ask(row["id"]),
            off=~SettingsState.owner & (row["you"] == ""),
        ),
        class_name="row end",
    )


def _question() -> rx.Component:
    return question(
        "Take ", rx.el.strong(SettingsState.leaving_name), " out of the team? Their keys stay as they are.",
        yes=("Yes", SettingsState.take_out), no=("No", SettingsState.keep), label="Take this person out?",
    )  # fmt: skip


def _inviting() -> rx.Component:
    form = NativeForm.create(
        rx.el.label("Invite as", html_for="invite-role"),
        rx.el.select(
            rx.el.option("member", value="member"), rx.el.option("owner", value="owner"), id="invite-role", name="role"
        ),
        rx.el.button("Make a link", type="submit", class_name="button"),
        action="/auth/invitations",
        method="post",
        class_name="row",
    )
    link = rx.el.div(
        rx.el.strong("Send this link to one person; it is shown only now."),
        rx.el.div(
            rx.el.code("", id="invite-link", class_name="wrap", custom_attrs={"data-invite-link": ""}),
            copy_button("invite-link", label="Copy link"),
            class_name="row",
        ),
        class_name="secret",
        hidden=True,
        custom_attrs={"data-invite-box": "", "role": "status"},
    )
    return rx.el.div(form, link, class_name="stack tight")


def _invitations() -> rx.Component:
    return data_table(
        SettingsState.invitations,
        [
            ("Open invitation", lambda row: row["role"]),
            ("Made by", lambda row: row["by"]),
            ("Works until", lambda row: moment(row["until"], row["until_text"])),
            (
                "#Change",
                lambda row: rx.el.button(
                    "Take back", type="button", class_name="button small",
                    on_click=SettingsState.take_back(row["id"]), disabled=~SettingsState.owner,
                ),
            ),
        ],
        caption="Open invitations",
    )  # fmt: skip


def _other_teams() -> rx.Component:
    return card(
        data_table(
            SettingsState.orgs,
            [
                ("Team", lambda row: row["name"]),
                (
                    "#Show",
                    lambda row: rx.el.button(
                        "Switch to it",
                        type="button",
                        class_name="button small",
                        on_click=SettingsState.switch_team(row["id"]),
                    ),
                ),
            ],
            caption="Your other teams",
        ),
        title="Your other teams",
    )


def _password() -> rx.Component:
    new = rx.el.input(
        id="new-password", name="new_password", type="password", class_name="input", auto_complete="new-password",
        required=True, min_length=12, max_length=128,
    )  # fmt: skip
    form = NativeForm.create(
        _password_now("password-now"),
        _labelled("New password", new, name="new-password", hint="At least 12 characters."),
        rx.el.button("Change password", type="submit", class_name="button"),
        action="/auth/password",
        method="post",
        class_name="form",
    )
    everywhere = NativeForm.create(
        rx.el.button("Log out everywhere", type="submit", class_name="button quiet"),
        action="/auth/logout-everywhere",
        method="post",
    )
    return card(form, everywhere, title="Your password", class_name="stack tight")


def _email() -> rx.Component:
    new = rx.el.input(
        id="new-email", name="email", type="email", class_name="input", auto_complete="email", required=True,
        max_length=254, placeholder=SettingsState.email,
    )  # fmt: skip
    form = NativeForm.create(
        _labelled("New e-mail address", new, name="new-email"),
        _password_now("password-for-email"),
        rx.el.button("Change address", type="submit", class_name="button"),
        action="/auth/email",
        method="post",
        class_name="form",
    )
    return card(form, title="Your e-mail address")


def _danger() -> rx.Component:
    name = rx.el.input(id="delete-name", name="org_name", class_name="input", required=True, auto_complete="off")
    form = NativeForm.create(
        rx.el.p(
            "All keys of ",
            rx.el.strong(SettingsState.name),
            " are refused at once, everybody is logged out, and after ",
            f"{DELETED_ORGS_KEPT.days} days its requests, figures and prompts are deleted for good. "
            "People who are in no other team lose their account.",
        ),
        _labelled("Type the team's name", name, name="delete-name"),
        _password_now("password-for-delete"),
        rx.el.button("Delete the team", type="submit", class_name="button danger", disabled=~SettingsState.owner),
        action="/auth/delete",
        method="post",
        class_name="form",
    )
    return card(rx.el.details(rx.el.summary("Delete this team and its data"), form), title="The end")
