"""The frames around the pages: the app's (navigation, title) and the public one (landing, log-in)."""

from collections.abc import Mapping, Sequence
from typing import Any

import reflex as rx

from omni_app.ui.components.basics import NativeForm, Text, notice, skeleton
from omni_app.ui.session import AppState

APP_PAGES: Sequence[tuple[str, str]] = (
    ("/overview/", "Overview"),
    ("/usage/", "Usage"),
    ("/models/", "Models"),
    ("/requests/", "Requests"),
    ("/policy/", "Routing policy"),
    ("/playground/", "Playground"),
    ("/keys/", "Keys"),
    ("/settings/", "Settings"),
    ("/start/", "Get started"),
)
"""Path and name of every page behind the log-in."""

RANGES = (("1h", "1 h"), ("24h", "24 h"), ("7d", "7 days"), ("30d", "30 days"))
MODES = (("live", "Live"), ("test", "Test"))


def alive() -> rx.Component:
    """A sign for `assets/omni.js` that the web app runs, so that the script may touch the page."""
    sign = rx.el.span(hidden=True, custom_attrs={"data-alive": ""})
    return rx.cond(rx.State.is_hydrated, sign, rx.fragment())


def brand() -> rx.Component:
    """The name, leading home."""
    mark = rx.el.svg(
        rx.el.svg.path(d="M3 17 L9 9 L14 13 L21 5"),
        rx.el.svg.circle(cx="21", cy="5", r="2.2"),
        view_box="0 0 24 24",
        custom_attrs={"aria-hidden": "true"},
    )
    return rx.el.a(mark, rx.el.span("Omni\N{NON-BREAKING HYPHEN}Model Router"), href="/", class_name="brand")


def theme_button() -> rx.Component:
    """Dark or light; the reader's system decides until it is pressed."""
    return rx.el.button(
        rx.el.span(class_name="sun-moon", custom_attrs={"aria-hidden": "true"}),
        type="button",
        class_name="button quiet icon",
        on_click=rx.toggle_color_mode,
        custom_attrs={"aria-label": "Switch between dark and light", "title": "Dark or light"},
    )


def _log_out() -> rx.Component:
    return NativeForm.create(
        rx.el.button("Log out", type="submit", class_name="button quiet"), action="/auth/logout", method="post"
    )


def _navigation(path: str) -> rx.Component:
    def link(href: str, name: str) -> rx.Component:
        current = {"aria-current": "page"} if href == path else {}
        return rx.el.li(rx.el.a(name, href=href, custom_attrs=current))

    return rx.el.nav(rx.el.ul(*(link(href, name) for href, name in APP_PAGES)), custom_attrs={"aria-label": "Pages"})


def _side(path: str) -> rx.Component:
    return rx.el.header(
        brand(),
        rx.el.div(_navigation(path), _account(), class_name="wide-only"),
        rx.el.details(rx.el.summary("Menu"), _navigation(path), _account(), class_name="narrow-only menu"),
        class_name="side",
    )


def _account() -> rx.Component:
    return rx.el.div(
        rx.el.div(rx.el.strong(AppState.org_name), rx.el.span(AppState.email, title=AppState.email), class_name="who"),
        rx.el.div(theme_button(), _log_out(), class_name="row"),
        class_name="account",
    )


def app_page(
    *children: Any, path: str, title: str, lead: Text = "", controls: Sequence[rx.Component] = (), loaded: Any = True
) -> rx.Component:
    """A page behind the log-in. Until `loaded` its place is held."""
    return rx.el.div(
        rx.el.a("Skip to the content", href="#content", class_name="skip"),
        _side(path),
        rx.el.main(
            rx.el.div(
                rx.el.div(rx.el.h1(title), rx.el.p(lead, class_name="lead")),
                rx.el.div(*controls, class_name="controls"),
                class_name="head",
            ),
            rx.cond(AppState.problem != "", notice(AppState.problem, tone="bad")),
            rx.cond(
                loaded,
                rx.el.div(*children, class_name="stack"),
                rx.cond(AppState.problem == "", skeleton(6), rx.fragment()),
            ),
            id="content",
            custom_attrs={"tabIndex": "-1"},
        ),
        alive(),
        class_name="app",
    )


def public_page(*children: Any, signed_in: Any = False, class_name: str = "") -> rx.Component:
    """A page that anybody may open."""
    return rx.el.div(
        rx.el.a("Skip to the content", href="#content", class_name="skip"),
        rx.el.header(
            brand(),
            rx.el.nav(
                theme_button(),
                rx.cond(
                    signed_in,
                    rx.el.a("Dashboard", href="/overview/", class_name="button primary"),
                    rx.fragment(
                        rx.el.a("Log in", href="/login/", class_name="button quiet"),
                        rx.el.a("Sign up", href="/signup/", class_name="button primary"),
                    ),
                ),
                custom_attrs={"aria-label": "Account"},
            ),
            class_name="top",
        ),
        rx.el.main(
            rx.cond(AppState.problem != "", notice(AppState.problem, tone="bad")),
            *children,
            id="content",
            class_name=class_name,
            custom_attrs={"tabIndex": "-1"},
        ),
        alive(),
        class_name="public",
    )


def switch(
    name: str, choices: Sequence[tuple[str, str]], current: rx.Var[str], *, path: str, kept: Mapping[str, Text]
) -> rx.Component:
    """One choice out of a few, as links: the choice is in the address, so it can be shared and reloaded.

    `kept`: the page's other parameters, which the links keep; empty ones are left out.
    """
    others = "".join(f"{rx.cond(value != '', f'&{other}={value}', '')}" for other, value in kept.items())

    def link(value: str, label: str) -> rx.Component:
        return rx.el.a(
            label,
            href=f"{path}?{name}={value}{others}",
            custom_attrs={"aria-current": rx.cond(current == value, "true", "false")},
        )

    return rx.el.div(
        *(link(value, label) for value, label in choices),
        class_name="switch",
        role="group",
        custom_attrs={"aria-label": {"mode": "Live or test", "range": "Time range"}.get(name, name)},
    )


def days_form(
    path: str, *, first: rx.Var[str], last: rx.Var[str], kept: Mapping[str, Text], chosen: rx.Var[bool]
) -> rx.Component:
    """A range of one's own, from one UTC day to another; sent as the page's address, so it can be shared too.

    `kept`: the page's other parameters.
    """

    def day(name: str, label: str, value: rx.Var[str]) -> rx.Component:
        return rx.el.label(
            rx.el.span(label), rx.el.input(type="date", name=name, default_value=value, key=value, required=True)
        )

    return rx.el.details(
        rx.el.summary("From … to …", custom_attrs={"data-on": rx.cond(chosen, "yes", "no")}),
        NativeForm.create(
            rx.el.input(type="hidden", name="range", value="custom", read_only=True),
            *(rx.el.input(type="hidden", name=name, value=value, read_only=True) for name, value in kept.items()),
            day("from", "First day (UTC)", first),
            day("to", "Last day (UTC)", last),
            rx.el.button("Show", type="submit", class_name="button small"),
            action=path,
            method="get",
            class_name="days",
            custom_attrs={"data-tidy": ""},
        ),
        class_name="range",
    )
