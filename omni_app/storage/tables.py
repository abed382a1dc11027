"""The tables. The same classes and migrations serve SQLite and Postgres.

Money is pico-dollars in BIGINT (see `omni_app.money`), times are UTC `timestamptz`, ids are UUIDs.
Never bind a request's body to one of these: a SQLModel table skips validation.
"""

import uuid
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Text,
    and_,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel, col

Json = JSON().with_variant(JSONB(), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` that always gives back an aware UTC datetime, on SQLite too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc_now() -> datetime:
    """Now, aware, UTC."""
    return datetime.now(UTC)


def _id() -> Any:
    return Field(default_factory=uuid.uuid4, primary_key=True)


def _created(*, index: bool = False) -> Any:
    return Field(default_factory=utc_now, sa_column=Column(UtcDateTime, nullable=False, index=index))


def _moment() -> Any:
    return Field(default=None, sa_column=Column(UtcDateTime, nullable=True))


def _money(*, nullable: bool = False) -> Any:
    return Field(default=None if nullable else 0, sa_column=Column(BigInteger, nullable=nullable))


def _tokens() -> Any:
    return Field(default=0, sa_column=Column(BigInteger, nullable=False))


def _json(*, nullable: bool = False) -> Any:
    return Field(default=None, sa_column=Column(Json, nullable=nullable))


TROUBLED = "NOT success OR rescued"
IN_SESSION = "session_id <> ''"
"""Few rows are: an index of only those costs the others nothing. A query says the same words to be served by it."""


def in_words(condition: str) -> ColumnElement[bool]:
    """A condition of a query exactly as the index of the few has it."""
    return cast(ColumnElement[bool], text(f"({condition})"))


def _few(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


class Org(SQLModel, table=True):
    """Whose keys, requests and figures belong together."""

    __tablename__ = "orgs"
    id: uuid.UUID = _id()
    name: str = Field(max_length=200)
    premium_model: str = Field(default="", max_length=200)
    """The baseline that its savings are measured against; empty = the server's."""
    comparisons: list[str] | None = _json(nullable=True)
    """Deployment ids of further models to compare its costs with."""
    keep_prompts_days: int = Field(default=0)
    """How long prompts and answers are kept, encrypted; 0 = they are not stored."""
    disabled_models: list[str] | None = _json(nullable=True)
    """Deployment ids that its requests never go to."""
    asks_second_factor: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    """Its people see and do something for it only with a second factor of their own."""
    created_at: datetime = _created()
    deleted_at: datetime | None = _moment()


class User(SQLModel, table=True):
    """A person who can log in. `password_hash` is empty when Supabase keeps the password."""

    __tablename__ = "users"
    id: uuid.UUID = _id()
    email: str = Field(max_length=320, unique=True)
    """Normalised: NFKC, case-folded."""
    password_hash: str = Field(default="", max_length=255)
    created_at: datetime = _created()


class Membership(SQLModel, table=True):
    """A user's role in an org: `owner` or `member`."""

    __tablename__ = "memberships"
    user_id: uuid.UUID = Field(foreign_key="users.id", primary_key=True)
    org_id: uuid.UUID = Field(foreign_key="orgs.id", primary_key=True, index=True)
    role: str = Field(max_length=20)
    created_at: datetime = _created()


class Session(SQLModel, table=True):
    """A signed-in browser. Only the token's SHA-256 is kept."""

    __tablename__ = "sessions"
    id: uuid.UUID = _id()
    token_hash: str = Field(max_length=64, unique=True)
    user_id: uuid.UUID = Field(foreign_key="users.id", index=True)
    acting_for: uuid.UUID | None = Field(default=None)
    """The org that the browser shows, of a user who is in several; None = the one they joined first."""
    browser: str = Field(default="", max_length=60, sa_column_kwargs={"server_default": ""})
    """In words, such as `Firefox on Linux`."""
    address: str = Field(default="", max_length=60, sa_column_kwargs={"server_default": ""})
    """Where it was opened from, as limits count addresses."""
    created_at: datetime = _created()
    last_seen_at: datetime = _created()


class SecondFactor(SQLModel, table=True):
    """The secret that a user's authenticator app shares with us, sealed; pending until `confirmed_at`."""

    __tablename__ = "second_factors"
    user_id: uuid.UUID = Field(primary_key=True)
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    last_step: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """The half minute since 1970 of the last code that counted: no code of it or before counts again."""
    created_at: datetime = _created()
    confirmed_at: datetime | None = _moment()


FACTOR_OF_USER = and_(col(SecondFactor.user_id) == col(User.id), col(SecondFactor.confirmed_at).is_not(None))
"""A user's second factor, if it is on."""


class RecoveryCode(SQLModel, table=True):
    """A code that stands in once for a user's app. Only its SHA-256 is kept."""

    __tablename__ = "recovery_codes"
    user_id: uuid.UUID = Field(primary_key=True)
    code_hash: str = Field(max_length=64, primary_key=True)
    created_at: datetime = _created()


class ApiKeyRow(SQLModel, table=True):
    """An API key: its HMAC and what may be shown of it. `hidden` marks the playground's own key."""

    __tablename__ = "api_keys"
    id: uuid.UUID = _id()
    org_id: uuid.UUID = Field(foreign_key="orgs.id", index=True)
    name: str = Field(max_length=100)
    kind: str = Field(max_length=4)
    digest: str = Field(max_length=64, unique=True)
    prefix: str = Field(max_length=20)
    last4: str = Field(max_length=4)
    hidden: bool = Field(default=False)
    allowed_models: list[str] | None = _json(nullable=True)
    created_at: datetime = _created()
    last_used_at: datetime | None = _moment()
    expires_at: datetime | None = _moment()
    revoked_at: datetime | None = _moment()
    disabled_at: datetime | None = _moment()
    """Set while the key is switched off; unlike a revocation it can be taken back."""
    rate_limit: int | None = Field(default=None, sa_column=Column(Integer, nullable=True))
    """Requests per window of this key alone, beside its org's limit; None = the org's limit only."""
    token_limit: int | None = Field(default=None, sa_column=Column(Integer, nullable=True))
    """As `rate_limit`, tokens."""
    scopes: list[str] | None = _json(nullable=True)
    """What it may be used for (`omni_app.storage.scopes`); None = everything."""
    replaced_by: uuid.UUID | None = Field(default=None)
    """On the row of a secret that a rotation replaced: the key that it opened, and opens until `expires_at`."""


class Invitation(SQLModel, table=True):
    """A link by which somebody joins an org. Only the token's SHA-256 is kept."""

    __tablename__ = "invitations"
    id: uuid.UUID = _id()
    org_id: uuid.UUID = Field(foreign_key="orgs.id", index=True)
    token_hash: str = Field(max_length=64, unique=True)
    role: str = Field(max_length=20)
    invited_by: str = Field(max_length=320)
    """The e-mail address of the owner who made it."""
    created_at: datetime = _created()
    expires_at: datetime | None = _moment()
    used_at: datetime | None = _moment()


class PolicyRow(SQLModel, table=True):
    """One version of an org's or a key's routing policy. Versions are added, never changed; one a scope is active."""

    __tablename__ = "policies"
    __table_args__ = (
        Index("ix_policies_org_number", "org_id", "number", unique=True),
        Index("ix_policies_active", "org_id", "key_id", "active"),
    )
    id: uuid.UUID = _id()
    org_id: uuid.UUID = Field(foreign_key="orgs.id")
    key_id: uuid.UUID | None = Field(default=None)
    """The key that it holds for; None = the whole org."""
    number: int
    """1, 2, 3 … within the org."""
    version: str = Field(max_length=64, unique=True)
    """What `routing_logs.policy_version` says of the decisions made under it."""
    data: dict[str, Any] | None = _json(nullable=True)
    """What differs from the default policy; None = the default again."""
    note: str = Field(default="", max_length=200)
    author: str = Field(default="", max_length=320)
    active: bool = Field(default=True)
    created_at: datetime = _created()


class Budget(SQLModel, table=True):
    """What an org or one of its keys may spend in a period."""

    __tablename__ = "budgets"
    __table_args__ = (Index("ix_budgets_org", "org_id", "key_id"),)
    id: uuid.UUID = _id()
    org_id: uuid.UUID
    key_id: uuid.UUID | None = Field(default=None)
    """None = the whole org."""
    period: str = Field(max_length=10)
    """`day`, `week`, `month` (UTC) or `total`."""
    limit_pico: int = Field(sa_column=Column("limit_pico", BigInteger, nullable=False))
    created_at: datetime = _created()


class BudgetWindow(SQLModel, table=True):
    """One period of a budget: what is spent for good, and what leases hold back; together never over the limit."""

    __tablename__ = "budget_windows"
    budget_id: uuid.UUID = Field(primary_key=True)
    starts_at: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True))
    spent: int = _money()
    leased: int = _money()


class BudgetLease(SQLModel, table=True):
    """A slice of a budget's period that one worker may spend from memory."""

    __tablename__ = "budget_leases"
    id: uuid.UUID = _id()
    budget_id: uuid.UUID = Field(index=True)
    starts_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    amount: int = _money()
    expires_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False, index=True))


class ModelRow(SQLModel, table=True):
    """One deployment. `data` is the whole row of the packaged registry; prices are pico-dollars per token."""

    __tablename__ = "models"
    id: uuid.UUID = _id()
    model_id: str = Field(max_length=200, unique=True)
    """`provider/model_name`."""
    provider: str = Field(max_length=50, index=True)
    model_name: str = Field(max_length=150)
    data: dict[str, Any] = _json()
    cost_input: int = _money()
    cost_output: int = _money()
    enabled: bool = Field(default=True)
    edited_by_operator: bool = Field(default=False)
    updated_at: datetime = _created()


class ModelChange(SQLModel, table=True):
    """One field of one model that changed: price and attribute history."""

    __tablename__ = "model_changes"
    id: uuid.UUID = _id()
    model_id: str = Field(max_length=200, index=True)
    field: str = Field(max_length=60)
    old: Any = _json(nullable=True)
    new: Any = _json(nullable=True)
    source: str = Field(max_length=300)
    created_at: datetime = _created(index=True)


class Meta(SQLModel, table=True):
    """Small facts that workers poll: the revocation version, the registry version."""

    __tablename__ = "meta"
    key: str = Field(max_length=60, primary_key=True)
    value: str = Field(sa_column=Column(Text, nullable=False))


class RequestRow(SQLModel, table=True):
    """The ledger: one row a request, failed ones too. Money in pico-dollars; never updated.

    No foreign keys: what happened is kept even when the key or the org is gone, and one bad row cannot block a batch.
    On Postgres this table, its attempts and routing logs are partitioned by month (`storage.partitions`), and a unique
    key is of `created_at` as well, which is the same on every line that is ever written of a request.
    """

    __tablename__ = "requests"
    __table_args__ = (
        Index("ix_requests_org_kind_time", "org_id", "key_kind", "created_at"),
        Index("ix_requests_org_key_time", "org_id", "key_id", "created_at"),
        Index("ix_requests_org_model_time", "org_id", "model", "created_at"),
        _few("ix_requests_troubled", "org_id", "key_kind", "created_at", where=TROUBLED),
        _few("ix_requests_sessions", "org_id", "session_id", "created_at", where=IN_SESSION),
    )
    id: uuid.UUID = _id()
    request_id: str = Field(max_length=64, unique=True)
    org_id: uuid.UUID
    key_id: uuid.UUID
    key_kind: str = Field(max_length=4)
    endpoint: str = Field(max_length=40)
    task: str = Field(max_length=20)
    model: str = Field(default="", max_length=200)
    """Empty when no model answered."""
    provider: str = Field(default="", max_length=50)
    simulated: bool = Field(default=False)
    tokens_input: int = _tokens()
    tokens_output: int = _tokens()
    tokens_cached: int = _tokens()
    tokens_cache_write: int = _tokens()
    tokens_reasoning: int = _tokens()
    images: int = Field(default=0)
    estimated: bool = Field(default=False)
    cost: int = _money()
    failed_cost: int = _money()
    """The part of `cost` that went to attempts which did not give the whole answer."""
    premium_cost: int = _money()
    """The baseline's cost for the same tokens; `cost` when there is no baseline, 0 when no model answered."""
    byok_cost: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """The part of `cost` that went to the org's own provider keys: no markup is on it."""
    overrun: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """What the provider counts for the answer beyond what the request may cost: in no cost, charged to nobody."""
    markup: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """Billed on top of the cost; rounded up to a whole pico-dollar."""
    markup_bp: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    """The rate that gave it, in basis points."""
    premium_model: str = Field(default="", max_length=200)
    price_version: str = Field(default="", max_length=64)
    latency_ms: int = Field(default=0)
    routing_us: int = Field(default=0)
    """From the request's arrival at the gateway to the decision, in microseconds."""
    first_token_ms: int | None = Field(default=None, sa_column=Column(Integer, nullable=True))
    """Until the first piece of a streamed answer; None for a plain one."""
    attempts: int = Field(default=0)
    rescued: bool = Field(default=False)
    success: bool = Field(default=False)
    error_code: str = Field(default="", max_length=40)
    session_id: str = Field(default="", max_length=200)
    step_id: str = Field(default="", max_length=200)
    created_at: datetime = _created()


class AttemptRow(SQLModel, table=True):
    """One call at one provider; the costs of a request's attempts add up to the request's cost."""

    __tablename__ = "attempts"
    request_id: str = Field(max_length=64, primary_key=True)
    position: int = Field(primary_key=True)
    model: str = Field(max_length=200)
    provider: str = Field(max_length=50)
    outcome: str = Field(max_length=40)
    detail: str = Field(default="", max_length=400)
    latency_ms: int = Field(default=0)
    tokens_input: int = _tokens()
    tokens_output: int = _tokens()
    cost: int = _money()
    started_ms: int = Field(default=0)
    """From the request's arrival to the start of this attempt."""
    byok: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    """Whether it was made with a provider's key of the org's own."""
    overrun: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """What the provider counts beyond what the request may cost."""
    created_at: datetime = _created(index=True)


def _part_of_key(length: int) -> Any:
    return Field(default="", max_length=length, primary_key=True)


class UsageRollup(SQLModel, table=True):
    """The ledger's sums over an hour or a UTC day, for one key, model, task and baseline."""

    __tablename__ = "usage_rollups"
    org_id: uuid.UUID = Field(primary_key=True)
    key_kind: str = _part_of_key(4)
    grain: str = _part_of_key(4)
    """`hour` or `day`."""
    starts_at: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True))
    key_id: uuid.UUID = Field(primary_key=True)
    model: str = _part_of_key(200)
    provider: str = _part_of_key(50)
    task: str = _part_of_key(20)
    premium_model: str = _part_of_key(200)
    requests: int = _tokens()
    successful: int = _tokens()
    rescued: int = _tokens()
    simulated: int = _tokens()
    cost: int = _money()
    premium_cost: int = _money()
    tokens_input: int = _tokens()
    tokens_output: int = _tokens()
    latency_ms: int = _tokens()
    """Of the answered requests, added up."""
    failed_cost: int = _money()
    routed: int = _tokens()
    """Requests whose `routing_us` was measured."""
    routing_us: int = _tokens()
    text_input: int = _tokens()
    """Of the requests that have a baseline and made no image, the `text_` columns have what their texts cost at any
    price. Input as billed, but never less than what was cached and written.
    """
    text_cached: int = _tokens()
    text_written: int = _tokens()
    text_output: int = _tokens()
    text_premium_cost: int = _money()
    markup: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))


class LatencyRollup(SQLModel, table=True):
    """How many answered requests of an hour or a UTC day fell into one latency bucket (`storage.rollups`)."""

    __tablename__ = "latency_rollups"
    org_id: uuid.UUID = Field(primary_key=True)
    key_kind: str = _part_of_key(4)
    grain: str = _part_of_key(4)
    starts_at: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True))
    model: str = _part_of_key(200)
    bucket: int = Field(primary_key=True)
    answered: int = _tokens()


class RoutingLog(SQLModel, table=True):
    """Why a request went where it went: the best candidates with their terms, and what is needed to replay it."""

    __tablename__ = "routing_logs"
    request_id: str = Field(max_length=64, primary_key=True)
    org_id: uuid.UUID = Field(index=True)
    considered_models: list[dict[str, Any]] = _json()
    task_scores: dict[str, float] = _json()
    final_model: str = Field(default="", max_length=200)
    reason: str = Field(sa_column=Column(Text, nullable=False))
    features: dict[str, Any] = _json()
    policy_version: str = Field(max_length=64)
    registry_version: str = Field(max_length=64)
    snapshot_id: str = Field(max_length=64)
    created_at: datetime = _created(index=True)


LOG_OF_REQUEST = and_(
    col(RoutingLog.request_id) == col(RequestRow.request_id), col(RoutingLog.created_at) == col(RequestRow.created_at)
)
"""A request's routing log; by the moment Postgres knows the partition to look in."""


class SnapshotRow(SQLModel, table=True):
    """The operational state that decisions were made in, once per state: what a replay needs beside the features."""

    __tablename__ = "snapshots"
    id: str = Field(max_length=64, primary_key=True)
    latency_ms: dict[str, dict[str, float] | float] = _json()
    unavailable: dict[str, str] = _json()
    expected_output: dict[str, int] = Field(
        default_factory=dict, sa_column=Column(Json, nullable=False, server_default="{}")
    )
    today: str = Field(default="", max_length=10)
    created_at: datetime = _created(index=True)


class LatencyRow(SQLModel, table=True):
    """What one worker measured of a deployment for one size of request (`gateway.latency`)."""

    __tablename__ = "latencies"
    worker_id: uuid.UUID = Field(primary_key=True)
    model: str = _part_of_key(200)
    size: str = _part_of_key(20)
    total: dict[str, list[float]] = _json()
    first_token: dict[str, list[float]] = _json()
    measured_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class RegistryVersion(SQLModel, table=True):
    """The deployments of one version of the registry, as decisions saw them."""

    __tablename__ = "registry_versions"
    version: str = Field(max_length=64, primary_key=True)
    deployments: list[dict[str, Any]] = _json()
    created_at: datetime = _created()


class KeptPrompt(SQLModel, table=True):
    """A request's messages and answer of an org that opted in, encrypted, until its retention ends."""

    __tablename__ = "kept_prompts"
    request_id: str = Field(max_length=64, primary_key=True)
    org_id: uuid.UUID = Field(index=True)
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = _created()
    expires_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False, index=True))


class ProviderKeyRow(SQLModel, table=True):
    """A provider's key of an org's own, sealed for the address that it was entered for."""

    __tablename__ = "provider_keys"
    org_id: uuid.UUID = Field(primary_key=True)
    provider: str = _part_of_key(50)
    base_url: str = Field(max_length=500)
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    last4: str = Field(max_length=4)
    entered_by: str = Field(max_length=320)
    """The e-mail address of the owner who did."""
    created_at: datetime = _created()


class IdempotentAnswer(SQLModel, table=True):
    """A request that carried an `Idempotency-Key`: claimed when it came, its answer sealed when it was whole."""

    __tablename__ = "idempotent_answers"
    org_id: uuid.UUID = Field(primary_key=True)
    key: str = Field(max_length=255, primary_key=True)
    fingerprint: str = Field(max_length=64)
    """SHA-256 of path and body: the same key may come with no other request."""
    claim_id: uuid.UUID
    """Whose claim it is, so that one that has lapsed cannot write over its successor's."""
    headers: dict[str, str] | None = _json(nullable=True)
    sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    created_at: datetime = _created()
    expires_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False, index=True))
