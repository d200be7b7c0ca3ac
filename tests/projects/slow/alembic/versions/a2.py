"""add accounts.email

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE accounts ADD COLUMN email text")


def downgrade() -> None:
    op.drop_column("accounts", "email")
