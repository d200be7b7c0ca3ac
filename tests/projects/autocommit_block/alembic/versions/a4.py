"""fail after an autocommit block

Revision ID: a4
"""

from alembic import op

revision = "a4"
down_revision = "a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE accounts SET name = 'changed'")
    with op.get_context().autocommit_block():
        op.execute("ANALYZE accounts")
    op.execute("SELECT 1 / 0")


def downgrade() -> None:
    op.execute("SELECT 1")
