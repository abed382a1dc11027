"""Settings: the team, its baseline, its prompts and members; one's own account; the end of it all."""

from typing import Any

import reflex as rx

from omni_app.gateway.comparison import MOST_COMPARISONS
from omni_app.storage.accounts import OWNER
from omni_app.storage.retention import DELETED_ORGS_KEPT
from omni_app.ui.components.basics import NativeForm, badge, card, copy_button, moment, question
from omni_app.ui.components.shell import app_page
from omni_app.ui.components.table import data_table
from omni_app.ui.pages import account
from omni_app.ui.pages.settings_state import DAYS, PATH, SettingsState


def page() -> rx.Component:
    """Team, baseline, prompts, members, you, danger."""
    return app_page(
        rx.cond(SettingsState.done != "", rx.el.p(SettingsState.done, class_name="notice", role="status")),
        rx.cond(SettingsState.lacks_factor, _asked(), _of_the_team()),
        rx.cond(SettingsState.orgs.length() > 0, _other_teams()),
        rx.el.div(rx.el.div(_password(), _email(), class_name="stack"), account.second_factor(), class_name="two"),
        account.browsers(),
        rx.cond(SettingsState.lacks_factor, _leave(), _danger()),
        path=PATH,
        title="Settings",
        lead="What holds for the whole team, who is in it, and your own account.",
        loaded=SettingsState.loaded,
    )


def _of_the_team() -> rx.Component:
    return rx.el.div(
        rx.cond(
            SettingsState.owner,
            rx.fragment(),
            rx.el.p("You are a member: an owner of the team can change what is greyed out.", class_name="notice"),
        ),
        rx.el.div(rx.el.div(_team(), _baseline(), class_name="stack"), _prompts(), class_name="two"),
        _members(),
        _provider_keys(),
        class_name="stack",
    )


def _asked() -> rx.Component:
    """What stands in the team's place for whoever lacks the second factor that it asks for."""
    return rx.el.p(
        "«", SettingsState.org_name, "» asks for a second factor. Set it up to go on.",
        class_name="notice", role="status", custom_attrs={"data-tone": "warn"},
    )  # fmt: skip


def _leave() -> rx.Component:
    return card(
        rx.el.details(
            rx.el.summary("Leave this team"),
            rx.el.p("An owner of the team has to invite you again if you want to come back."),
            rx.el.p("If you are in no other team, your next log-in gives you an empty one of your own."),
            rx.el.button("Leave the team", type="button", class_name="button danger", on_click=SettingsState.leave),
        ),
        title="The end",
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
    asks = rx.el.select(
        rx.el.option("No", value="no"),
        rx.el.option("Yes", value="yes"),
        id="asks-factor",
        value=rx.cond(SettingsState.asks_factor, "yes", "no"),
        on_change=SettingsState.ask_for_factor,
        disabled=~SettingsState.owner,
    )
    hint = (
        "Whoever has none is led to set it up, and until then sees nothing of the team and does nothing for it. "
        "API keys are the team's and work as before. You need one of your own first."
    )
    asking = _labelled("Members need a second factor", asks, name="asks-factor", hint=hint)
    return card(form, asking, title="Team", class_name="stack tight")


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
            ("Role", _role),
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


def _role(row: Any) -> rx.Component:
    return rx.el.span(row["role"], " ", rx.cond(row["factor"] != "", badge(row["factor"]), ""))


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
        "Take ", rx.el.strong(SettingsState.leaving_name), " out of the team? Their keys stay as they are. ",
        "Without another team their next log-in gives them an empty one of their own.",
        about=SettingsState.leaving, yes=("Yes", SettingsState.take_out), no=("No", SettingsState.keep),
        label="Take this person out?",
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


def _provider_keys() -> rx.Component:
    key = rx.el.input(
        id="provider-key", name="key", type="password", class_name="input", auto_complete="off", required=True,
        min_length=8, max_length=512, disabled=~SettingsState.owner,
    )  # fmt: skip
    provider = rx.el.select(
        rx.foreach(SettingsState.keyed_providers, lambda name: rx.el.option(name, value=name)),
        id="key-provider",
        name="provider",
        disabled=~SettingsState.owner,
    )
    hint = (
        "Live requests of your team to that provider go out with this key, and it bills you for them. The key is kept "
        "sealed, for this team and this server's address of the provider alone, and is never shown again."
    )
    form = NativeForm.create(
        _labelled("Provider", provider, name="key-provider"),
        _labelled("Key", key, name="provider-key", hint=hint),
        rx.el.button("Keep this key", type="submit", class_name="button", disabled=~SettingsState.owner),
        action="/auth/provider-keys",
        method="post",
        class_name="form",
    )
    return card(
        rx.cond(SettingsState.provider_keys.length() > 0, _kept_provider_keys()),
        form,
        title="Provider keys of your own",
        class_name="stack tight",
    )


def _kept_provider_keys() -> rx.Component:
    return data_table(
        SettingsState.provider_keys,
        [
            ("Provider", lambda row: row["provider"]),
            ("Key", lambda row: rx.el.code(row["last4"])),
            ("State", lambda row: row["state"]),
            ("Entered by", lambda row: row["by"]),
            ("Since", lambda row: moment(row["since"], row["since_text"])),
            (
                "#Change",
                lambda row: rx.el.button(
                    "Delete", type="button", class_name="button small",
                    on_click=SettingsState.forget_provider_key(row["provider"]), disabled=~SettingsState.owner,
                ),
            ),
        ],
        caption="Provider keys of your own",
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
