"""create order_invoices, which needs orders

Revision ID: n2
"""

import sqlalchemy as sa
from alembic import op

revision = "n2"
down_revision = "n1"
branch_labels = None
depends_on = "m2"


def upgrade() -> None:
    op.create_table("order_invoices", sa.Column("order_id", sa.Integer, sa.ForeignKey("orders.id")))


def downgrade() -> None:
    op.drop_table("order_invoices")
