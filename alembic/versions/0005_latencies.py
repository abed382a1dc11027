"""How long deployments took, as each worker measured it: decayed histograms.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
contract = ""

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "latencies",
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("size", sa.String(20), nullable=False),
        sa.Column("total", JSON, nullable=False),
        sa.Column("first_token", JSON, nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", "model", "size"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE latencies ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_table("latencies")
