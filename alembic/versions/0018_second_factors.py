"""Second factors: a sealed secret for each user who turned one on, and the hashes of their recovery codes.

Revision: 0018, after 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
contract = ""

ROLES = sa.text("SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated')")


def upgrade() -> None:
    op.create_table(
        "second_factors",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "code_hash"),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in ("second_factors", "recovery_codes"):
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            for role in op.get_bind().scalars(ROLES).all():
                op.execute(f"REVOKE ALL ON TABLE {table} FROM {role}")


def downgrade() -> None:
    op.drop_table("recovery_codes")
    op.drop_table("second_factors")
