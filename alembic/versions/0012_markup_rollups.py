"""The markups of the requests in a roll-up. What older code writes beside this has none, and adds none.

Revision: 0012, after 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
contract = ""


def upgrade() -> None:
    op.add_column("usage_rollups", sa.Column("markup", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("usage_rollups", "markup")
