"""Reading the sources: percentiles, priors, the price map's rows, and what is refused."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.registry.build import build, load_sources, refuse_ending
from omni_app.registry.price_map import PriceMap, SourceError, read_facts
from omni_app.registry.priors import PricePriors, below
from omni_app.registry.quality import load_leaderboards, percentile
from omni_app.registry.rows import from_row, to_row
from omni_app.routing.types import Price, Rating, Task

ROW = {
    "mode": "chat",
    "litellm_provider": "openai",
    "input_cost_per_token": Decimal("2.5E-6"),
    "output_cost_per_token": Decimal("1.5E-5"),
    "max_input_tokens": 1_050_000,
    "max_output_tokens": 128_000,
}
PRICES = st.builds(Price, st.integers(0, 10**9), st.integers(0, 10**9))
RATED = st.lists(st.tuples(PRICES, st.floats(0, 1)), min_size=1, max_size=40)


def price_map(**rows: dict[str, Any]) -> PriceMap:
    return PriceMap("1.2.3", {name.replace("_", "-"): ROW | row for name, row in rows.items()})


def test_a_percentile_is_the_share_of_the_others_below_and_ties_count_half() -> None:
    assert percentile(3, [1, 2, 3]) == 1 and percentile(1, [1, 2, 3]) == 0
    assert percentile(2, [1, 2, 2, 2, 5]) == 0.5
    assert percentile(7, [7]) == 0


@given(st.lists(st.floats(800, 1600), min_size=2, max_size=50))
def test_percentiles_lie_between_0_and_1_and_rise_with_the_value(values: list[float]) -> None:
    found = [percentile(value, values) for value in sorted(values)]
    assert found == sorted(found) and found[0] >= 0 and found[-1] <= 1


@given(RATED, PRICES, PRICES)
def test_a_prior_never_falls_when_the_price_rises_and_never_passes_the_best_rated(
    rated: list[tuple[Price, float]], one: Price, other: Price
) -> None:
    priors = PricePriors(rated)
    cheap, dear = sorted((one, other), key=lambda price: 3 * price.input + price.output)
    best = max(figure for _, figure in rated)
    assert priors.at(cheap).percentile <= priors.at(dear).percentile <= max(0.0, round(best - 0.02, 4))
    assert priors.at(dear).prior


def test_a_free_model_has_a_prior_of_0() -> None:
    assert PricePriors([(Price(1, 1), 0.9)]).at(Price(0, 0)).percentile == 0


def test_a_task_without_a_figure_is_rated_below_the_models_overall_figure() -> None:
    assert below(Rating(0.9, "a measure", 1400.0, "2026-01-01")).percentile == 0.85
    assert below(Rating(0.01, "a measure", 1.0, "2026-01-01")).percentile == 0


def test_ratings_say_what_stands_for_what() -> None:
    ratings = load_leaderboards().rate(arena="gpt-5.1", arena_image="", tau2="GPT-5.2 | none | 2026-02-26")
    assert ratings[Task.CHAT].value == 1437.9
    assert "proxy" in ratings[Task.SUMMARIZATION].measure and "proxy" in ratings[Task.TRANSLATION].measure
    assert ratings[Task.AGENT_STEP].measure.endswith("airline, retail and telecom, effort none")
    assert ratings[Task.AGENT_STEP].value == 61.6
    assert Task.IMAGE not in ratings


def test_a_model_without_enough_languages_is_not_rated_for_translation() -> None:
    assert Task.TRANSLATION not in load_leaderboards().rate(arena="gemini-3-flash", arena_image="", tau2="")


def test_a_rating_row_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(SourceError, match="has no row 'gpt-7'"):
        load_leaderboards().rate(arena="gpt-7", arena_image="", tau2="")


def test_a_prompt_is_never_let_into_the_dearer_tariff() -> None:
    facts = price_map(m={"input_cost_per_token_above_272k_tokens": Decimal("5E-6")}).facts("m")
    assert facts.context_window == 272_000


def test_a_price_is_exact_and_a_cache_write_price_of_0_is_left_out() -> None:
    price = price_map(m={"cache_creation_input_token_cost": Decimal("0.0")}).price("m")
    assert (price.input, price.output, price.cache_write) == (2_500_000, 15_000_000, None)


def test_an_alias_ends_with_its_last_dated_snapshot() -> None:
    ends = {"deprecation_date": "2026-10-23"}, {"deprecation_date": "2027-01-14"}
    both = price_map(m={}, m_2024_05_13=ends[0], m_20240806=ends[1])
    assert both.deprecated_on("m") == date(2027, 1, 14)
    assert price_map(m={}, m_2024_05_13=ends[0], m_2024_08_06={}).deprecated_on("m") is None
    assert price_map(m=ends[0], m_2024_08_06=ends[1]).deprecated_on("m") == date(2026, 10, 23)
    assert price_map(m={}, m_mini_2024_05_13=ends[0]).deprecated_on("m") is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"mode": "embedding"}, "not a chat model"),
        ({"supported_endpoints": ["/v1/responses"]}, "not a chat model"),
        ({"mode": "image_generation"}, "no price per image"),
        ({"max_input_tokens": None}, "TypeError"),
    ],
)
def test_a_row_that_cannot_serve_is_refused_by_name(row: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceError, match=rf"row 'm'.*{said}"):
        price_map(m=row).facts("m")


def test_a_price_finer_than_a_pico_dollar_is_refused() -> None:
    with pytest.raises(SourceError, match="finer than a pico-dollar"):
        price_map(m={"input_cost_per_token": Decimal("2.5E-13")}).price("m")
    with pytest.raises(SourceError, match="no-such"):
        price_map().facts("no-such")


@pytest.mark.parametrize(
    ("row", "sees"),
    [
        ({}, True),
        ({"supports_reasoning": True}, False),
        ({"supports_reasoning": True, "default_reasoning_effort": "none"}, True),
        ({"supports_reasoning": True, "litellm_provider": "gemini"}, True),
        ({"supports_sampling_params": False, "litellm_provider": "anthropic"}, False),
    ],
)
def test_which_models_accept_a_temperature(row: dict[str, Any], *, sees: bool) -> None:
    assert read_facts(ROW | row, ends=None).sees_temperature is sees


def test_a_catalogue_with_a_model_that_is_about_to_end_is_refused() -> None:
    sources = load_sources()
    late = sources.catalog.model_copy(update={"as_of": date(2027, 1, 1)})
    with pytest.raises(SourceError, match=r"switched off before 2027-01-31: openai/gpt-4\.1 "):
        build(type(sources)(late, sources.price_map, sources.openrouter, sources.leaderboards))
    refuse_ending([], not_before=date(2027, 1, 1))


@pytest.mark.parametrize(
    "slip",
    [
        {"context_window": 1.5},
        {"context_window": True},
        {"price": {"input": -1, "output": 0, "cached_input": None, "cache_write": None, "image": 0}},
        {"price": {"input": 1}},
        {"supports_vision": "yes"},
        {"provider": None},
        {"tasks": ["cooking"]},
        {"makes_images": True},  # at no price per image
        {"overall": {"percentile": 1.5, "measure": "x", "value": None, "date": "", "prior": True}},
    ],
)
def test_a_row_with_a_slip_in_it_is_no_deployment(slip: dict[str, Any]) -> None:
    row = to_row(build(load_sources())[0])
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_row(row | slip)
