"""Facts for the ledger with everything filled in; a test changes what it is about (`dataclasses.replace`)."""

from datetime import UTC, datetime
from uuid import UUID

from omni_app.storage.ledger import AttemptRecord, RequestRecord, RoutingRecord
from omni_app.storage.spool import Admission

ORG = UUID("00000000-0000-4000-8000-000000000001")
KEY = UUID("00000000-0000-4000-8000-000000000002")
NOON = datetime(2025, 3, 10, 12, 0, 0, 123456, tzinfo=UTC)


def admission(request_id: str = "req_1") -> Admission:
    """A request that is about to reach a provider."""
    return Admission(request_id, ORG, KEY, "live", "/v1/chat", "coding", NOON)


def attempt(request_id: str = "req_1", position: int = 0) -> AttemptRecord:
    """One call that went well."""
    return AttemptRecord(
        request_id, position, "openai/gpt-4o", "openai", "ok", "", 812, 1_200, 345, 6_450_000_000, NOON
    )


def record(request_id: str = "req_1") -> RequestRecord:
    """A request that went well, with its routing log."""
    return RequestRecord(
        request_id=request_id,
        org_id=ORG,
        key_id=KEY,
        key_kind="live",
        endpoint="/v1/chat",
        task="coding",
        created_at=NOON,
        model="openai/gpt-4o",
        provider="openai",
        tokens_input=1_200,
        tokens_output=345,
        tokens_cached=100,
        tokens_cache_write=7,
        tokens_reasoning=20,
        images=1,
        cost=6_450_000_000,
        premium_cost=29_000_000_000,
        premium_model="anthropic/claude-opus-4",
        price_version="p1",
        latency_ms=830,
        attempts=1,
        success=True,
        session_id="s-é-1",
        step_id="plan",
        routing=RoutingRecord(
            considered_models=[{"model": "openai/gpt-4o", "score": 0.75}],
            task_scores={"coding": 0.9, "chat": 0.1},
            final_model="openai/gpt-4o",
            reason="best score for “coding”",
            features={"tokens": 1_200, "signals": ["code fence"]},
            policy_version="v1",
            registry_version="r1",
            snapshot_id="s1",
        ),
    )
