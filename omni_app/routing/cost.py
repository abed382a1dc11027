"""Tokens times price, in whole pico-dollars: what a request is expected to cost, can cost at most, and did cost.

Integers throughout, so sums of any length are exact and no cost depends on the order of addition.
"""

from dataclasses import dataclass
from typing import Protocol

from omni_app.routing.types import Price


class BilledTokens(Protocol):
    """What a provider billed: `input` counts every prompt token, cached ones included; `output` includes reasoning."""

    @property
    def input(self) -> int: ...
    @property
    def output(self) -> int: ...
    @property
    def cached_input(self) -> int: ...
    @property
    def cache_write(self) -> int: ...
    @property
    def images(self) -> int: ...


@dataclass(frozen=True, slots=True)
class TokenSums:
    """Billed tokens of many requests added up.

    Where each request's `input` was first raised to what it had cached and written, the sums cost at any price what the
    requests cost one by one.
    """

    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_write: int = 0
    images: int = 0

    def __add__(self, other: "TokenSums") -> "TokenSums":
        return TokenSums(
            self.input + other.input,
            self.output + other.output,
            self.cached_input + other.cached_input,
            self.cache_write + other.cache_write,
            self.images + other.images,
        )


def expected_cost(price: Price, input_tokens: int, output_tokens: int, *, images: int = 0) -> int:
    """Pico-dollars for these tokens at list price, without any cache."""
    return price.input * input_tokens + price.output * output_tokens + price.image * images


def worst_cost(price: Price, input_tokens: int, output_tokens: int, *, images: int = 0) -> int:
    """Pico-dollars that the request cannot exceed, if the tokens are bounds: input at its dearest tariff."""
    return dearest_input(price) * input_tokens + price.output * output_tokens + price.image * images


def dearest_input(price: Price) -> int:
    """Pico-dollars for an input token at the dearest tariff: writing to the cache can cost more than plain input."""
    return max(price.input, price.cached_input or 0, price.cache_write or 0)


def actual_cost(price: Price, usage: BilledTokens) -> int:
    """Pico-dollars for what was billed. Never negative: counts below zero, as some providers send, count as zero.

    Cached and written tokens are taken out of `input`; when a provider reports more of them than `input`, all of
    them are priced and no plain input is left.
    """
    cached = max(0, usage.cached_input)
    written = max(0, usage.cache_write)
    plain = max(0, usage.input - cached - written)
    return (
        price.input * plain
        + (price.input if price.cached_input is None else price.cached_input) * cached
        + (price.input if price.cache_write is None else price.cache_write) * written
        + price.output * max(0, usage.output)
        + price.image * max(0, usage.images)
    )


def savings(baseline: Price, usage: BilledTokens, *, cost: int) -> int | None:
    """What the baseline would have cost for the same tokens, minus `cost` (all attempts); negative when it cost more.

    The baseline gets the same cache hits at its own cache prices, so the cache is never counted as a saving.
    None when images were made and the baseline makes none: there is nothing to compare with.
    """
    if usage.images > 0 and not baseline.image:
        return None
    return actual_cost(baseline, usage) - cost


def output_that_fits(price: Price, *, input_tokens: int, budget: int) -> int | None:
    """The most output tokens whose worst cost stays within `budget` pico-dollars; None = any number, output is free.

    Negative when the input alone costs more than the budget.
    """
    left = budget - dearest_input(price) * input_tokens
    if left < 0:
        return -1
    return left // price.output if price.output else None
