"""needs a lock that the session left open by a2 keeps from it

Revision ID: a4
"""

import sqlalchemy as sa
from alembic import op

revision = "a4"
down_revision = "a3"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("email", sa.Text))


def downgrade() -> None:
    op.drop_column("accounts", "email")
