"""Where an invitation's link leads: log in or sign up, then join. The link's secret stays in the browser."""

import reflex as rx

from omni_app.ui.components.basics import NativeForm
from omni_app.ui.components.shell import public_page
from omni_app.ui.session import AppState, identity, public


class JoinState(AppState):
    """Whether the reader is signed in."""

    signed_in: bool = False

    @rx.event
    @public
    async def load(self) -> None:
        """Looks who is there."""
        self.signed_in = await identity(self) is not None


def page() -> rx.Component:
    """Join, or how to get in first."""
    join = NativeForm.create(
        rx.el.p("You are signed in. Joining shows you this team's keys and figures; your own team stays."),
        rx.el.input(type="hidden", name="token", value="", read_only=True, custom_attrs={"data-link-secret": ""}),
        rx.el.button("Join the team", type="submit", class_name="button primary wide"),
        action="/auth/join",
        method="post",
        class_name="form card",
    )
    first = rx.el.div(
        rx.el.p("Log in, or create an account; this page comes back afterwards."),
        rx.el.div(
            rx.el.a("Log in", href="/login/?next=%2Fjoin%2F", class_name="button primary"),
            rx.el.a("Create an account", href="/signup/?next=%2Fjoin%2F", class_name="button"),
            class_name="row",
        ),
        class_name="card stack tight",
    )
    return public_page(
        rx.el.div(
            rx.el.h1("You are invited to a team"),
            rx.cond(JoinState.signed_in, join, first),
            class_name="stack",
        ),
        signed_in=JoinState.signed_in,
        class_name="narrow",
    )
