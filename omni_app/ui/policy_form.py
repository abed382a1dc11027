"""The routing policy's form: what its sliders and numbers show of a policy, and the policy that they make."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from omni_app.errors import InvalidRequest
from omni_app.routing.policies import NUMBERS, PRESETS, TERMS, Preset, data_of, policy_from, shares
from omni_app.routing.types import Policy, Weights
from omni_app.ui.components.basics import Row

SetName = Literal["balanced", "balanced_fast", "quality", "quality_fast"]
SETS: Mapping[SetName, tuple[str, str]] = {
    "balanced": ("Balanced", "Requests that ask for nothing special. Most are."),
    "balanced_fast": ("Balanced, fast", "Requests that say they are in a hurry (latency_pref: fast)."),
    "quality": ("Quality", "Requests that ask for quality (priority: quality)."),
    "quality_fast": ("Quality, fast", "Requests that ask for quality and are in a hurry."),
}
"""The sets of four weights that a request can choose between."""
SLIDERS: Mapping[str, tuple[str, str]] = {
    "cost": ("Low cost", "How much it counts that the answer is cheap."),
    "latency": ("Speed", "How much it counts that the model usually answers soon, as measured here."),
    "task": (
        "Skill at the task",
        "How much it counts that public tests rate the model highly at this kind of work: code, maths, translation …",
    ),
    "quality": ("Overall quality", "How much the model’s general rating counts, whatever the work."),
}
PRESET_NAMES: Mapping[Preset, tuple[str, str]] = {
    Preset.BALANCED: ("Balanced", "The default: cost first, then speed and skill alike."),
    Preset.CHEAPEST: ("Cheapest", "Cost decides nearly everything."),
    Preset.FASTEST: ("Fastest", "The soonest answer, at any price."),
    Preset.BEST_QUALITY: ("Best quality", "Skill and quality first; the price hardly counts."),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A number of the policy outside the weights: where it is in the data, and how people read it."""

    name: str
    label: str
    hint: str
    field: str
    key: str = ""
    """Within a field that is a table of numbers."""
    unit: Literal["percent", "tokens"] = "percent"

    @property
    def most(self) -> int:
        """The greatest value in its unit."""
        return 100 if self.unit == "percent" else int(NUMBERS[self.field].high)

    @property
    def least(self) -> int:
        """The smallest value in its unit."""
        return 0 if self.unit == "percent" else int(NUMBERS[self.field].low)

    def shown(self, data: Mapping[str, Any]) -> str:
        """The value as the form shows it."""
        value = data[self.field].get(self.key, 0.0) if self.key else data[self.field]
        return f"{value * 100:.10g}" if self.unit == "percent" else f"{value:d}"

    def read(self, typed: object) -> float:
        """What was typed, as the policy has it. Raises `InvalidRequest` with the setting's own words."""
        try:
            value = float(str(typed)) if self.unit == "percent" else int(str(typed))
        except ValueError:
            value = -1
        if not self.least <= value <= self.most:
            unit = " percent" if self.unit == "percent" else " tokens"
            told = f"{self.label}: must be a number from {self.least:,} to {self.most:,}{unit}"
            raise InvalidRequest(told, param=self.name)
        return value / 100 if self.unit == "percent" else value


SETTINGS = (
    Setting("arithmetic", "Arithmetic", "Least rating of a model that may do sums.", "subtask_quality", "arithmetic"),
    Setting(
        "mathematics", "Mathematics", "Least rating for proofs and word problems.", "subtask_quality", "mathematics"
    ),
    Setting("logic", "Logic", "Least rating for puzzles and reasoning.", "subtask_quality", "logic"),
    Setting("science", "Science", "Least rating for problems of physics or chemistry.", "subtask_quality", "science"),
    Setting("exam", "Exams", "Least rating for problems with answers to choose from.", "subtask_quality", "exam"),
    Setting(
        "code_repair", "Mending code", "Least rating for finding faults in code.", "subtask_quality", "code_repair"
    ),
    Setting("hard_from", "A request is hard from", "Difficulty from which better models are asked for.", "hard_from"),
    Setting(
        "hard_quality",
        "Least rating for the hardest",
        "Rises to this, from nothing, between there and the hardest.",
        "hard_quality",
    ),
    Setting(
        "cheap_quality_floor",
        "Least rating when “cheap” is asked",
        "Priority cheap takes the cheapest model that is rated at least so.",
        "cheap_quality_floor",
    ),
    Setting(
        "best_within",
        "Ratings taken as equal",
        "Priority best takes the cheapest among models this close to the top.",
        "best_within",
    ),
    Setting(
        "output_ceiling_tokens",
        "Longest answer assumed",
        "When a request sets no max_tokens: used for cost limits and budgets.",
        "output_ceiling_tokens",
        unit="tokens",
    ),
)
"""A rating of 100 % is the best model there is, 50 % the middle one."""


def sliders_of(data: Mapping[str, Any], which: SetName) -> Row:
    """Where the four sliders stand: whole numbers from 0 to 100."""
    return {term: str(round(data[which][term] * 100)) for term in TERMS}


def settings_of(data: Mapping[str, Any]) -> Row:
    """What the numbers show."""
    return {one.name: one.shown(data) for one in SETTINGS}


def shares_of(data: Mapping[str, Any], which: SetName) -> Row:
    """Each weight's share as text: `40 %`. They add up to 100 % but for rounding to a tenth."""
    return {term: f"{round(data[which][term] * 100, 1):g} %" for term in TERMS}


def preset_of(data: Mapping[str, Any]) -> str:
    """The preset that the data is; empty when it is none."""
    return next((name.value for name, policy in PRESETS.items() if data_of(policy) == data), "")


def is_whole(form: Mapping[str, Any]) -> bool:
    """Whether it is this page's form at all."""
    return {"which", "made", *TERMS, *(one.name for one in SETTINGS)} <= form.keys() and form["which"] in SETS


def merged(data: Mapping[str, Any], form: Mapping[str, Any], *, sliders: Row, settings: Row) -> dict[str, Any]:
    """The data with what was changed in the form; what still shows what it showed keeps its exact value.

    `sliders` and `settings`: what the form showed. Raises `InvalidRequest` that names the field.
    """
    changed = dict(data)
    moved = {term: str(form[term]) for term in TERMS}
    if moved != sliders:
        weights = shares(*(_position(SLIDERS[term][0], moved[term]) for term in TERMS))
        changed[form["which"]] = weights_row(weights)
    for one in SETTINGS:
        typed = form[one.name]
        if str(typed) == settings.get(one.name):
            continue
        value = one.read(typed)
        changed[one.field] = {**changed[one.field], one.key: value} if one.key else value
    policy_from(changed, Policy().version)
    return changed


def weights_row(weights: Weights) -> dict[str, float]:
    """Weights as data."""
    return {term: getattr(weights, term) for term in TERMS}


def _position(label: str, typed: str) -> int:
    if typed.isascii() and typed.isdigit() and int(typed) <= 100:
        return int(typed)
    raise InvalidRequest(f"{label}: must be from 0 to 100", param=label)
