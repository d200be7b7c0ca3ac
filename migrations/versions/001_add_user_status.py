"""add users.status

A constant default is stored in the catalogue (PostgreSQL 11 and later): every row has its status at once and
no row is written. Both checks are NOT VALID: they hold for new rows from now on, and nothing is scanned while
ACCESS EXCLUSIVE is held. Old versions of the application, which do not know the column, go on inserting.

Revision ID: 001
Revises: 000
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "001"
down_revision = "000"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("status", sa.String(20), nullable=True, server_default="active"))
    op.create_check_constraint(
        "users_status_allowed",
        "users",
        "status IN ('active', 'inactive', 'suspended')",
        postgresql_not_valid=True,
    )
    op.create_check_constraint(
        "users_status_not_null", "users", "status IS NOT NULL", postgresql_not_valid=True
    )


def downgrade() -> None:
    op.drop_column("users", "status")  # the checks go with it
