"""Builds models.json: `python -m omni_app.registry.build` writes it, `--check` only compares and lists what ends when.

Sources: catalog.toml (which models), LiteLLM's price map (prices, limits, abilities, ends), prices/openrouter.json,
ratings/*.json. The same sources give the same bytes. Nothing is fetched.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from omni_app.money import pico, pico_per_token
from omni_app.registry.catalog import Catalog, Live, Made, load_catalog
from omni_app.registry.embedding import embedding_deployment
from omni_app.registry.price_map import Facts, PriceMap, SourceError, installed_price_map
from omni_app.registry.priors import PricePriors, below, blended_usd_per_million
from omni_app.registry.quality import MEASURES, Leaderboards, arena_subtask_ratings, load_leaderboards
from omni_app.registry.registry import PACKAGED_FILE, build_registry
from omni_app.registry.rows import to_row
from omni_app.routing.types import Deployment, Price, Rating, Task

OPENROUTER_FILE = Path(__file__).parent / "prices" / "openrouter.json"
SOON = timedelta(days=90)
"""`--check` marks models that end within this time."""
SHOWN_DIFFERENCE_LINES = 60
STRONG_FROM = 0.9
"""A task is a strength from this percentile on, and only by a public figure."""
LONG_CONTEXT_FROM = 400_000
TEXT_TASKS = tuple(task for task in Task if task is not Task.IMAGE)


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that a build reads."""

    catalog: Catalog
    price_map: PriceMap
    openrouter: Mapping[str, Any]
    leaderboards: Leaderboards


@dataclass(frozen=True, slots=True)
class Listed:
    """A model at a real provider, before the priors are known."""

    entry: Live
    facts: Facts
    price: Price
    price_source: str
    price_version: str
    ratings: Mapping[Task, Rating]
    subtask_ratings: Mapping[str, Rating]


def load_sources() -> Sources:
    """The committed sources and the installed LiteLLM's map. Raises `SourceError` when that is not installed."""
    openrouter = json.loads(OPENROUTER_FILE.read_text(encoding="utf-8"))
    return Sources(load_catalog(), installed_price_map(), openrouter, load_leaderboards())


def build(sources: Sources) -> list[Deployment]:
    """Every deployment of the catalogue. Raises `SourceError` when a source lacks a row or a model is about to end."""
    catalog = sources.catalog
    listed = [look_up(entry, sources) for entry in catalog.live]
    refuse_ending(listed, not_before=catalog.as_of + timedelta(days=catalog.deprecation_margin_days))
    priors = {task: learn_priors(task, listed) for task in Task}
    return [
        *(live_deployment(one, priors) for one in listed),
        *(made_deployment(entry) for entry in (*catalog.local, *catalog.sandbox)),
        *(embedding_deployment(entry, sources.price_map) for entry in catalog.embedding),
    ]


def learn_priors(task: Task, listed: Iterable[Listed]) -> PricePriors:
    """The priors of a task, from the models that are rated at it."""
    return PricePriors((one.price, one.ratings[task].percentile) for one in listed if task in one.ratings)


def look_up(entry: Live, sources: Sources) -> Listed:
    """What the sources say of one entry."""
    prices = sources.price_map
    facts = prices.facts(entry.facts)
    ratings = sources.leaderboards.rate(arena=entry.arena, arena_image=entry.arena_image, tau2=entry.tau2)
    finer = arena_subtask_ratings(sources.leaderboards.arena, entry.arena) if entry.arena else {}
    if entry.provider == "openrouter":
        return replace(_at_openrouter(entry, facts, ratings, sources.openrouter), subtask_ratings=finer)
    source = f"LiteLLM {prices.version} price map, row {entry.facts}"
    if facts.has_off_peak_price:
        source += "; the price of peak hours, at other hours the provider charges less"
    return Listed(entry, facts, prices.price(entry.facts), source, f"litellm-{prices.version}", ratings, finer)


def _at_openrouter(entry: Live, facts: Facts, ratings: Mapping[Task, Rating], prices: Mapping[str, Any]) -> Listed:
    """OpenRouter's own price, and the smaller of the windows that the sources name."""
    row = prices["rows"].get(entry.model_name)
    if row is None:
        raise SourceError(f"{prices['title']}: no row {entry.model_name!r}")
    window = min(
        [facts.context_window, *(row[name] for name in ("context_window", "flat_up_to_tokens") if name in row)]
    )
    since = f", in force since {row['since']}" if "since" in row else ""
    ends = [day for day in (facts.deprecated_on, date.fromisoformat(row["ends"]) if "ends" in row else None) if day]
    return Listed(
        entry=entry,
        facts=replace(
            facts,
            context_window=window,
            max_output_tokens=min(facts.max_output_tokens, window),
            deprecated_on=min(ends, default=None),
        ),
        price=openrouter_price(row),
        price_source=f"OpenRouter's model list by {prices['version']}, seen {prices['seen']}{since}",
        price_version=prices["version"],
        ratings=ratings,
        subtask_ratings={},
    )


def openrouter_price(row: Mapping[str, Any]) -> Price:
    """The exact price of a row of prices/openrouter.json."""
    cached, write = row.get("cached_input"), row.get("cache_write")
    return Price(
        input=pico_per_token(row["input"]),
        output=pico_per_token(row["output"]),
        cached_input=None if cached is None else pico_per_token(cached),
        cache_write=None if write is None else pico_per_token(write),
    )


def refuse_ending(listed: Iterable[Listed], *, not_before: date) -> None:
    """Raises `SourceError` naming the models that end before the day."""
    ending = [one for one in listed if one.facts.deprecated_on and one.facts.deprecated_on < not_before]
    if ending:
        names = ", ".join(f"{one.entry.id} ({one.facts.deprecated_on})" for one in ending)
        raise SourceError(f"switched off before {not_before}: {names}")


def rate(task: Task, listed: Listed, priors: Mapping[Task, PricePriors]) -> Rating:
    """The public figure for the task, else a prior: from its overall figure in the same leaderboard, or its price."""
    overall = listed.ratings.get(Task.CHAT)
    if task in listed.ratings:
        return listed.ratings[task]
    return below(overall) if overall is not None and task in MEASURES else priors[task].at(listed.price)


def live_deployment(listed: Listed, priors: Mapping[Task, PricePriors]) -> Deployment:
    """The deployment of a model at a real provider; `overall` is the rating for chat, of an image maker for images."""
    entry, facts = listed.entry, listed.facts
    tasks = (Task.IMAGE,) if facts.makes_images else TEXT_TASKS
    ratings = {task: rate(task, listed, priors) for task in tasks}
    return Deployment(
        id=entry.id,
        provider=entry.provider,
        model_name=entry.model_name,
        price=listed.price,
        context_window=facts.context_window,
        max_output_tokens=facts.max_output_tokens,
        ratings=ratings,
        subtask_ratings={} if facts.makes_images else listed.subtask_ratings,
        overall=ratings[tasks[0]],
        prior_latency_ms=assumed_latency_ms(listed),
        strengths=strengths(ratings, facts),
        supports_functions=facts.supports_functions,
        supports_vision=facts.supports_vision,
        supports_response_schema=facts.supports_response_schema,
        makes_images=facts.makes_images,
        sees_temperature=facts.sees_temperature,
        refuses=facts.refuses,
        tasks=frozenset({Task.IMAGE}) if facts.makes_images else None,
        deprecated_on=facts.deprecated_on,
        price_source=listed.price_source,
        price_version=listed.price_version,
    )


def assumed_latency_ms(listed: Listed) -> int:
    """An assumption by kind of model, not a measurement: it stands until our own traffic has measured the deployment.

    Groq's hardware is fast, making an image and thinking are slow, and a dearer model is a larger and slower one.
    """
    if listed.facts.makes_images or listed.facts.thinks:
        return 12_000
    if listed.entry.provider == "groq":
        return 1_500
    blended = blended_usd_per_million(listed.price)
    return 2_500 if blended <= 1 else 4_000 if blended <= 5 else 6_000


def strengths(ratings: Mapping[Task, Rating], facts: Facts) -> tuple[str, ...]:
    """Tasks in which a public figure puts the model among the best tenth, and abilities that its source states."""
    strong = [task.value for task, rating in ratings.items() if not rating.prior and rating.percentile >= STRONG_FROM]
    able = {"vision": facts.supports_vision, "long_context": facts.context_window >= LONG_CONTEXT_FROM}
    return (*sorted(strong), *(name for name, has in able.items() if has))


def made_deployment(entry: Made) -> Deployment:
    """The local model, or a simulated one: its figures stand in the catalogue and are labelled as ours."""
    simulated = entry.provider == "sandbox"
    label = "simulated" if simulated else "unrated: no public measure has it"
    tasks = entry.tasks or frozenset(TEXT_TASKS)
    ratings = {task: Rating(entry.percentiles.get(task, entry.percentile), label, prior=True) for task in tasks}
    return Deployment(
        id=entry.id,
        provider=entry.provider,
        model_name=entry.model_name,
        price=Price(
            input=pico_per_token(entry.input_usd_per_million),
            output=pico_per_token(entry.output_usd_per_million),
            image=pico(entry.image_usd),
        ),
        context_window=entry.context_window,
        max_output_tokens=entry.max_output_tokens,
        ratings=ratings,
        overall=Rating(entry.percentile, label, prior=True),
        prior_latency_ms=entry.prior_latency_ms,
        supports_functions="functions" in entry.abilities,
        supports_vision="vision" in entry.abilities,
        supports_response_schema="response_schema" in entry.abilities,
        makes_images=Task.IMAGE in tasks,
        sees_temperature=entry.sees_temperature,
        simulated=simulated,
        tasks=entry.tasks,
        price_source=entry.price_source,
        price_version=entry.provider,
    )


def document(sources: Sources, deployments: Iterable[Deployment]) -> str:
    """The text of models.json: one field a line, one rating a line, so that a change reads well as a diff."""
    registry = build_registry(deployments)
    head = {
        "about": "Built by `make catalog`. Prices in pico-dollars: 1,000,000 per token = 1 USD per million tokens.",
        "as_of": sources.catalog.as_of.isoformat(),
        "version": registry.version,
        "litellm": sources.price_map.version,
        "openrouter_prices": f"{sources.openrouter['version']}, seen {sources.openrouter['seen']}",
        "ratings": [
            sources.leaderboards.arena.title,
            sources.leaderboards.arena_image.title,
            sources.leaderboards.tau2.title,
        ],
    }
    lines = [f" {json.dumps(name)}: {_inline(value)},\n" for name, value in head.items()]
    models = ",\n".join(_model_text(to_row(one)) for one in registry.deployments)
    return "{\n" + "".join(lines) + ' "models": [\n' + models + "\n ]\n}\n"


def _model_text(row: Mapping[str, Any]) -> str:
    ratings = ",\n".join(f"    {json.dumps(task)}: {_inline(rating)}" for task, rating in row["ratings"].items())
    fields = [
        f"   {json.dumps(name)}: " + ("{\n" + ratings + "\n   }" if name == "ratings" else _inline(value))
        for name, value in row.items()
    ]
    return "  {\n" + ",\n".join(fields) + "\n  }"


def _inline(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def endings(deployments: Iterable[Deployment], *, today: date) -> list[str]:
    """One line for each model with a known end, the nearest first."""
    dated = sorted((one.deprecated_on, one.id) for one in deployments if one.deprecated_on)
    marks = {True: " ENDED", False: ""}
    return [f"{end} {name}{marks[end <= today] or (' soon' if end <= today + SOON else '')}" for end, name in dated]


def main(arguments: Sequence[str]) -> int:
    """Writes or checks; 0 when models.json is what the sources give."""
    parser = argparse.ArgumentParser(prog="python -m omni_app.registry.build", description="Builds models.json.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file would differ")
    check = parser.parse_args(arguments).check
    try:
        sources = load_sources()
        deployments = build(sources)
    except SourceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    text = document(sources, deployments)
    for line in endings(deployments, today=datetime.now(UTC).date()):
        sys.stdout.write(f"ends {line}\n")
    if check:
        return _compare(text)
    PACKAGED_FILE.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{PACKAGED_FILE.name}: {len(deployments)} models\n")
    return 0


def _compare(text: str) -> int:
    packaged = PACKAGED_FILE.read_text(encoding="utf-8") if PACKAGED_FILE.exists() else ""
    difference = list(
        difflib.unified_diff(packaged.splitlines(), text.splitlines(), "packaged", "sources", lineterm="")
    )
    for line in difference[:SHOWN_DIFFERENCE_LINES]:
        sys.stdout.write(f"{line}\n")
    if difference:
        sys.stderr.write(f"{PACKAGED_FILE.name} is not what the sources give: run `make catalog`\n")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
