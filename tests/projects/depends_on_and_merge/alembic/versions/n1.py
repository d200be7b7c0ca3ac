"""create invoices

Revision ID: n1
"""

import sqlalchemy as sa
from alembic import op

revision = "n1"
down_revision = "m1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("invoices", sa.Column("id", sa.Integer, primary_key=True))


def downgrade() -> None:
    op.drop_table("invoices")
