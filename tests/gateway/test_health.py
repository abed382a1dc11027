"""Breakers: when they open, for how long, and who may probe."""

import pytest

from omni_app.gateway.health import COOLDOWN_CEILING_S, COOLDOWN_S, FAULTS_TO_OPEN, LATELY_S, PROBE_HOLDS_S, Health
from omni_app.providers.base import FaultKind, ProviderFault

MODEL = "alpha/small"
DOWN = ProviderFault(FaultKind.SERVER_ERROR, "down")


def fail(health: Health, *, now_s: float, fault: ProviderFault = DOWN, times: int = 1) -> None:
    for _ in range(times):
        health.begin(MODEL, now_s=now_s).failed(fault, now_s=now_s)


def opened(*, now_s: float = 0.0) -> Health:
    health = Health()
    fail(health, now_s=now_s, times=FAULTS_TO_OPEN)
    return health


def test_faults_in_a_row_open_it_and_an_answer_between_them_does_not() -> None:
    health = Health()
    for _ in range(10):
        fail(health, now_s=0, times=FAULTS_TO_OPEN - 1)
        health.begin(MODEL, now_s=0).succeeded(now_s=0)
    assert health.admits(MODEL, now_s=0)
    fail(health, now_s=0, times=FAULTS_TO_OPEN)
    assert health.cooling(now_s=1) == {MODEL: COOLDOWN_S - 1}


def test_one_probe_at_a_time_and_it_closes_the_breaker() -> None:
    health = opened()
    assert not health.admits(MODEL, now_s=COOLDOWN_S - 0.01)
    probe = health.begin(MODEL, now_s=COOLDOWN_S) if health.admits(MODEL, now_s=COOLDOWN_S) else None
    assert probe is not None
    assert not health.admits(MODEL, now_s=COOLDOWN_S + PROBE_HOLDS_S - 1), "until the probe has ended"
    assert health.cooling(now_s=COOLDOWN_S + PROBE_HOLDS_S - 1)[MODEL] > 0
    probe.succeeded(now_s=0)
    assert health.admits(MODEL, now_s=COOLDOWN_S) and not health.cooling(now_s=COOLDOWN_S)


@pytest.mark.parametrize("answered", [True, False])
def test_a_probe_that_never_ends_shuts_nobody_out_for_good(*, answered: bool) -> None:
    health = opened()
    slow = health.begin(MODEL, now_s=COOLDOWN_S)
    later_s = COOLDOWN_S + PROBE_HOLDS_S
    assert health.admits(MODEL, now_s=later_s) and not health.cooling(now_s=later_s)
    health.begin(MODEL, now_s=later_s)
    assert not health.admits(MODEL, now_s=later_s), "the next one is the probe now"
    if answered:
        slow.succeeded(now_s=0)
        assert health.admits(MODEL, now_s=later_s), "the slow one tells as well"
    else:
        slow.failed(DOWN, now_s=later_s)
        assert health.cooling(now_s=later_s) == {MODEL: 2 * COOLDOWN_S}


def test_of_two_probes_the_first_that_tells_counts() -> None:
    health = opened()
    slow = health.begin(MODEL, now_s=COOLDOWN_S)
    later_s = COOLDOWN_S + PROBE_HOLDS_S
    quick = health.begin(MODEL, now_s=later_s)
    quick.failed(DOWN, now_s=later_s)
    slow.succeeded(now_s=0)
    assert health.cooling(now_s=later_s) == {MODEL: 2 * COOLDOWN_S}, "it was under way when the breaker opened again"
    slow.left()


@pytest.mark.parametrize("fault", [None, ProviderFault(FaultKind.BAD_REQUEST, "the request's own")])
def test_a_probe_that_says_nothing_gives_its_place_back(fault: ProviderFault | None) -> None:
    health = opened()
    probe = health.begin(MODEL, now_s=COOLDOWN_S)
    if fault is None:
        probe.left()
    else:
        probe.failed(fault, now_s=COOLDOWN_S)
    assert health.admits(MODEL, now_s=COOLDOWN_S)
    fail(health, now_s=COOLDOWN_S)
    assert not health.admits(MODEL, now_s=COOLDOWN_S), "the next one is a probe again"


def test_each_failed_probe_doubles_the_cooldown_up_to_the_ceiling() -> None:
    health, now_s, waits = opened(), 0.0, []
    for _ in range(6):
        waits.append(health.cooling(now_s=now_s)[MODEL])
        now_s += waits[-1]
        fail(health, now_s=now_s)
    assert waits == [COOLDOWN_S, 10, 20, 40, COOLDOWN_CEILING_S, COOLDOWN_CEILING_S]


def test_a_burst_that_fails_together_is_one_failure() -> None:
    health = Health()
    trials = [health.begin(MODEL, now_s=0) for _ in range(100)]
    for trial in trials:
        trial.failed(DOWN, now_s=0)
    assert health.cooling(now_s=0) == {MODEL: COOLDOWN_S}


def test_an_answer_from_before_it_opened_does_not_close_it() -> None:
    health = Health()
    early = health.begin(MODEL, now_s=0)
    fail(health, now_s=0, fault=ProviderFault(FaultKind.RATE_LIMITED, "slow down", retry_after_s=30))
    early.succeeded(now_s=0)
    assert health.cooling(now_s=0) == {MODEL: 30}


@pytest.mark.parametrize(
    ("kind", "told_s", "cooled_s"),
    [
        (FaultKind.RATE_LIMITED, None, COOLDOWN_S),
        (FaultKind.RATE_LIMITED, 2.0, 2.0),
        (FaultKind.RATE_LIMITED, 7.0, 7.0),
        (FaultKind.RATE_LIMITED, 86_000.0, COOLDOWN_CEILING_S),
        (FaultKind.SERVER_ERROR, 3.0, 3.0),
        (FaultKind.AUTHENTICATION, None, COOLDOWN_S),
        (FaultKind.MODEL_NOT_FOUND, None, COOLDOWN_S),
    ],
)
def test_what_opens_it_at_once_and_for_how_long(kind: FaultKind, told_s: float | None, cooled_s: float) -> None:
    health = Health()
    fail(health, now_s=100, fault=ProviderFault(kind, "no", retry_after_s=told_s))
    assert health.cooling(now_s=100) == {MODEL: cooled_s}


def test_a_trial_tells_its_outcome_once() -> None:
    health = Health()
    trial = health.begin(MODEL, now_s=0)
    for _ in range(FAULTS_TO_OPEN):
        trial.failed(DOWN, now_s=0)
    assert health.admits(MODEL, now_s=0)


def test_what_is_down_is_told_by_what_was_seen_lately() -> None:
    health = opened()
    over_s = COOLDOWN_S + 1
    assert health.down(now_s=1) == {MODEL: True}
    assert health.down(now_s=over_s) == {}, "one opening, and nobody has called since"
    fail(health, now_s=over_s)
    over_s += 2 * COOLDOWN_S + 1
    assert health.admits(MODEL, now_s=over_s) and health.down(now_s=over_s) == {MODEL: True}, "its probe failed too"
    assert health.down(now_s=over_s + LATELY_S) == {}
    health.begin(MODEL, now_s=over_s).succeeded(now_s=over_s)
    assert health.down(now_s=over_s) == {MODEL: False}
    fail(health, now_s=over_s + 1)
    assert health.down(now_s=over_s + 1) == {MODEL: False}, "one fault opens nothing"
    assert health.down(now_s=over_s + LATELY_S) == {}
