"""What a request stands on: the providers that it may call, with which keys, and how they have fared of late.

Nearly all requests share one ground. An org with provider keys of its own has one by itself: for those providers its
own key, its own breakers, and so its own choice of models. One org's key that is refused shuts nothing for others.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from omni_app.gateway.health import Health, Trial
from omni_app.gateway.situation import Situations
from omni_app.gateway.types import Caller
from omni_app.providers.base import Provider
from omni_app.providers.catalog import base_url_of, with_key
from omni_app.storage.provider_keys import OwnKey, about
from omni_app.storage.sealing import CannotOpen, Sealer

log = logging.getLogger(__name__)

MOST_GROUNDS = 1_000
"""Orgs with keys of their own that one worker remembers; one that was forgotten starts with closed breakers."""

OpenKey = Callable[[UUID, OwnKey], Provider | None]
"""The provider with an org's own key; None where that cannot be used."""
Situate = Callable[[Mapping[str, Provider], Health], Situations]


def no_own_keys(org_id: UUID, key: OwnKey) -> Provider | None:  # noqa: ARG001 plays an opener's part
    """Opens none: where there is nothing to open them with."""
    return None


@dataclass(slots=True)
class SplitHealth(Health):
    """Breakers of the org's own for the providers it has keys for, and everybody's for the others."""

    shared: Health = field(default_factory=Health)
    own_providers: frozenset[str] = frozenset()

    def admits(self, model: str, *, now_s: float) -> bool:
        """As `Health.admits`."""
        return Health.admits(self._of(model), model, now_s=now_s)

    def begin(self, model: str, *, now_s: float) -> Trial:
        """As `Health.begin`."""
        return Health.begin(self._of(model), model, now_s=now_s)

    def cooling(self, *, now_s: float) -> dict[str, float]:
        """As `Health.cooling`."""
        others = {model: wait for model, wait in self.shared.cooling(now_s=now_s).items() if not self._owns(model)}
        return others | Health.cooling(self, now_s=now_s)

    def _of(self, model: str) -> Health:
        return self if self._owns(model) else self.shared

    def _owns(self, model: str) -> bool:
        return model.partition("/")[0] in self.own_providers


@dataclass(slots=True)
class Ground:
    """What the requests of a caller stand on."""

    providers: Mapping[str, Provider]
    health: Health
    situations: Situations
    own_providers: frozenset[str] = frozenset()
    """Those that are called with the org's own key."""


@dataclass(slots=True)
class Grounds:
    """The grounds of one worker. `situate` gives the situations of the current registry over providers and health."""

    shared: Ground
    situate: Situate
    open_key: OpenKey
    _of_orgs: OrderedDict[tuple[UUID, tuple[OwnKey, ...]], Ground] = field(default_factory=OrderedDict)

    def of(self, caller: Caller) -> Ground:
        """The caller's. Test keys reach no provider that wants a key."""
        if not caller.own_keys or caller.kind != "live":
            return self.shared
        place = caller.org_id, caller.own_keys
        found = self._of_orgs.get(place)
        if found is None:
            found = self._of_orgs[place] = self._made(caller)
            if len(self._of_orgs) > MOST_GROUNDS:
                self._of_orgs.popitem(last=False)
        return found

    def follow(self, situate: Situate) -> None:
        """Another registry; breakers stay as they are."""
        self.situate = situate
        for ground in (self.shared, *self._of_orgs.values()):
            ground.situations = situate(ground.providers, ground.health)

    def _made(self, caller: Caller) -> Ground:
        opened = {key.provider: self.open_key(caller.org_id, key) for key in caller.own_keys}
        own = {name: provider for name, provider in opened.items() if provider is not None}
        if not own:
            return self.shared
        names, providers = frozenset(own), {**self.shared.providers, **own}
        health = SplitHealth(shared=self.shared.health, own_providers=names)
        return Ground(providers, health, self.situate(providers, health), names)


@dataclass(frozen=True, slots=True)
class KeyOpener:
    """Makes a provider with an org's own key out of the one with the server's."""

    providers: Mapping[str, Provider]
    sealer: Sealer

    def __call__(self, org_id: UUID, key: OwnKey) -> Provider | None:
        """None when the key was entered for another address, or does not open."""
        provider = self.providers.get(key.provider)
        if provider is None or base_url_of(provider) != key.base_url:
            return None
        try:
            secret = self.sealer.open(key.sealed, about=about(org_id, key.provider, key.base_url)).decode()
        except CannotOpen:
            log.warning("an org's own key for %s does not open: was OMNI_SEALING_KEY changed?", key.provider)
            return None
        return with_key(provider, secret)
