"""Policies as data: what may be set, what is refused by name, and differences in words."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.errors import InvalidRequest
from omni_app.routing.policies import DEFAULT, PRESETS, TERMS, data_of, diff, policy_from, shares
from omni_app.routing.types import Policy, Weights

sliders = st.integers(0, 100)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_policy_and_comes_back_from_its_data(preset: Any) -> None:
    policy = PRESETS[preset]
    assert policy_from(data_of(policy), policy.version) == policy


@given(sliders, sliders, sliders, sliders)
def test_sliders_become_shares_that_add_up_to_one(cost: int, latency: int, task: int, quality: int) -> None:
    weights = shares(cost, latency, task, quality)
    assert sum(getattr(weights, term) for term in TERMS) == pytest.approx(1)
    data = data_of(DEFAULT) | {"balanced": {term: getattr(weights, term) for term in TERMS}}
    assert policy_from(data, "v").balanced == weights


def test_what_is_left_out_is_the_defaults() -> None:
    assert policy_from({}, "v") == replace(DEFAULT, version="v")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ([], "policy"),
        ({"colour": 1}, "colour"),
        ({"version": "mine"}, "version"),
        ({"balanced": {"cost": 1.0}}, "balanced"),
        ({"balanced": {"cost": 0.5, "latency": 0.5, "task": 0.5, "quality": 0}}, "balanced"),
        ({"balanced": {"cost": 2, "latency": -1, "task": 0, "quality": 0}}, "balanced.cost"),
        ({"balanced": {"cost": True, "latency": 0, "task": 0, "quality": 0}}, "balanced.cost"),
        ({"hard_from": float("nan")}, "hard_from"),
        ({"hard_from": "0.5"}, "hard_from"),
        ({"output_ceiling_tokens": 0}, "output_ceiling_tokens"),
        ({"output_ceiling_tokens": 1.5}, "output_ceiling_tokens"),
        ({"subtask_quality": {"alchemy": 0.5}}, "subtask_quality"),
        ({"expected_output": {"chat": -1}}, "expected_output.chat"),
        ({"cost_floor_pico": 10**13}, "cost_floor_pico"),
    ],
)
def test_bad_data_is_refused_by_name_and_never_makes_a_policy(data: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        policy_from(data, "v")
    assert refused.value.param == field


def test_a_difference_is_told_in_words_and_equal_policies_have_none() -> None:
    new = replace(Policy(), balanced=Weights(0.8, 0.1, 0.1, 0.0), hard_from=0.7)
    assert diff(DEFAULT, DEFAULT) == []
    assert diff(DEFAULT, new) == [
        "Balanced: low cost 40 % → 80 %, speed 30 % → 10 %, skill at the task 30 % → 10 %",
        "A request is hard from: 60 % → 70 %",
    ]
