"""The parts of the settings page about one's own account: signed-in browsers and the second factor."""

from typing import Any

import reflex as rx

from omni_app.ui.components.basics import NativeForm, badge, card, copy_button, moment
from omni_app.ui.components.table import data_table
from omni_app.ui.pages.account_state import AccountState
from omni_app.ui.pages.settings_state import SettingsState


def browsers() -> rx.Component:
    """Where this person is logged in."""
    table = data_table(
        AccountState.places,
        [
            ("Browser", _browser),
            ("Address", lambda row: rx.el.code(row["address"])),
            ("Logged in", lambda row: moment(row["since"], row["since_text"])),
            ("Last seen", lambda row: moment(row["seen"], row["seen_text"])),
            ("#Change", _log_out),
        ],
        caption="Where you are logged in",
    )
    return card(
        rx.cond(AccountState.ended != "", rx.el.p(AccountState.ended, class_name="notice", role="status")),
        table,
        title="Where you are logged in",
        class_name="stack tight",
    )


def _browser(row: Any) -> rx.Component:
    return rx.el.span(row["browser"], " ", rx.cond(row["here"] != "", badge(row["here"]), ""))


def _log_out(row: Any) -> rx.Component:
    return rx.el.button(
        "Log out", type="button", class_name="button small", on_click=AccountState.end_session(row["id"])
    )


def second_factor() -> rx.Component:
    """Turns the second factor on or off. What is secret in between is the static script's."""
    return card(
        rx.cond(AccountState.factor_on, _on(), _off()),
        _problem(),
        _recovery(),
        rx.el.button(
            "Read again", type="button", hidden=True, on_click=[SettingsState.load, AccountState.load],
            custom_attrs={"data-refresh-account": ""},
        ),
        title="Second factor",
        class_name="stack tight",
    )  # fmt: skip


def _off() -> rx.Component:
    begin = NativeForm.create(
        rx.el.p("With a code from an authenticator app a log-in needs more than your password.", class_name="soft"),
        _password("factor-password"),
        rx.el.button("Set up", type="submit", class_name="button"),
        class_name="form",
        custom_attrs={"data-factor-begin": ""},
    )
    confirm = NativeForm.create(
        rx.el.p("Scan this with your app, or type the text into it. It is shown only now."),
        rx.el.img(alt="QR code for your authenticator app", class_name="qr", custom_attrs={"data-factor-qr": ""}),
        rx.el.div(
            rx.el.code("", id="factor-secret", class_name="wrap", custom_attrs={"data-factor-secret": ""}),
            copy_button("factor-secret", label="Copy text"),
            class_name="row",
        ),
        _field("The code that your app shows", "factor-code", "code", kind="text", autocomplete="one-time-code"),
        rx.el.button("Turn on", type="submit", class_name="button primary"),
        class_name="form secret",
        hidden=True,
        custom_attrs={"data-factor-confirm": ""},
    )
    return rx.fragment(begin, confirm)


def _on() -> rx.Component:
    form = NativeForm.create(
        _password("off-password"),
        _field("A code of now, or a recovery code", "off-code", "code", kind="text", autocomplete="one-time-code"),
        rx.el.button("Turn off", type="submit", class_name="button danger"),
        action="/auth/second-factor/off",
        method="post",
        class_name="form",
    )
    return rx.fragment(
        rx.el.p("On. A log-in asks for a code. Recovery codes left: ", AccountState.recovery_left, "."),
        rx.el.details(rx.el.summary("Turn it off, or begin anew"), form),
    )


def _password(element: str) -> rx.Component:
    return _field("Your current password", element, "password", kind="password", autocomplete="current-password")


def _field(label: str, element: str, name: str, *, kind: str, autocomplete: str) -> rx.Component:
    field = rx.el.input(
        id=element, name=name, type=kind, class_name="input", auto_complete=autocomplete, required=True, max_length=128
    )
    return rx.el.div(rx.el.label(label, html_for=element), field, class_name="field")


def _problem() -> rx.Component:
    return rx.el.p(
        "", class_name="notice", role="alert", hidden=True,
        custom_attrs={"data-factor-problem": "", "data-tone": "bad"},
    )  # fmt: skip


def _recovery() -> rx.Component:
    """Outside of what changes when the factor is on: the codes stay until the page is left."""
    return rx.el.div(
        rx.el.strong("The second factor is on. Keep these recovery codes; they are shown only now."),
        rx.el.p("Each one stands in for your app once. Your other browsers are logged out.", class_name="soft small"),
        rx.el.pre("", id="recovery-codes", class_name="codes", custom_attrs={"data-factor-recovery": ""}),
        copy_button("recovery-codes", label="Copy codes"),
        class_name="secret stack tight",
        hidden=True,
        custom_attrs={"data-factor-recovery-box": "", "role": "status"},
    )
