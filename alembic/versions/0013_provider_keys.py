"""Providers' keys of an org's own, sealed.

Revision: 0013, after 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
contract = ""

ROLES = sa.text("SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated')")


def upgrade() -> None:
    op.create_table(
        "provider_keys",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(50), nullable=False),
        sa.Column("base_url", sa.String(500), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("last4", sa.String(4), nullable=False),
        sa.Column("entered_by", sa.String(320), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "provider"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE provider_keys ENABLE ROW LEVEL SECURITY")
        for role in op.get_bind().scalars(ROLES).all():
            op.execute(f"REVOKE ALL ON TABLE provider_keys FROM {role}")


def downgrade() -> None:
    op.drop_table("provider_keys")
