"""create invoices

Revision ID: c1
"""

import sqlalchemy as sa
from alembic import op

revision = "c1"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("invoices", sa.Column("id", sa.Integer, primary_key=True))


def downgrade() -> None:
    op.drop_table("invoices")
