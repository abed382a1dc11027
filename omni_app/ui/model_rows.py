"""Models as rows to show: what they did, and what the registry and our own calls know of them."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from omni_app.gateway.latency import Measured
from omni_app.registry.price_changes import PriceChange
from omni_app.registry.registry import writes_text
from omni_app.registry.wording import percent_text
from omni_app.routing.types import Deployment, KeyKind, Rating
from omni_app.storage.reports import NO_MODEL, ModelFigures, UsageGroup
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.components.scatter import Point
from omni_app.ui.log_view import address

TOKENS_PER_PRICE = 1_000_000
SOON = timedelta(days=60)
"""A model that ends within this time is marked."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds of the models at this moment."""

    unavailable: Mapping[str, str]
    cooling: Mapping[str, float]
    """Deployment id -> seconds until its breaker lets a probe through."""
    latency: Mapping[str, Measured]
    """As far as our own calls tell."""
    disabled: Collection[str]
    priced_since: Mapping[str, datetime]
    today: date
    price_changes: Mapping[str, PriceChange] = field(default_factory=dict)
    """Of the last 30 days."""
    replacements: Mapping[str, str] = field(default_factory=dict)
    """What to take in place of a model that ends."""

    def serves(self, model: str) -> bool:
        """Whether a request could go there now."""
        return model not in self.unavailable and model not in self.disabled

    def measured(self, model: str) -> Measured | None:
        """Its latency where enough was measured; else its prior holds."""
        found = self.latency.get(model)
        return found if found and found.total.enough else None

    def latency_ms(self, deployment: Deployment) -> float:
        """The average time to a whole answer: measured, else assumed."""
        found = self.measured(deployment.id)
        return found.total.average_ms if found else deployment.prior_latency_ms


def used_row(figures: ModelFigures, *, total: int, mode: KeyKind) -> Row:
    """A model's part of the requests; errors are those that it began to answer and did not finish."""
    group = figures.group
    failed = group.requests - group.successful
    nobody = group.key == NO_MODEL
    return {
        "model": "no model answered" if nobody else group.key,
        "href": address({"mode": mode, "outcome": "failed"} if nobody else {"mode": mode, "model": group.key}),
        "share": text.percent(group.requests, total),
        "width": f"{100 * group.requests / total:.2f}" if total else "0",
        "requests": text.number(group.requests),
        "cost": text.money(group.cost),
        "cost_exact": text.exact_money(group.cost),
        "per_1k": text.money(per_1k(group)),
        "saved": text.money(group.savings),
        "saved_exact": text.exact_money(group.savings),
        "p50": text.milliseconds(figures.p50_ms),
        "p95": text.milliseconds(figures.p95_ms),
        "errors": text.percent(failed, group.requests),
        "errors_note": f"{text.number(failed)} of {text.number(group.requests)}",
    }


def per_1k(group: UsageGroup) -> int:
    """Pico-dollars for 1,000 requests like these."""
    return group.cost * 1000 // group.requests


def points_of(figures: Iterable[ModelFigures]) -> list[Point]:
    """The models that answered, where they stand in the drawing."""
    return [
        Point(model=one.group.key, cost=per_1k(one.group), latency_ms=max(1, one.p50_ms), requests=one.group.requests)
        for one in figures
        if one.p50_ms is not None and one.group.key != NO_MODEL
    ]


SHOWN: Mapping[str, str] = {"": "All", "ready": "Ready now", "off": "Switched off", "ending": "Ending"}
SORTS: Mapping[str, str] = {
    "": "Name",
    "price": "Price, cheapest first",
    "latency": "Latency, fastest first",
    "rating": "Rating, best first",
    "window": "Context, largest first",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which models of the registry are listed, and in which order; from the page's address."""

    provider: str = ""
    show: str = ""
    sort: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str], providers: Collection[str]) -> "Wanted":
        """What the address asks for, as far as there is such a thing."""
        provider, show, sort = (query.get(name, "") for name in ("provider", "show", "sort"))
        return cls(
            provider=provider if provider in providers else "",
            show=show if show in SHOWN else "",
            sort=sort if sort in SORTS else "",
        )

    def listed(self, deployments: Iterable[Deployment], standing: Standing) -> list[Deployment]:
        """Those asked for, in order."""
        found = [one for one in deployments if self._has(one, standing)]
        keys: Mapping[str, Callable[[Deployment], float]] = {
            "price": lambda one: one.price.input + one.price.output,
            "latency": standing.latency_ms,
            "rating": lambda one: -one.overall.percentile,
            "window": lambda one: -one.context_window,
        }
        return sorted(found, key=lambda one: (keys[self.sort](one) if self.sort else 0, one.id))

    def _has(self, deployment: Deployment, standing: Standing) -> bool:
        fits = {
            "": True,
            "ready": standing.serves(deployment.id),
            "off": deployment.id in standing.disabled,
            "ending": deployment.deprecated_on is not None,
        }
        return fits[self.show] and self.provider in ("", deployment.provider)


def known_row(deployment: Deployment, standing: Standing) -> Row:
    """A model of the registry."""
    price = deployment.price
    since = standing.priced_since.get(deployment.id)
    return {
        "model": deployment.id,
        "kind": "simulated" if deployment.simulated else ("local" if deployment.provider == "local" else ""),
        "off": "yes" if deployment.id in standing.disabled else "no",
        "price": f"{_price(price.input)} / {_price(price.output)}{_per_image(price.image)}",
        "source": f"{short_source(deployment.price_source)}{f', since {since:%-d %b %Y}' if since else ''}",
        "source_whole": deployment.price_source,
        "window": text.number(deployment.context_window),
        "rating": rating_text(deployment.overall),
        "rating_source": "prior, from its price" if deployment.overall.prior else deployment.overall.measure,
        **_health(deployment, standing),
        **_end(deployment.deprecated_on, standing.today),
        **_change(standing.price_changes.get(deployment.id)),
        "instead": standing.replacements.get(deployment.id, ""),
    }


def short_source(source: str) -> str:
    """Who says so, without the row or the date of the list."""
    return source.partition(", row")[0].partition(", seen")[0].partition(" by genai")[0]


def _health(deployment: Deployment, standing: Standing) -> Row:
    """State and expected latency, which is labelled as measured or assumed."""
    model = deployment.id
    state, tone, reason = "ready", "ok", ""
    if model in standing.disabled:
        state, tone, reason = "switched off", "warn", "by your team"
    elif model in standing.cooling:
        state, tone, reason = "cooling down", "bad", f"after faults; tried again in {standing.cooling[model]:.0f} s"
    elif model in standing.unavailable:
        state, tone, reason = "not available", "", standing.unavailable[model]
    return {
        "state": state,
        "tone": tone,
        "reason": reason,
        "latency": text.milliseconds(standing.latency_ms(deployment)),
        "latency_note": "simulated" if deployment.simulated else _latency_note(standing.measured(model)),
    }


def _latency_note(measured: Measured | None) -> str:
    """Whether it is assumed or measured, and what else was measured."""
    if measured is None:
        return "prior, not measured yet"
    total, first = measured.total, measured.first_token
    told = [f"measured over {text.number(round(total.weight))} recent calls", f"p50 {text.milliseconds(total.p50_ms)}"]
    if total.p95_ms is not None:
        told.append(f"p95 {text.milliseconds(total.p95_ms)}")
    if first is not None and first.enough:
        told.append(f"first token {text.milliseconds(first.p50_ms)}")
    return ", ".join(told)


def _end(ends: date | None, today: date) -> Row:
    if ends is None:
        return {"ends": "", "ends_tone": ""}
    passed = ends <= today
    tone = "bad" if passed else "warn" if ends - today <= SOON else ""
    return {"ends": f"{'ended' if passed else 'ends'} {ends:%-d %b %Y}", "ends_tone": tone}


def _change(change: PriceChange | None) -> Row:
    """By how much the price changed, or would if it were accepted."""
    if change is None:
        return {"change": "", "change_tone": ""}
    words = percent_text(change.old, change.new)
    if change.is_held:
        return {"change": f"announced: {words}", "change_tone": "warn"}
    return {"change": f"{words} on {change.at:%-d %b}", "change_tone": ""}


def _per_image(pico: int) -> str:
    return f", {text.money(pico)} per image" if pico else ""


def _price(pico_per_token: int) -> str:
    return text.money(pico_per_token * TOKENS_PER_PRICE)


def rating_text(rating: Rating) -> str:
    """The public figure with its date, or `unrated`."""
    if rating.prior:
        return "unrated"
    figure = f"{rating.value:g}" if rating.value is not None else f"{rating.percentile:.0%}"
    return f"{figure} ({rating.date})" if rating.date else figure


def last_that_serves(deployments: Collection[Deployment], standing: Standing, model: str) -> bool:
    """Whether no other model that writes text could serve once this one is switched off."""
    able = [one.id for one in deployments if writes_text(one) and standing.serves(one.id)]
    return able == [model]


def count_text(mode: KeyKind, deployments: Collection[Deployment], standing: Standing) -> str:
    """How many models there are for this mode, and how many can be used now."""
    ready = sum(standing.serves(one.id) for one in deployments)
    missing = mode == "live" and any(one.id in standing.unavailable for one in deployments)
    hint = " Set a provider’s key (OPENAI_API_KEY and the like) to use the others." if missing else ""
    known = text.number(len(deployments))
    return f"{known} models for {mode} keys, {text.number(ready)} of them ready.{hint}"
