"""A key's own limit of tokens per window.

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
contract = ""


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("token_limit", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "token_limit")
