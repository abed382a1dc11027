"""The baseline that savings are measured against."""

from omni_app.registry import packaged_registry


def providers_but(*names: str) -> set[str]:
    return {one.id for one in packaged_registry().deployments if one.provider not in names}


def test_the_configured_premium_model_is_the_baseline_even_when_it_cannot_be_called() -> None:
    premium = packaged_registry().premium("openai/gpt-6-astra", "live", {"openai/gpt-6-astra"})
    assert premium is not None and premium.id == "openai/gpt-6-astra"


def test_without_a_configured_one_it_is_the_best_rated_available_one() -> None:
    registry = packaged_registry()
    only_openai = registry.premium("", "live", providers_but("openai"))
    best = max(
        (one for one in registry.serving("live") if one.provider == "openai"), key=lambda one: one.overall.percentile
    )
    assert only_openai == best and not best.overall.prior


def test_an_image_maker_is_never_the_baseline() -> None:
    unavailable = providers_but("gemini") | {
        one.id for one in packaged_registry().serving("live") if one.provider == "gemini" and not one.makes_images
    }
    assert packaged_registry().premium("", "live", unavailable) is None


def test_a_test_key_is_compared_with_the_sandboxs_premium_tier_whatever_is_configured() -> None:
    for configured in ("", "openai/gpt-6-astra", "no/such-model"):
        premium = packaged_registry().premium(configured, "test", ())
        assert premium is not None and premium.id == "sandbox/premium"


def test_there_is_no_baseline_when_nothing_is_available() -> None:
    assert packaged_registry().premium("", "live", {one.id for one in packaged_registry().deployments}) is None
