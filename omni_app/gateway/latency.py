"""How long deployments take, from our own answers: a decayed histogram per deployment and size class.

Only whole answers of real models are counted, never a fault, a broken stream or a simulated model. Everything that is
told (average, median, p95) is read from the histogram, and histograms add up, so workers can put theirs together in
any order. A sample weighs half as much after `HALF_LIFE_S`; what has too little weight is the prior again, by degrees
(docs/decisions/0012-measured-latency.md).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
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

    def lighter(self, share: float) -> "Spread":
        """The same with this part of its weight."""
        weight = self.weight * share
        return replace(self, weight=weight, p95_ms=self.p95_ms if weight >= ENOUGH_FOR_P95 else None)


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one deployment, at one size class or at all: whole answers, and first tokens of streams."""

    total: Spread
    first_token: Spread | None


@dataclass(frozen=True, slots=True)
class Sample:
    """The weights of one place as somebody measured them, at the moment `at_s`."""

    place: Place
    total: Buckets
    first_token: Buckets
    at_s: float


@dataclass(slots=True)
class _Pair:
    total: Histogram
    first_token: Histogram


@dataclass(slots=True)
class Latencies:
    """One worker's measurements, and those that it has heard of. Times are `time.monotonic()` seconds, passed in."""

    _own: dict[Place, _Pair] = field(default_factory=dict)
    _others: dict[Place, list[Sample]] = field(default_factory=dict)
    _told: dict[Place, tuple[float, Spread]] = field(default_factory=dict)
    """Whole answers as worked out, and when: time alone changes nothing of it but the weight."""
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

    def news(self) -> list[Place]:
        """Where this worker has measured something since the last call; give it back if the others did not hear it."""
        found = list(self._news)
        self._news.clear()
        return found

    def give_back(self, places: Iterable[Place]) -> None:
        """The others have not heard of these: `news` tells of them again."""
        self._news.update(places)

    def own(self, place: Place, *, now_s: float) -> Sample:
        """What this worker measured itself; empty where it measured nothing."""
        pair = self._own.get(place)
        if pair is None:
            return Sample(place, {}, {}, now_s)
        return Sample(place, pair.total.at(now_s), pair.first_token.at(now_s), now_s)

    def hear(self, samples: Iterable[Sample]) -> None:
        """All that the other workers have measured, in place of what was heard before."""
        before, self._others = self._others, {}
        for sample in samples:
            self._others.setdefault(sample.place, []).append(sample)
        for place in before.keys() | self._others.keys():
            self._told.pop(place, None)

    def places(self) -> list[Place]:
        """Where anything is known."""
        return sorted(self._own.keys() | self._others.keys())

    def total(self, place: Place, *, now_s: float) -> Spread | None:
        """How long whole answers take there; None where nothing is known any more. Remembered until there is news."""
        told = self._told.get(place)
        if told is None:
            fresh = spread_of(_added([sample.total for sample in self._samples(place, now_s)]))
            if fresh is None:
                return None
            told = self._told[place] = (now_s, fresh)
        at_s, spread = told
        spread = spread if at_s == now_s else spread.lighter(exp2((at_s - now_s) / HALF_LIFE_S))
        return spread if spread.weight >= NOTHING else None

    def expected_ms(self, deployments: Iterable[Deployment], *, now_s: float) -> dict[str, dict[SizeClass, float]]:
        """What a choice goes by where anything is measured: deployment id -> size class -> ms to the whole answer.

        To two digits: more would be noise, and would make every moment a state of its own.
        """
        priors = {one.id: one.prior_latency_ms for one in deployments if not one.simulated}
        found: dict[str, dict[SizeClass, float]] = {}
        for place in self.places():
            model, size = place
            spread = self.total(place, now_s=now_s)
            if spread is None:
                self._forget(place)
            elif model in priors:
                found.setdefault(model, {})[size] = float(f"{blended_ms(spread, priors[model]):.1e}")
        return found

    def measured(self, *, now_s: float) -> dict[Place, Measured]:
        """All that is known, per deployment and size class."""
        found = {place: measured_of(self._samples(place, now_s)) for place in self.places()}
        return {place: told for place, told in found.items() if told is not None}

    def by_model(self, *, now_s: float) -> dict[str, Measured]:
        """The same, whatever the size: deployment id -> all its answers together."""
        samples: dict[str, list[Sample]] = {}
        for place in self.places():
            samples.setdefault(place[0], []).extend(self._samples(place, now_s))
        return {model: whole for model, found in samples.items() if (whole := measured_of(found)) is not None}

    def of_model(self, model: str, *, now_s: float) -> tuple[Measured | None, dict[SizeClass, Measured]]:
        """All answers of one deployment together, and by their size; nothing where nothing was measured."""
        samples = {size: self._samples((model, size), now_s) for size in SizeClass}
        by_size = {size: told for size, found in samples.items() if (told := measured_of(found)) is not None}
        return measured_of([sample for found in samples.values() for sample in found]), by_size

    def _samples(self, place: Place, now_s: float) -> list[Sample]:
        """Everybody's, with the weights of this moment."""
        own = [self.own(place, now_s=now_s)] if place in self._own else []
        return own + [_aged(sample, now_s) for sample in self._others.get(place, ())]

    def _forget(self, place: Place) -> None:
        for held in (self._own, self._others, self._told):
            held.pop(place, None)


def measured_of(samples: Collection[Sample]) -> Measured | None:
    """What samples of one moment say together, in whatever order; None where there is next to nothing."""
    total = spread_of(_added([sample.total for sample in samples]))
    first_token = spread_of(_added([sample.first_token for sample in samples]))
    return None if total is None or total.weight < NOTHING else Measured(total, first_token)


def _added(parts: Sequence[Buckets]) -> Buckets:
    """Histograms put together. The sums are exactly rounded, so the order of the parts cannot be told from them."""
    if len(parts) == 1:
        return parts[0]
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
    sums = fsum(share * min(_middle_ms(bucket), most_ms) for bucket, share in ordered)
    p95_ms = quantile_ms(ordered, 0.95 * weight) if weight >= ENOUGH_FOR_P95 else None
    return Spread(weight, sums / weight, p50_ms, p95_ms)


def quantile_ms(ordered: Collection[tuple[int, float]], rank: float) -> float:
    """The latency, within 2 %, of the first sample at which the weights from the fastest on reach `rank`."""
    reached, found = 0.0, 0
    for bucket, weight in ordered:
        reached, found = reached + weight, bucket
        if reached >= rank * (1 - 1e-9):
            break
    return _middle_ms(found)


_middle_ms = cache(bucket_latency_ms)


def blended_ms(spread: Spread, prior_ms: float) -> float:
    """The measured average, as far as there is enough of it, and the prior for the rest."""
    trust = min(1.0, spread.weight / ENOUGH)
    return prior_ms + trust * (spread.average_ms - prior_ms)


def _aged(sample: Sample, now_s: float) -> Sample:
    share = exp2((sample.at_s - now_s) / HALF_LIFE_S)
    total = {bucket: weight * share for bucket, weight in sample.total.items()}
    first_token = {bucket: weight * share for bucket, weight in sample.first_token.items()}
    return Sample(sample.place, total, first_token, now_s)
