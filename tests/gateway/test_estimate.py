"""What routing would have cost: exact sums over what is known, and what is not known left out by name."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_app.gateway.estimate import NO_MODEL, PICTURE, UNKNOWN_MODEL, UNRATED, Asked, Billed, Estimator, Sums, Tally
from omni_app.gateway.types import ChatRequest
from omni_app.providers.base import Usage
from omni_app.registry import packaged_registry
from omni_app.routing.cost import actual_cost
from omni_app.routing.types import Policy, Priority, Task

REGISTRY = packaged_registry()
ESTIMATOR = Estimator(REGISTRY, Policy(), today=date(2026, 11, 23))
RATED = "openai/gpt-5.1"
UNRATED_MODEL = next(one for one in REGISTRY.serving("live") if one.ratings and one.ratings[Task.CHAT].prior)
CODE = "Write a Python function that merges two sorted lists, with type hints and tests."


def asked(model: str, prompt: str = CODE, usage: Usage | None = None, max_tokens: int | None = None) -> Asked:
    messages = [{"role": "user", "content": prompt}]
    return Asked(model, ChatRequest(messages=messages, endpoint="estimate", max_tokens=max_tokens), usage)


def tally_of(*requests: Asked, as_good: bool = False) -> Tally:
    tally = Tally()
    for one in requests:
        ESTIMATOR.add(one, tally, as_good=as_good)
    return tally


def only(tally: Tally) -> tuple[str, Sums]:
    ((kind, sums),) = tally.kinds.items()
    return kind.chosen, sums


def test_both_sides_are_list_prices_of_the_tokens_that_were_billed() -> None:
    usage = Usage(input=1_000, output=500, cached_input=200)
    chosen, sums = only(tally_of(asked("gpt-5.1", usage=usage)))
    mine, theirs = REGISTRY.get(RATED), REGISTRY.get(chosen)
    assert mine is not None
    assert theirs is not None
    assert sums == Sums(1, 1_000, 500, actual_cost(mine.price, usage), actual_cost(theirs.price, usage))
    assert sums.cost == 800 * mine.price.input + 200 * (mine.price.cached_input or 0) + 500 * mine.price.output


def test_tokens_that_the_file_does_not_tell_are_estimated_by_the_task_and_its_cap() -> None:
    _, free = only(tally_of(asked("gpt-5.1")))
    _, capped = only(tally_of(asked("gpt-5.1", max_tokens=50)))
    assert free.output_tokens == Policy().expected_output[Task.CODING]
    assert capped.output_tokens == 50
    assert 10 < free.input_tokens < 40


@pytest.mark.parametrize("name", ["gpt-5.1", "gpt-5.1-2025-11-13", "openai/gpt-5.1", "openai/gpt-5.1-2025-11-13"])
def test_a_model_is_priced_by_its_id_its_bare_name_or_its_frozen_version(name: str) -> None:
    deployment = ESTIMATOR.price_of(name)
    assert deployment is not None
    assert deployment.id == RATED


@pytest.mark.parametrize(
    "name", ["gpt-nobody", "ft:gpt-4o-mini:acme::x", "sandbox/coder", "gpt-5.1-latest", "-2025-11-13"]
)
def test_a_price_is_never_made_up(name: str) -> None:
    tally = tally_of(asked(name))
    assert tally.kinds == {}
    assert tally.left_out == {(name, UNKNOWN_MODEL): 1}


def test_what_cannot_be_compared_is_left_out_and_counted() -> None:
    picture = "Draw a picture of a red fox in the snow, watercolour."
    tally = tally_of(asked(""), asked("gpt-5.1", picture), asked("gpt-5.1", picture))
    assert tally.kinds == {}
    assert tally.left_out == {("", NO_MODEL): 1, ("gpt-5.1", PICTURE): 2}


def test_as_good_takes_only_models_with_a_public_rating_that_is_no_lower() -> None:
    prompts = (CODE, "What is the capital of France?", "Translate to German: good morning", "Prove that 2 + 2 = 4.")
    tally = tally_of(*(asked("gpt-5.1", prompt) for prompt in prompts), as_good=True)
    mine = REGISTRY.get(RATED)
    assert mine is not None
    assert sum(sums.requests for sums in tally.kinds.values()) == len(prompts)
    for kind in tally.kinds:
        taken = REGISTRY.get(kind.chosen)
        assert taken is not None
        assert taken.ratings[kind.task].percentile >= mine.ratings[kind.task].percentile
        assert taken.id == mine.id or not taken.ratings[kind.task].prior


def test_nothing_is_called_as_good_as_a_model_without_a_public_rating() -> None:
    tally = tally_of(asked(UNRATED_MODEL.id, "Hello! How are you?"), as_good=True)
    assert (tally.kinds, tally.left_out) == ({}, {(UNRATED_MODEL.id, UNRATED): 1})
    billed = Billed(UNRATED_MODEL.id, 7, Usage(700, 70), (Task.CHAT,))
    ESTIMATOR.add_billed(billed, Priority.BALANCED, tally, as_good=True)
    assert tally.left_out == {(UNRATED_MODEL.id, UNRATED): 8}


def test_a_dearer_choice_shows_as_a_dearer_choice() -> None:
    tally = Tally()
    request = ChatRequest(messages=[{"role": "user", "content": CODE}], endpoint="estimate", priority=Priority.BEST)
    ESTIMATOR.add(Asked("gpt-4o-mini", request, Usage(100, 400)), tally, as_good=False)
    _, sums = only(tally)
    assert sums.routed_cost > sums.cost


@settings(max_examples=60, deadline=None)
@given(
    requests=st.integers(1, 10**6),
    tokens_in=st.integers(0, 10**12),
    tokens_out=st.integers(0, 10**12),
    share=st.floats(0, 1),
    tasks=st.sampled_from([(Task.CHAT,), (Task.CHAT, Task.CODING, Task.REASONING), tuple(Task)[:5]]),
)
def test_no_request_and_no_token_of_a_bill_is_lost(
    requests: int, tokens_in: int, tokens_out: int, share: float, tasks: tuple[Task, ...]
) -> None:
    usage = Usage(tokens_in, tokens_out, cached_input=int(tokens_in * share))
    tally = Tally()
    ESTIMATOR.add_billed(Billed("gpt-5.1", requests, usage, tasks), Priority.BALANCED, tally, as_good=False)
    mine = REGISTRY.get(RATED)
    assert mine is not None
    assert sum(sums.requests for sums in tally.kinds.values()) + sum(tally.left_out.values()) == requests
    if not tally.left_out:
        assert sum(sums.input_tokens for sums in tally.kinds.values()) == tokens_in
        assert sum(sums.output_tokens for sums in tally.kinds.values()) == tokens_out
        assert sum(sums.cost for sums in tally.kinds.values()) == actual_cost(mine.price, usage)
