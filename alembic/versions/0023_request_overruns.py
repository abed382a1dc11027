"""What a provider counts for an answer beyond what its request may cost.

Revision: 0023, after 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
contract = ""


def upgrade() -> None:
    op.add_column("requests", sa.Column("overrun", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("requests", "overrun")
