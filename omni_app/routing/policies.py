"""Policies as people set them: named presets, data that is checked before it becomes a policy, differences in words.

The data of a policy is a JSON object with the names of `Policy`'s fields (all but `version`); what it leaves out is the
default's. `data_of` writes every field, so that a policy that was saved decides as before under later defaults.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from omni_app.errors import InvalidRequest
from omni_app.routing.types import SUBTASKS, Policy, Task, Weights

Data = Mapping[str, Any]
WeightsName = Literal["balanced", "balanced_fast", "quality", "quality_fast", "cheap", "best"]
WEIGHTS: tuple[WeightsName, ...] = ("balanced", "balanced_fast", "quality", "quality_fast", "cheap", "best")
TERMS = ("cost", "latency", "task", "quality")
SUM_SLACK = 1e-6
"""How far from 1 four weights may add up: the rounding of shares that were divided by their sum."""

DEFAULT = Policy()
DEFAULTS: Mapping[str, Policy] = MappingProxyType({DEFAULT.version: DEFAULT})
"""Version -> the product's own policy of that name; a release with other defaults names them anew and adds to this."""


class Range(NamedTuple):
    """What a number may be, both ends included."""

    low: float
    high: float
    whole: bool = False


SHARE = Range(0, 1)
TOKENS = Range(1, 1_000_000, whole=True)
PICO = Range(1, 10**18, whole=True)
NUMBERS: Mapping[str, Range] = {
    "cost_floor_pico": PICO,
    "cost_ceiling_pico": PICO,
    "latency_floor_ms": Range(1, 3_600_000),
    "latency_ceiling_ms": Range(1, 3_600_000),
    "cheap_quality_floor": SHARE,
    "best_within": SHARE,
    "output_ceiling_tokens": TOKENS,
    "useful_output_tokens": TOKENS,
    "context_margin": Range(1, 10),
    "image_probability": SHARE,
    "hard_from": SHARE,
    "hard_quality": SHARE,
    "fragile_margin": SHARE,
}
SCALES = (("cost_floor_pico", "cost_ceiling_pico"), ("latency_floor_ms", "latency_ceiling_ms"))
"""Pairs of which the first must be below the second."""
TABLES: Mapping[str, tuple[frozenset[str], Range]] = {
    "subtask_quality": (frozenset(SUBTASKS), SHARE),
    "expected_output": (frozenset(task.value for task in Task), Range(0, 1_000_000, whole=True)),
}


class Preset(StrEnum):
    """The named starting points."""

    BALANCED = "balanced"
    CHEAPEST = "cheapest"
    FASTEST = "fastest"
    BEST_QUALITY = "best_quality"


PRESETS: Mapping[Preset, Policy] = {
    Preset.BALANCED: DEFAULT,
    Preset.CHEAPEST: replace(
        DEFAULT,
        balanced=Weights(0.8, 0.1, 0.1, 0.0),
        balanced_fast=Weights(0.6, 0.3, 0.1, 0.0),
        quality=Weights(0.4, 0.1, 0.3, 0.2),
        quality_fast=Weights(0.3, 0.2, 0.3, 0.2),
    ),
    Preset.FASTEST: replace(
        DEFAULT,
        balanced=Weights(0.1, 0.7, 0.2, 0.0),
        balanced_fast=Weights(0.0, 0.8, 0.2, 0.0),
        quality=Weights(0.0, 0.5, 0.3, 0.2),
        quality_fast=Weights(0.0, 0.6, 0.2, 0.2),
    ),
    Preset.BEST_QUALITY: replace(
        DEFAULT,
        balanced=Weights(0.1, 0.1, 0.5, 0.3),
        balanced_fast=Weights(0.1, 0.2, 0.4, 0.3),
        quality=Weights(0.0, 0.0, 0.6, 0.4),
        quality_fast=Weights(0.0, 0.1, 0.5, 0.4),
        cheap_quality_floor=0.3,
        best_within=0.0,
    ),
}
"""Chosen by hand as clear steps away from the default; what one would do to an org's own requests, the replay tells."""


def data_of(policy: Policy) -> dict[str, Any]:
    """Every field of the policy but its version, as JSON holds it: what `policy_from` reads."""
    data = asdict(policy)
    del data["version"]
    data["expected_output"] = {Task(task).value: tokens for task, tokens in policy.expected_output.items()}
    data["subtask_quality"] = dict(policy.subtask_quality)
    return data


def policy_from(data: object, version: str) -> Policy:
    """The policy that the data says, with the defaults for what it leaves out.

    Raises `InvalidRequest` that names the field: an unknown one, a number that is none or out of its range, weights
    that do not add up to 1. Bad data never makes a policy.
    """
    if not isinstance(data, Mapping):
        raise _refused("policy", "must be an object")
    checked: dict[str, Any] = {name: _value(name, value) for name, value in data.items()}
    policy = replace(DEFAULT, version=version, **checked)
    for low, high in SCALES:
        if getattr(policy, low) >= getattr(policy, high):
            raise _refused(low, f"must be below {high}")
    return policy


def _value(name: object, value: object) -> object:
    if not isinstance(name, str):
        raise _refused("policy", "must have texts as names")
    if name in WEIGHTS:
        return _weights(name, value)
    if name in NUMBERS:
        return _number(name, value, NUMBERS[name])
    if name in TABLES:
        return _table(name, value)
    raise _refused(name[:60], "is not part of a policy")


def _weights(name: str, value: object) -> Weights:
    if not isinstance(value, Mapping) or value.keys() != set(TERMS):
        raise _refused(name, f"must have exactly {', '.join(TERMS)}")
    shares = [_number(f"{name}.{term}", value[term], SHARE) for term in TERMS]
    if abs(sum(shares) - 1) > SUM_SLACK:
        raise _refused(name, f"must add up to 1, not {sum(shares):g}")
    return Weights(*shares)


def _table(name: str, value: object) -> dict[Any, float]:
    known, within = TABLES[name]
    if not isinstance(value, Mapping):
        raise _refused(name, "must be an object")
    if unknown := [str(key)[:60] for key in value if key not in known]:
        raise _refused(name, f"does not know {unknown[0]}")
    found = {key: _number(f"{name}.{key}", value[key], within) for key in sorted(value)}
    return {Task(key): number for key, number in found.items()} if name == "expected_output" else found


def _number(name: str, value: object, within: Range) -> float:
    """As a whole number where the range wants one, else as a float; `nan` is in no range."""
    kind = int if within.whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not within.low <= value <= within.high:
        wanted = "a whole number" if within.whole else "a number"
        raise _refused(name, f"must be {wanted} from {within.low:,g} to {within.high:,g}")
    return int(value) if within.whole else float(value)


def _refused(name: str, words: str) -> InvalidRequest:
    return InvalidRequest(f"{name}: {words}", param=name)


def shares(cost: int, latency: int, task: int, quality: int) -> Weights:
    """Weights from four sliders, each 0 or more: every one divided by their sum. All at zero count the same."""
    given = (cost, latency, task, quality)
    if min(given) < 0:
        raise _refused("weights", "must not be below 0")
    whole = sum(given)
    return Weights(*(one / whole if whole else 0.25 for one in given))


# Differences in words

TERM_WORDS = {"cost": "low cost", "latency": "speed", "task": "skill at the task", "quality": "overall quality"}
FIELD_WORDS: Mapping[str, str] = {
    "balanced": "Balanced",
    "balanced_fast": "Balanced, fast",
    "quality": "Quality",
    "quality_fast": "Quality, fast",
    "cheap": "Cheap (shown score)",
    "best": "Best (shown score)",
    "cost_floor_pico": "Cost that counts as nothing",
    "cost_ceiling_pico": "Cost that counts as the most",
    "latency_floor_ms": "Time that counts as none",
    "latency_ceiling_ms": "Time that counts as the longest",
    "cheap_quality_floor": "Least rating for priority cheap",
    "best_within": "Best: ratings taken as equal within",
    "output_ceiling_tokens": "Longest answer assumed",
    "useful_output_tokens": "Shortest useful answer",
    "context_margin": "Margin for the context window",
    "image_probability": "Certainty needed to make an image",
    "hard_from": "A request is hard from",
    "hard_quality": "Least rating for the hardest requests",
    "fragile_margin": "A narrow choice is below",
    "subtask_quality": "Least rating",
    "expected_output": "Expected answer",
}
"""Every field as people read it."""
UNITS = {
    "cost_floor_pico": " pico-dollars",
    "cost_ceiling_pico": " pico-dollars",
    "latency_floor_ms": " ms",
    "latency_ceiling_ms": " ms",
    "output_ceiling_tokens": " tokens",
    "useful_output_tokens": " tokens",
    "expected_output": " tokens",
    "context_margin": " times",
}


def diff(old: Policy, new: Policy) -> list[str]:
    """What the new one does differently, a line a field; empty when they decide alike.

    `Balanced: low cost 40 % → 80 %, speed 30 % → 10 %`.
    """
    found = []
    for name in (one.name for one in fields(Policy) if one.name != "version"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            found.append(f"{FIELD_WORDS[name]}: {_changed(name, before, after)}")
    return found


def _changed(name: str, before: Any, after: Any) -> str:
    if isinstance(before, Weights):
        pairs = [(TERM_WORDS[term], getattr(before, term), getattr(after, term)) for term in TERMS]
        return ", ".join(f"{word} {_said('', one)} → {_said('', two)}" for word, one, two in pairs if one != two)
    if isinstance(before, Mapping):
        keys = sorted({*before, *after})
        return ", ".join(
            f"{str(key).replace('_', ' ')} {_said(name, before.get(key, 0))} → {_said(name, after.get(key, 0))}"
            for key in keys
            if before.get(key, 0) != after.get(key, 0)
        )
    return f"{_said(name, before)} → {_said(name, after)}"


def _said(name: str, value: float) -> str:
    """A number with its unit; a share in percent."""
    return f"{value:,.12g}{UNITS[name]}" if name in UNITS else f"{value * 100:.4g} %"
