"""Comparisons: exact at any price, honest about what cannot be compared, and only with models that can be."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_app.errors import InvalidRequest
from omni_app.gateway.comparison import check_comparisons, chosen, compared, recorded_band
from omni_app.registry import packaged_registry
from omni_app.registry.registry import build_registry
from omni_app.routing.cost import TokenSums, actual_cost
from omni_app.routing.types import Deployment, Price
from omni_app.storage.reports import Comparable, UsageGroup
from tests.routing.test_cost import PRICES

REGISTRY = packaged_registry()
PREMIUM = REGISTRY.serving("test")[-1]
TOKENS = st.builds(TokenSums, *[st.integers(0, 10**9)] * 4)
AMOUNTS = st.integers(0, 10**15)


def group(
    premium: str, tokens: TokenSums, *, cost: int, texts_at_premium: int, others_at_premium: int = 0
) -> UsageGroup:
    """A baseline's requests: texts, and others that cannot be compared."""
    return UsageGroup(
        key=premium,
        requests=1,
        cost=cost,
        premium_cost=texts_at_premium + others_at_premium,
        tokens_input=tokens.input,
        tokens_output=tokens.output,
        avg_latency_ms=None,
        texts=Comparable(tokens, texts_at_premium),
    )


def at(price: Price) -> Deployment:
    return replace(PREMIUM, price=price)


@settings(deadline=None)
@given(tokens=TOKENS, price=PRICES, cost=AMOUNTS, others=AMOUNTS)
def test_compared_with_itself_the_baseline_costs_what_the_ledger_recorded(
    tokens: TokenSums, price: Price, cost: int, others: int
) -> None:
    premium = at(price)
    recorded = group(
        premium.id, tokens, cost=cost, texts_at_premium=actual_cost(price, tokens), others_at_premium=others
    )
    groups = [recorded, group("", TokenSums(), cost=7, texts_at_premium=0)]
    (same,) = compared(groups, [premium])
    assert (same.cost, same.savings) == (recorded.premium_cost, recorded.premium_cost - cost - 7)
    assert same.band == recorded_band(groups, {premium.id: premium}.get)
    assert same.band.low <= same.savings <= same.band.high


def test_a_cheaper_model_shows_a_loss() -> None:
    recorded = group("a/b", TokenSums(1_000, 100), cost=5_000, texts_at_premium=90_000)
    (cheap,) = compared([recorded], [at(Price(1, 2))])
    assert (cheap.cost, cheap.savings) == (1_200, -3_800)
    assert cheap.band.low == -3_800 - 66 and cheap.band.high == -3_800 + 100 < 0


def test_several_baselines_of_a_period_are_added_up() -> None:
    first, second = (replace(at(Price(1, 10)), id=name) for name in ("a/b", "c/d"))
    groups = [
        group(one.id, TokenSums(1_000, 100), cost=500, texts_at_premium=2_000, others_at_premium=30)
        for one in (first, second)
    ]
    band = recorded_band(groups, {one.id: one for one in (first, second)}.get)
    assert (band.low, band.high) == (2 * 1_530 - 660, 2 * 1_530 + 1_000)


def test_what_a_model_answered_itself_is_sure() -> None:
    premium = replace(at(Price(1, 10)), id="a/b")
    other = replace(group("a/b", TokenSums(1_000, 100), cost=500, texts_at_premium=2_000), model="c/d")
    own = replace(group("a/b", TokenSums(9_000, 900), cost=18_000, texts_at_premium=18_000), model="a/b")
    alone = recorded_band([own], {"a/b": premium}.get)
    both = recorded_band([other, own], {"a/b": premium}.get)
    assert (alone.low, alone.high) == (0, 0)
    assert (both.low, both.high) == (1_500 - 330, 1_500 + 500)
    (same,) = compared([other, own], [premium])
    assert same.band == both


def test_nothing_used_is_nothing_saved() -> None:
    (one,) = compared([], [PREMIUM])
    assert (one.cost, one.savings, one.band.low, one.band.high) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("models", "says"),
    [
        (["nobody/knows"], "nobody/knows is not in this server's catalogue"),
        (["local/smollm2-135m"], "local/smollm2-135m has no price to compare with"),
        (["sandbox/painter"], "sandbox/painter does not write text"),
        (["sandbox/embedder"], "sandbox/embedder does not write text"),
        (["sandbox/swift", "sandbox/swift"], "only once"),
        (["sandbox/swift", "sandbox/coder", "sandbox/reasoner", "sandbox/premium"], "at most 3"),
    ],
)
def test_what_cannot_be_compared_with_is_refused(models: list[str], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        check_comparisons(models, REGISTRY)


def test_real_and_simulated_prices_are_never_side_by_side() -> None:
    models = ["openai/gpt-4.1", "sandbox/swift", "gone/model"]
    check_comparisons(models[:2], REGISTRY)
    found: Any = [[one.id for one in chosen(models, REGISTRY, kind)] for kind in ("live", "test")]
    assert found == [["openai/gpt-4.1"], ["sandbox/swift"]]


def test_a_model_that_lost_its_price_is_left_out() -> None:
    free = build_registry([replace(one, price=Price(0, 0)) for one in REGISTRY.serving("test")])
    assert chosen(["sandbox/swift"], free, "test") == []
