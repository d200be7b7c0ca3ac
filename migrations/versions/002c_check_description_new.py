"""check products.description_new

For new rows from now on; nothing is read while the lock is held.

Revision ID: 002c
Revises: 002b
"""

from __future__ import annotations

from alembic import op

revision = "002c"
down_revision = "002b"
branch_labels = None
depends_on = None

CHECK = "products_description_new_not_null"


def upgrade() -> None:
    op.create_check_constraint(CHECK, "products", "description_new IS NOT NULL", postgresql_not_valid=True)


def downgrade() -> None:
    op.drop_constraint(CHECK, "products", type_="check")
