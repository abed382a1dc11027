"""From what happened to what is billed and kept: the answer, the ledger's record, the saving."""

from dataclasses import dataclass, field
from datetime import datetime

from omni_app.gateway.types import Answer, Attempt, Caller, ChatRequest
from omni_app.providers.base import Completion, Usage
from omni_app.routing.cost import actual_cost
from omni_app.routing.types import Decision, Deployment
from omni_app.storage.ledger import AttemptRecord, RequestRecord, RoutingRecord
from omni_app.storage.spool import Admission

LOGGED_CANDIDATES = 5
"""The best candidates kept with each request; the rest can be recomputed from the stored features."""


@dataclass(slots=True)
class Story:
    """One request from its decision to its record. `attempts` grows while the chain is walked."""

    request_id: str
    caller: Caller
    request: ChatRequest
    decision: Decision
    baseline: Deployment | None
    created_at: datetime
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def cost(self) -> int:
        """Pico-dollars, all attempts."""
        return sum(attempt.cost for attempt in self.attempts)

    def premium_cost(self, usage: Usage) -> int | None:
        """What the baseline would have cost for the same tokens; None without a baseline."""
        return actual_cost(self.baseline.price, usage) if self.baseline else None
