"""Whether an org asks its people for a second factor.

Revision: 0025, after 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None
contract = ""


def upgrade() -> None:
    op.add_column("orgs", sa.Column("asks_second_factor", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("orgs", "asks_second_factor")
