"""Sign up and log in: native forms posted to `/auth/*`; this module only shows them and words their errors."""

from typing import Any

import reflex as rx

from omni_app.ui.components.basics import NativeForm, notice
from omni_app.ui.components.shell import public_page
from omni_app.ui.session import AppState, backstage, public

ERRORS = {
    "wrong": "This e-mail and password do not belong together. Check both and try again.",
    "taken": "There is an account with this e-mail address already. Log in instead.",
    "closed": "Nobody signs up here by themselves.",
    "weak": "Choose another password: 12 to 128 characters, no common or leaked one, not made of your address or team.",
    "email": "This does not look like an e-mail address. It should be like you@example.com.",
    "slow_down": "Too many tries from here. Wait a minute, then try again; after many tries the wait grows.",
    "confirm": "Open the link in the e-mail that was sent to you, then log in.",
    "everywhere": "You are logged out everywhere.",
    "deleted": "The team is deleted: its keys open nothing any more, and its data goes within a week.",
    "sent": "Look into your mail: a message is on its way to that address. Open the link in it.",
    "sent_reset": "If there is an account with that address, a message with a link is on its way to it.",
    "stale": "This link does not work: it is too old, was used, or was cut off. Ask for another one.",
    "wrong_confirm": "That is not the password that you chose when you signed up.",
    "confirmed": "There is an account with this address. Log in.",
    "reset_done": "Your password is changed, and you are logged out everywhere. Log in with the new one.",
    "no_mail": "This server sends no mail. Ask whoever runs it for a new password.",
    "code": "That code is wrong, or was used before. Wait for the next one in your app.",
    "wrong_lost": "That is not the password of the account that this link is for.",
    "factor_off": "Your second factor is off, and you are logged out everywhere. Log in with your password.",
    "too_late": "That took too long. Log in again.",
    "changed": "The password was changed meanwhile. Log in with the new one.",
    "ended": "Your session has ended. Log in again to go on.",
    "away": "The database does not answer right now. Wait a moment, then try again.",
}
"""Error code of the form's answer -> what to say."""
GOOD_NEWS = frozenset(
    {"sent", "sent_reset", "confirmed", "reset_done", "factor_off", "everywhere", "deleted", "confirm"}
)


class AuthState(AppState):
    """What the forms show besides their fields."""

    error: str = ""
    good: bool = False
    """Whether what is said is good news."""
    mails: bool = False
    """Whether this server sends mail."""
    elsewhere: bool = False
    """Whether Supabase keeps the passwords."""
    closed: bool = False
    """Whether nobody makes an account by themselves."""

    @rx.event
    @public
    async def load(self) -> None:
        """Reads the answer of the last try from the address."""
        settings = backstage.services.settings
        self.mails = bool(settings.smtp_url.get_secret_value()) and not settings.supabase_url
        self.elsewhere = bool(settings.supabase_url)
        self.closed = not settings.takes_sign_ups
        query = self.router.url.query_parameters
        self.error = ERRORS.get(query.get("error", ""), "")
        self.good = query.get("error", "") in GOOD_NEWS


def _field(label: str, name: str, *, kind: str, autocomplete: str, hint: str = "", **attrs: Any) -> rx.Component:
    described = {"aria-describedby": f"{name}-hint"} if hint else {}
    return rx.el.div(
        rx.el.label(label, html_for=name),
        rx.el.input(
            id=name,
            name=name,
            type=kind,
            class_name="input",
            auto_complete=autocomplete,
            custom_attrs=described,
            **attrs,
        ),
        rx.el.span(hint, id=f"{name}-hint", class_name="hint") if hint else rx.fragment(),
        class_name="field",
    )


def _email() -> rx.Component:
    return _field("E-mail", "email", kind="email", autocomplete="username", required=True, max_length=254)


def _after() -> rx.Component:
    """Where to go on afterwards: filled from the page's address when the form is sent, however soon that is."""
    return rx.el.input(type="hidden", name="next", value="", read_only=True, custom_attrs={"data-next": ""})


def _form(action: str, title: str, lead: str, *fields: rx.Component, submit: str) -> rx.Component:
    return rx.el.div(
        rx.el.div(rx.el.h1(title), rx.el.p(lead, class_name="lead")),
        rx.cond(
            AuthState.error != "",
            rx.cond(AuthState.good, notice(AuthState.error), notice(AuthState.error, tone="bad")),
        ),
        NativeForm.create(
            *fields,
            rx.el.button(submit, type="submit", class_name="button primary wide"),
            action=action,
            method="post",
            class_name="form card",
            custom_attrs={"data-in-place": ""},
        ),
        class_name="stack",
    )


def signup() -> rx.Component:
    """A new account, with an org of its own."""
    form = _form(
        "/auth/signup",
        "Create your account",
        "Free. A test key that costs nothing is waiting on the next page.",
        _email(),
        _field(
            "Password", "password", kind="password", autocomplete="new-password",
            hint="At least 12 characters. A few words in a row are fine.", required=True, min_length=12, max_length=128,
        ),
        _field(
            "Team name", "org_name", kind="text", autocomplete="organization",
            hint="Optional. Keys and figures belong to the team.", max_length=60,
        ),
        _after(),
        submit="Create account",
    )  # fmt: skip
    other = rx.el.p("You have an account? ", rx.el.a("Log in", href="/login/"), class_name="soft")
    shown = rx.cond(AuthState.closed, _closed(), form)
    return public_page(rx.el.div(shown, other, class_name="stack"), class_name="narrow")


def _closed() -> rx.Component:
    """In place of the form: what whoever runs the server can do."""
    return rx.el.div(
        rx.el.h1("Nobody signs up here by themselves"),
        rx.el.p("This server sends no mail, so it cannot ask a mailbox whether it is yours. Whoever runs it can"),
        rx.el.ul(
            rx.el.li("make your account: ", rx.el.code("python -m omni_app users create EMAIL")),
            rx.el.li("let it send mail: ", rx.el.code("SMTP_URL"), " and ", rx.el.code("MAIL_FROM")),
            rx.el.li("let people sign up without: ", rx.el.code("SIGN_UP_WITHOUT_MAIL=on")),
        ),
        class_name="card stack tight",
        id="sign-up-closed",
    )


def login() -> rx.Component:
    """Back into an account."""
    form = _form(
        "/auth/login",
        "Log in",
        "Welcome back.",
        _email(),
        _field("Password", "password", kind="password", autocomplete="current-password", required=True, max_length=128),
        _after(),
        submit="Log in",
    )
    other = rx.el.p("New here? ", rx.el.a("Create an account", href="/signup/"), class_name="soft")
    forgotten = rx.cond(
        AuthState.mails,
        rx.el.p(rx.el.a("Forgotten your password?", href="/forgot/"), class_name="soft small"),
        rx.el.p(
            "Forgotten your password? Ask whoever runs this server: they can set a new one ",
            rx.cond(AuthState.elsewhere, "at Supabase Auth.", "from the command line."),
            class_name="soft small",
        ),
    )
    return public_page(rx.el.div(form, other, forgotten, class_name="stack"), class_name="narrow")


def code() -> rx.Component:
    """The second step of a log-in."""
    form = _form(
        "/auth/second-factor",
        "Your second factor",
        "Type the code that your authenticator app shows now, or one of your recovery codes.",
        _field(
            "Code", "code", kind="text", autocomplete="one-time-code", required=True, max_length=40, spell_check=False,
        ),
        _after(),
        submit="Log in",
    )  # fmt: skip
    lost = rx.el.p(
        "Lost your phone and the recovery codes? Whoever runs this server can send you a link. With that and your "
        "password you take the second factor off.",
        class_name="soft small",
    )
    return public_page(rx.el.div(form, lost, class_name="stack"), class_name="narrow")


def _token() -> rx.Component:
    """What the link of a mail carries: the script fills it in."""
    return rx.el.input(type="hidden", name="token", value="", read_only=True, custom_attrs={"data-link-secret": ""})


def forgot() -> rx.Component:
    """Asks for a mail with a link to choose another password."""
    form = _form(
        "/auth/forgot",
        "Forgotten your password?",
        "We send a link to your address, if it has an account here.",
        _email(),
        submit="Send it",
    )
    return public_page(form, class_name="narrow")


def confirm() -> rx.Component:
    """Where the link of a sign-up leads."""
    form = _form(
        "/auth/confirm",
        "Confirm your address",
        "Type the password that you chose a moment ago.",
        _token(),
        _field("Password", "password", kind="password", autocomplete="current-password", required=True, max_length=128),
        submit="Confirm",
    )
    return public_page(form, class_name="narrow")


def reset() -> rx.Component:
    """Where the link of a forgotten password leads."""
    form = _form(
        "/auth/reset",
        "Choose another password",
        "You will be logged out everywhere.",
        _token(),
        _field(
            "New password", "new_password", kind="password", autocomplete="new-password",
            hint="At least 12 characters. A few words in a row are fine.", required=True, min_length=12, max_length=128,
        ),
        submit="Change it",
    )  # fmt: skip
    return public_page(form, class_name="narrow")


def lost_factor() -> rx.Component:
    """Where the link for a lost second factor leads."""
    form = _form(
        "/auth/lost-factor",
        "Take your second factor off",
        "With your password. You will be logged out everywhere; set up a new one afterwards.",
        _token(),
        _field("Password", "password", kind="password", autocomplete="current-password", required=True, max_length=128),
        submit="Take it off",
    )
    return public_page(form, class_name="narrow")
