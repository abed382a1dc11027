"""The part of a request's cost that the provider charges the org itself, on its own key.

Revision: 0015, after 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
contract = ""


def upgrade() -> None:
    op.add_column("requests", sa.Column("byok_cost", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("requests", "byok_cost")
