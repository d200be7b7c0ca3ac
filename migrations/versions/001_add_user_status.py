"""add users.status

A constant default is stored in the catalogue (PostgreSQL 11 and later): every row has its status at once and
no row is written or read. Old versions of the application, which do not know the column, go on inserting.

Revision ID: 001
Revises: 000
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import lockkeeper.ops  # noqa: F401 - op.add_column_online and its like

revision = "001"
down_revision = "000"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column_online("users", sa.Column("status", sa.String(20), nullable=False, server_default="active"))


def downgrade() -> None:
    op.drop_column_online("users", "status")
