"""Policies, budgets, invitations, replays and kept prompts; an org's and a key's own terms; timings of a request.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
contract = "code before it knows of no budgets, and would spend past them"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
INSTANT = sa.DateTime(timezone=True)
TABLES = (
    "invitations",
    "policies",
    "budgets",
    "budget_windows",
    "budget_leases",
    "snapshots",
    "registry_versions",
    "kept_prompts",
    "idempotent_answers",
)

FEW = (
    ("ix_requests_troubled", "key_kind", "NOT success OR rescued"),
    ("ix_requests_sessions", "session_id", "session_id <> ''"),
)


def new_columns() -> dict[str, tuple[sa.Column, ...]]:
    return {
        "orgs": (
            sa.Column("premium_model", sa.String(200), nullable=False, server_default=""),
            sa.Column("keep_prompts_days", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("disabled_models", JSON, nullable=True),
        ),
        "api_keys": (
            sa.Column("disabled_at", INSTANT, nullable=True),
            sa.Column("rate_limit", sa.Integer(), nullable=True),
            sa.Column("replaced_by", sa.Uuid(), nullable=True),
        ),
        "sessions": (sa.Column("acting_for", sa.Uuid(), nullable=True),),
        "requests": (
            sa.Column("routing_us", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("first_token_ms", sa.Integer(), nullable=True),
        ),
        "attempts": (sa.Column("started_ms", sa.Integer(), nullable=False, server_default="0"),),
    }


def upgrade() -> None:
    for table, columns in new_columns().items():
        for column in columns:
            op.add_column(table, column)

    op.create_index("ix_requests_org_model_time", "requests", ["org_id", "model", "created_at"])
    for name, column, few in FEW:
        op.create_index(
            name,
            "requests",
            ["org_id", column, "created_at"],
            sqlite_where=sa.text(few),
            postgresql_where=sa.text(few),
        )

    op.create_table(
        "invitations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("invited_by", sa.String(320), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["org_id"], ["orgs.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index("ix_invitations_org_id", "invitations", ["org_id"])

    op.create_table(
        "policies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("data", JSON, nullable=True),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("author", sa.String(320), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["orgs.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("version"),
    )
    op.create_index("ix_policies_org_number", "policies", ["org_id", "number"], unique=True)
    op.create_index("ix_policies_active", "policies", ["org_id", "key_id", "active"])

    op.create_table(
        "budgets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("period", sa.String(10), nullable=False),
        sa.Column("limit_pico", sa.BigInteger(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_budgets_org", "budgets", ["org_id", "key_id"])

    op.create_table(
        "budget_windows",
        sa.Column("budget_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("leased", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("budget_id", "starts_at"),
    )
    op.create_table(
        "budget_leases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("budget_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_budget_leases_budget_id", "budget_leases", ["budget_id"])
    op.create_index("ix_budget_leases_expires_at", "budget_leases", ["expires_at"])

    op.create_table(
        "snapshots",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("latency_ms", JSON, nullable=False),
        sa.Column("unavailable", JSON, nullable=False),
        sa.Column("today", sa.String(10), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_snapshots_created_at", "snapshots", ["created_at"])

    op.create_table(
        "registry_versions",
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("deployments", JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )

    op.create_table(
        "kept_prompts",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_index("ix_kept_prompts_org_id", "kept_prompts", ["org_id"])
    op.create_index("ix_kept_prompts_expires_at", "kept_prompts", ["expires_at"])

    op.create_table(
        "idempotent_answers",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("claim_id", sa.Uuid(), nullable=False),
        sa.Column("headers", JSON, nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("org_id", "key"),
    )
    op.create_index("ix_idempotent_answers_expires_at", "idempotent_answers", ["expires_at"])

    if op.get_bind().dialect.name == "postgresql":
        # As in 0001: the schema is published by Supabase, and without a policy its roles see no row.
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    for name in ("ix_requests_org_model_time", *(name for name, _, _ in FEW)):
        op.drop_index(name, "requests")
    for table in reversed(TABLES):
        op.drop_table(table)
    for table, columns in new_columns().items():
        for column in columns:
            op.drop_column(table, column.name)
