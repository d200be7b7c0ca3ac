"""commit by hand, then fail

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE accounts SET name = 'changed'")
    op.execute("COMMIT")
    op.execute("CREATE INDEX CONCURRENTLY accounts_name ON accounts (name)")
    op.execute("SELECT 1 / 0")


def downgrade() -> None:
    op.execute("DROP INDEX accounts_name")
