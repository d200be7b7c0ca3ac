"""create payments

Revision ID: b2
"""

import sqlalchemy as sa
from alembic import op

revision = "b2"
down_revision = "b1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("payments", sa.Column("id", sa.Integer, primary_key=True))


def downgrade() -> None:
    op.drop_table("payments")
