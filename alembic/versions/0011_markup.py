"""What is billed on top of a request's cost, and the rate that gave it.

Revision: 0011, after 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0008"
branch_labels = None
depends_on = None
contract = ""


def upgrade() -> None:
    op.add_column("requests", sa.Column("markup", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("requests", sa.Column("markup_bp", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("requests", "markup_bp")
    op.drop_column("requests", "markup")
