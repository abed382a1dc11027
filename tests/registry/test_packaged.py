"""The packaged file against its sources: nothing in it is invented."""

import json
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal

import pytest

from omni_app.registry import build_registry, packaged_registry
from omni_app.registry.build import OPENROUTER_FILE, build, document, endings, load_sources
from omni_app.registry.price_map import PriceMap, installed_price_map
from omni_app.registry.registry import PACKAGED_FILE, TEST_PROVIDERS, packaged_file
from omni_app.registry.rows import from_row, to_row
from omni_app.routing.types import Deployment, Task

LIVE_PROVIDERS = {"openai", "anthropic", "groq", "openrouter", "gemini", "mistral", "deepseek", "xai"}
PICO = Decimal(10**12)


@pytest.fixture(scope="module")
def price_map() -> PriceMap:
    return installed_price_map()


def live() -> tuple[Deployment, ...]:
    return packaged_registry().serving("live")


def facts_rows() -> dict[str, str]:
    return {entry.id: entry.facts for entry in load_sources().catalog.live}


def test_the_packaged_file_is_what_the_sources_give() -> None:
    sources = load_sources()
    assert document(sources, build(sources)) == PACKAGED_FILE.read_text(encoding="utf-8")


def test_at_least_45_models_over_eight_providers_are_listed() -> None:
    assert len(live()) >= 45
    assert {one.provider for one in live()} == LIVE_PROVIDERS


def test_every_price_outside_openrouter_equals_litellms_map_exactly(price_map: PriceMap) -> None:
    rows = facts_rows()
    checked = [one for one in live() if one.provider != "openrouter"]
    assert len(checked) >= 45
    for one in checked:
        row = price_map.rows[rows[one.id]]
        assert one.price.input == row["input_cost_per_token"] * PICO, one.id
        assert one.price.output == row["output_cost_per_token"] * PICO, one.id
        assert (one.price.cached_input or 0) == row.get("cache_read_input_token_cost", 0) * PICO, one.id
        assert (one.price.cache_write or 0) == row.get("cache_creation_input_token_cost", 0) * PICO, one.id
        assert one.price_version == f"litellm-{price_map.version}" and rows[one.id] in one.price_source


def test_every_embedders_price_window_and_size_are_litellms(price_map: PriceMap) -> None:
    facts = {entry.id: entry for entry in load_sources().catalog.embedding}
    makers = packaged_registry().embedding("live")
    assert {one.provider for one in makers} == {"openai", "mistral"}
    for one in makers:
        row = price_map.rows[facts[one.id].facts]
        assert one.price.input == row["input_cost_per_token"] * PICO and one.price.output == 0, one.id
        assert one.context_window == row["max_input_tokens"], one.id
        assert one.vector_size == row.get("output_vector_size", facts[one.id].vector_size) > 0, one.id
        assert one.price_version == f"litellm-{price_map.version}" and facts[one.id].facts in one.price_source


def test_embedders_stand_apart_from_the_models_that_answer() -> None:
    registry = packaged_registry()
    for kind in ("live", "test"):
        assert registry.embedding(kind) and all(one.vector_size for one in registry.embedding(kind))
        assert not any(one.vector_size for one in registry.serving(kind))
    apart = sum(len(registry.serving(kind)) + len(registry.embedding(kind)) for kind in ("live", "test"))
    assert apart == len(registry.deployments)


def test_every_openrouter_price_has_its_own_row_source_and_date() -> None:
    prices = json.loads(OPENROUTER_FILE.read_text(encoding="utf-8"))
    for one in (one for one in live() if one.provider == "openrouter"):
        row = prices["rows"][one.model_name]
        assert one.price.input == Decimal(row["input"]) * 1_000_000, one.id
        assert one.price.output == Decimal(row["output"]) * 1_000_000, one.id
        assert prices["seen"] in one.price_source and prices["version"] == one.price_version


def test_no_prompt_that_fits_the_window_costs_more_per_token_than_listed(price_map: PriceMap) -> None:
    rows = facts_rows()
    for one in live():
        steps = [name for name in price_map.rows[rows[one.id]] if name.startswith("input_cost_per_token_above_")]
        for name in steps:
            assert one.context_window <= int(name.split("_")[5].removesuffix("k")) * 1000, (one.id, name)


def test_abilities_and_windows_never_exceed_litellms_map(price_map: PriceMap) -> None:
    rows = facts_rows()
    for one in live():
        row = price_map.rows[rows[one.id]]
        assert 0 < one.max_output_tokens <= one.context_window <= row["max_input_tokens"], one.id
        assert one.supports_functions is bool(row.get("supports_function_calling")), one.id
        assert one.supports_vision is bool(row.get("supports_vision")), one.id


def test_every_rating_has_measure_value_and_date_or_says_that_it_is_a_prior() -> None:
    for one in packaged_registry().deployments:
        for rating in (one.overall, *one.ratings.values()):
            assert 0 <= rating.percentile <= 1 and rating.measure, one.id
            assert rating.prior is (rating.value is None), one.id
            assert rating.prior or rating.date, one.id
            if rating.prior:
                assert rating.measure.startswith(("unrated", "simulated")), one.id


def test_strengths_in_a_task_come_from_a_public_figure_only() -> None:
    tasks = {task.value for task in Task}
    for one in packaged_registry().deployments:
        for strength in tasks.intersection(one.strengths):
            rating = one.ratings[Task(strength)]
            assert not rating.prior and rating.percentile >= 0.9, one.id


def test_no_prior_stands_above_the_best_rated_model() -> None:
    for task in Task:
        ratings = [one.ratings[task] for one in live() if task in one.ratings]
        rated = [rating.percentile for rating in ratings if not rating.prior]
        assert all(rating.percentile < max(rated) for rating in ratings if rating.prior), task


def test_no_model_is_packaged_that_ends_within_a_month_of_the_catalogues_day() -> None:
    catalog = load_sources().catalog
    for one in live():
        assert one.deprecated_on is None or one.deprecated_on >= catalog.as_of + timedelta(days=30), one.id


def test_endings_are_listed_nearest_first_with_a_mark() -> None:
    ends = max(one.deprecated_on for one in live() if one.deprecated_on)
    lines = endings(live(), today=ends)
    assert lines == sorted(lines) and lines[-1].endswith("ENDED")
    assert not endings(live(), today=ends - timedelta(days=1000))[0].endswith(("ENDED", "soon"))


def test_every_task_is_served_for_both_kinds_of_key() -> None:
    registry = packaged_registry()
    for kind in ("live", "test"):
        serving = registry.serving(kind)
        for task in Task:
            able = [one for one in serving if one.tasks is None or task in one.tasks]
            assert any(one.makes_images for one in able) if task is Task.IMAGE else able, (kind, task)
        assert any(one.supports_vision and not one.makes_images for one in serving)
        assert any(one.supports_functions for one in serving)


def test_image_makers_have_a_price_per_image_and_serve_nothing_else() -> None:
    makers = [one for one in packaged_registry().deployments if one.makes_images]
    assert {one.provider for one in makers} == {"gemini", "sandbox"}
    assert all(one.price.image > 0 and one.tasks == frozenset({Task.IMAGE}) for one in makers)
    assert all(one.price.image == 0 for one in packaged_registry().deployments if not one.makes_images)


def test_simulated_models_are_labelled_and_only_they() -> None:
    for one in packaged_registry().deployments:
        assert one.simulated is (one.provider == "sandbox")
        if one.simulated:
            assert all(rating.measure == "simulated" and rating.prior for rating in one.ratings.values())
            assert one.price_source == "simulated" and not one.strengths


def test_reasoning_models_that_refuse_temperature_are_known() -> None:
    registry = packaged_registry()
    sees = {one.id: one.sees_temperature for one in registry.deployments}
    assert (
        not sees["openai/gpt-6-sol"]
        and not sees["anthropic/claude-opus-5-5"]
        and not sees["openrouter/openai/gpt-6-sol"]
    )
    assert sees["openai/gpt-5.1"] and sees["openai/gpt-4.1"] and sees["anthropic/claude-opus-4-5"]


def test_the_local_model_costs_nothing_and_serves_short_chat_only() -> None:
    local = packaged_registry().get("local/smollm2-135m")
    assert local is not None
    assert (local.price.input, local.price.output, local.tasks) == (0, 0, frozenset({Task.CHAT}))
    assert (local.context_window, local.max_output_tokens) == (2048, 512)


def test_rows_survive_the_way_to_json_and_back() -> None:
    for one in packaged_registry().deployments:
        assert from_row(json.loads(json.dumps(to_row(one)))) == one


def test_the_version_is_that_of_the_rows() -> None:
    registry = packaged_registry()
    assert packaged_file()["version"] == registry.version == build_registry(reversed(registry.deployments)).version
    assert build_registry(registry.deployments[1:]).version != registry.version


def test_the_packaged_registry_loads_fast_and_without_litellm() -> None:
    script = (
        "import sys, time; from omni_app.registry import packaged_registry; t = time.process_time();"
        "packaged_registry(); print(time.process_time() - t, 'litellm' in sys.modules, 'sqlalchemy' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert float(shown[0]) < 0.05 and shown[1:] == ["False", "False"]


def test_the_two_kinds_of_key_share_no_deployment() -> None:
    registry = packaged_registry()
    live_ids, test_ids = (
        {one.id for one in (*registry.serving(kind), *registry.embedding(kind))} for kind in ("live", "test")
    )
    assert not live_ids & test_ids and len(live_ids) + len(test_ids) == len(registry.deployments)
    assert {one.provider for one in registry.serving("test")} == TEST_PROVIDERS
