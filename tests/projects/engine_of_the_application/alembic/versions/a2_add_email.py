"""add accounts.email

Revision ID: a2
"""

import sqlalchemy as sa
from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("email", sa.Text))


def downgrade() -> None:
    op.drop_column("accounts", "email")
