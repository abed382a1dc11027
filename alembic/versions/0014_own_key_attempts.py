"""Which attempts were made with a provider's key of the org's own.

Revision: 0014, after 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
contract = ""


def upgrade() -> None:
    op.add_column("attempts", sa.Column("byok", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("attempts", "byok")
