"""drop accounts.name

Revision ID: a2
"""

import sqlalchemy as sa
from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("accounts", "name")


def downgrade() -> None:
    op.add_column("accounts", sa.Column("name", sa.Text))
