"""Takes from Supabase's public roles what it grants them on every new table; without a policy they saw no row anyway.

Row level security says nothing about TRUNCATE, nor about who may put a trigger on a table.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
contract = ""

TABLES = (
    "alembic_version",
    "api_keys",
    "attempts",
    "budget_leases",
    "budget_windows",
    "budgets",
    "idempotent_answers",
    "invitations",
    "kept_prompts",
    "latencies",
    "latency_rollups",
    "memberships",
    "meta",
    "model_changes",
    "models",
    "orgs",
    "policies",
    "registry_versions",
    "requests",
    "routing_logs",
    "sessions",
    "snapshots",
    "usage_rollups",
    "users",
)
ROLES = sa.text("SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated')")


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for role in op.get_bind().scalars(ROLES).all():
        for table in TABLES:
            op.execute(f"REVOKE ALL ON TABLE {table} FROM {role}")


def downgrade() -> None:
    """Nothing is granted again."""
