"""How long deployments take, from our own answers: a decayed histogram per deployment and size class.

Only whole answers of real models are counted, never a fault, a broken stream or a simulated model. Everything that is
told (average, median, p95) is read from the histogram, and histograms add up, so workers can put theirs together in
any order. A sample weighs half as much after `HALF_LIFE_S`; what has too little weight is the prior again, by degrees
(docs/decisions/0012-measured-latency.md).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import exp2, fsum

from omni_app.routing.types import Deployment, SizeClass
from omni_app.storage.rollups import bucket_latency_ms, latency_bucket

HALF_LIFE_S = 1_800.0
"""Stated, not fitted: a provider's bad hour is forgotten within the next one, a quiet model's figure lasts as long."""
ENOUGH = 5.0
"""From this weight on the measured average counts alone; below it, it has a part that grows with the weight."""
ENOUGH_FOR_P95 = 20.0
"""With fewer the p95 would be the slowest answer of all."""
MOST = 500.0
"""At this weight all of it is halved: where there is much traffic, the newest few hundred answers are what counts."""
CLIP = 4.0
"""A sample counts in the average as at most this many medians: one hung call does not move a choice."""
NOTHING = ENOUGH / 100
"""Below this weight a place is forgotten."""

Buckets = Mapping[int, float]
"""Bucket of `storage.rollups.latency_bucket` -> weight. A bucket tells a latency within 2 %."""
Place = tuple[str, SizeClass]
"""Deployment id and size class."""


class Histogram:
    """Decaying counts of milliseconds. Times are `time.monotonic()` seconds, passed in.

    Forward decay (Cormode et al. 2009): instead of all old samples losing weight, each new one gets more, and what is
    read is scaled down. So a sample costs the same however many there are.
    """

    __slots__ = ("_buckets", "_since_s", "_total")

    def __init__(self, buckets: Buckets, *, now_s: float) -> None:
        self._buckets = dict(buckets)
        self._total = fsum(self._buckets.values())
        self._since_s = now_s

    def add(self, latency_ms: int, *, now_s: float) -> None:
        """Counts one sample."""
        growth = self._growth(now_s)
        if self._total >= MOST * growth or growth > 1e6:
            self._fold(now_s)
            growth = 1.0
        bucket = latency_bucket(latency_ms)
        self._buckets[bucket] = self._buckets.get(bucket, 0.0) + growth
        self._total += growth

    def at(self, now_s: float) -> dict[int, float]:
        """The weights of this moment."""
        share = 1 / self._growth(now_s)
        return {bucket: weight * share for bucket, weight in self._buckets.items()}

    def _growth(self, now_s: float) -> float:
        return exp2(min((now_s - self._since_s) / HALF_LIFE_S, 1_000.0))

    def _fold(self, now_s: float) -> None:
        weights = self.at(now_s)
        share = 0.5 if fsum(weights.values()) >= MOST else 1.0
        self._buckets = {bucket: weight * share for bucket, weight in weights.items()}
        self._total = fsum(self._buckets.values())
        self._since_s = now_s


@dataclass(frozen=True, slots=True)
class Spread:
    """What a histogram says, in milliseconds. `weight`: how many samples it stands on, older ones counting less.

    `average_ms` has each sample clipped at `CLIP` medians. `p95_ms` is None below `ENOUGH_FOR_P95`.
    """

    weight: float
    average_ms: float
    p50_ms: float
    p95_ms: float | None

    @property
    def enough(self) -> bool:
        """Whether it stands by itself."""
        return self.weight >= ENOUGH


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one deployment, at one size class or at all: whole answers, and first tokens of streams."""

    total: Spread
    first_token: Spread | None


@dataclass(frozen=True, slots=True)
class Sample:
    """The weights of one place at one moment, as workers tell each other; its age is the time since then."""

    place: Place
    total: Buckets
    first_token: Buckets
    age_s: float = 0.0


@dataclass(slots=True)
class _Pair:
    total: Histogram
    first_token: Histogram


@dataclass(slots=True)
class Latencies:
    """One worker's measurements, and those that it has heard of. Times are `time.monotonic()` seconds, passed in."""

    _own: dict[Place, _Pair] = field(default_factory=dict)
    _others: dict[Place, _Pair] = field(default_factory=dict)
    _told: dict[Place, tuple[float, Measured]] = field(default_factory=dict)
    """What was worked out, and when: time alone changes nothing of it but the weight."""
    _news: set[Place] = field(default_factory=set)

    def count(self, place: Place, *, total_ms: int, first_token_ms: int | None, now_s: float) -> None:
        """One whole answer of a real model; `first_token_ms` of a stream."""
        pair = self._own.get(place)
        if pair is None:
            pair = self._own[place] = _Pair(Histogram({}, now_s=now_s), Histogram({}, now_s=now_s))
        pair.total.add(total_ms, now_s=now_s)
        if first_token_ms is not None:
            pair.first_token.add(first_token_ms, now_s=now_s)
        self._told.pop(place, None)
        self._news.add(place)

    def news(self, *, now_s: float) -> list[Sample]:
        """What this worker has measured where something was added since the last call; give it back if it is lost."""
        found = [_sample(place, self._own[place], now_s) for place in self._news if place in self._own]
        self._news.clear()
        return found

    def give_back(self, samples: Iterable[Sample]) -> None:
        """They did not reach the others: `news` tells of them again."""
        self._news.update(sample.place for sample in samples)

    def hear(self, samples: Iterable[Sample], *, now_s: float) -> None:
        """All that the other workers have measured, in place of what was heard before."""
        groups: dict[Place, list[Sample]] = {}
        for sample in samples:
            groups.setdefault(sample.place, []).append(sample)
        for place in self._others.keys() | groups.keys():
            self._told.pop(place, None)
        self._others = {place: _heard(group, now_s) for place, group in groups.items()}

    def measured(self, *, now_s: float) -> dict[Place, Measured]:
        """All that is known, per deployment and size class."""
        found: dict[Place, Measured] = {}
        for place in self._own.keys() | self._others.keys():
            told = self._measured(place, now_s)
            if told is None or told.total.weight < NOTHING:
                self._forget(place)
            else:
                found[place] = told
        return found

    def by_model(self, *, now_s: float) -> dict[str, Measured]:
        """The same, whatever the size: deployment id -> all its answers together."""
        models = {model for model, _ in self._own.keys() | self._others.keys()}
        found = {model: self.of_model(model, now_s=now_s)[0] for model in models}
        return {model: whole for model, whole in found.items() if whole is not None}

    def of_model(self, model: str, *, now_s: float) -> tuple[Measured | None, dict[SizeClass, Measured]]:
        """All answers of one deployment together, and by their size; nothing where nothing was measured."""
        by_size: dict[SizeClass, Measured] = {}
        samples: list[Sample] = []
        for size in SizeClass:
            place = (model, size)
            samples += self._samples(place, now_s)
            told = self._measured(place, now_s)
            if told is not None:
                by_size[size] = told
        return measured_of(samples), by_size

    def expected_ms(self, deployments: Iterable[Deployment], *, now_s: float) -> dict[str, dict[SizeClass, float]]:
        """What a choice goes by where anything is measured: deployment id -> size class -> ms to the whole answer.

        To two digits: more would be noise, and would make every moment a state of its own.
        """
        priors = {one.id: one.prior_latency_ms for one in deployments if not one.simulated}
        found: dict[str, dict[SizeClass, float]] = {}
        for (model, size), told in sorted(self.measured(now_s=now_s).items()):
            if model in priors:
                found.setdefault(model, {})[size] = float(f"{blended_ms(told.total, priors[model]):.1e}")
        return found

    def _measured(self, place: Place, now_s: float) -> Measured | None:
        told = self._told.get(place)
        if told is None:
            fresh = measured_of(self._samples(place, now_s))
            if fresh is not None:
                self._told[place] = (now_s, fresh)
            return fresh
        at_s, before = told
        share = exp2(-(now_s - at_s) / HALF_LIFE_S)
        return Measured(_lighter(before.total, share), before.first_token and _lighter(before.first_token, share))

    def _samples(self, place: Place, now_s: float) -> list[Sample]:
        return [_sample(place, held[place], now_s) for held in (self._own, self._others) if place in held]

    def _forget(self, place: Place) -> None:
        for held in (self._own, self._others, self._told):
            held.pop(place, None)


def measured_of(samples: Collection[Sample]) -> Measured | None:
    """What samples of one moment say together, in whatever order; None where there is nothing."""
    total = spread_of(added(sample.total for sample in samples))
    first_token = spread_of(added(sample.first_token for sample in samples))
    return None if total is None else Measured(total, first_token)


def added(parts: Iterable[Buckets]) -> dict[int, float]:
    """Histograms put together. The sums are exactly rounded, so the order of the parts cannot be told from them."""
    weights: dict[int, list[float]] = {}
    for part in parts:
        for bucket, weight in part.items():
            weights.setdefault(bucket, []).append(weight)
    return {bucket: fsum(found) for bucket, found in weights.items()}


def spread_of(buckets: Buckets) -> Spread | None:
    """Average, median and p95 of a histogram; None of an empty one."""
    weight = fsum(buckets.values())
    if weight <= 0:
        return None
    ordered = sorted(buckets.items())
    p50_ms = quantile_ms(ordered, 0.5 * weight)
    most_ms = CLIP * p50_ms
    sums = fsum(share * min(bucket_latency_ms(bucket), most_ms) for bucket, share in ordered)
    p95_ms = quantile_ms(ordered, 0.95 * weight) if weight >= ENOUGH_FOR_P95 else None
    return Spread(weight, sums / weight, p50_ms, p95_ms)


def quantile_ms(ordered: Collection[tuple[int, float]], rank: float) -> float:
    """The latency, within 2 %, of the first sample at which the weights from the fastest on reach `rank`."""
    reached, found = 0.0, 0
    for bucket, weight in ordered:
        reached, found = reached + weight, bucket
        if reached >= rank * (1 - 1e-9):
            break
    return bucket_latency_ms(found)


def blended_ms(spread: Spread, prior_ms: float) -> float:
    """The measured average, as far as there is enough of it, and the prior for the rest."""
    trust = min(1.0, spread.weight / ENOUGH)
    return prior_ms + trust * (spread.average_ms - prior_ms)


def _sample(place: Place, pair: _Pair, now_s: float) -> Sample:
    return Sample(place, pair.total.at(now_s), pair.first_token.at(now_s))


def _heard(samples: Collection[Sample], now_s: float) -> _Pair:
    return _Pair(
        Histogram(added(_aged(sample.total, sample.age_s) for sample in samples), now_s=now_s),
        Histogram(added(_aged(sample.first_token, sample.age_s) for sample in samples), now_s=now_s),
    )


def _aged(buckets: Buckets, age_s: float) -> Buckets:
    share = exp2(-age_s / HALF_LIFE_S)
    return {bucket: weight * share for bucket, weight in buckets.items()}


def _lighter(spread: Spread, share: float) -> Spread:
    weight = spread.weight * share
    return replace(spread, weight=weight, p95_ms=spread.p95_ms if weight >= ENOUGH_FOR_P95 else None)
