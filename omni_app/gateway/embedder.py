"""Embeddings: which model makes an org's vectors. The rest of their story is a chat's (`Gateway.chat`).

Vectors of different models cannot be compared, so the model never changes by itself: it is the one that the request
names, or the one that was chosen for the org, by cost, when it asked first. Fallback goes to the same model at another
provider and nowhere else (docs/decisions/0009-embeddings.md).
"""

from dataclasses import dataclass, field, replace
from uuid import UUID

from omni_app.errors import NoEligibleModel
from omni_app.gateway.embedding import fitting, model_of, same_model
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.types import Answer, Caller, ChatRequest
from omni_app.routing.types import KeyKind
from omni_app.storage.database import Database
from omni_app.storage.meta import first_meta, read_meta

KEPT_ORGS = 10_000
"""How many orgs' models a worker remembers before it reads them again: bounds its memory."""


@dataclass(slots=True)
class Embedder:
    """Finds the model, checks what it cannot do, and lets the gateway do the rest."""

    gateway: Gateway
    database: Database
    _chosen: dict[tuple[UUID, KeyKind], str] = field(default_factory=dict, init=False)

    async def embed(self, caller: Caller, request: ChatRequest, *, request_id: str = "") -> Answer:
        """The vectors of `request.params["input"]`. Raises an `OmniError`; see `Gateway.chat`."""
        if not request.pinned:
            request = replace(request, pinned=await self._of_the_org(caller, request))
        able = [found for name in request.pinned if (found := self.gateway.registry.get(name))]
        request = replace(request, params=fitting(request.params, able))
        return await self.gateway.chat(caller, request, request_id=request_id)

    async def _of_the_org(self, caller: Caller, request: ChatRequest) -> tuple[str, ...]:
        """The org's model at every provider that has it; chosen now when the org asks for the first time.

        Empty when there is nothing to choose from: the gateway then says why.
        """
        name = self._chosen.get((caller.org_id, caller.kind)) or await self._remembered(caller, request)
        found = same_model(name, self.gateway.registry.embedding(caller.kind))
        if name and not found:
            told = f"this org's embeddings come from {name}, which is no longer served; name another model in `model`"
            raise NoEligibleModel(f"{told}: its vectors cannot be compared with those that you have", param="model")
        return found

    async def _remembered(self, caller: Caller, request: ChatRequest) -> str:
        """The name in the database; the cheapest model's is written there first when there is none.

        Raises `Unavailable` while the database is: a guess could mix the vectors of two models.
        """
        key = f"embedding:{caller.kind}:{caller.org_id}"
        async with self.database.reading() as session:
            name = await read_meta(session, key)
        cheapest = None if name else self.gateway.cheapest_embedder(caller, request)
        if cheapest is not None:
            async with self.database.reading() as session:
                name = await first_meta(session, key, model_of(cheapest))
                await session.commit()
        if len(self._chosen) >= KEPT_ORGS:
            self._chosen.clear()
        if name:
            self._chosen[caller.org_id, caller.kind] = name
        return name
