"""Several answers to one request (`n`): every promise is for all of them together."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.routing.cost import expected_cost
from omni_app.routing.size import expected_tokens
from omni_app.routing.types import Task
from tests.routing.models import PAINTER, SOLID, asking, decided


@given(choices=st.integers(1, 8), tokens=st.integers(1, 5_000), max_tokens=st.integers(1, 4_000))
def test_n_answers_are_expected_to_cost_n_times_as_much(choices: int, tokens: int, max_tokens: int) -> None:
    request = asking(Task.CODING, tokens=tokens, max_tokens=max_tokens)
    one, several = decided(request, SOLID), decided(replace(request, choices=choices), SOLID)
    assert several.candidates[0].expected_cost == choices * one.candidates[0].expected_cost
    assert several.steps[0].worst_cost == choices * one.steps[0].worst_cost


@given(choices=st.integers(1, 8), max_cost=st.integers(1, 10**11))
def test_max_cost_is_kept_by_all_answers_together(choices: int, max_cost: int) -> None:
    decision = decided(replace(asking(tokens=100, max_cost=max_cost), choices=choices), SOLID)
    if decision.selected is not None:
        assert decision.steps[0].worst_cost <= max_cost


@pytest.mark.parametrize(("choices", "eligible"), [(1, True), (8, False)])
def test_a_budget_for_one_answer_is_not_one_for_eight(choices: int, *, eligible: bool) -> None:
    worst = decided(asking(tokens=100, max_tokens=200), SOLID).steps[0].worst_cost
    request = replace(asking(tokens=100, max_tokens=200, max_cost=worst), choices=choices)
    assert (decided(request, SOLID).selected is not None) is eligible


@given(choices=st.integers(1, 8), tokens=st.integers(1, 5_000), images=st.integers(1, 4))
def test_n_answers_with_pictures_cost_n_times_as_much(choices: int, tokens: int, images: int) -> None:
    request = asking(Task.IMAGE, tokens=tokens, images=images)
    one, several = decided(request), decided(replace(request, choices=choices))
    assert several.candidates[0].expected_cost == choices * one.candidates[0].expected_cost
    assert several.steps[0].worst_cost == choices * one.steps[0].worst_cost
    expected = expected_tokens(PAINTER, several.explanation.case)
    counted = expected_cost(PAINTER.price, expected.input, expected.output, images=expected.images)
    assert counted == several.candidates[0].expected_cost
    assert decided(replace(request, choices=choices, max_cost=several.steps[0].worst_cost - 1)).selected is None
