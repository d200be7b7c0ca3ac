"""add accounts.phone, outside of a transaction

Revision ID: a3
"""

from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE accounts ADD COLUMN phone text")


def downgrade() -> None:
    op.drop_column("accounts", "phone")
