"""create receipts

Revision ID: z2
"""

import sqlalchemy as sa
from alembic import op

revision = "z2"
down_revision = "z1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("receipts", sa.Column("id", sa.Integer, primary_key=True))


def downgrade() -> None:
    op.drop_table("receipts")
