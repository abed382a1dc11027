"""What a provider counts for an attempt beyond what its request may cost.

Revision: 0022, after 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
contract = ""


def upgrade() -> None:
    op.add_column("attempts", sa.Column("overrun", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("attempts", "overrun")
