"""API keys: made by the page's script (a new secret never enters the state), listed, and each with its settings."""

from collections.abc import Callable
from typing import Any

import reflex as rx

from omni_app.storage.scopes import MEANS, Scope
from omni_app.ui.components.basics import (
    NativeForm,
    badge,
    button,
    button_link,
    card,
    empty,
    facts,
    moment,
    money,
    question,
)
from omni_app.ui.components.candidates import meter
from omni_app.ui.components.shell import app_page
from omni_app.ui.components.snippets import key_problem, new_key_box
from omni_app.ui.components.table import data_table
from omni_app.ui.pages.keys_state import KeysState

__all__ = ["KeysState", "page"]

PATH = "/keys/"
PERIODS = (("day", "a day"), ("week", "a week"), ("month", "a month"), ("total", "in total"))
GRACES = (("24", "for 1 day"), ("1", "for 1 hour"), ("168", "for 7 days"), ("0", "no longer"))


def page() -> rx.Component:
    """Make, list, set, rotate, switch off, revoke."""
    return app_page(
        new_key_box(),
        rx.cond(KeysState.said != "", rx.el.p(KeysState.said, class_name="notice", role="status")),
        rx.cond(KeysState.asking != "", _question()),
        rx.cond(KeysState.key.length() > 0, _one(), _all()),
        rx.el.button(
            "Refresh the list",
            type="button",
            hidden=True,
            on_click=KeysState.refresh,
            custom_attrs={"data-refresh-keys": ""},
        ),
        path=PATH,
        title="API keys",
        lead="Live keys reach the configured providers. "
        "Test keys reach the model on this machine and simulated ones: nothing is billed.",
        loaded=KeysState.loaded,
    )


def _all() -> rx.Component:
    return rx.fragment(
        _maker(),
        rx.cond(
            KeysState.rows.length() > 0,
            card(_table(), title="Your keys"),
            empty("No keys yet", "A key lets your app call the API. Name one above and it appears here."),
        ),
        card(
            _standing(KeysState.org_budget),
            _budget_form("org", KeysState.org_budget),
            title="The team's budget",
            class_name="stack tight",
        ),
    )


def _one() -> rx.Component:
    key = KeysState.key
    return rx.fragment(
        rx.el.div(
            button_link("All keys", PATH, kind="quiet"),
            rx.el.h2(key["name"]),
            badge(key["kind"], tone=key["tone"]),
            badge(key["state"], tone=key["state_tone"]),
            class_name="row",
        ),
        rx.el.div(
            _settings(), rx.el.div(_facts(), _budget_card(), _secret(), _end(), class_name="stack"), class_name="two"
        ),
    )


def _facts() -> rx.Component:
    key = KeysState.key
    return card(
        facts(
            ("Key", rx.el.code(key["shown"])),
            ("Last used", moment(key["used"], key["used_text"])),
            ("Expires", moment(key["expires"], key["expires_text"])),
            ("May be used for", rx.cond(key["scopes"] == "all", "everything", key["scopes"])),
            ("Policy", rx.el.a("Routing policy of this key", href=key["policy_href"])),
        ),
        title="Now",
    )


def _wrong(field: str) -> rx.Component:
    return rx.cond(
        KeysState.wrong_field == field,
        rx.el.p(KeysState.wrong, class_name="notice", role="alert", custom_attrs={"data-tone": "bad"}),
    )


def _labelled(label: str, name: str, field: rx.Component, hint: Any = "") -> rx.Component:
    return rx.el.div(rx.el.label(label, html_for=name), field, rx.el.span(hint, class_name="hint"), class_name="field")


def _limit(element: str, name: str, value: Any, *, digits: int) -> rx.Component:
    return rx.el.input(
        id=element, name=name, class_name="input", default_value=value, max_length=digits,
        placeholder="the team's limit only", input_mode="numeric", auto_complete="off",
    )  # fmt: skip


def _settings() -> rx.Component:
    key = KeysState.key
    name = rx.el.input(
        id="set-name", name="name", class_name="input", default_value=key["name"], max_length=60, required=True,
    )  # fmt: skip
    expires = rx.el.select(
        rx.el.option(rx.cond(key["expires"] == "", "Never", "As it is"), value="keep"),
        rx.cond(key["expires"] != "", rx.el.option("Never", value="never")),
        rx.el.option("In 30 days", value="30"),
        rx.el.option("In 90 days", value="90"),
        rx.el.option("At the end of the day below", value="date"),
        id="set-expires",
        name="expires",
    )
    date = rx.el.input(
        type="date", id="set-date", name="date", class_name="input", custom_attrs={"aria-label": "Last day (UTC)"}
    )
    rate = _limit("set-rate", "rate_limit", key["rate"], digits=9)
    tokens = _limit("set-tokens", "token_limit", key["tokens"], digits=12)
    form = rx.el.form(
        _labelled("Name", "set-name", name),
        _wrong("name"),
        _labelled(
            "Expires", "set-expires", rx.el.div(expires, date, class_name="stack hair"), "Days end at 00:00 UTC."
        ),
        _wrong("expires"),
        _labelled("Rate limit", "set-rate", rate, "Requests per window of this key alone, beside the team's limit."),
        _wrong("rate_limit"),
        _labelled("Token limit", "set-tokens", tokens, "Tokens per window, read and written together."),
        _wrong("token_limit"),
        _scopes(),
        _models(),
        _wrong("models"),
        rx.el.button("Save", type="submit", class_name="button primary"),
        on_submit=KeysState.save,
        key=key["id"],
        class_name="form",
    )
    return card(form, title="Settings")


def _scopes() -> rx.Component:
    key = KeysState.key
    return rx.el.details(
        rx.el.summary("May be used for: ", rx.cond(key["scopes"] == "all", "everything", key["scopes"])),
        _scope_boxes(lambda scope: {"name": f"scope-{scope}", "default_checked": key[f"scope-{scope}"] == "yes"}),
    )


def _scope_boxes(attrs: Callable[[Scope], dict[str, Any]]) -> rx.Component:
    def line(scope: Scope) -> rx.Component:
        box = rx.el.input(type="checkbox", **attrs(scope))
        words = rx.el.span(rx.el.code(scope.value), " ", MEANS[scope])
        return rx.el.li(rx.el.label(box, words, class_name="check"))

    return rx.fragment(
        rx.el.p("Nothing ticked: everything.", class_name="soft small"),
        rx.el.ul(*map(line, Scope), class_name="plain-list"),
    )


def _models() -> rx.Component:
    def line(model: Any) -> rx.Component:
        return rx.el.li(
            rx.el.label(
                rx.el.input(
                    type="checkbox", checked=model["on"] == "yes", on_change=lambda _: KeysState.tick(model["id"])
                ),
                rx.el.span(model["id"]),
                class_name="check",
            )
        )

    return rx.el.details(
        rx.el.summary("Allowed models: ", rx.cond(KeysState.key["models"] == "all", "all", KeysState.key["models"])),
        rx.el.p("Nothing ticked: every model of this kind of key.", class_name="soft small"),
        button("Allow all", kind="small", on_click=KeysState.allow_all),
        rx.el.ul(rx.foreach(KeysState.models, line), class_name="model-list", custom_attrs={"tabIndex": "0"}),
    )


def _budget_card() -> rx.Component:
    return card(
        _standing(KeysState.key),
        _budget_form("key", KeysState.key),
        title="Budget of this key",
        class_name="stack tight",
    )


def _standing(budget: Any) -> rx.Component:
    return rx.cond(
        budget["limit"] != "",
        rx.el.div(
            rx.el.p(
                money(budget["spent"], budget["spent_exact"]), " spent of ",
                money(budget["limit"], budget["limit_exact"]), " ", budget["span"],
            ),
            meter(budget["width"]),
            rx.el.p(
                money(budget["left"], budget["left_exact"]), " left, ",
                money(budget["reserved"], budget["reserved_exact"]), " reserved for requests on their way",
                rx.cond(
                    budget["resets"] != "",
                    rx.el.span("; starts anew ", moment(budget["resets"], budget["resets_text"])),
                ),
                class_name="soft small",
            ),
            class_name="stack hair",
        ),
        rx.el.p("No budget.", class_name="soft"),
    )  # fmt: skip


def _budget_form(whose: str, budget: Any) -> rx.Component:
    amount = rx.el.input(
        id=f"{whose}-amount", name="amount", class_name="input", default_value=budget["amount"], max_length=20,
        placeholder="none", input_mode="decimal", auto_complete="off", disabled=~KeysState.owner,
    )  # fmt: skip
    period = rx.el.select(
        *(rx.el.option(label, value=value) for value, label in PERIODS),
        id=f"{whose}-period",
        name="period",
        default_value=budget["period"],
        disabled=~KeysState.owner,
    )
    counts = (
        "Counts the team's live keys together." if whose == "org" else "Refused with 402 before a provider is called."
    )
    hint = f"{counts} Periods are UTC; a total begins when it is set. Only owners set budgets; empty takes it away."
    return rx.el.form(
        rx.el.input(type="hidden", name="whose", value=whose, read_only=True),
        _labelled("Dollars", f"{whose}-amount", amount),
        _labelled("Period", f"{whose}-period", period),
        _wrong(f"{whose}-budget"),
        rx.el.p(hint, class_name="soft small"),
        rx.el.button("Set the budget", type="submit", class_name="button", disabled=~KeysState.owner),
        on_submit=KeysState.save_budget,
        key=whose + budget["amount"].to(str) + budget["period"].to(str),
        class_name="form",
    )


def _secret() -> rx.Component:
    key = KeysState.key
    grace = rx.el.select(*(rx.el.option(label, value=value) for value, label in GRACES), id="grace", name="grace")
    return card(
        rx.cond(
            key["old_ends"] != "",
            rx.el.p("The secret before this one works until ", moment(key["old_ends"], key["old_ends_text"]), "."),
        ),
        NativeForm.create(
            rx.el.input(type="hidden", name="id", value=key["id"], read_only=True),
            _labelled("The old secret works", "grace", grace, "The key keeps its settings, budget and history."),
            rx.el.button("Make a new secret", type="submit", class_name="button"),
            class_name="form",
            custom_attrs={"data-rotate-form": ""},
        ),
        key_problem(),
        title="Rotate",
        class_name="stack tight",
    )


def _end() -> rx.Component:
    key = KeysState.key
    return card(
        rx.el.div(
            button(rx.cond(key["disabled"] != "", "Enable", "Disable"), on_click=KeysState.switch),
            button("Revoke for good", kind="danger", on_click=KeysState.ask(key["id"])),
            class_name="row",
        ),
        title="Stop",
    )


def _maker() -> rx.Component:
    name = rx.el.div(
        rx.el.label("Name", html_for="key-name"),
        rx.el.input(
            id="key-name", name="name", type="text", class_name="input", required=True, max_length=60,
            placeholder="My app", auto_complete="off",
        ),
        class_name="field",
    )  # fmt: skip
    kind = rx.el.div(
        rx.el.label("Kind", html_for="key-kind"),
        rx.el.select(
            rx.el.option("Test", value="test"), rx.el.option("Live", value="live"), id="key-kind", name="kind"
        ),
        class_name="field",
    )
    return card(
        NativeForm.create(
            rx.el.div(
                name,
                kind,
                rx.el.button("Make key", type="submit", class_name="button primary"),
                class_name="inline-form",
            ),
            rx.el.details(
                rx.el.summary("May be used for"),
                _scope_boxes(lambda scope: {"name": "scope", "value": scope.value}),
            ),
            class_name="stack tight",
            custom_attrs={"data-key-form": ""},
        ),
        key_problem(),
        title="Make a key",
    )


def _question() -> rx.Component:
    return question(
        "Revoke “", rx.el.strong(KeysState.asking_name),
        "”? Apps that use it are refused at once. This cannot be undone.",
        about=KeysState.asking, yes=("Revoke it", KeysState.revoke), no=("Keep it", KeysState.keep),
        label="Revoke this key?",
    )  # fmt: skip


def _table() -> rx.Component:
    return data_table(
        KeysState.rows,
        [
            ("Name", lambda row: rx.el.a(row["name"], href=row["href"], class_name="wrap")),
            ("Kind", lambda row: badge(row["kind"], tone=row["tone"])),
            ("Key", lambda row: rx.el.code(row["shown"])),
            ("State", _state),
            ("Last used", lambda row: moment(row["used"], row["used_text"])),
            ("Budget", _budget_cell),
            ("#Rate limit", lambda row: rx.cond(row["rate"] == "", "team's", row["rate"])),
            ("#Models", lambda row: row["models"]),
            ("Scopes", lambda row: rx.el.span(row["scopes"], class_name="wrap")),
            ("Policy", lambda row: rx.el.a("Policy", href=row["policy_href"])),
            (
                "#Action",
                lambda row: rx.el.button(
                    "Revoke", type="button", class_name="button small danger", on_click=KeysState.ask(row["id"])
                ),
            ),
        ],
        caption="API keys",
    )


def _state(row: Any) -> rx.Component:
    replaced = rx.el.span("old secret until ", moment(row["old_ends"], row["old_ends_text"]), class_name="sub")
    return rx.fragment(badge(row["state"], tone=row["state_tone"]), rx.cond(row["old_ends"] != "", replaced))


def _budget_cell(row: Any) -> rx.Component:
    used = rx.el.span(
        money(row["left"], row["left_exact"]), " left of ", money(row["limit"], row["limit_exact"]), " ", row["span"]
    )
    return rx.cond(row["limit"] != "", rx.el.div(used, meter(row["width"])), rx.el.span("none", class_name="soft"))
