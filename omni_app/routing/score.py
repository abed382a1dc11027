"""The score of one candidate: four terms in [0, 1], higher is better, and their weighted sum.

    score = w_cost*(1-cost_norm) + w_latency*(1-latency_norm) + w_task*task_match + w_quality*quality_norm

`cost_norm` and `latency_norm` are logarithmic between fixed references of the policy, so a candidate's score does
not depend on which others are there. `task_match` and `quality_norm` are percentiles (docs/decisions/0002-scoring.md).
"""

from collections.abc import Mapping, Sequence
from math import exp, log

from omni_app.routing.types import Case, LatencyPref, Policy, Priority, RouteRequest, Task, Terms, Weights


def weights_for(request: RouteRequest, policy: Policy) -> Weights:
    """The weights that the caller's priority and latency preference stand for."""
    fast = request.latency_pref is LatencyPref.FAST
    presets: Mapping[Priority, Weights] = {
        Priority.BALANCED: policy.balanced_fast if fast else policy.balanced,
        Priority.QUALITY: policy.quality_fast if fast else policy.quality,
        Priority.CHEAP: policy.cheap,
        Priority.BEST: policy.best,
    }
    return presets[request.priority]


def weighted_sum(terms: Terms, weights: Weights) -> float:
    """The score."""
    return (
        weights.latency * terms.latency
        + weights.task * terms.task
        + weights.quality * terms.quality
        + weights.cost * terms.cost
    )


class LogScale:
    """A place on a logarithmic scale: 0 at and below `floor`, 1 at and above `ceiling`."""

    __slots__ = ("_log_floor", "_log_span", "ceiling", "floor")

    def __init__(self, floor: float, ceiling: float) -> None:
        self.floor = floor
        self.ceiling = ceiling
        self._log_floor = log(floor)
        self._log_span = log(ceiling) - self._log_floor

    def norm(self, value: float) -> float:
        """The place of `value`, in [0, 1]; never falls when `value` grows."""
        return self.norms((value,))[0]

    def norms(self, values: Sequence[float]) -> list[float]:
        """`norm` of each: a call for every candidate of every request would take as long as its logarithm."""
        floor, ceiling, log_floor, log_span = self.floor, self.ceiling, self._log_floor, self._log_span
        return [
            0.0 if value <= floor else 1.0 if value >= ceiling else (log(value) - log_floor) / log_span
            for value in values
        ]

    def value(self, norm: float) -> float:
        """The value at place `norm`: the inverse of `norm` between the references."""
        return exp(self._log_floor + norm * self._log_span)


def cost_scale(policy: Policy) -> LogScale:
    """Expected pico-dollars between the policy's references."""
    return LogScale(policy.cost_floor_pico, policy.cost_ceiling_pico)


def latency_scale(policy: Policy) -> LogScale:
    """Milliseconds between the policy's references."""
    return LogScale(policy.latency_floor_ms, policy.latency_ceiling_ms)


def minimum_quality(case: Case) -> float:
    """The lowest percentile for the task that this request asks for; 0 for anything easy.

    The greatest of: what the sub-task asks for, what the difficulty asks for, and, with priority `cheap`, the
    policy's floor. Nothing is asked of image makers: a picture has no difficulty that we can tell. Rounded, so that the
    noise of floating point holds nobody back.
    """
    request, policy = case.request, case.policy
    if case.task is Task.IMAGE:
        return 0.0
    asked = policy.subtask_quality.get(request.subtask, 0.0)
    if request.difficulty > policy.hard_from:
        above = (request.difficulty - policy.hard_from) / (1 - policy.hard_from)
        asked = max(asked, policy.hard_quality * above)
    if request.priority is Priority.CHEAP:
        asked = max(asked, policy.cheap_quality_floor)
    return round(asked, 9)
