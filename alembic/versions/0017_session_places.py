"""Which browser a session is of, and from where, so that people can tell their sessions apart.

Revision: 0017, after 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
contract = ""


def upgrade() -> None:
    op.add_column("sessions", sa.Column("browser", sa.String(60), nullable=False, server_default=""))
    op.add_column("sessions", sa.Column("address", sa.String(60), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("sessions", "address")
    op.drop_column("sessions", "browser")
