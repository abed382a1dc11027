"""How sure a saving is: another model would have written another number of tokens for the same requests.

The input would have been the same, so only the output's part of the baseline's cost moves. Integers throughout.
"""

from dataclasses import dataclass

from omni_app.routing.cost import BilledTokens, actual_cost
from omni_app.routing.types import Price


@dataclass(frozen=True, slots=True)
class OutputRatio:
    """How much another model writes where one wrote 100 %: 80 % of the measured cases are from `low` to `high`."""

    low: int
    high: int
    source: str

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 100 <= self.high:
            raise ValueError("a ratio's range holds 100 %")


OF_MANY = OutputRatio(
    low=67,
    high=150,
    source=(
        "Mean answer lengths of 35 models on the same 805 prompts (AlpacaEval 2, tatsu-lab/alpaca_eval at 01f3cb2d, "
        "read 2026-11-23): 10th and 90th percentile of the ratio between any two"
    ),
)
"""Of the sum over many requests, where single ones even out. The models: as released (`minimal` and `verified`), with a
length-controlled win rate of 20 % or more; lengths in characters; `tests/routing/output_lengths.csv` has them.

Aider's polyglot benchmark says the same of code: 0.66 to 1.50 between the output tokens of its 6 runs without
reasoning (Aider-AI/aider at 5dc9490b). Not covered: a model that reasons against one that does not. There, 0.18 to
5.43 between any two of its 23 runs.
"""
OF_ONE = OutputRatio(
    low=59,
    high=169,
    source=(
        "Output tokens of gpt-4-1106-preview and mixtral-8x7b-instruct on the same 575 GSM8K questions "
        "(lm-sys/RouteLLM at 0b64fdaf): 10th and 90th percentile of the ratio, both ways"
    ),
)
"""Of one request."""


@dataclass(frozen=True, slots=True)
class Band:
    """What was saved at least and at most, in pico-dollars; negative when the choice cost more."""

    low: int
    high: int


def output_part(price: Price | None, tokens: BilledTokens, recorded: int) -> int:
    """The output's part, in pico-dollars, of what these tokens cost at a baseline: `recorded`.

    The recorded amount is divided as today's price divides it, so that a price that went up or down since changes the
    parts with the whole. All of it where the price is not known any more, or 0: then the band is the widest.
    """
    whole = 0 if price is None else actual_cost(price, tokens)
    if price is None or whole <= 0:
        return recorded
    return recorded * price.output * max(0, tokens.output) // whole


def savings_band(baseline_cost: int, output_cost: int, *, cost: int, ratio: OutputRatio) -> Band:
    """The saving if the baseline had written as little as `ratio.low`, and as much as `ratio.high`. Never clamped."""
    saved = baseline_cost - cost
    less = output_cost * (100 - ratio.low) // 100
    more = output_cost * (ratio.high - 100) // 100
    return Band(saved - less, saved + more)
