"""Routing policy: what counts when a model is chosen, tried on the last requests before it holds, and its versions."""

from typing import Any

import reflex as rx

from omni_app.ui.components.basics import (
    NativeForm,
    badge,
    button,
    button_link,
    card,
    empty,
    moment,
    money,
    notice,
    stat,
    test_note,
)
from omni_app.ui.components.candidates import meter
from omni_app.ui.components.shell import MODES, app_page, switch
from omni_app.ui.components.table import data_table
from omni_app.ui.pages.policy_state import COUNTS, PATH, PolicyState
from omni_app.ui.policy_form import PRESET_NAMES, SETS, SETTINGS, SLIDERS, Setting

LEAD = (
    "For every request the router gives each model a score and asks the best one. Here you set what counts, "
    "see what that would have done to your last requests, and save it."
)


def page() -> rx.Component:
    """The draft beside what it would have done, then the versions."""
    return app_page(
        test_note(PolicyState.mode),
        _choose(),
        rx.cond(PolicyState.said != "", notice(PolicyState.said, tone="good")),
        rx.el.div(
            rx.el.div(_weights(), _save(), class_name="stack"),
            rx.el.div(_what_if(), class_name="stack"),
            class_name="policy",
        ),
        rx.cond(PolicyState.flips.length() > 0, _flips()),
        card(_in_force(), title="In force now"),
        rx.cond(
            PolicyState.versions.length() > 0,
            card(_versions(), title="Versions"),
            empty("No version yet", "Every policy you save appears here with what it changed, and can be taken back."),
        ),
        path=PATH,
        title="Routing policy",
        lead=LEAD,
        controls=[switch("mode", MODES, PolicyState.mode, path=PATH, kept={"count": PolicyState.count})],
        loaded=PolicyState.loaded,
    )


def _choose() -> rx.Component:
    """Whose policy, and how many requests: kept in the address."""
    scopes = rx.foreach(PolicyState.scopes, lambda one: rx.el.option(one["label"], value=one["value"]))
    counts = [rx.el.option(f"The last {int(one):,}", value=one) for one in COUNTS]
    return NativeForm.create(
        rx.el.input(type="hidden", name="mode", default_value=PolicyState.mode),
        _select("Policy for", "scope", PolicyState.scope, scopes),
        _select("Requests to try it on", "count", PolicyState.count, *counts),
        rx.el.div(rx.el.button("Show", type="submit", class_name="button")),
        rx.el.p(PolicyState.scope_says, class_name="soft small"),
        action=PATH,
        method="get",
        class_name="filter-form",
        key=PolicyState.mode + PolicyState.scope + PolicyState.count,
    )


def _select(label: str, name: str, chosen: rx.Var[str], *options: rx.Component) -> rx.Component:
    return rx.el.div(
        rx.el.label(label, html_for=f"policy-{name}"),
        rx.el.select(*options, id=f"policy-{name}", name=name, default_value=chosen),
        class_name="field",
    )


# The draft


def _weights() -> rx.Component:
    return card(
        rx.el.div(
            rx.el.span("Start from", class_name="label", id="presets"),
            rx.el.div(
                *(_preset(name.value, label, hint) for name, (label, hint) in PRESET_NAMES.items()),
                class_name="row",
                role="group",
                custom_attrs={"aria-labelledby": "presets"},
            ),
            class_name="field",
        ),
        rx.el.div(
            rx.el.span("Weights for", class_name="label", id="sets"),
            rx.el.div(
                *(_set(name, label) for name, (label, _) in SETS.items()),
                class_name="switch pressed",
                role="group",
                custom_attrs={"aria-labelledby": "sets"},
            ),
            rx.el.p(
                rx.match(PolicyState.which, *((name, hint) for name, (_, hint) in SETS.items()), ""),
                class_name="hint",
            ),
            class_name="field",
        ),
        rx.el.form(
            rx.el.input(type="hidden", name="which", default_value=PolicyState.which),
            rx.el.input(type="hidden", name="made", default_value=PolicyState.made.to_string()),
            *(_slider(term, label, hint) for term, (label, hint) in SLIDERS.items()),
            rx.el.p(
                "The four share 100 %: raise one and the others count for less.",
                class_name="soft small",
            ),
            rx.el.details(
                rx.el.summary("Rules beside the weights"),
                rx.el.p(
                    "Ratings are percentiles: 100 % is the best model there is, 50 % the middle one.",
                    class_name="soft small",
                ),
                rx.el.div(*map(_setting, SETTINGS), class_name="policy-settings"),
            ),
            rx.el.div(rx.el.button("Try it", type="submit", class_name="button"), class_name="row"),
            on_submit=PolicyState.attempt,
            class_name="stack tight",
            key=PolicyState.made.to_string(),
            custom_attrs={"data-try": ""},
        ),
        title="What counts",
        class_name="stack",
    )


def _preset(name: str, label: str, hint: str) -> rx.Component:
    return rx.el.button(
        label,
        type="button",
        class_name="button small",
        title=hint,
        on_click=PolicyState.use_preset(name),
        custom_attrs={"aria-pressed": rx.cond(PolicyState.preset == name, "true", "false")},
    )


def _set(name: str, label: str) -> rx.Component:
    return rx.el.button(
        label,
        type="button",
        on_click=PolicyState.show_set(name),
        custom_attrs={"aria-pressed": rx.cond(PolicyState.which == name, "true", "false")},
    )


def _slider(term: str, label: str, hint: str) -> rx.Component:
    place = f"weight-{term}"
    return rx.el.div(
        rx.el.div(
            rx.el.label(label, html_for=place),
            rx.el.output(PolicyState.shares[term], html_for=place, class_name="money"),
            class_name="row spread",
        ),
        rx.el.input(
            type="range",
            id=place,
            name=term,
            min="0",
            max="100",
            step="1",
            default_value=PolicyState.sliders[term],
            class_name=f"slider term-{term}",
            custom_attrs={"aria-describedby": f"{place}-hint", "aria-valuetext": PolicyState.shares[term]},
        ),
        rx.el.p(hint, id=f"{place}-hint", class_name="hint"),
        class_name="field",
    )


def _setting(one: Setting) -> rx.Component:
    place = f"setting-{one.name}"
    unit = "%" if one.unit == "percent" else one.unit
    return rx.el.div(
        rx.el.label(f"{one.label} ({unit})", html_for=place),
        rx.el.input(
            type="number",
            id=place,
            name=one.name,
            min=str(one.least),
            max=str(one.most),
            step="any" if one.unit == "percent" else "1",
            required=True,
            default_value=PolicyState.settings[one.name],
            class_name="input",
            custom_attrs={"aria-describedby": f"{place}-hint"},
        ),
        rx.el.p(one.hint, id=f"{place}-hint", class_name="hint"),
        class_name="field",
    )


def _save() -> rx.Component:
    changed = PolicyState.changes.length() > 0
    return card(
        rx.cond(
            changed,
            rx.el.div(
                rx.el.p("Not saved yet:"),
                rx.el.ul(rx.foreach(PolicyState.changes, rx.el.li), class_name="changes small"),
                class_name="stack hair",
            ),
            rx.el.p("The sliders show what holds now.", class_name="soft"),
        ),
        rx.cond(
            PolicyState.may_save,
            rx.el.form(
                rx.el.div(
                    rx.el.label("Note (why?)", html_for="policy-note"),
                    rx.el.input(
                        id="policy-note", name="note", type="text", class_name="input", max_length=200,
                        auto_complete="off", placeholder="Cheaper answers for the support bot",
                    ),
                    class_name="field",
                ),
                rx.el.div(
                    rx.el.button(
                        "Save for ", PolicyState.scope_name, type="submit", class_name="button primary",
                        disabled=~changed,
                    ),
                    rx.cond(changed, button("Discard the changes", on_click=PolicyState.discard, kind="quiet")),
                    rx.cond(
                        PolicyState.has_own,
                        button(
                            rx.cond(PolicyState.scope == "team", "Back to the default", "Follow the team again"),
                            on_click=PolicyState.give_up,
                            kind="quiet",
                        ),
                    ),
                    class_name="row",
                ),
                on_submit=PolicyState.save,
                reset_on_submit=True,
                class_name="stack tight",
            ),
            rx.el.p("You can try everything; only an owner of the team saves.", class_name="soft small"),
        ),
        title="Save",
        class_name="stack tight",
    )  # fmt: skip


# What it would have done


def _what_if() -> rx.Component:
    return rx.cond(
        PolicyState.tried,
        rx.fragment(
            rx.el.dl(
                stat(
                    "Decisions that flip",
                    PolicyState.figures["flips"],
                    PolicyState.figures["flips_note"],
                ),
                stat(
                    "Cost",
                    money(PolicyState.figures["cost"], PolicyState.figures["cost_exact"]),
                    PolicyState.figures["cost_note"],
                ),
                stat("Expected latency", PolicyState.figures["latency"], PolicyState.figures["latency_note"]),
                stat("Requests replayed", PolicyState.figures["replayed"], PolicyState.figures["replayed_note"]),
                class_name="stats",
                custom_attrs={"aria-live": "polite"},
            ),
            card(_mix(), title="Which models would answer"),
            card(
                rx.el.p(PolicyState.figures["exact"]),
                rx.foreach(PolicyState.missing, rx.el.p),
                rx.el.p(
                    "No model is asked: each decision is made again from what was kept of the request, with the "
                    "prices, latencies and outages of its time. Where another model would answer, the cost is that "
                    "of the same tokens at its price, and the latency the one expected of it: estimates, since "
                    "another model writes another answer."
                ),
                title="How this is worked out",
                class_name="stack tight small",
            ),
        ),
        empty(
            "Nothing to try it on yet",
            "After your first requests you see here which model each of them would have gone to, "
            "and what that would have cost.",
            button_link("Send a request", "/start/", kind="primary"),
        ),
    )


def _mix() -> rx.Component:
    keys = rx.el.p(
        rx.el.span("As it was", class_name="key before"),
        rx.el.span("With these weights", class_name="key after"),
        class_name="keys small soft",
    )
    return rx.el.div(
        keys,
        rx.el.ul(rx.foreach(PolicyState.mix, _bars), class_name="mix"),
        rx.el.details(
            rx.el.summary("As a table"),
            data_table(
                PolicyState.mix,
                [
                    ("Model", lambda row: row["model"]),
                    ("#As it was", lambda row: row["before"]),
                    ("#Share", lambda row: row["before_share"]),
                    ("#With these weights", lambda row: row["after"]),
                    ("#Share then", lambda row: row["after_share"]),
                ],
                caption="Requests per model",
            ),
        ),
        class_name="stack tight",
    )


def _bars(row: Any) -> rx.Component:
    return rx.el.li(
        rx.el.span(row["model"], class_name="name", title=row["model"]),
        rx.el.span(row["before_share"], " → ", row["after_share"], class_name="money small"),
        rx.el.div(meter(row["before_width"]), class_name="bar-before"),
        rx.el.div(meter(row["after_width"]), class_name="bar-after"),
    )


def _flips() -> rx.Component:
    return card(
        data_table(
            PolicyState.flips,
            [
                ("When", lambda row: rx.el.a(moment(row["at"], row["at_text"]), href=row["href"])),
                ("Task", lambda row: row["task"]),
                ("Was", lambda row: row["old_model"]),
                ("Would be", lambda row: row["new_model"]),
                ("#Cost", lambda row: money(row["old_cost"], row["old_exact"])),
                ("#Would cost", lambda row: money(row["new_cost"], row["new_exact"])),
                ("#Latency", lambda row: row["old_latency"]),
                ("#Would take", lambda row: row["new_latency"]),
            ],
            caption="Decisions that flip",
        ),
        rx.cond(PolicyState.flips_shown != "", rx.el.p(PolicyState.flips_shown, class_name="soft small")),
        title="Decisions that flip",
        class_name="stack tight",
    )


# Versions


def _in_force() -> rx.Component:
    return data_table(
        PolicyState.in_force,
        [
            ("For", lambda row: row["scope"]),
            ("Policy", lambda row: row["what"]),
            ("Since", lambda row: rx.cond(row["at"] != "", moment(row["at"], row["at_text"]), "–")),
        ],
        caption="Policies in force",
    )


def _versions() -> rx.Component:
    return data_table(
        PolicyState.versions,
        [
            (
                "Version",
                lambda row: rx.el.span(
                    row["number"], rx.cond(row["active"] == "yes", badge("in force", tone="ok")), class_name="row"
                ),
            ),
            ("For", lambda row: row["scope"]),
            (
                "What changed",
                lambda row: rx.el.span(
                    rx.el.span(row["changes"], class_name="wrap"),
                    rx.cond(row["note"] != "", rx.el.span("“", row["note"], "”", class_name="sub note-under")),
                ),
            ),
            ("Saved by", lambda row: rx.el.span(row["author"], class_name="wrap")),
            ("When", lambda row: moment(row["at"], row["at_text"])),
            (
                "Take back",
                lambda row: rx.cond(
                    row["can_return"] == "yes",
                    button(
                        "Use this again",
                        on_click=PolicyState.return_to(row["number"]),
                        kind="small",
                        aria_label="Use version " + row["number"] + " again",
                    ),
                ),
            ),
        ],
        caption="Versions of the routing policy",
    )
