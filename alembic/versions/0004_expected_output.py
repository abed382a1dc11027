"""The expected length of answers that a decision was made with, in the state that is kept of it.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
contract = ""

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("snapshots", sa.Column("expected_output", JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("snapshots", "expected_output")
