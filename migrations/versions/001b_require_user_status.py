"""require users.status

VALIDATE reads the table under SHARE UPDATE EXCLUSIVE: readers and writers go on. SET NOT NULL then believes
the validated check and reads nothing; ACCESS EXCLUSIVE is held from there to the commit, for milliseconds.

Revision ID: 001b
Revises: 001
"""

from __future__ import annotations

from alembic import op

revision = "001b"
down_revision = "001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users VALIDATE CONSTRAINT users_status_allowed")
    op.execute("ALTER TABLE users VALIDATE CONSTRAINT users_status_not_null")
    op.alter_column("users", "status", nullable=False)
    op.drop_constraint("users_status_not_null", "users", type_="check")


def downgrade() -> None:
    op.alter_column("users", "status", nullable=True)
    op.drop_constraint("users_status_allowed", "users", type_="check")
    op.create_check_constraint(
        "users_status_allowed",
        "users",
        "status IN ('active', 'inactive', 'suspended')",
        postgresql_not_valid=True,
    )
    op.create_check_constraint(
        "users_status_not_null", "users", "status IS NOT NULL", postgresql_not_valid=True
    )
