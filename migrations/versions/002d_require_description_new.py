"""require products.description_new

As for users.status: the check is validated beside readers and writers, then NOT NULL needs no scan.

Revision ID: 002d
Revises: 002c
"""

from __future__ import annotations

from alembic import op

revision = "002d"
down_revision = "002c"
branch_labels = None
depends_on = None

CHECK = "products_description_new_not_null"


def upgrade() -> None:
    op.execute(f"ALTER TABLE products VALIDATE CONSTRAINT {CHECK}")
    op.alter_column("products", "description_new", nullable=False)
    op.drop_constraint(CHECK, "products", type_="check")


def downgrade() -> None:
    op.alter_column("products", "description_new", nullable=True)
    op.create_check_constraint(CHECK, "products", "description_new IS NOT NULL", postgresql_not_valid=True)
